"""Which command writes which measured table or picture of the pages, and which are out of date: `results.py` lists them, `results.py --anew` runs the
commands of those that are. A result is out of date if a commit changed its script, or a module it measures, after the commit of the result."""
import argparse, os, subprocess, sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

root = Path(__file__).parent.parent
bin = Path(sys.executable).parent
posters = f"{os.environ.get('ADS_POSTERS', '$ADS_POSTERS')}/posters.csv"
ablation = [bin/'ads_study', '--ablate', '--split', 'stratified']
heads = ['recipes', 'evaluation/thresholds', 'evaluation/calibration', 'models/heads', 'training/head_fit', 'study/ablation']
data = ['demo', 'posters']

@dataclass
class Result:
    "Files that one command writes"
    files: str        # Pattern below the project
    command: list     # What to run in the root of the project
    sources: list     # Scripts below benchmarks/, and modules
    written: str = '' # File that the command writes, to be moved to `files`; empty: the command writes there

    def paths(self): return sorted(root.glob(self.files))

    def stale(self):
        "The source that changed after the result, or 'missing'; empty if there is none"
        if not self.paths(): return 'missing'
        measured = min(committed(p) for p in self.paths())
        return ', '.join(s for s in self.sources if committed(root/s) > measured)

@cache
def committed(path):
    "Seconds of the last commit of a file; now for one with changes that are not committed"
    def git(*args): return subprocess.run(['git', *args, '--', str(path)], cwd=root, capture_output=True, text=True, check=True).stdout
    return float('inf') if git('status', '--porcelain') else int(git('log', '-1', '--format=%ct') or 0)

def modules(names): return [f'ads_sentiment/{n}.py' for n in names]

def script(name, *args): return [sys.executable, '-W', 'ignore', f'benchmarks/{name}.py', *args]

def walk(name, data, *args):
    "An ablation, whose table is moved from its run"
    out = f'runs/{name}'
    return Result(f'benchmarks/{name}.csv', [*ablation, '--data', data, '--out', out, *args], modules(heads), f'{out}/ablation.csv')

def measure(name, mode, *measured):
    "A script that writes one table per data set or mode"
    return Result(f'benchmarks/{name}-{mode}.csv', script(f'measure_{name}', mode), [f'benchmarks/measure_{name}.py', *modules(measured)])

def bench(name, *measured): return Result(f'benchmarks/{name}-*.csv', script(f'bench_{name}'), [f'benchmarks/bench_{name}.py', *modules(measured)])

results = [
    walk('ablation-demo', 'demo'),
    walk('ablation-posters', posters),
    walk('ablation-posters-5-seeds-5-splits', posters, '--splits', '5', '--seeds', '5', '--steps', 'reference,thresholds by expected F1'),
    walk('ablation-posters-views', posters, '--splits', '5', '--steps', 'thresholds by expected F1,augmented views'),
    walk('ablation-posters-further', posters, '--splits', '5', '--steps',
        'thresholds by expected F1,words,three backbones,larger images,mirrored views'),
    Result('benchmarks/held-out-demo*.csv', script('measure_held_out'), ['benchmarks/measure_held_out.py', *modules(heads[:-1])]),
    *(measure('filter', d, 'data/images') for d in data),
    *(measure('backbones', d, 'models/backbones') for d in [*data, 'speed']),
    *(measure('precision', d, 'models/engines', 'training/head_fit') for d in data),
    *(measure('finetuned', d, *heads[:-1], 'training/learner') for d in data),
    Result('benchmarks/passes-posters.csv', script('measure_passes'), ['benchmarks/measure_passes.py', *modules(['models/features', 'training/head_fit'])]),
    *(measure('maps', d, 'explain/gradcam', 'explain/faithfulness', 'explain/pointing') for d in data),
    *(measure('words', f'{k}-{d}', 'models/words', 'models/text', 'evaluation/calibration') for k in ('scores', 'deletion') for d in data[::-1]),
    measure('words', 'reading', 'models/words'),
    *(measure('slices', k, 'explain/slices', *heads[:-1]) for k in ('unplanted', 'planted')),
    measure('sharing', 'onnx', 'training/sharing'),
    *(measure('sharing', k, 'training/neighbours', 'training/predictor') for k in ('neighbours', 'load')),
    *(measure('votes', d, 'evaluation/posterior', 'data/demo') for d in ('demo', 'pitt')),
    Result('benchmarks/real-ads-ceiling*.csv', script('measure_real_ads', 'ceiling'), ['benchmarks/measure_real_ads.py', *modules(['evaluation/panels'])]),
    Result('benchmarks/real-ads-[!c]*.csv', script('measure_real_ads', 'models'), ['benchmarks/measure_real_ads.py',
        *modules([*heads[:-1], 'models/words', 'models/text', 'evaluation/agreement', 'evaluation/bootstrap'])]),
    Result('benchmarks/steps.csv', script('measure_steps'), ['benchmarks/measure_steps.py', *modules(['data/images', 'data/splits', 'models/features', 'training/head_fit', 'evaluation/bootstrap'])]),
    Result('benchmarks/scoring.csv', script('measure_scoring'), ['benchmarks/measure_scoring.py', *modules(['training/scoring', 'data/images'])]),
    Result('benchmarks/clusters.csv', script('measure_clusters'), ['benchmarks/measure_clusters.py', *modules(['training/clusters', 'training/scoring', 'data/images'])]),
    bench('start', 'core', 'apps/cli'),
    bench('prepare', 'data/images'),
    bench('extraction', 'models/engines', 'models/features'),
    bench('growth', 'models/store', 'models/features', 'models/heads'),
    bench('gradcam', 'explain/gradcam'),
    bench('study', 'models/features', 'training/head_fit'),
    bench('gpu', 'models/engines', 'models/features', 'training/head_fit'), # on a machine with a GPU
    Result('nbs/images/[!R]*.[jp][pn]g', ['env', 'ADS_SCREENSHOTS=1', sys.executable, '-m', 'pytest', 'tests/test_browser.py'],
        ['tests/test_browser.py', *modules(['study/report', 'apps/widgets'])])]

def shown(command): return ' '.join(Path(c).name if str(c).startswith(str(bin)) else f"'{c}'" if ' ' in str(c) else str(c) for c in command)

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--anew', action='store_true', help='run the commands of the results that are out of date; this can take hours')
    anew = parser.parse_args().anew
    for r in results:
        why = r.stale()
        print(f"{r.files}\n    {shown(r.command)}\n    {'out of date: ' + why if why else 'up to date'}")
        if not (anew and why): continue
        subprocess.run([str(c) for c in r.command], cwd=root, check=True)
        if r.written: os.replace(root/r.written, root/r.files)

if __name__=='__main__': main()
