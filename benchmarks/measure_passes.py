"""Do four kept passes replace new views in every epoch? The `reference` recipe on the film posters that ADS_POSTERS names, both ways.

The recipe of the study looks at a new augmented view of each training image in every epoch; `reference` keeps four passes and goes
through them in turn. One stratified split, EfficientNet-Lite0, 12 epochs for both instead of 100. Trials are kept in `runs/passes`, so that a measurement that was stopped goes on."""
import sys
import pandas as pd
from bench import compared, conditions, here, named_ads
from ads_sentiment.core import write_csv
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.splits import resplit
from ads_sentiment.recipes import get_recipe
from ads_sentiment.training.trials import TrialSpec, run_trials

variants = {'four kept passes': 4, 'new views in every epoch': 0}

def main(epochs=12, backbone='efficientnet_lite0'):
    ads,_ = prepare_images(named_ads('posters'), reencode=True)
    split,rows,base = resplit(ads, 'stratified'),[],None
    for name,passes in variants.items():
        recipe = get_recipe('reference', passes=passes, epochs=int(epochs))
        trial,facts = run_trials([TrialSpec(backbone, recipe)], [split], here.parent/f'runs/passes/{passes}-{epochs}')[0]
        base = base or [trial]
        rows.append(dict(variant=name, passes=passes, epochs=recipe.epochs, best_epoch=facts['best_loss_epoch'], **compared([trial], base),
            seconds=facts['feature_seconds']+facts['head_seconds'], data=ads.name, n_images=len(ads), n_test=len(trial.targs),
            n_labels=len(ads.vocab), n_splits=1, n_seeds=1, backbone=backbone, weights=facts['weights'], recipe='reference', **conditions()))
        print(f"{name}: macro-F1 {rows[-1]['macro_f1']:.3f}, mAP {rows[-1]['mean_ap']:.3f}, {rows[-1]['seconds']:.0f} s", flush=True)
    write_csv(pd.DataFrame(rows), here/'passes-posters.csv')

if __name__=='__main__': main(*sys.argv[1:])
