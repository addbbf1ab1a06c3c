"The house: who may import whom, what a linter finds, and what is run elsewhere."
import re, subprocess, sys
from configparser import ConfigParser
from pathlib import Path
import run_notebooks, yaml

root = Path(__file__).parent.parent
bin = Path(sys.executable).parent

def run(*args):
    "Run a command in the project and return its exit code; its output shows when the test fails"
    res = subprocess.run([str(a) for a in args], cwd=root, capture_output=True, text=True, timeout=300)
    print(res.stdout[-5000:], res.stderr[-2000:])
    return res.returncode

def test_imports_go_one_way(): assert run(bin/'lint-imports')==0

def test_a_linter_finds_nothing(): assert run(bin/'ruff', 'check', '--no-cache', 'ads_sentiment', 'tests', 'benchmarks')==0

def test_no_stale_modules():
    "`nbdev_export` removes nothing: a module whose notebook is gone is deleted by hand"
    exported = {l.split()[-1].replace('.', '/') + '.py' for p in run_notebooks.notebooks() for l in p.read_text(encoding='utf-8').splitlines() if '#| default_exp' in l for l in [l.strip(' ",\n').replace('\\n', '')]}
    modules = {p.relative_to(root/'ads_sentiment').as_posix() for p in (root/'ads_sentiment').rglob('*.py') if p.name not in ('__init__.py', '_modidx.py')}
    assert modules==exported

def test_the_workflow_fits_the_makefile_and_the_settings():
    "It calls targets that exist, on the Pythons that the wheel names, from the first that it allows"
    parser = ConfigParser(delimiters=['='])
    parser.read(root/'settings.ini', encoding='utf-8')
    pythons = parser['DEFAULT']['pythons'].split()
    makefile = (root/'Makefile').read_text()
    targets = set(re.findall(r'^([a-z-]+):', makefile, flags=re.M))
    phony = set(re.search(r'^\.PHONY: (.*)', makefile, flags=re.M)[1].split())
    jobs = yaml.safe_load((root/'.github'/'workflows'/'test.yml').read_text())['jobs']
    called = {m[1] for j in jobs.values() for s in j['steps'] if (m := re.match(r'make (\w+)', s.get('run', '')))}
    assert called=={'test', 'package'} and called <= targets and phony==targets==set(re.findall(r'@echo "make ([\w-]+) ', makefile)) | {'help', 'clean'}
    assert all(j['strategy']['matrix']['python']==pythons for j in jobs.values()) and pythons[0]==parser['DEFAULT']['min_python']
