"""Does training the body help on little data? The recipe `finetuned` beside frozen bodies with the same decisions.

`measure_finetuned.py posters` takes three of five stratified splits of the film posters that ADS_POSTERS names, at 160 pixels; `measure_finetuned.py
demo` takes 500, 1,000 and 2,000 demo ads, one split each, at 128 pixels. Four recipes: `tuned` cross-validates; `frozen` is the same with the
validation set held out, from which `finetuned` starts; `last stage` is `frozen` without the earlier stages, which is what the reference study trained.
Differences are from `tuned`, and in the columns that end in `_frozen` from `frozen`, paired by test image. The table is written after each split;
trials are kept in `runs/finetuned`, so that a measurement that was stopped goes on. A CPU takes minutes for each split, hence the small sizes and
six epochs. On posters, `finetuned, faster` has about three times the learning rate."""
import sys
import pandas as pd
from bench import compared, conditions, here, named_ads
from ads_sentiment.core import write_csv
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.splits import resplit
from ads_sentiment.recipes import get_recipe
from ads_sentiment.training.trials import TrialSpec, run_trials

variants = {
    'tuned': get_recipe('tuned'),
    'frozen': get_recipe('tuned', folds=0),
    'last stage': get_recipe('tuned', folds=0, stages='last'),
    'finetuned': get_recipe('finetuned', finetune=6)}
faster = {'finetuned, faster': get_recipe('finetuned', finetune=6, finetune_lr=.001)}
modes = dict(
    posters=dict(numbers=[None], splits=3, size=160, variants=variants | faster),
    demo=dict(numbers=[500, 1000, 2000], splits=1, size=128, variants=variants))

def trained(ads, k, size, variants, home):
    "Trials and facts of each variant on the splits up to `k`"
    splits = [resplit(ads, 'stratified', fold=i) for i in range(k+1)]
    specs = {n: [TrialSpec('efficientnet_lite0', r, split=i, size=size) for i in range(k+1)] for n,r in variants.items()}
    return {n: run_trials(s, splits, here.parent/f'runs/finetuned/{home}/{n}') for n,s in specs.items()}

def table(ads, done):
    "One row per variant"
    trials,rows = {n: [t for t,_ in d] for n,d in done.items()},[]
    for name,d in done.items():
        facts = [f for _,f in d]
        frozen = {f'{k}_frozen': v for k,v in compared(trials[name], trials['frozen']).items() if 'diff' in k}
        rows.append(dict(variant=name, **compared(trials[name], trials['tuned']), **frozen, epochs=facts[0].get('epochs', 0),
            best_epochs=' '.join(str(f.get('best_ap_epoch', '')) for f in facts).strip(),
            seconds=sum(f['feature_seconds']+f['head_seconds'] for f in facts)/len(facts), data=ads.name, n_images=len(ads),
            n_train=int((ads.split=='train').sum()), n_labels=len(ads.vocab), n_splits=len(d), n_seeds=1, backbone='efficientnet_lite0',
            weights=facts[0]['weights'], size=facts[0]['image_size'], **conditions()))
    return rows

def main(mode='posters'):
    finished,m = [],modes[mode]
    for n in m['numbers']:
        ads,_ = prepare_images(named_ads(mode, **(dict(n=n) if n else {})))
        for k in range(m['splits']):
            rows = table(resplit(ads, 'stratified'), trained(ads, k, m['size'], m['variants'], f'{mode}-{n or len(ads)}'))
            write_csv(pd.DataFrame(finished + rows), here/f'finetuned-{mode}.csv')
            print(f'{mode}, {len(ads)} images, {k+1} splits: ' + ', '.join(f"{r['variant']} {r['mean_ap']:.3f}" for r in rows), flush=True)
        finished += rows

if __name__=='__main__': main(*sys.argv[1:])
