"""What others get from a predictor: `measure_sharing.py onnx` compares ONNX Runtime with PyTorch for many bodies with random weights, `neighbours` plants
near-duplicates and mixes posters with demo ads, `load` times opening a folder. Each writes `benchmarks/sharing-MODE.csv`."""
import os, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, pandas as pd, torch
from PIL import Image, ImageEnhance
from sklearn.metrics import roc_auc_score
from ads_sentiment.core import write_csv
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import ImagePipeline, prepare_images
from ads_sentiment.models.backbones import backbones, get_backbone
from ads_sentiment.models.heads import build_model
from ads_sentiment.recipes import tuned
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.training.predictor import Predictor, load_predictor, save_predictor
from ads_sentiment.training.sharing import export_onnx

home = Path(__file__).parent
bodies = [*backbones, 'efficientnet_lite0+mobilenet_v3_large', 'timm/convnext_atto', 'timm/vit_tiny_patch16_224']

def untrained(name):
    "A predictor with random weights and BatchNorm statistics of the kind of noise that it is compared on"
    b = get_backbone(name)
    pipeline = ImagePipeline(size=b.size, mean=b.mean, std=b.std)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, b.size, b.size), dtype=np.uint8)
    net,used = build_model(b, tuned, 20, None, 'random', 1, [pipeline.normalize(torch.from_numpy(pixels))])
    return Predictor(net.eval(), [f'label {i}' for i in range(20)], np.full(20, .5), pipeline, b.name, used, tuned)

def onnx_row(name):
    "Largest difference of probabilities on four images of noise"
    import onnxruntime
    p,start = untrained(name),time.perf_counter()
    with tempfile.TemporaryDirectory() as d:
        path = export_onnx(p, d)
        seconds,session = time.perf_counter()-start,onnxruntime.InferenceSession(path)
        x = np.random.default_rng(1).integers(0, 256, (4, 3, p.pipeline.side, p.pipeline.side), dtype=np.uint8)
        got,want = session.run(None, dict(pixels=x))[0],p.probabilities(p.pipeline.normalize(torch.from_numpy(x)))
        row = dict(backbone=name, size=p.pipeline.side, largest_difference=np.abs(got-want).max(), spread=np.ptp(want, axis=0).max(), mb=path.stat().st_size/1e6, export_seconds=seconds)
    print(row, flush=True)
    return row

def altered(path, k):
    "A near-duplicate: smaller, cropped, brighter, or with a caption's bar"
    im = Image.open(path).convert('RGB')
    w,h = im.size
    if k==0: return im.resize((w//2, h//2))
    if k==1: return im.crop((w//20, h//20, w-w//20, h-h//20))
    if k==2: return ImageEnhance.Brightness(im).enhance(1.2)
    im.paste((255, 255, 255), (0, h-h//12, w, h))
    return im

def trained(folder, n=400):
    "(source, predictor) of demo ads"
    source = demo_ads(Path(folder)/'ads', n=n, seed=1)
    learn = recipe_learner(prepare_images(source)[0], engine='eager')
    learn.fit_head(say=None)
    return source,load_predictor(save_predictor(learn, Path(folder)/'model'))

def neighbour_rows(n=100):
    "Share of near-duplicates whose original is among the five nearest; AUROC of `unlike`"
    with tempfile.TemporaryDirectory() as d:
        source,p = trained(d)
        names,kinds = source.targs.index[source.split=='train'][:n],['smaller', 'cropped', 'brighter', 'caption']
        found = p.similar([altered(source.paths[f], i%4) for i,f in enumerate(names)]).groupby('file', sort=False).neighbour.apply(list)
        hit = np.array([f in near for f,near in zip(names, found)])
        for i,kind in enumerate(kinds): yield dict(measure='among the five nearest', images=kind, value=hit[i::4].mean(), n=len(hit[i::4]))
        yield dict(measure='among the five nearest', images='all', value=hit.mean(), n=len(hit))
        posters = sorted(Path(os.environ['ADS_POSTERS'], 'images').iterdir())
        posters = [posters[i] for i in np.random.default_rng(0).choice(len(posters), n, replace=False)]
        own,other = (p.unlike(list(f)).unlike for f in (source.paths[source.split=='test'][:n], posters))
        yield dict(measure='AUROC of unlike', images='posters against demo test ads', value=roc_auc_score([0]*len(own)+[1]*len(other), [*own, *other]), n=len(own)+len(other))
        yield dict(measure='median of unlike', images='demo test ads', value=own.median(), n=len(own))
        yield dict(measure='median of unlike', images='posters', value=other.median(), n=len(other))

code = """import sys, time
import torch
start = time.perf_counter()
from ads_sentiment.training.predictor import load_predictor
imported = time.perf_counter()
load_predictor(sys.argv[1])
print(imported-start, time.perf_counter()-imported)"""

def load_rows(n=5):
    "Seconds of imports beyond torch, and of opening a folder; the best and the median of `n` processes"
    with tempfile.TemporaryDirectory() as d:
        trained(d, 60)
        times = [list(map(float, subprocess.run([sys.executable, '-W', 'ignore', '-c', code, f'{d}/model'], capture_output=True, text=True, check=True).stdout.split())) for _ in range(n)]
    for what,t in zip(('imports beyond torch', 'load_predictor'), zip(*times)): yield dict(measure=what, best_seconds=min(t), median_seconds=float(np.median(t)), n=n)

if __name__=='__main__':
    mode = sys.argv[1]
    rows = dict(onnx=lambda: map(onnx_row, bodies), neighbours=neighbour_rows, load=load_rows)[mode]
    table = pd.DataFrame(list(rows()))
    write_csv(table, home/f'sharing-{mode}.csv')
    print(table.to_string())
