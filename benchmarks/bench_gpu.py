"""What a GPU does: features of the three backbones of the reference study by each engine and from files, and the study's own setting, new views in every epoch
(recipe `reference` with passes=0, batches of 32), for 100 epochs or as many as the first argument says. Without CUDA it says so and ends with exit code 0."""
import sys, tempfile, time
from functools import partial
import pandas as pd, torch
from bench import alternate, image_batches, poster_ads, poster_csv, write
from torch import nn
from ads_sentiment.core import ads_device
from ads_sentiment.data.datasets import csv_ads, demo_ads
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.loaders import ads_dataloaders
from ads_sentiment.evaluation.bootstrap import mean_ci
from ads_sentiment.models.backbones import FrozenBody, estimate_bn, get_backbone
from ads_sentiment.models.engines import Engine, feature_error
from ads_sentiment.models.features import batch_size, read_ahead
from ads_sentiment.models.weights import load_body
from ads_sentiment.recipes import get_recipe
from ads_sentiment.training.trials import TrialSpec, run_trial

names,engines = ('resnet50', 'mobilenet_v3_large', 'efficientnet_b3'),('eager', 'eager-fp16', 'compiled-fp16')

def waited(f, *args):
    "Call `f`, and wait for the GPU"
    f(*args)
    torch.cuda.synchronize()

def gigabytes():
    "Peak of memory since the last call"
    peak = torch.cuda.max_memory_allocated()/2**30
    torch.cuda.reset_peak_memory_stats()
    return peak

def extraction(name, ads, source, n=512):
    "Images per second of each engine on one batch, and of the fastest from prepared files"
    b,bs = get_backbone(name),batch_size()
    body,weights = load_body(b, 'auto')
    dls = ads_dataloaders(ads, size=b.size, stats=(b.mean, b.std))
    x,more = list(image_batches(dls, range(2*bs), bs, 0))
    body = body.to(ads_device(), memory_format=torch.channels_last)
    if weights.startswith('random'): estimate_bn(body, [more])
    model,rows,common = nn.Sequential(FrozenBody(body), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(),[],dict(backbone=name, weights=weights, size=b.size, source=source)
    want = Engine(model, 'eager', x.shape)(x)
    for engine in engines:
        run = Engine(model, engine, x.shape)
        gigabytes()
        seconds = alternate({engine: partial(waited, run, x)}, 5, 2)[engine]
        rows.append(dict(common, what=f'{engine}, one batch', batch=run.fits, images_per_second=len(x)/seconds, error=feature_error(run(x), want), gigabytes=gigabytes()))
    best = max(rows, key=lambda r: r['images_per_second'])['what'].split(',')[0]
    run = Engine(model, best, x.shape)
    def whole():
        for xb in image_batches(dls, range(n), bs, read_ahead(best)): run(xb)
    seconds = alternate(dict(files=lambda: waited(whole)), 3)['files']
    return [*rows, dict(common, what=f'{best}, from files', batch=run.fits, images_per_second=n/seconds, gigabytes=gigabytes())]

def study(name, ads, source, epochs):
    "The setting of the reference study: augmented views and BatchNorm in training mode in every epoch"
    gigabytes()
    start = time.perf_counter()
    _,trial,facts = run_trial(TrialSpec(name, get_recipe('reference', passes=0, epochs=epochs)), ads)
    seconds,n = time.perf_counter()-start,int((ads.split!='test').sum())
    return dict(backbone=name, weights=facts['weights'], size=facts['image_size'], source=source, what='study, new views in every epoch', batch=32, epochs=epochs,
        images_per_second=n*epochs/seconds, seconds=seconds, macro_f1=mean_ci([trial]).loc['macro_f1', 'mean'], gigabytes=gigabytes())

def main():
    if not torch.cuda.is_available(): return print('bench_gpu: torch finds no CUDA device; nothing was measured')
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    raw,source = poster_ads(1024)
    prepared,_ = prepare_images(raw)
    ads,_ = prepare_images(csv_ads(poster_csv()) if poster_csv().exists() else demo_ads(n=1200), tempfile.mkdtemp(), reencode=True)
    rows = [r for name in names for r in [*extraction(name, prepared, source), study(name, ads, source, epochs)]]
    write('gpu', rows, 'mixed')
    print(pd.DataFrame(rows).round(3).to_string())

if __name__=='__main__': main()
