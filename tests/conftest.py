"The last line of a run counts what passed and failed over notebooks and tests together."
import os
from pathlib import Path
import pytest

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

def _folder(variable):
    "A folder of data for development, or skip"
    path = os.environ.get(variable)
    if not path or not Path(path).exists(): pytest.skip(f'{variable} names no folder of data')
    return Path(path)

@pytest.fixture(scope='session')
def pitt(): return _folder('ADS_PITT')

@pytest.fixture(scope='session')
def posters(): return _folder('ADS_POSTERS')

@pytest.fixture()
def skipped_checks():
    "Count checks that a notebook leaves out because data are not there"
    def add(what):
        counts['skipped'] += 1
        print(f'skipped: {what}')
    return add
