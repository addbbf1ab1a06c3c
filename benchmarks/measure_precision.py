"""What do 16-bit numbers change? Each engine of this machine against eager PyTorch in 32 bits, by what it does to predictions.

`measure_precision.py demo` takes the demo ads, `measure_precision.py posters` the film posters that ADS_POSTERS names; both are split once,
stratified, and taken with every body whose ImageNet weights are there. A head is fitted by the recipe `tuned` on the features of each engine. Its out-of-fold probabilities and decisions are compared with
those of eager PyTorch. `moved` compares test probabilities of that head on its own features and on eager features: what changes when a predictor
moves to another machine. The row `eager, other folds` is the yardstick: the same features, cut into folds by another seed."""
import sys
import numpy as np, pandas as pd, torch
from bench import compared, conditions, here, named_ads
from ads_sentiment.core import ads_device, write_csv
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.splits import resplit
from ads_sentiment.evaluation.bootstrap import Trial
from ads_sentiment.models.backbones import backbones
from ads_sentiment.models.engines import candidates
from ads_sentiment.models.heads import split_head
from ads_sentiment.models.weights import has_weights
from ads_sentiment.training.learner import recipe_learner

def fitted(ads, backbone, engine, seed=42):
    "A learner with a fitted head, and its out-of-fold predictions as a trial"
    learn = recipe_learner(ads, backbone, weights='imagenet', seed=seed, engine=engine)
    fit = learn.fit_head(say=None)
    return learn,Trial(fit.preds, fit.targs, fit.fold_thresholds)

@torch.no_grad()
def probabilities(learn, feats):
    "Probabilities of the head on features"
    return split_head(learn.model[1])[1].eval()(torch.from_numpy(feats).to(ads_device())).sigmoid().cpu().numpy()

def change(p, q, thresholds, other=None):
    "Mean and largest difference of probabilities, and the share of decisions that differ"
    decided = (p>=thresholds)!=(q>=(thresholds if other is None else other))
    return dict(mean=np.abs(p-q).mean(), largest=np.abs(p-q).max(), changed=decided.mean())

def rows_of(ads, backbone):
    "One row per engine, and one for other folds"
    base,want = fitted(ads, backbone, 'eager')
    feats = base.features('test')
    def row(engine, learn, trial, **more):
        own = change(trial.preds, want.preds, trial.thresholds, want.thresholds)
        return dict(backbone=backbone, weights=learn.weights_used, engine=engine, **own, **compared([trial], [want]), **more)
    yield row('eager, other folds', *fitted(ads, backbone, 'eager', seed=43))
    names = dict.fromkeys([*candidates(ads_device(), len(ads)), 'eager-bf16'])
    for engine in [n for n in names if n!='eager']:
        learn,trial = fitted(ads, backbone, engine)
        own = learn.features('test')
        error,moved = np.linalg.norm(own-feats, axis=1)/np.linalg.norm(feats, axis=1),change(*(probabilities(learn, f) for f in (own, feats)), learn.thresholds())
        yield row(engine, learn, trial, error=np.median(error), largest_error=error.max(), **{f'moved_{k}': v for k,v in moved.items()})

def main(mode='demo'):
    ads = resplit(prepare_images(named_ads(mode))[0], 'stratified')
    rows = []
    for backbone in filter(has_weights, backbones):
        for r in rows_of(ads, backbone):
            rows.append(dict(**r, data=ads.name, n_images=len(ads), n_labels=len(ads.vocab), recipe='tuned', **conditions()))
            print(', '.join(f'{k} {v:.4f}' if isinstance(v, float) else str(v) for k,v in list(rows[-1].items())[:13]), flush=True)
            write_csv(pd.DataFrame(rows), here/f'precision-{mode}.csv')

if __name__=='__main__': main(*sys.argv[1:])
