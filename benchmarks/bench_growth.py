"""Time and memory against the number of images: features from files, writing and reading the store, and training a head on it."""
import json, math, re, statistics, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, torch
from bench import image_batches, poster_ads, posters, write
from torch import nn
from ads_sentiment.models.backbones import FrozenBody, get_backbone
from ads_sentiment.models.weights import load_body
from ads_sentiment.core import ads_device
from ads_sentiment.data.loaders import ads_dataloaders
from ads_sentiment.models.engines import Engine
from ads_sentiment.models.features import batch_size, read_ahead
from ads_sentiment.models.heads import FeatureScale, choose_l2, solve_head
from ads_sentiment.models.store import FeatureStore

backbone,width,labels,l2 = 'mobilenet_v3_large',2048,18,.01
peak = lambda: int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])/1024 # MB; unlike ru_maxrss it starts anew with a process

def keys(n): return [f'{i:016x}' for i in range(n)]

def rows(n): # Rows that repeat with a little noise, as features of near-duplicates do, written a batch at a time
    rng = np.random.default_rng(42)
    basis = rng.standard_normal((60, width)).astype(np.float32)
    base = np.abs(rng.standard_normal((1200, 60)).astype(np.float32)@basis/8)
    for i in range(0, n, 32): yield base[np.arange(i, min(i+32, n))%1200] + .1*rng.random((min(i+32, n)-i, width), dtype=np.float32)

def write_store(n, folder): # Seconds
    start,store,names = time.perf_counter(),FeatureStore(folder, width),keys(n)
    for i,r in zip(range(0, n, 32), rows(n)): store.append(names[i:i+32], r)
    return time.perf_counter()-start

def train(n, folder): # Seconds of a cross-validated head at one strength of regularization, from the store
    start,names = time.perf_counter(),keys(n)
    x = torch.from_numpy(FeatureStore(folder, width).rows(names))
    x = FeatureScale(width, True).fit(x).scale_(x)
    y = (x[:,:labels] + torch.randn(n, labels, generator=torch.Generator().manual_seed(42)) > 1.5).float()
    choose_l2(x, y, y.numpy().astype(int), [torch.arange(n)%5==k for k in range(5)], [l2])
    next(solve_head(x, y, [l2]))
    return time.perf_counter()-start

def in_own_process(job, n, folder): # Seconds, and the peak of memory
    res = json.loads(subprocess.run([sys.executable, __file__, job, str(n), str(folder)], check=True, capture_output=True, text=True).stdout)
    return res['seconds'],res['peak_mb']

def from_files(n): # Seconds from files to features
    b = get_backbone(backbone)
    dls = ads_dataloaders(poster_ads(n)[0], size=b.size, stats=(b.mean, b.std))
    model = nn.Sequential(FrozenBody(load_body(b, 'random')[0]).to(ads_device()), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    run = Engine(model, 'eager', (batch_size(), 3, b.size, b.size))
    run(next(image_batches(dls, range(batch_size()), batch_size(), 0))) # what happens once is not counted
    start = time.perf_counter()
    for x in image_batches(dls, range(n-2), batch_size(), read_ahead('eager')): run(x)
    return time.perf_counter()-start

def slope(found): # Of log seconds over log images, by least squares
    n,s = np.log(list(found)),np.log([found[k] for k in found])
    return np.polyfit(n, s, 1)[0]

def main(folder):
    res,source = [],posters(1)[1]
    from_files(1200) # all files are in the system's cache, as they are from then on
    for job,sizes in {'from files to features': (500, 1000, 2000, 4000), 'write': (500, 2000, 8000, 32000, 64832), 'train': (500, 2000, 8000, 32000, 64832)}.items():
        found = {}
        for n in sizes:
            if job=='from files to features': runs = [(from_files(n), math.nan)]
            else: runs = [in_own_process(job, n, Path(folder)/(f'{n}-{k}' if job=='write' and k else str(n))) for k in range(3 if n<=2000 else 1)]
            found[n] = statistics.median(s for s,_ in runs)
            res.append(dict(what=job, images=n, seconds=found[n], peak_mb=max(m for _,m in runs), width=width, labels=labels, backbone=backbone, source=source))
            print(f'{job} {n}: {found[n]:.2f} s, {res[-1]["peak_mb"]:.0f} MB', flush=True)
        large = {n: s for n,s in found.items() if n>=2000 or job=='from files to features'} # with fewer images than features another, smaller problem is solved
        print(f'{job}: slope {slope(large):.2f}')
    write('growth', res)

if len(sys.argv) > 1:
    seconds = dict(write=write_store, train=train)[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
    print(json.dumps(dict(seconds=seconds, peak_mb=peak())))
else:
    with tempfile.TemporaryDirectory() as folder: main(folder)
