"""Features by every engine and by what torchvision and timm offer, in turn, on the same images: speed, exactness, share of the machine's peak; and from files to features."""
import sys
import pandas as pd, timm, torch
from bench import alternate, image_batches, poster_ads, write
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor
from ads_sentiment.models.backbones import FrozenBody, backbone_table, estimate_bn, get_backbone
from ads_sentiment.models.weights import load_body
from ads_sentiment.core import AdsError, ads_device
from ads_sentiment.data.loaders import ads_dataloaders
from ads_sentiment.models.engines import Engine, choose_engine, feature_error, many, tolerance
from ads_sentiment.models.features import batch_size, read_ahead

names = sys.argv[1:] or ['resnet50', 'mobilenet_v3_large', 'efficientnet_b3', 'efficientnet_lite0']
(ads,source),bs = poster_ads(96),batch_size()
in_timm = dict(resnet50='resnet50', mobilenet_v3_large='mobilenetv3_large_100', efficientnet_b3='efficientnet_b3', efficientnet_lite0='tf_efficientnet_lite0')
peers = ['eager', 'eager-bf16', 'compiled', 'compiled-bf16', 'onnxruntime', 'openvino', 'openvino-bf16']

def peak(dtype): # Billions of multiply-adds a second in a large matrix product, the best of ten
    a,best = torch.randn(2048, 2048, dtype=dtype, device=ads_device()),1e9
    for _ in range(10): best = min(best, alternate({'': lambda: (a@a).sum().item()}, 1, 0)[''])
    return 2048**3/best/1e9

def plain(net): # PyTorch's default: NCHW, float32, batch as given
    def run(x):
        with torch.no_grad(): return net(x.contiguous()).flatten(1)
    return run

def libraries(b, body): # How torchvision and timm give features: the first with the weights of the body, timm's network of the same design with its own
    theirs = timm.create_model(in_timm[b.name]).eval()
    jobs = {'timm forward_features': plain(lambda x: theirs.forward_features(x).mean((2,3)))}
    if b.source=='torchvision':
        net = b.builder().eval()
        net.load_state_dict(body.state_dict(), strict=False) # the layers are called the same up to the cut
        run = create_feature_extractor(net, {'avgpool': 'features'})
        jobs['torchvision create_feature_extractor'] = plain(lambda x: run(x)['features'])
    return jobs

def one(name):
    b = get_backbone(name)
    body,weights = load_body(b, 'auto')
    dls = ads_dataloaders(ads, size=b.size, stats=(b.mean, b.std))
    x,*rest = image_batches(dls, range(64), bs, 0)
    if weights.startswith('random'): estimate_bn(body, rest)
    body = FrozenBody(body).to(ads_device())
    model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    jobs,errors = {'PyTorch default': plain(model)},{'PyTorch default': 0.}
    want = jobs['PyTorch default'](x)
    for e in peers:
        try: jobs[e] = Engine(model, e, x.shape)
        except AdsError as err: print(f'{name}: {err}'); continue
        errors[e] = feature_error(jobs[e](x), want.cpu())
    jobs |= libraries(b, body)
    if 'torchvision create_feature_extractor' in jobs: errors['torchvision create_feature_extractor'] = feature_error(jobs['torchvision create_feature_extractor'](x).cpu(), want.cpu())
    t = alternate({k: (lambda f=f: f(x)) for k,f in jobs.items()}, 5)
    chosen = choose_engine(model, x, f'{name} ({weights}), benchmark', many)
    gflops,top = backbone_table([b]).GFLOPs[0],{'bf16': peak(torch.bfloat16), '': peak(torch.float32)}
    rows = [dict(backbone=name, weights=weights, size=b.size, batch=len(x), engine=k, images_per_second=len(x)/s, ratio=t['PyTorch default']/s, error=errors.get(k),
                 within_tolerance=k in errors and errors[k] <= tolerance, chosen=k==chosen, share_of_peak=gflops*len(x)/s/top['bf16' if k.endswith('bf16') else ''], source=source) for k,s in t.items()]
    run,n = jobs[chosen],96-16
    def whole():
        for xb in image_batches(dls, range(n), bs, read_ahead(chosen)): run(xb)
    def read():
        for _ in image_batches(dls, range(n), bs, 2): pass
    e = alternate({'read': read, 'whole': whole}, 5)
    body_s = t[chosen]/len(x)*n
    rows.append(dict(backbone=name, weights=weights, size=b.size, batch=len(x), engine=f'{chosen}, from files', images_per_second=n/e['whole'], ratio=(body_s+e['read'])/e['whole'], source=source))
    return rows

rows = [r for name in names for r in one(name)]
write('extraction', rows)
print(pd.DataFrame(rows)[['backbone', 'engine', 'images_per_second', 'ratio', 'error', 'chosen', 'share_of_peak']].round(3).to_string())
