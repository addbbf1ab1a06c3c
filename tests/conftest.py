"The last line of a run counts what passed and failed over notebooks and tests together."
import os
from pathlib import Path
import pytest

os.environ.setdefault('ADS_PROGRESS', '0')
counts = dict(passed=0, failed=0, skipped=0)
stale = [] # cells of notebooks whose outputs are not those that are stored
left_out = [] # checks in notebooks that did not run; the output of a test that passes is not shown, so they are listed at the end

def pytest_configure(config):
    "Divide the cores between the processes of `pytest -n`, which inherit this"
    n = getattr(config.option, 'numprocesses', None) or 1
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1)//n)))

def group(nodeid):
    "Tests of a file run in one worker, because they share what it prepares; each notebook runs in any"
    return nodeid if '::test_notebook[' in nodeid else nodeid.split('::')[0]

@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "Its own `--dist loadgroup` puts nothing together since pytest 9.2 (xdist 3.8)"
    from xdist.scheduler import LoadScopeScheduling
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = group
    return scheduler

def pytest_runtest_logreport(report):
    if report.when=='call' or report.outcome!='passed':
        if report.when!='teardown' or report.failed: counts[report.outcome] += 1
    if report.when=='call': # what the fixtures below noted, here or in a worker
        stale.extend(v for k,v in report.user_properties if k=='stale')
        left_out.extend(v for k,v in report.user_properties if k=='left out')

def pytest_collectreport(report):
    if report.failed: counts['failed'] += 1

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if hasattr(config, 'workerinput'): return # a worker; the process that started it counts
    counts['skipped'] += len(left_out)
    for o in stale: print(f'other outputs than stored: {o}')
    for o in left_out: print(f'skipped: {o}')
    if not config.option.collectonly: print(f"{counts['passed']} passed, {counts['failed']} failed" + (f", {counts['skipped']} skipped" if counts['skipped'] else ''))

def data_folder(variable):
    "The folder of data for development that a variable of the environment names, or None"
    path = os.environ.get(variable)
    return Path(path) if path and Path(path).exists() else None

def _fixture_folder(variable): return data_folder(variable) or pytest.skip(f'{variable} names no folder of data')

@pytest.fixture(scope='session')
def pitt(): return _fixture_folder('ADS_PITT')

@pytest.fixture(scope='session')
def posters(): return _fixture_folder('ADS_POSTERS')

@pytest.fixture()
def stale_outputs(record_property):
    "List the cells of a notebook whose outputs are not those that are stored"
    return lambda nb, cells: [record_property('stale', f'{nb}: {c!r}') for c in cells]

@pytest.fixture()
def data_checks(record_property):
    "Count and list the checks on real data that a notebook leaves out because the folder is not there"
    def check(nb, source):
        for variable in ('ADS_PITT', 'ADS_POSTERS'):
            if f"environ.get('{variable}')" in source and not data_folder(variable):
                record_property('left out', f'{nb}: the checks on real data; {variable} names no folder')
    return check
