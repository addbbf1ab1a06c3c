"""Do to every notebook what `nbdev_docs` does before Quarto: `process_notebooks.py NBS OUT` writes the processed notebooks below OUT and
prints a JSON object: by notebook, what was raised or warned of. Run in the root of a copy of the project."""
import io, json, os, sys, traceback, warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from execnb.nbio import read_nb, write_nb
from nbdev.processors import FilterDefaults
from run_notebooks import notebooks

def process(src, dest):
    "Process one notebook; what it complained of, in words"
    said,os.environ['IN_TEST'] = io.StringIO(),'1'
    try:
        with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter('always')
            nb = read_nb(src)
            FilterDefaults()(nb)
            dest.parent.mkdir(parents=True, exist_ok=True)
            write_nb(nb, dest)
    except Exception: return traceback.format_exc()[-2000:]
    lines = said.getvalue().splitlines()
    return '\n'.join(l for i,l in enumerate(lines) if 'imports and other code' in l or 'Error' in l or (i and 'imports and other code' in lines[i-1]))

if __name__=='__main__':
    nbs,out = Path(sys.argv[1]),Path(sys.argv[2])
    print(json.dumps({p.relative_to(nbs).as_posix(): process(p, out/p.relative_to(nbs)) for p in notebooks(nbs)}))
