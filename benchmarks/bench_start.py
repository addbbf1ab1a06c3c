"""Starting: seconds until the package is imported and until the command line answers."""
import subprocess, sys
from pathlib import Path
from bench import alternate, write

bin = Path(sys.executable).parent
jobs = {'python': [sys.executable, '-c', ''], 'import ads_sentiment': [sys.executable, '-c', 'import ads_sentiment'], 'ads_study --help': [bin/'ads_study', '--help']}
t = alternate({k: lambda args=args: subprocess.run(args, check=True, capture_output=True) for k,args in jobs.items()}, 7)
rows = [dict(what=k, seconds=s, beyond_python=s-t['python']) for k,s in t.items()]
write('start', rows)
for r in rows: print(f"{r['what']}: {r['seconds']:.2f} s")
