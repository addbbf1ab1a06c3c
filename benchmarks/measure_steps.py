"""How each step of a study grows with the number of demo ads, and what the search for near-duplicates takes for as many images as the Pitt Image Ads have."""
import json, os, re, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, pandas as pd
from PIL import Image
from bench import conditions, here, posters
from ads_sentiment.core import write_csv
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.splits import duplicate_groups, near_duplicates, resplit
from ads_sentiment.evaluation.bootstrap import Trial, mean_ci
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.training.predictor import load_predictor, save_predictor
from ads_sentiment.training.scoring import score_images

def peak(): return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])/1024 # MB

def study_steps(folder, engine='openvino'):
    "Seconds of each step of a study on the demo ads in a folder, one split"
    seconds = {}
    def timed(what, f, *args, **kwargs):
        start = time.perf_counter()
        res = f(*args, **kwargs)
        seconds[what] = time.perf_counter()-start
        return res
    source = demo_ads(folder, n=int(Path(folder).name), seed=42)
    ads,_ = timed('prepare images', prepare_images, source)
    pairs = timed('search for near-duplicates', near_duplicates, ads)
    ads = timed('split', resplit, ads, 'stratified', groups=duplicate_groups(ads.targs.index, pairs))
    learn = recipe_learner(ads, 'efficientnet_lite0', engine=engine)
    timed('features', lambda: [learn.features(s) for s in ('train', 'valid', 'test')])
    fit = timed('head, calibration, thresholds', learn.fit_head, say=None)
    preds,targs = learn.split_preds('test')
    timed('scores with intervals', mean_ci, [Trial(preds, targs, fit.thresholds)])
    home = timed('save the predictor', save_predictor, learn, Path(folder)/'predictor')
    names = [str(p) for p in source.paths]
    timed('predict all images again', score_images, load_predictor(home), names, Path(folder)/'predictions.csv', engine=engine)
    return seconds

def many_pictures(n, folder, side=160):
    "Files of `n` different pictures: pieces of posters"
    paths = posters()[0]
    folder.mkdir()
    def draw(i):
        rng = np.random.default_rng(i)
        with Image.open(paths[i % len(paths)]) as im: im = im.convert('RGB')
        w,h = (int(s*rng.uniform(.3, .5)) for s in im.size)
        x,y = int(rng.integers(im.width-w)),int(rng.integers(im.height-h))
        im.crop((x, y, x+w, y+h)).resize((side, side)).save(folder/f'{i:06}.jpg', quality=85)
    with ThreadPoolExecutor() as pool: list(pool.map(draw, range(n)))
    return sorted(folder.iterdir())

def search(folder):
    "Seconds of the search among the pictures of a folder"
    files = sorted(Path(folder).iterdir())
    start = time.perf_counter()
    pairs = near_duplicates(files)
    return {'search for near-duplicates': time.perf_counter()-start, 'pairs': len(pairs)}

def in_own_process(job, folder, cache):
    env = {**os.environ, 'ADS_SENTIMENT_CACHE': str(cache), 'ADS_PROGRESS': '0'}
    p = subprocess.run([sys.executable, '-W', 'ignore', __file__, job, str(folder)], check=True, stdout=subprocess.PIPE, text=True, env=env)
    return json.loads(p.stdout.splitlines()[-1])

def main(folder, sizes=(2000, 8000), most=64832):
    rows = []
    for n in sizes:
        demo_ads(folder/str(n), n=n, seed=42)
        res = in_own_process('study_steps', folder/str(n), folder/f'cache-{n}')
        rows += [dict(source='demo ads', what=k, images=n, seconds=v) for k,v in res['seconds'].items()]
        print(n, {k: round(v, 1) for k,v in res['seconds'].items()}, flush=True)
    many_pictures(most, folder/'many')
    res = in_own_process('search', folder/'many', folder/'cache-many')
    rows.append(dict(source='pieces of posters', what='search for near-duplicates', images=most, peak_mb=res['peak_mb'], **{k: res['seconds'][k] for k in ('pairs',)},
        seconds=res['seconds']['search for near-duplicates']))
    print(rows[-1], flush=True)
    write_csv(pd.DataFrame(rows).assign(**conditions()).round(2), here/'steps.csv')

if len(sys.argv) > 1:
    seconds = dict(study_steps=study_steps, search=search)[sys.argv[1]](sys.argv[2])
    print(json.dumps(dict(seconds=seconds, peak_mb=peak())))
else:
    with tempfile.TemporaryDirectory() as folder: main(Path(folder))
