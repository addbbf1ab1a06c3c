"The notebooks become pages: nbdev's own processing, without Quarto, on a copy of the project."
import json, os, re, shutil, subprocess, sys
from configparser import ConfigParser
from pathlib import Path
import pytest, run_notebooks, yaml
from ads_sentiment._modidx import d as modidx

root = Path(__file__).parent.parent
bin = Path(sys.executable).parent
notebooks = [p.relative_to(root/'nbs').as_posix() for p in run_notebooks.notebooks()]
site = yaml.safe_load((root/'_quarto.yml').read_text(encoding='utf-8'))
parser = ConfigParser(delimiters=['='])
parser.read(root/'settings.ini', encoding='utf-8')
settings = parser['DEFAULT']
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

def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']

def text_of(cell): return ''.join(cell['source'])

def prose(path):
    "The text cells of a processed notebook, without code"
    return [re.sub(r'```.*?```', '', text_of(c), flags=re.S) for c in cells(path) if c['cell_type']=='markdown']

def documents(path):
    "The Markdown of a processed notebook, of its text cells and of its outputs, in order"
    for c in cells(path):
        if c['cell_type']=='markdown': yield text_of(c)
        for o in c.get('outputs', []): yield ''.join(o.get('data', {}).get('text/markdown', ''))

def page_of(nb):
    "Address of a notebook's page below the site: without the number, as nbdev names it"
    return re.sub(r'(^|/)\d+[a-z]?_', r'\1', nb).replace('.ipynb', '.html')

pages = {page_of(n) for n in notebooks}

def faults(text, *folders, page=''):
    """Public names that are not linked, relative links that are neither in one of `folders` nor a page of the site seen from the folder `page`,
    and pictures without a text, in one text cell"""
    res = [f'`{n}` is not linked' for n in re.findall(r'(?<!\[)(?<!`)`([A-Za-z_][\w.]*)(?:\(\))?`(?!`)', re.sub(r'^#.*$', '', text, flags=re.M)) if n in public]
    for mark,alt,url,more in re.findall(r'(!?)\[([^\]]*)\]\(([^)\s]+)[^)]*\)(\{[^}]*\})?', text):
        file = url.split('#')[0]
        seen = file[1:] if file.startswith('/') else f'{page}/{file}' if page else file # from the top of the site, or from the page
        there = any((f/file).exists() for f in folders) or os.path.normpath(seen) in pages
        if file and not re.match(r'https?:|mailto:|data:|attachment:', url) and not there: res.append(f'{url} leads nowhere')
        if mark and not (alt.strip() or 'fig-alt' in more): res.append(f'{url} has no alternative text')
    return res + [f'{m} is doubled' for m in re.findall(r'\[\[`[^`]+`\]', text)]

@pytest.mark.parametrize('nb', notebooks)
def test_page(nb, processed, project):
    "Processed without an error or a cell that mixes imports with other code; public names and relative links lead somewhere; pictures in prose have a text"
    out,said = processed
    assert not said[nb], said[nb]
    folders = (out/nb).parent,(project/'nbs'/nb).parent
    assert not [f for text in prose(out/nb) for f in faults(text, *folders, page=os.path.dirname(nb))]

def slug(heading):
    "The anchor that pandoc gives to a heading"
    if m := re.search(r'\{#([^}\s]+)', heading): return m[1]
    text = re.sub(r'\{[^}]*\}|\]\([^)]*\)|[^\w\s.-]', '', heading.lower().replace('`', ''))
    return re.sub(r'^[^a-z]+', '', re.sub(r'\s+', '-', text.strip()))

@pytest.mark.parametrize('nb', notebooks)
def test_anchors_are_unique(nb, processed):
    "No section has the name of a definition on the same page"
    text = re.sub(r'```.*?```', '', '\n'.join(documents(processed[0]/nb)), flags=re.S)
    anchors = [slug(h) for h in re.findall(r'^#{1,6} (.+)$', text, flags=re.M)]
    assert not {a for a in anchors if anchors.count(a)>1}

@pytest.mark.parametrize('nb', notebooks)
def test_code_on_a_page_has_no_links(nb, processed):
    fences = [f for text in documents(processed[0]/nb) for f in re.findall(r'```.*?```', text, flags=re.S)]
    assert not [f for f in fences if re.search(r'\[`[^`]+`\]\(', f)]

def shows_picture(cell): return any(k.startswith('image/') for o in cell.get('outputs', []) for k in o.get('data', {}))

@pytest.mark.parametrize('nb', notebooks)
def test_pictures_have_captions_and_texts(nb, processed):
    "Each figure has a label of its own, a caption, and a text for those who cannot see it"
    shown = [text_of(c) for c in cells(processed[0]/nb) if c['cell_type']=='code' and shows_picture(c)]
    for needed in ('label: fig-', 'fig-cap: ', 'fig-alt: '): assert not [s[:200] for s in shown if f'#| {needed}' not in s], needed
    labels = re.findall(r'#\| label: (\S+)', '\n'.join(shown))
    assert len(labels)==len(set(labels))

works = set(re.findall(r'^@\w+\{([^,]+),', (root/'nbs'/'references.bib').read_text(encoding='utf-8'), flags=re.M))

@pytest.mark.parametrize('nb', notebooks)
def test_cited_works_are_in_the_bibliography(nb, processed):
    cited = {k for text in prose(processed[0]/nb) for k in re.findall(r'(?<![\w`/.])@([a-z]+\d{4}\w*)', text)}
    assert cited <= works

def test_works_in_the_bibliography_can_be_found():
    "By a DOI, an arXiv number, an address or, for a book, its publisher"
    entries = [l for l in (root/'nbs'/'references.bib').read_text(encoding='utf-8').splitlines() if l.startswith('@')]
    assert not [e for e in entries if not re.search(r'\b(doi|eprint|url|publisher) = ', e)]

def drawn_figure(code): return dict(cell_type='code', source=[code], outputs=[dict(data={'image/png': ''})])

def test_a_picture_without_a_text_is_found(processed, tmp_path):
    (tmp_path/'x.ipynb').write_text(json.dumps(dict(cells=[drawn_figure('#| label: fig-a\n#| fig-cap: "A"\nplot()')])), encoding='utf-8')
    with pytest.raises(AssertionError, match='fig-alt'): test_pictures_have_captions_and_texts('x.ipynb', (tmp_path,))

def test_an_anchor_that_clashes_is_found(tmp_path):
    text = [dict(cell_type='markdown', source=['## Predictor']), dict(cell_type='markdown', source=['### Predictor {#predictor}'])]
    (tmp_path/'x.ipynb').write_text(json.dumps(dict(cells=text)), encoding='utf-8')
    with pytest.raises(AssertionError): test_anchors_are_unique('x.ipynb', (tmp_path,))

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

written = [p.name for p in (root/'nbs').glob('*.md')] # pages that are plain text

def sidebar(entries):
    "Pages that a sidebar of Quarto lists. No `auto`: Quarto 1.7 stops at a pattern with a slash in front, and sorts by title"
    for e in entries:
        if isinstance(e, str): yield e
        elif 'contents' in e: yield from sidebar(e['contents'])
        else: yield e['href']

def test_every_page_is_in_the_sidebar_once():
    assert sorted(sidebar(site['website']['sidebar']['contents']))==sorted([*notebooks, *(w for w in written if w!='404.md')])

def test_links_of_the_frame_lead_somewhere():
    "Navigation bar, footer, icon and card"
    web = site['website']
    files = [e['href'] for e in [*web['navbar']['left'], *web['page-footer']['right']]] + [web['favicon'], web['image']]
    assert not [f for f in files if not (root/'nbs'/f).exists()]
    assert f"ads_sentiment {settings['version']}," in web['page-footer']['left']

def test_text_pages():
    "Relative links lead somewhere"
    for name in written: assert not [f for f in faults((root/'nbs'/name).read_text(encoding='utf-8'), root/'nbs', root) if 'linked' not in f], name

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
