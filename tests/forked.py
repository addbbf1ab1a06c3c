"Processes that are forked from one in which the large packages are imported, so that a test does not wait for imports."
import importlib, multiprocessing, os, subprocess, sys, tempfile
from pathlib import Path

servers = multiprocessing.get_context('forkserver')
servers.set_forkserver_preload(['fastai.vision.all', 'timm', 'torchvision', 'cv2', 'pandas', 'matplotlib.pyplot', 'sklearn.metrics', 'scipy.stats',
    'pydantic', 'PIL.Image', 'execnb.shell', 'nbdev.process'])

def _child(args, env, folder, files):
    "Become the process of a command: its own environment, folder, arguments and streams"
    multiprocessing.set_start_method(None, force=True) # the command's own processes start as they do elsewhere
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for fd,(path,how) in enumerate(zip((os.devnull, *files), (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY))): os.dup2(os.open(path, how), fd)
    sys.argv = args
    sys.exit(getattr(importlib.import_module('ads_sentiment.apps.cli'), args[0])())

def run_command(*args, timeout=600):
    "Run a command of the library as `subprocess.run` would run the installed script; the module of the commands itself is imported anew"
    with tempfile.TemporaryDirectory() as tmp:
        files = [Path(tmp)/'stdout', Path(tmp)/'stderr']
        for f in files: f.touch()
        process = servers.Process(target=_child, args=([*map(str, args)], dict(os.environ), os.getcwd(), [*map(str, files)]))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(args, timeout)
        return subprocess.CompletedProcess(args, process.exitcode, *(f.read_text(encoding='utf-8') for f in files))
