"What a notebook can't show: bars in a terminal, a light import."
import subprocess, sys

def python(code, **env):
    "Run code in a fresh process"
    import os
    return subprocess.run([sys.executable, '-c', code], env={**os.environ, **env}, capture_output=True, text=True, timeout=120)

def test_progress_outside_a_notebook():
    res = python('from ads_sentiment.core import progress; print(sum(progress(range(5), comment="adding")))', ADS_PROGRESS='1')
    assert res.returncode==0 and '10' in res.stdout and 'adding' in res.stdout

def test_core_and_cli_import_nothing_heavy():
    res = python('import sys, ads_sentiment.apps.cli; print([m for m in ("torch", "fastai", "pandas", "numpy", "cv2", "matplotlib") if m in sys.modules])')
    assert res.stdout.strip()=='[]', res.stdout + res.stderr
