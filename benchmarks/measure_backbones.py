"""Which backbone is best? The tuned recipe on each backbone whose ImageNet weights are there, and on one with random weights.

`measure_backbones.py demo` takes the demo ads, `measure_backbones.py posters` the film posters that ADS_POSTERS names: five stratified splits,
so that each image is in one test set. Differences are from the first backbone, paired by test image. `measure_backbones.py speed` measures how
many images a second each body takes, in turn, with weights of random numbers, in the engine OpenVINO in 32 bits; pages read the ratio."""
import sys
import pandas as pd, torch
from torch import nn
from bench import alternate, compared, conditions, here, named_ads, tested
from ads_sentiment.core import write_csv
from ads_sentiment.data.images import prepare_images
from ads_sentiment.models.backbones import FrozenBody, backbones, get_backbone
from ads_sentiment.models.engines import Engine
from ads_sentiment.models.weights import has_weights, load_body

first = 'efficientnet_lite0'

def scores(mode):
    "Rows of all backbones on one data set"
    ads,_ = prepare_images(named_ads(mode))
    rows,base = [],None
    others = [b for b in backbones if b!=first and has_weights(b)]
    for name,weights in [(first, 'auto'), *((b, 'auto') for b in others), (first, 'random')]:
        trials,facts = tested(ads, [42], name, weights=weights)
        base = base or trials
        rows.append(dict(backbone=name, weights=facts[0]['weights'], size=facts[0]['image_size'], **compared(trials, base),
            data=ads.name, n_images=len(ads), n_labels=len(ads.vocab), n_splits=5, n_seeds=1, recipe='tuned', **conditions()))
        print(f"{name} ({weights}): macro-F1 {rows[-1]['macro_f1']:.3f}, mAP {rows[-1]['mean_ap']:.3f}", flush=True)
    return rows

def speeds(bs=16):
    "Images per second of each body at its own input size"
    jobs = {}
    for name in backbones:
        b = get_backbone(name)
        model = nn.Sequential(FrozenBody(load_body(b, 'random')[0], b.stages), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        x = torch.randn(bs, 3, b.size, b.size)
        engine = Engine(model, 'openvino', tuple(x.shape))
        jobs[name] = lambda engine=engine, x=x: engine(x)
    seconds = alternate(jobs)
    return [dict(backbone=k, size=get_backbone(k).size, batch=bs, engine='openvino', images_per_second=bs/s, ratio=seconds[first]/s,
        **conditions()) for k,s in seconds.items()]

def main(mode='demo'):
    write_csv(pd.DataFrame(speeds() if mode=='speed' else scores(mode)), here/f'backbones-{mode}.csv')

if __name__=='__main__': main(*sys.argv[1:])
