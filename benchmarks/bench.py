"""What all benchmarks share: alternate ours and the peers in one process, medians, and a CSV named by its conditions."""
import os, platform, re, statistics, sys, time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here.parent)) # the library of this checkout

def poster_csv():
    "The CSV of real images that ADS_POSTERS names; it may not exist"
    return Path(os.environ.get('ADS_POSTERS') or 'nowhere')/'posters.csv'

def posters(n=1200):
    "Paths of `n` real images from `poster_csv`, else of demo ads, repeated if there are too few; and what they are"
    csv = poster_csv()
    if csv.exists():
        from ads_sentiment.data.datasets import csv_ads
        paths = list(csv_ads(csv).paths)
        return [paths[i % len(paths)] for i in range(n)], 'film posters'
    from ads_sentiment.data.datasets import demo_ads
    paths = list(demo_ads(n=2000).paths)
    return [paths[i % len(paths)] for i in range(n)], 'demo ads'

def poster_ads(n):
    "An `AdsData` of `n` images as in `posters`, the last two for validation and test, under one made-up label; and what they are"
    import pandas as pd
    from ads_sentiment.data.datasets import AdsData
    paths,source = posters(n)
    names = [str(i) for i in range(n)]
    split = pd.Series(['train']*(n-2) + ['valid', 'test'], index=names)
    return AdsData('posters', targs=pd.DataFrame({'any': 1}, index=names), split=split, paths=pd.Series(paths, index=names)),source

def image_batches(dls, rows, bs, ahead):
    "Normalized training images in batches, read by threads as for features"
    from ads_sentiment.data.images import pixels
    from ads_sentiment.data.loaders import plain_dl
    from ads_sentiment.models.features import read_batches
    paths,pipeline = list(plain_dl(dls).items['path']),dls.pipeline
    for x in read_batches(lambda i: pixels(pipeline.image(paths[i], prepared=True)), rows, bs, ahead): yield pipeline.normalize(x)

def named_ads(mode, **kwargs):
    "'demo' (with arguments of `demo_ads`) or 'posters' as an `AdsData`"
    from ads_sentiment.core import choose
    from ads_sentiment.data.datasets import csv_ads, demo_ads
    return demo_ads(**kwargs) if choose(mode, ('demo', 'posters'), 'data')=='demo' else csv_ads(poster_csv())

def two_predictors(folder):
    "Train on posters, else on demo ads, and save the predictor as `filtered`, and as `plain` without the filter; the data set"
    from dataclasses import replace
    from ads_sentiment.data.images import prepare_images
    from ads_sentiment.data.splits import resplit
    from ads_sentiment.training.learner import recipe_learner
    from ads_sentiment.training.predictor import save_predictor
    source = named_ads('posters') if poster_csv().exists() else named_ads('demo', n=600)
    learn = recipe_learner(resplit(prepare_images(source)[0], 'stratified'))
    learn.fit_head(say=None)
    save_predictor(learn, folder/'filtered')
    learn.dls.pipeline = replace(learn.dls.pipeline, filter=None)
    save_predictor(learn, folder/'plain')
    return source

def tested(ads, seeds, backbone='efficientnet_lite0', recipe=None, **kwargs):
    "Train a recipe, by default `tuned`, on five stratified splits of prepared images, with each of `seeds`; (trials, facts)"
    from ads_sentiment.data.splits import resplit
    from ads_sentiment.recipes import tuned
    from ads_sentiment.training.trials import TrialSpec, run_trial
    done = []
    for k in range(5):
        split = resplit(ads, 'stratified', fold=k)
        done += [run_trial(TrialSpec(backbone, recipe or tuned, seed, k, **kwargs), split)[1:] for seed in seeds]
    return [t for t,_ in done],[f for _,f in done]

def compared(trials, base):
    "Mean scores of trials with intervals, and their paired differences from `base`, trials on the same images"
    from ads_sentiment.evaluation.bootstrap import mean_ci, paired_test
    ci,pair,res = mean_ci(trials),paired_test(trials, base),{}
    for m in ('macro_f1', 'mean_ap'):
        res |= {m: ci['mean'][m], f'{m}_low': ci.low[m], f'{m}_high': ci.high[m], f'{m}_diff': pair['diff'][m],
                f'{m}_diff_low': pair.diff_low[m], f'{m}_diff_high': pair.diff_high[m]}
    return res

def installed(package):
    try: return version(package)
    except PackageNotFoundError: return ''

def conditions()->dict:
    "Columns that every row has"
    from ads_sentiment.models.engines import device_name
    return dict(device=device_name(), cores=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(), python=platform.python_version(),
                **{p: installed(p) for p in ('torch', 'torchvision', 'opencv-python', 'openvino', 'onnxruntime')})

def alternate(jobs, n=5, warm=1):
    "Run each of `jobs` (name -> function) in turn, `n` times after `warm` unmeasured rounds; name -> median seconds"
    times = {k: [] for k in jobs}
    for i in range(n+warm):
        for k,f in jobs.items():
            time.sleep(.2) # threads of the job before may still be spinning
            start = time.perf_counter()
            f()
            if i>=warm: times[k].append(time.perf_counter()-start)
        print(f"  round {i+1}/{n+warm}: " + ', '.join(f'{k} {v[-1]:.2f} s' for k,v in times.items() if v), flush=True)
    return {k: statistics.median(v) for k,v in times.items()}

def write(name, rows, precision='float32'):
    "Write rows with their conditions to `NAME-DEVICE-CORES-PRECISION-torchVERSION.csv`"
    import pandas as pd
    from ads_sentiment.core import write_csv
    c = conditions()
    slug = re.sub(r'[^a-z0-9]+', '-', c['device'].lower()).strip('-')
    path = here/f"{name}-{slug}-{c['cores']}-cores-{precision}-torch{c['torch'].split('+')[0]}.csv"
    for old in here.glob(f'{name}-{slug}-*.csv'): old.unlink()
    write_csv(pd.DataFrame([{**r, **c} for r in rows]), path)
    print(f'{path.relative_to(here.parent)}', flush=True)
    return path
