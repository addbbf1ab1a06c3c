"The notebooks become pages: nbdev's own processing, without Quarto, on a copy of the project."
import json, re, shutil, subprocess, sys
from pathlib import Path
import pytest
from ads_sentiment._modidx import d as modidx

root = Path(__file__).parent.parent
bin = Path(sys.executable).parent
notebooks = sorted(p.relative_to(root/'nbs').as_posix() for p in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
public = {k.removeprefix(f'{module}.') for module,syms in modidx['syms'].items() for k in syms}
public = {n for n in public if not any(p.startswith('_') for p in n.split('.'))}

def process(nbs, out, cwd):
    "What nbdev complains of, by notebook"
    res = subprocess.run([sys.executable, root/'tests'/'process_notebooks.py', nbs, out], cwd=cwd, capture_output=True, text=True, timeout=600)
    assert res.returncode==0, res.stderr[-2000:]
    return json.loads(res.stdout.splitlines()[-1])

@pytest.fixture(scope='session')
def project(tmp_path_factory):
    "A copy in which nbdev may write"
    dest = tmp_path_factory.mktemp('site')/'p'
    shutil.copytree(root, dest, symlinks=True, ignore=shutil.ignore_patterns('.venv', '.git', 'runs', '_docs', '_proc', '__pycache__', '.pytest_cache', '*.egg-info', 'tests'))
    return dest

@pytest.fixture(scope='session')
def processed(project): return project/'_proc',process(project/'nbs', project/'_proc', project)

def prose(path):
    "The text cells of a processed notebook, without code"
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [re.sub(r'```.*?```', '', ''.join(c['source']), flags=re.S) for c in cells if c['cell_type']=='markdown']

def faults(text, *folders):
    "Public names that are not linked, relative links that are in none of `folders`, and pictures without a text, in one text cell"
    res = [f'`{n}` is not linked' for n in re.findall(r'(?<!\[)(?<!`)`([A-Za-z_][\w.]*)(?:\(\))?`(?!`)', text) if n in public]
    for mark,alt,url in re.findall(r'(!?)\[([^\]]*)\]\(([^)\s]+)[^)]*\)', text):
        file = url.split('#')[0]
        if file and not re.match(r'https?:|mailto:|data:|attachment:', url) and not any((f/file).exists() for f in folders): res.append(f'{url} leads nowhere')
        if mark and not alt.strip(): res.append(f'{url} has no alternative text')
    return res

@pytest.mark.parametrize('nb', notebooks)
def test_page(nb, processed, project):
    "Processed without an error or a cell that mixes imports with other code; public names and relative links lead somewhere; pictures in prose have a text"
    out,said = processed
    assert not said[nb], said[nb]
    assert not [f for text in prose(out/nb) for f in faults(text, (out/nb).parent, (project/'nbs'/nb).parent)]

@pytest.mark.parametrize('text,fault', [('See `load_ads`.', 'load_ads'), ('See `load_ads()`.', 'load_ads'), ('[Data](data.html)', 'data.html leads'),
    ('![](images/none.png)', 'alternative text'), ('[`load_ads`](core.ipynb#load_ads) and ![A poster](https://example.org/a.png)', None)])
def test_faults_in_prose_are_found(text, fault, tmp_path):
    (tmp_path/'core.ipynb').touch()
    found = faults(text, tmp_path)
    assert (not found) if fault is None else any(fault in f for f in found)

@pytest.mark.parametrize('code,complaint', [('import math\n', 'imports and other code'), ('import no_such_module\n', 'no_such_module')])
def test_an_import_beside_other_code_is_found(code, complaint, project, tmp_path):
    "An import in a test cell fails the check above"
    nb = json.loads((project/'nbs'/'data'/'01_tables.ipynb').read_text(encoding='utf-8'))
    cell = next(c for c in nb['cells'] if c['cell_type']=='code' and ''.join(c['source']).startswith('for cells in'))
    cell['source'] = [code, *cell['source']]
    (tmp_path/'nbs').mkdir()
    (tmp_path/'nbs'/'bad.ipynb').write_text(json.dumps(nb), encoding='utf-8')
    assert complaint in process(tmp_path/'nbs', tmp_path/'out', project)['bad.ipynb']

def test_every_page_is_in_the_sidebar():
    text = (root/'_quarto.yml').read_text()
    listed,folders = set(re.findall(r'href: (\S+\.ipynb)', text)),re.findall(r'auto: "/(\w+)/\*\.ipynb"', text)
    assert {n for n in notebooks if n.startswith('tutorials/') or n=='index.ipynb'} == listed and 'auto: "/[0-9]*.ipynb"' in text
    assert {n.split('/')[0] for n in notebooks if '/' in n} - {'tutorials'} == set(folders)

private = re.compile(r'/(root|home|work|Users)/|site-packages|/tmp/(?!tmp\w+/?$)|<progress|progress-bar-interrupted|\d+%\|')

@pytest.mark.parametrize('nb', notebooks)
def test_stored_outputs_are_clean(nb):
    "No path of a machine, no progress bar, no counts of execution"
    cells = json.loads((root/'nbs'/nb).read_text(encoding='utf-8'))['cells']
    for c in cells:
        assert not c.get('execution_count')
        for o in c.get('outputs', []):
            text = ''.join(o.get('text', '')) + ''.join(''.join(v) for k,v in o.get('data', {}).items() if k.startswith('text/'))
            assert not private.search(text), private.search(text)[0] + ' in ' + ''.join(c['source'])[:80]
