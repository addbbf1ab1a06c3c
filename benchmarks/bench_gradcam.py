"""Grad-CAM of twenty labels on a batch of eight: ours beside the package grad-cam, in turn; seconds and the peak of memory."""
import json, re, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, torch
from bench import alternate, image_batches, installed, poster_ads, write
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional as F
from ads_sentiment.models.backbones import estimate_bn, get_backbone
from ads_sentiment.models.weights import load_body
from ads_sentiment.core import ads_device
from ads_sentiment.data.loaders import ads_dataloaders
from ads_sentiment.explain.gradcam import layer_cams

batch,labels,places = 8,20,('first', 'middle', 'last')
peak = lambda: int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])/1024 # MB

def network(name, x=None): # As `ads_learner` builds it, with a head of random weights; but for `FrozenBody`, on which the package fails
    b = get_backbone(name)
    body,weights = load_body(b, 'auto')
    if weights.startswith('random') and x is not None: estimate_bn(body, [x])
    torch.manual_seed(0)
    model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(b.nf, labels))
    model = model.to(ads_device(), memory_format=torch.channels_last).eval()
    return b,weights,model,[model[0].get_submodule(l) for l in b.layers]

def images(name): # Normalized, on the device
    b = get_backbone(name)
    ads,source = poster_ads(batch+2)
    dls = ads_dataloaders(ads, size=b.size, stats=(b.mean, b.std))
    return next(image_batches(dls, range(batch), batch, 0)),source

def ours(model, x, layers, chunk=None): # Maps as the package gives them: NumPy, in the size of the images
    small = layer_cams(model, x, layers, list(range(labels)), chunk=chunk)
    return [F.interpolate(c, size=x.shape[-2:], mode='bilinear', align_corners=False).cpu().numpy() for c in small]

def package(model, x, layers, k): # An object a layer, because the package averages the layers of one; `k` labels
    model.requires_grad_(True) # without, there are no gradients for it
    maps = []
    for l in layers:
        with GradCAM(model=model, target_layers=[l]) as cam: maps.append(np.stack([cam(input_tensor=x, targets=[ClassifierOutputTarget(j)]*len(x)) for j in range(k)], 1))
    return maps

def package_in_one(model, x, layers, k): # Its parts, so that a pass serves all layers: nothing it offers, but the least it could do
    model.requires_grad_(True)
    with GradCAM(model=model, target_layers=layers) as cam:
        for j in range(k):
            targets = [ClassifierOutputTarget(j)]*len(x)
            model.zero_grad()
            sum(t(o) for t,o in zip(targets, cam.activations_and_grads(x))).backward()
            cam.compute_cam_per_layer(x, targets, False)

def speed(name, which, k, rounds): # Rows; of the package `k` labels are timed, and twenty take so many times longer
    x,source = images(name)
    b,weights,model,every = network(name, x)
    layers = [every[places.index(w)] for w in which]
    jobs = {'ours': lambda: ours(model.requires_grad_(False), x, layers), 'grad-cam': lambda: package(model, x, layers, k)}
    if len(layers)>1: jobs['grad-cam, layers in one pass'] = lambda: package_in_one(model, x, layers, k)
    print(f'{name}, {"+".join(which)}', flush=True)
    t = alternate(jobs, rounds)
    t = {j: s if j=='ours' else s*labels/k for j,s in t.items()}
    return [dict(backbone=name, weights=weights, size=b.size, batch=batch, labels=labels, layers='+'.join(which), what=j, labels_timed=labels if j=='ours' else k,
                 seconds=s, ratio=s/t['ours'], source=source) for j,s in t.items()]

def memory(name, which, chunk): # Prints MB above what one forward pass has taken before; in a process of its own
    x,_ = images(name)
    _,_,model,every = network(name)
    layers = [every[places.index(w)] for w in which.split('+')]
    with torch.no_grad(): model(x)
    before = peak()
    if chunk=='package': package(model, x, layers, 2)
    else: layer_cams(model, x, layers, list(range(labels)), chunk=int(chunk))
    print(json.dumps(dict(before=before, mb=peak()-before)))

def memories(name, which, chunks):
    for c in chunks:
        res = json.loads(subprocess.run([sys.executable, '-W', 'ignore', __file__, name, which, str(c)], check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        yield dict(backbone=name, size=get_backbone(name).size, batch=batch, labels=labels, layers=which, what='memory' if c!='package' else 'memory of grad-cam',
                   chunk=c if c!='package' else None, peak_mb=res['mb'], forward_mb=res['before'])

if len(sys.argv)==4: memory(*sys.argv[1:])
else:
    rows = [r for name,k in [('efficientnet_lite0', 20), ('mobilenet_v3_large', 20), ('resnet50', 4), ('efficientnet_b3', 4)] for r in speed(name, ['last'], k, 5)]
    rows += speed('efficientnet_lite0', places, 20, 3)
    rows += [*memories('efficientnet_lite0', 'first+middle+last', [1, 2, 4, 10, 20, 'package']), *memories('efficientnet_lite0', 'last', [1, 20])]
    for r in rows: r['grad-cam'] = installed('grad-cam')
    write('gradcam', rows)
    print(pd.DataFrame(rows)[['backbone', 'layers', 'what', 'labels_timed', 'seconds', 'ratio', 'chunk', 'peak_mb']].round(3).to_string())
