"""Does the bilateral filter change what is predicted? The tuned recipe on images that were prepared with and without it.

`measure_filter.py demo` draws 1,000 demo ads, `measure_filter.py posters` takes the film posters that ADS_POSTERS names: five stratified
splits, so that each image is in one test set. Differences are from images without a filter, paired by test image. `decisions_changed` is the
share of all decisions that differ from those without a filter; in the row `no filter`, from those of another seed of the training."""
import sys
import numpy as np, pandas as pd
from bench import compared, conditions, here, named_ads, tested
from ads_sentiment.core import write_csv
from ads_sentiment.data.images import BilateralFilter, prepare_images
from ads_sentiment.evaluation.metrics import decide

variants = {
    'no filter': dict(filt=None),
    'filter': dict(),
    'filter and JPEG': dict(reencode=True),
    'strong filter': dict(filt=BilateralFilter(sigma_color=75))}

def decisions(trials): return [decide(t.preds, t.thresholds, t.min_labels) for t in trials]

def changed(a, b): return float(np.mean([(x!=y).mean() for x,y in zip(decisions(a), decisions(b))]))

def main(mode='demo'):
    ads,rows,base = named_ads(mode, n=1000),[],None
    for name,kwargs in variants.items():
        ready,_ = prepare_images(ads, **kwargs)
        trials,facts = tested(ready, [42])
        base = base or trials
        other = changed(trials, tested(ready, [43])[0] if trials is base else base)
        rows.append(dict(variant=name, filter=str(ready.pipeline.filter or ''), reencode=ready.pipeline.reencode, **compared(trials, base),
            decisions_changed=other, data=ads.name, n_images=len(ads), n_labels=len(ads.vocab), n_splits=5, n_seeds=1,
            backbone='efficientnet_lite0', weights=facts[0]['weights'], recipe='tuned', **conditions()))
        print(f"{name}: macro-F1 {rows[-1]['macro_f1']:.3f}, mAP {rows[-1]['mean_ap']:.3f}", flush=True)
    write_csv(pd.DataFrame(rows), here/f'filter-{mode}.csv')

if __name__=='__main__': main(*sys.argv[1:])
