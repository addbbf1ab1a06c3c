"""Do Grad-CAM's maps show what a model goes by? Every measure of `ads_sentiment.explain.faithfulness`, for each backbone.

`measure_maps.py demo` trains the tuned recipe on the demo ads and judges maps of rightly predicted labels of the test part against the
boxes of the cues; `measure_maps.py posters` does without boxes on the film posters that ADS_POSTERS names. What to measure may follow, a backbone
or a backbone and changes to the recipe or the input size (`efficientnet_lite0:stages=last,size=384`): only these rows are replaced."""
import sys, time
import pandas as pd
from bench import conditions, here, poster_csv
from ads_sentiment.models.backbones import backbones
from ads_sentiment.core import AdsError, write_csv
from ads_sentiment.data.datasets import csv_ads, demo_ads
from ads_sentiment.explain.faithfulness import correct_pairs, faithfulness_table, named_layers, sanity_table
from ads_sentiment.explain.pointing import cue_boxes
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.evaluation.metrics import macro_f1
from ads_sentiment.data.images import prepare_images
from ads_sentiment.recipes import get_recipe, parse_changes, tuned

first = 'efficientnet_lite0'
variants = ['stages=last', 'size=384', 'stages=last,size=384'] # is it the grid, or that the head sees other maps too?
others = ['hirescam', 'gradcam++', 'layercam', 'eigencam']

def judged(learn, pairs, kind):
    "All tables of one learner. `kind`: 'whole' (also other methods and each stage of the body), 'part', 'posters' or 'variant' (the last layer)"
    body,last = learn.model[0],{'last': named_layers(learn)['last']}
    curves = dict(whole=48, part=16, posters=60, variant=0)[kind] # `pairs` stand in random order
    if kind=='variant': return [faithfulness_table(learn, pairs, layers=last)]
    tables = [faithfulness_table(learn, pairs, n_curves=curves), sanity_table(learn, pairs[:100 if kind=='whole' else 40])]
    if kind!='whole': return tables
    stages = {f'stage {i}': body.get_submodule(t) for i,t in enumerate(body.stages, 1)}
    for methods,layers in [(others, last), (['gradcam'], stages)]:
        tables.append(faithfulness_table(learn, pairs, methods=methods, layers=layers, baselines=False))
    return tables

def measure(mode, name, change):
    "Rows of one backbone, with changes to the recipe or the input size"
    start,changes = time.perf_counter(),parse_changes(change)
    size = changes.pop('size', None)
    kind = 'posters' if mode=='posters' else 'variant' if change else 'whole' if name==first else 'part'
    ads = demo_ads() if mode=='demo' else csv_ads(poster_csv())
    ready,_ = prepare_images(ads)
    learn = recipe_learner(ready, name, get_recipe(tuned, **changes), size=size and int(size))
    fit = learn.fit_head()
    p,y = learn.split_preds('test')
    pairs = correct_pairs(learn, cue_boxes(ads) if mode=='demo' else None, n=60 if kind in ('part', 'posters') else None)
    return pd.concat(judged(learn, pairs, kind)).assign(
        backbone=name, change=change, weights=learn.weights_used, size=learn.dls.pipeline.size, data='demo ads' if mode=='demo' else 'film posters',
        macro_f1=macro_f1(p, y, fit.thresholds), test_positives=int(y.sum()), seconds=time.perf_counter()-start, **conditions())

def main(mode='demo', *what):
    if mode not in ('demo', 'posters'): raise AdsError(f'{mode!r}: expected demo or posters')
    path = here/f'maps-{mode}.csv'
    for one in what or (first, *(f'{first}:{v}' for v in variants), *(b for b in backbones if b!=first)) if mode=='demo' else [first]:
        name,_,change = one.partition(':')
        new = measure(mode, name, change)
        old = pd.read_csv(path, dtype={'change': str}).fillna({'change': ''}) if path.exists() else new[:0]
        table = pd.concat([old[(old.backbone!=name)|(old.change!=change)], new])
        in_order = lambda c: c.map([first, *backbones].index) if c.name=='backbone' else c
        write_csv(table.sort_values(['backbone', 'change'], key=in_order, kind='stable'), path)
        print(f'{one}: {len(new)} rows, {new.seconds.iloc[0]:.0f} s -> {path.name}', flush=True)

if __name__=='__main__': main(*sys.argv[1:])
