"The last line of a run counts what passed and failed over notebooks and tests together."
import os
from pathlib import Path
import pytest

root = Path(__file__).parent.parent
shared = root.parent/'shared'/'data'
os.environ.setdefault('ADS_PROGRESS', '0')
counts = dict(passed=0, failed=0, skipped=0)

def pytest_runtest_logreport(report):
    if report.when=='call' or report.outcome!='passed':
        if report.when!='teardown' or report.failed: counts[report.outcome] += 1

def pytest_collectreport(report):
    if report.failed: counts['failed'] += 1

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if not config.option.collectonly: print(f"{counts['passed']} passed, {counts['failed']} failed" + (f", {counts['skipped']} skipped" if counts['skipped'] else ''))

def _folder(variable, default):
    "A folder of data for development, or skip"
    path = Path(os.environ.get(variable, default))
    if not path.exists(): pytest.skip(f'{path} is not there; {variable} can name it')
    return path

@pytest.fixture(scope='session')
def pitt(): return _folder('ADS_PITT', shared/'pitt')

@pytest.fixture(scope='session')
def posters(): return _folder('ADS_POSTERS', shared/'posters')
