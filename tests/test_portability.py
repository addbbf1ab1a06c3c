"What other systems do differently: processes that are spawned, open files that cannot be removed, names that are reserved."
import subprocess, sys
from pathlib import Path
import pandas as pd, pytest
from PIL import Image
from ads_sentiment.apps import cli
from ads_sentiment.core import AdsError, sole_writer
from ads_sentiment.models import engines

spawned = """
import multiprocessing, sys
from ads_sentiment.data.datasets import csv_ads
from ads_sentiment.data.loaders import ads_dataloaders
if __name__=='__main__':
    multiprocessing.set_start_method('spawn')
    dls = ads_dataloaders(csv_ads(sys.argv[1]), size=64, bs=4, n_workers=int(sys.argv[2]))
    print(sum(x.sum().item() for x,_ in dls.valid))
"""

@pytest.mark.slow
def test_loader_processes_may_be_spawned(tmp_path):
    "As on Windows and macOS, where a process inherits nothing; the same batches as without processes"
    for i in range(12): Image.effect_noise((80, 80), 40+i).convert('RGB').save(tmp_path/f'{i}.png')
    pd.DataFrame(dict(file=[f'{i}.png' for i in range(12)], labels=['red', 'blue|red']*6, split=['train', 'valid', 'test']*4)).to_csv(tmp_path/'set.csv', index=False)
    (tmp_path/'script.py').write_text(spawned)
    sums = []
    for n in (0, 2):
        res = subprocess.run([sys.executable, '-W', 'ignore', tmp_path/'script.py', tmp_path/'set.csv', str(n)], capture_output=True, text=True, timeout=300)
        print(res.stderr[-3000:])
        sums.append(float(res.stdout))
    assert sums[0]==pytest.approx(sums[1])

def test_a_lock_ends_where_open_files_stay(tmp_path, monkeypatch):
    "Windows refuses to remove a file that is open"
    remove = Path.unlink
    def unlink(self, *args, **kwargs):
        if self.name.endswith('.lock'): raise PermissionError(13, 'used by another process', str(self))
        return remove(self, *args, **kwargs)
    monkeypatch.setattr(Path, 'unlink', unlink)
    for _ in range(2):
        with sole_writer(tmp_path/'run'), pytest.raises(AdsError, match='another run writes there'):
            with sole_writer(tmp_path/'run'): pass

def test_pictures_differ_by_more_than_case(tmp_path):
    "Where `Ad.png` and `ad.png` are one file"
    names = cli._picture_names([tmp_path/'a'/'Ad.jpg', tmp_path/'b'/'ad.png', tmp_path/'c'/'AD.jpg'], tmp_path/'out').values()
    assert len({n.casefold() for n in names})==3

@pytest.mark.parametrize('cpuinfo,name', [('processor: 0\nmodel name\t: Fast 9000\n', 'Fast 9000'), ('processor: 0\n', 'arm')])
def test_a_processor_has_a_name(cpuinfo, name, monkeypatch):
    monkeypatch.setattr(engines.Path, 'read_text', lambda *a, **k: cpuinfo)
    monkeypatch.setattr(engines.platform, 'processor', lambda: 'arm')
    assert engines.device_name()==name
