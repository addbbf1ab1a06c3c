"""Do Grad-CAM's maps show what a model goes by? Every measure of `ads_sentiment.faithfulness`, for each backbone.

`measure_maps.py demo` trains the tuned recipe on the demo ads and judges maps of rightly predicted labels of the test part against the boxes of the cues;
`measure_maps.py posters` does without boxes on the film posters that ADS_POSTERS names. A backbone, or several, may follow: only their rows are replaced."""
import sys, time
import pandas as pd
from bench import conditions, here, poster_csv
from ads_sentiment.backbones import backbones
from ads_sentiment.core import AdsError, write_csv
from ads_sentiment.datasets import csv_ads, demo_ads
from ads_sentiment.faithfulness import correct_pairs, cue_boxes, faithfulness_table, named_layers, sanity_table
from ads_sentiment.learner import recipe_learner
from ads_sentiment.metrics import macro_f1
from ads_sentiment.preprocess import prepare_images

first = 'efficientnet_lite0'
others = ['hirescam', 'gradcam++', 'layercam', 'eigencam']

def judged(learn, pairs, curves, whole):
    "All tables of one learner as one; `whole`: also other methods, and each stage of the body"
    body,some = learn.model[0],pairs[:curves] # `pairs` stand in random order
    last = {'last': named_layers(learn)['last']}
    yield faithfulness_table(learn, pairs, n_curves=curves)
    yield sanity_table(learn, pairs[:100 if whole else 40])
    if not whole: return
    yield faithfulness_table(learn, pairs, methods=others, layers=last, baselines=False)
    yield faithfulness_table(learn, pairs, layers={f'stage {i}': body.get_submodule(t) for i,t in enumerate(body.taps, 1)}, methods=['gradcam'], baselines=False)

def measure(mode, name):
    "Rows of one backbone"
    start,whole = time.perf_counter(),name==first
    ads = demo_ads() if mode=='demo' else csv_ads(poster_csv())
    ready,_ = prepare_images(ads)
    learn = recipe_learner(ready, name).fit_head()
    p,y = learn.part_preds('test')
    pairs = correct_pairs(learn, cue_boxes(ads) if mode=='demo' else None, n=None if whole and mode=='demo' else 60)
    table = pd.concat(judged(learn, pairs, (48 if whole else 16) if mode=='demo' else 60, whole and mode=='demo'))
    f1 = macro_f1(p, y, learn.thresholds())
    return table.assign(backbone=name, weights=learn.weights_used, size=learn.dls.how['size'], data='demo ads' if mode=='demo' else 'film posters', macro_f1=f1,
                        test_positives=int(y.sum()), seconds=time.perf_counter()-start, **conditions())

def main(mode='demo', *names):
    if mode not in ('demo', 'posters'): raise AdsError(f'{mode!r}: expected demo or posters')
    path = here/f'maps-{mode}.csv'
    for name in names or (backbones if mode=='demo' else [first]):
        new = measure(mode, name)
        old = pd.read_csv(path).query('backbone!=@name') if path.exists() else None
        table = pd.concat([old, new])
        write_csv(table.sort_values('backbone', key=lambda b: b.map(list(backbones).index), kind='stable'), path)
        print(f'{name}: {len(new)} rows, {new.seconds.iloc[0]:.0f} s -> {path.name}', flush=True)

if __name__=='__main__': main(*sys.argv[1:])
