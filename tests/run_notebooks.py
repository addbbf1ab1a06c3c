"""Run notebooks as `nbdev_test` does, each in a process of its own that is forked from one in which the large packages are imported, and
compare the outputs with the stored ones. `run_notebooks.py [NB…]` runs all or some notebooks and lists the cells whose outputs differ."""
import multiprocessing, os, re, sys, time, traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from forked import servers

root = Path(__file__).parent.parent
def notebooks(folder=root/'nbs'):
    "Paths of all notebooks below a folder, sorted"
    return sorted(p for p in folder.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)

def said(output):
    "What one output says: a printed text, a table without its tags, or a result as plain text"
    data = output.get('data', {})
    html = re.sub(r'<style.*?</style>|<[^>]*>', ' ', ''.join(data.get('text/html', '')), flags=re.S)
    return html or ''.join(output.get('text') or data.get('text/plain', ''))

def texts(cell):
    "What the outputs of a cell say, without addresses of objects and names of temporary folders"
    return re.sub(r'0x[0-9a-f]+|tmp\w+', '', '\n'.join(map(said, cell.get('outputs', [])))).strip()

number = re.compile(r'[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?')

def alike(a, b, rel=.02, abs_=.02):
    "Same words in the same order; numbers equal within a tolerance"
    if number.sub('#', a).split()!=number.sub('#', b).split(): return False
    pairs = zip(number.findall(a), number.findall(b))
    values = [[float(x.rstrip('.').replace(',', '')) for x in p] for p in pairs]
    return all(abs(x-y) <= abs_ + rel*max(abs(x), abs(y)) for x,y in values)

def execute(path):
    "Run a notebook; the sources of its visible cells whose outputs are not those that are stored. Raises what a cell raises"
    from execnb.shell import CaptureShell
    from nbdev.config import get_config
    from nbdev.process import NBProcessor
    os.environ['IN_TEST'] = '1'
    sys.path.insert(0, str(root))
    flags = set(get_config(path=root).tst_flags.split())
    nb = NBProcessor(path).nb
    def skipped(cell):
        marks = cell.get('directives_') or {}
        return cell.cell_type!='code' or bool(flags & set(marks)) or marks.get('eval:', [''])[0].lower()=='false'
    stored = [texts(c) for c in nb.cells]
    for c in nb.cells:
        if not skipped(c): c['outputs'] = []
    os.chdir(path.parent)
    shell = CaptureShell(path)
    try: shell.run_all(nb, exc_stop=True, preproc=skipped)
    except BaseException:
        print(shell.prettytb(fname=path.name) if shell.exc else traceback.format_exc())
        raise
    runs = [(c, old) for c,old in zip(nb.cells, stored) if not skipped(c) and 'hide' not in (c.get('directives_') or {})]
    return [' '.join(c.source.split())[:100] for c,old in runs if not alike(old, texts(c))]

def _child(path, log, answer):
    "Run one notebook in a forked process; what it prints goes to a file"
    multiprocessing.set_start_method(None, force=True) # the notebook's own processes start as they do elsewhere
    with open(log, 'w', encoding='utf-8') as f, redirect_stdout(f), redirect_stderr(f):
        answer.send(execute(path))

def run(path, log, timeout=900):
    "(passed, sources of stale cells) of one notebook"
    here,there = servers.Pipe(duplex=False)
    process = servers.Process(target=_child, args=(Path(path), str(log), there))
    process.start()
    there.close()
    try: stale = here.recv() if here.poll(timeout) else None
    except EOFError: stale = None # the process ended without an answer
    if stale is None: process.kill()
    process.join()
    return stale is not None, stale or []

if __name__=='__main__':
    import tempfile
    os.environ.setdefault('ADS_PROGRESS', '0')
    failed,stale = 0,0
    for p in [Path(a).resolve() for a in sys.argv[1:]] or notebooks():
        with tempfile.NamedTemporaryFile('r', suffix='.log') as log:
            start = time.time()
            passed,cells = run(p, log.name)
            failed,stale = failed + (not passed),stale + len(cells)
            print(f'{p.relative_to(root)}: {"passed" if passed else "FAILED"} in {time.time()-start:.0f} s', flush=True)
            if not passed: print(Path(log.name).read_text(encoding='utf-8')[-3000:])
        for c in cells: print(f'    other outputs than stored: {c!r}')
    print(f'{failed} notebooks failed, {stale} cells have other outputs than stored')
    sys.exit(bool(failed or stale))
