"Features in shares: processes side by side lose no row, compute what the study looks up, and leave its scores as they are."
import os, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest
from ads_sentiment.core import read_json
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.models import features
from ads_sentiment.models.store import FeatureStore
from ads_sentiment.recipes import get_recipe
from ads_sentiment.study.study import run_backbone
from ads_sentiment.training.request import RunSettings, prepare_run

pytestmark = pytest.mark.filterwarnings('ignore')
bin = Path(sys.executable).parent
flags = dict(backbones='efficientnet_lite0', size='64', engine='eager')

def start(ads, cache, shard):
    "Start a share in a process of its own"
    words = [w for k,v in flags.items() for w in (f'--{k}', v)]
    return subprocess.Popen([bin/'ads_features', '--data', ads, *words, '--shard', shard], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'ADS_SENTIMENT_CACHE': str(cache)})

def finish(process):
    said = process.communicate(timeout=300)[0]
    assert process.returncode==0, said
    return said

def rows(cache):
    "Key -> features, of the one store in a cache"
    [about] = (cache/'features').glob('*/store.json')
    store = FeatureStore(about.parent, read_json(about)['width'])
    assert store.n==len(store) # no row twice
    return dict(zip(store.at, store.rows(store.at)))

def scores(source, cache, out, monkeypatch):
    "The row of results.csv of a study, its times and texts left out"
    monkeypatch.setenv('ADS_SENTIMENT_CACHE', str(cache))
    features._opened.cache_clear() # another store has been at this place
    settings = RunSettings(size=int(flags['size']), engine=flags['engine'])
    row = run_backbone(flags['backbones'], prepare_run(source, settings).splits, out, get_recipe('tuned'), settings)
    return pd.Series({k: v for k,v in row.items() if isinstance(v, (int, float)) and 'seconds' not in k}, dtype=float)

def test_shares_at_once(tmp_path, monkeypatch):
    ads,cache = tmp_path/'ads',tmp_path/'cache'
    source = demo_ads(ads, n=60, seed=3)
    whole = scores(source, cache, tmp_path/'whole', monkeypatch)
    cache.rename(tmp_path/'cache of the whole')
    said = [finish(p) for p in [start(ads, cache, s) for s in ('1/2', '2/2', '1/2')]] # one share in two processes
    assert 'share 1 of 2' in said[0] and 'share 2 of 2' in said[1]
    ours,want = rows(cache),rows(tmp_path/'cache of the whole')
    assert set(ours)==set(want)
    for k in want: np.testing.assert_allclose(ours[k], want[k], rtol=0, atol=1e-5)
    divided = scores(source, cache, tmp_path/'divided', monkeypatch)
    assert set(rows(cache))==set(want) # the study found all it asked for
    pd.testing.assert_series_equal(divided, whole, rtol=0, atol=1e-4)
    assert {'macro_f1', 'mean_ap', 'ece', 'macro_f1_low'} <= set(whole.index)
