"Every notebook runs from top to bottom; what the library is, is what the notebooks say; the README is the index."
import json, os, shutil, subprocess, sys
from pathlib import Path
import pytest, run_notebooks
from ads_sentiment.models.words import can_read

root = Path(__file__).parent.parent
bin = Path(sys.executable).parent
notebooks = [p.relative_to(root).as_posix() for p in run_notebooks.notebooks()]

def run(*args, cwd=root, **env):
    "Run a command and return it; its output shows when the test fails"
    res = subprocess.run([str(a) for a in args], cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    print(res.stdout[-5000:], res.stderr[-5000:])
    return res

@pytest.mark.parametrize('nb', notebooks)
def test_notebook(nb, data_checks, stale_outputs, tmp_path):
    "Cells whose outputs differ from the stored ones are listed at the end; `make stale` fails on them"
    passed,stale = run_notebooks.run(root/nb, tmp_path/'log')
    said = (tmp_path/'log').read_text(encoding='utf-8')[-5000:]
    print(said)
    if not can_read() and 'AdsError: reading words needs' in said: pytest.skip('the package that reads words is not installed')
    assert passed
    stale_outputs(nb, stale)
    data_checks(nb, (root/nb).read_text(encoding='utf-8'))

@pytest.mark.parametrize('a,b,same', [('macro-F1 0.409', 'macro-F1 0.412', True), ('macro-F1 0.409', 'macro-F1 0.509', False),
    ('12,341 images', '12,340 images', True), ('three labels', 'two labels', False), ('', 'a line', False)])
def test_outputs_are_compared(a, b, same): assert run_notebooks.alike(a, b) is same

def test_a_failing_notebook_fails(tmp_path):
    "In a process of its own; the log tells which cell"
    cells = [dict(cell_type='code', id='a', metadata={}, source=['1/0'], outputs=[], execution_count=None)]
    (tmp_path/'x.ipynb').write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)), encoding='utf-8')
    assert run_notebooks.run(tmp_path/'x.ipynb', tmp_path/'log')==(False, [])
    assert 'ZeroDivisionError' in (tmp_path/'log').read_text()

@pytest.fixture(scope='session')
def copy(tmp_path_factory):
    "A copy of the project in which nbdev may write"
    dest = tmp_path_factory.mktemp('project')/'p'
    shutil.copytree(root, dest, symlinks=True, ignore=shutil.ignore_patterns('.venv', '.git', 'runs', '_docs', '_proc', '__pycache__', '.pytest_cache', '*.egg-info'))
    return dest

def files(folder, *patterns): return {p.relative_to(folder).as_posix(): p.read_bytes() for pat in patterns for p in sorted(folder.glob(pat))}

def test_library_is_exported(copy):
    before = files(copy, 'ads_sentiment/**/*.py', 'pyproject.toml')
    assert run(bin/'nbdev_export', cwd=copy).returncode == 0
    assert files(copy, 'ads_sentiment/**/*.py', 'pyproject.toml') == before, 'run nbdev_export and commit'

def test_notebooks_are_clean(copy):
    before = files(copy, 'nbs/**/*.ipynb')
    assert run(bin/'nbdev_clean', cwd=copy).returncode == 0
    assert files(copy, 'nbs/**/*.ipynb') == before, 'run nbdev_clean and commit'

def test_readme_is_the_index(copy):
    "`make readme` gives what is committed"
    before = (copy/'README.md').read_text()
    (copy/'.venv').symlink_to(bin.parent)
    (copy/'.venv'/'.ready').exists() or pytest.skip('make readme wants the environment that make sets up')
    assert run('make', '--assume-old=.venv/.ready', 'readme', cwd=copy).returncode==0
    assert (copy/'README.md').read_text() == before, 'run make readme and commit'

@pytest.mark.parametrize('nb', notebooks)
def test_notebook_is_small_and_stored(nb):
    "Under 500 KB, with outputs from a run and without an error among them"
    path = root/nb
    assert path.stat().st_size < 500_000
    cells = [c for c in json.loads(path.read_text())['cells'] if c['cell_type']=='code']
    outputs = [o for c in cells for o in c.get('outputs', [])]
    assert outputs, 'no stored outputs: execute the notebook'
    assert not [o for o in outputs if o['output_type']=='error']

def test_quarto_file_is_a_link():
    assert os.readlink(root/'nbs'/'_quarto.yml') == '../_quarto.yml'
