"Many machines: a cluster writes the rows that one process writes, also when a machine or the driver is killed in the middle."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pandas as pd, psutil, pyarrow as pa, pytest
from ads_sentiment.apps import cli
from ads_sentiment.core import AdsError
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import ImagePipeline, prepare_images
from ads_sentiment.recipes import Recipe
from ads_sentiment.training import clusters
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.training.predictor import load_predictor, save_predictor
from ads_sentiment.training.scoring import list_images, parts_folder, score_images

# PyTorch sums in another order where a batch or the number of threads differs
same = 1e-6

def saved(home, n=60, recipe=None, **kwargs):
    ads = demo_ads(home/'ads', n=n, seed=3, **kwargs)
    learn = recipe_learner(prepare_images(ads, home/'prepared', size=96)[0], size=64, engine='eager', **({} if recipe is None else dict(recipe=recipe)))
    learn.fit_head(say=None)
    save_predictor(learn, home/'one')
    return home

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A predictor, and images of which some are no images"
    home = saved(tmp_path_factory.mktemp('clusters'))
    (home/'new').mkdir()
    files = sorted((home/'ads').glob('[0-9]*/*.jpg'))
    for k in range(90): (home/'new'/f'{k:03}.jpg').write_bytes(files[k % len(files)].read_bytes() if k%9 else b'no picture')
    return home

@pytest.fixture(scope='module')
def names(home): return list_images(home/'new')

@pytest.fixture(scope='module')
def want(home, names):
    "What one process writes"
    score_images(load_predictor(home/'one'), names, home/'want.parquet', engine='eager')
    return pd.read_parquet(home/'want.parquet')

def check_same(got, want):
    "Fail unless all rows are there once and equal, in any order"
    assert list(got.row.sort_values())==list(range(len(want)))
    got = got.sort_values('row', ignore_index=True).drop(columns='row')
    numbers = want.select_dtypes('number').columns
    pd.testing.assert_frame_equal(got.drop(columns=numbers), want.drop(columns=numbers))
    np.testing.assert_allclose(got[numbers].to_numpy(), want[numbers].to_numpy(), rtol=0, atol=same)

def run(monkeypatch, capsys, line):
    "(exit code, output, errors) of a command line in this process"
    words,code = line.split(),0
    monkeypatch.setattr(sys, 'argv', words)
    try: getattr(cli, words[0])()
    except SystemExit as e: code = e.code
    return code, *capsys.readouterr()

# --- without Ray -----------------------------------------------------------------------------------------------------

def test_a_failure_of_our_code_is_a_reason(home, names, want, monkeypatch):
    "One image makes its batch fail; the others of the batch have their rows"
    image = ImagePipeline.image
    def broken(self, file, *args, **kwargs):
        if str(file).endswith('005.jpg'): raise KeyError('a bug')
        return image(self, file, *args, **kwargs)
    monkeypatch.setattr(ImagePipeline, 'image', broken)
    worker = clusters._Worker(str(home/'one'), os.getcwd(), None, 'eager', 16, 1)
    got = worker(pa.table(dict(row=range(20), name=[os.fsencode(n) for n in names[:20]]))).to_pandas()
    assert got.reason[5]=="KeyError: 'a bug'" and got.predicted[5]=='' and got.iloc[5][load_predictor(home/'one').vocab].isna().all()
    rest = [i for i in range(20) if i!=5]
    check_same(got.iloc[rest].assign(row=range(19)), want.iloc[rest].reset_index(drop=True))

@pytest.mark.parametrize('more,says', [('--ray local', '--ray is for --out'), ('--ray local --out {tmp}/x.csv', 'folder of Parquet'),
    ('--ray local --out {tmp}', 'exists'), ('--ray local --out {tmp}/x --engine warp', 'unknown engine'), ('--ray local --out {tmp}/x --top-k 0', 'top_k')])
def test_refused(home, tmp_path, monkeypatch, capsys, more, says):
    code,_,err = run(monkeypatch, capsys, f"ads_predict {home/'new'} --predictor {home/'one'} {more.format(tmp=tmp_path)}")
    assert code==2 and says in err and err.count('\n')==1 and not list(tmp_path.iterdir())

def test_ray_is_missing(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'ray.data', None)
    code,_,err = run(monkeypatch, capsys, f"ads_predict {home/'new'} --predictor {home/'one'} --ray local --out {tmp_path/'x'}")
    assert code==2 and 'ads_sentiment[distributed]' in err and err.count('\n')==1 and not list(tmp_path.iterdir())

# --- with Ray --------------------------------------------------------------------------------------------------------

def test_local(home, want, tmp_path, monkeypatch, capsys):
    "The command, on processes of this machine, from a table of relative names"
    monkeypatch.chdir(home/'new')
    Path('few.csv').write_text('file\n' + ''.join(f'{k:03}.jpg\n' for k in range(10)) + 'gone.jpg\n')
    code,out,err = run(monkeypatch, capsys, f"ads_predict few.csv --predictor ../one --ray local --engine eager --out {tmp_path/'x.parquet'}")
    Path('few.csv').unlink()
    got = pd.read_parquet(tmp_path/'x.parquet').sort_values('row', ignore_index=True)
    assert code==0 and f"8 predicted, {(want.predicted[1:9]=='').sum()} of them without a label, 3 skipped; {tmp_path/'x.parquet'}" in out
    assert list(got.file[:2])==['000.jpg', '001.jpg'] and got.file[10]=='gone.jpg' and got.reason[10]
    check_same(got[:10].assign(file=want.file[:10]), want[:10])
    assert not parts_folder(tmp_path/'x.parquet').exists()

@pytest.mark.slow
def test_words(tmp_path_factory, tmp_path):
    "A model that reads gives the same rows"
    home = saved(tmp_path_factory.mktemp('reads'), 40, Recipe(words=True), words=True)
    few = list_images(home/'ads')[:12]
    score_images(load_predictor(home/'one'), few, tmp_path/'want.parquet', engine='eager')
    clusters.score_on_ray(home/'one', few, tmp_path/'got', 'local', engine='eager', part=4)
    check_same(pd.read_parquet(tmp_path/'got'), pd.read_parquet(tmp_path/'want.parquet'))

@pytest.fixture(scope='module')
def cluster():
    "Two machines of one core each, and a head that computes nothing"
    clusters._load_ray()
    from ray.cluster_utils import Cluster
    memory = dict(object_store_memory=2**27)
    cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=0, include_dashboard=False, **memory))
    cluster.machines = [cluster.add_node(num_cpus=1, **memory) for _ in range(2)]
    yield cluster
    cluster.shutdown()

child = """
import json, sys
from ads_sentiment.training.clusters import score_on_ray
from ads_sentiment.training.scoring import list_images
print(json.dumps(score_on_ray(sys.argv[1], list_images(sys.argv[2]), sys.argv[3], sys.argv[4], engine='eager', part=6)))
"""

def start(cluster, home, out):
    "A driver in a process of its own, which has written the first part"
    p = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', child, home/'one', home/'new', out, cluster.address], stdout=subprocess.PIPE, text=True)
    while p.poll() is None and not committed(out): time.sleep(.05)
    return p

def committed(out): return [p for p in (parts_folder(out)/'checkpoint').glob('*.parquet') if not p.stem.endswith('.pending')]

def working(cluster):
    "A machine on which a process holds a predictor"
    parents = {p.info['ppid'] for p in psutil.process_iter(['ppid', 'cmdline']) if 'ray::MapWorker' in ' '.join(p.info['cmdline'] or [])}
    return next(m for m in cluster.machines if m.all_processes['raylet'][0].process.pid in parents)

def result(p): return json.loads(p.communicate(timeout=500)[0].splitlines()[-1])

@pytest.mark.slow
def test_driver_killed(cluster, home, want, tmp_path):
    "kill -9 of the driver, and the same call again"
    out = tmp_path/'x'
    p = start(cluster, home, out)
    p.send_signal(signal.SIGKILL)
    p.wait()
    kept = pd.concat(pd.read_parquet(p) for p in committed(out))
    assert 0 < len(kept) < 90 and not out.exists()
    res = result(start(cluster, home, out))
    assert res['images']==90 and res['skipped']==10 and 0 < res['computed'] <= 90-len(kept)
    check_same(pd.read_parquet(out), want)

@pytest.mark.slow
def test_machine_killed(cluster, home, want, tmp_path):
    "kill -9 of all processes of a machine; the other one does the rest"
    out = tmp_path/'x'
    p = start(cluster, home, out)
    assert p.poll() is None
    cluster.remove_node(working(cluster), allow_graceful=False)
    res = result(p)
    assert (res['images'], res['computed'], res['skipped'])==(90, 90, 10)
    check_same(pd.read_parquet(out), want)

def test_no_cluster(home, names, tmp_path):
    for address in ('127.0.0.1:1', 'a b'):
        with pytest.raises(AdsError, match='Ray cluster'): clusters.score_on_ray(home/'one', names, tmp_path/'x', address)
    assert not list(tmp_path.iterdir())
