"""Build the package and try its wheel in two fresh environments: with the pins, and with the newest releases that its bounds admit.

`make package` leaves the wheel in dist/. An environment takes about 6 GB of the temporary folder and is removed before the next one is made.
Ends with an error at the first thing that is wrong."""
import argparse, os, re, shutil, subprocess, sys, tempfile, time
from configparser import ConfigParser
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

root = Path(__file__).parent.parent
env = {k: v for k,v in os.environ.items() if not k.startswith('PYTHON')} | dict(ADS_PROGRESS='1', MPLBACKEND='agg') # bars drawn, as in a terminal
modules = '''import importlib, pkgutil, sys, ads_sentiment
from pathlib import Path
assert Path(sys.prefix) in Path(ads_sentiment.__file__).parents, f'{ads_sentiment.__file__} is not of this environment'
apart = ('ads_sentiment.apps.site', 'ads_sentiment._modidx') # for contributors
names = [m.name for m in pkgutil.walk_packages(ads_sentiment.__path__, 'ads_sentiment.') if m.name not in apart]
for n in names: importlib.import_module(n)
print(f'ads_sentiment {ads_sentiment.__version__}: {len(names)} modules imported')'''

def run(*args, cwd=root):
    "Run a command and return what it prints; ends the script, with all of it, if the command fails"
    start,args = time.time(),[str(a) for a in args]
    res = subprocess.run(args, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    name = ' '.join([Path(args[0]).name, *args[1:]]).split('\n')[0].replace('import importlib, ', 'import ')[:110]
    print(f'{"ok    " if res.returncode==0 else "FAILED"} {time.time()-start:4.0f} s  {name}', flush=True)
    if res.returncode: sys.exit(res.stdout[-6000:])
    return res.stdout

def check(true, what):
    print(f'{"ok    " if true else "FAILED"}         {what}', flush=True)
    if not true: sys.exit(1)

def build():
    "The source archive, and of it the wheel, in dist/"
    shutil.rmtree(root/'dist', ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix='ads-package-') as d:
        run(sys.executable, '-m', 'venv', d)
        python = Path(d)/'bin'/'python'
        run(python, '-m', 'pip', 'install', '--quiet', '--constraint', root/'constraints.txt', 'build')
        run(python, '-m', 'build')
    return next((root/'dist').glob('*.whl'))

def check_wheel(wheel):
    "Its files and what it says about itself"
    parser = ConfigParser(delimiters=['='])
    parser.read(root/'settings.ini', encoding='utf-8')
    cfg = parser['DEFAULT']
    with ZipFile(wheel) as z:
        files = set(z.namelist())
        meta = message_from_bytes(z.read(next(f for f in files if f.endswith('.dist-info/METADATA'))))
    have = {p.relative_to(root).as_posix() for p in (root/'ads_sentiment').rglob('*') if p.is_file() and '__pycache__' not in p.parts}
    check({f for f in files if '.dist-info/' not in f}==have, f'{len(have)} files, those of ads_sentiment/')
    check(any(f.endswith('/LICENSE') for f in files) and 'Apache-2.0' in (meta['License-Expression'] or meta['License']), 'licence Apache-2.0 and its text')
    check((meta['Name'], meta['Version'])==(cfg['lib_name'], cfg['version']), f"name and version: {meta['Name']} {meta['Version']}")
    versions = [c.rsplit(' ', 1)[1] for c in meta.get_all('Classifier') if re.search(r':: 3\.\d+$', c)]
    check(meta['Requires-Python']=='>=' + cfg['min_python'] and versions==cfg['pythons'].split(), f"Python {meta['Requires-Python']}: {', '.join(versions)}")
    needs = [r for r in meta.get_all('Requires-Dist') if 'extra ==' not in r]
    check(len(needs)==len(cfg['requirements'].split()), f'{len(needs)} requirements')
    text = meta.get_payload()
    check(text.startswith(f"# {cfg['lib_name']}") and not re.search(r'\]\((?!https?://|#)', text), 'the README, its links lead to the repository')

def try_wheel(wheel, pins):
    "Install the wheel in an environment of its own; import everything, study, predict and explain outside the checkout"
    with tempfile.TemporaryDirectory(prefix='ads-package-') as d:
        bin,here = Path(d)/'env'/'bin',Path(d)/'here'
        here.mkdir()
        run(sys.executable, '-m', 'venv', Path(d)/'env')
        run(bin/'python', '-m', 'pip', 'install', '--quiet', '--no-cache-dir', *(['--constraint', root/'constraints.txt'] if pins else []), wheel)
        print(run(bin/'python', '-m', 'pip', 'check').strip().splitlines()[-1])
        listed = dict(l.split('==') for l in run(bin/'python', '-m', 'pip', 'list', '--format=freeze').splitlines() if l.count('==')==1)
        print(', '.join(f'{p} {listed[p]}' for p in ('fastai', 'fastcore', 'torch', 'numpy', 'pandas', 'opencv-python', 'timm')))
        print(run(bin/'python', '-c', modules, cwd=here).strip().splitlines()[-1])
        def ads(command, *args): print(run(bin/command, *args, cwd=here).strip().splitlines()[-1])
        ads('ads_demo', 'ads', '--n', 200)
        ads('ads_study', '--data', 'ads', '--backbones', 'efficientnet_lite0', '--size', 128, '--out', 'run')
        image = next((here/'ads').glob('[0-9]*/*.jpg')).relative_to(here)
        ads('ads_predict', image.parent, '--predictor', 'run', '--out', 'predicted.csv')
        ads('ads_explain', image, '--predictor', 'run', '--out', 'explained')
        made = ['run/report.html', 'run/efficientnet_lite0/predictor.json', 'predicted.csv', 'explained/explain.csv']
        check(all((here/f).stat().st_size for f in made), ', '.join(made))

if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', choices=['pins', 'newest'], help='one of the two environments; default: both')
    args = parser.parse_args()
    wheel = build()
    check_wheel(wheel)
    for name in [args.only] if args.only else ['pins', 'newest']:
        print(f"\n{'the pins of constraints.txt' if name=='pins' else 'the newest releases within the bounds of the wheel'}")
        try_wheel(wheel, name=='pins')
    print(f'\n{wheel.relative_to(root)} works')
