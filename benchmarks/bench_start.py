"""Starting: seconds until the package is imported and until the command line answers."""
import statistics, subprocess, sys, time
from pathlib import Path
from bench import write

def seconds(args):
    start = time.perf_counter()
    subprocess.run(args, check=True, capture_output=True)
    return time.perf_counter()-start

bin = Path(sys.executable).parent
jobs = {'python': [sys.executable, '-c', ''], 'import ads_sentiment': [sys.executable, '-c', 'import ads_sentiment'], 'ads_study --help': [bin/'ads_study', '--help']}
times = {k: [] for k in jobs}
for _ in range(7):
    for k,args in jobs.items(): times[k].append(seconds(args))
rows = [dict(what=k, seconds=statistics.median(v), beyond_python=statistics.median(v)-statistics.median(times['python'])) for k,v in times.items()]
write('start', rows)
for r in rows: print(f"{r['what']}: {r['seconds']:.2f} s")
