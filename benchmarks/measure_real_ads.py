"""How far can a model know real ads? The part of the Pitt Image Ads that ADS_PITT names.

`measure_real_ads.py ceiling` needs the annotations alone: F1 of two people, of panels that the votes hold, and of larger panels by a model of the
votes, for two targets: a further annotator, and a label that two of three others choose.

`measure_real_ads.py models` trains each variant in five-fold cross-validation, five times with other folds, and scores each ad once per repetition:
against the consensus, and, beside one annotator and the constant, against the votes of the others. Trials are kept in `runs/real-ads`; with a third
argument, `resume`, those that are there are not trained again."""
import os, shutil, sys
from dataclasses import replace
import numpy as np, pandas as pd
from bench import conditions, here
from ads_sentiment.core import write_csv
from ads_sentiment.data.annotations import annotator_counts, consensus_labels, find_annotations, read_labels, read_sentiments, vote_table
from ads_sentiment.data.datasets import pitt_ads
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.splits import duplicate_groups, near_duplicates, resplit
from ads_sentiment.evaluation.agreement import image_f1, rater_scores
from ads_sentiment.evaluation.bootstrap import corrected_t, equivalence_test, join_folds, mean_ci
from ads_sentiment.evaluation.metrics import decide, macro_f1
from ads_sentiment.evaluation.panels import fit_rates, panel_curve
from ads_sentiment.recipes import get_recipe
from ads_sentiment.training.trials import TrialSpec, run_trials

n_folds,n_repeats,least = 5,5,10 # `least`: positives of a frequent label
targets = {'one other': dict(others=1), 'two of three others': dict(others=3, min_votes=2)}
rules = {'best': ('best', 'beta'), 'majority': ('majority', 'beta'), 'best, two rates': ('best', 'two rates')}

def annotations():
    "Votes of all annotated images, their numbers of annotators, and the labels of the study"
    folder = find_annotations(os.environ['ADS_PITT'])
    votes = read_sentiments(folder/'Sentiments.json', read_labels(folder/'Sentiments_List.txt'))
    table = vote_table(votes)
    return table, annotator_counts(votes), list(consensus_labels(table).columns)

def best_cuts(share, votes, m):
    "For each label the share of people down to which predicting it has the highest F1 against the votes of the others"
    targ = votes/m*(votes>=3) + (1-votes/m)*(votes>=2)
    order = np.argsort(-share, axis=0, kind='stable')
    hits = np.cumsum(np.take_along_axis(targ, order, 0), axis=0)
    best = (hits/(np.arange(1, len(share)+1)[:,None]+targ.sum(0))).argmax(0)
    return np.take_along_axis(share, order, 0)[best, np.arange(share.shape[1])]

def ideal_rows(table, annotators, vocab):
    "Macro-F1 of a model that knows the share of people who choose each label, on ads that the rule keeps, as many with five annotators as at hand"
    ads = pitt_ads(os.environ['ADS_PITT'])
    positives = ads.targs.sum()
    for model in ('beta', 'two rates'):
        share,rng = fit_rates(table, annotators, model=model).draw(table, annotators),np.random.default_rng(42)
        first,second = (pd.DataFrame(rng.binomial(annotators.to_numpy()[:,None], share), table.index, table.columns) for _ in range(2))
        for votes,known in (('simulated', second), ('real', table)):
            kept = consensus_labels(known, keep=vocab).index
            groups,mix = [kept[annotators[kept]==n] for n in (3, 5)],[(ads.annotators==n).mean() for n in (3, 5)]
            n = min(len(g)/x for g,x in zip(groups, mix))
            used = np.concatenate([rng.permutation(g)[:int(n*x)] for g,x in zip(groups, mix)])
            fitted = consensus_labels(first, keep=vocab).index
            cuts = best_cuts(*(t.loc[fitted, vocab].to_numpy() for t in (share, first)), annotators[fitted].to_numpy()[:,None])
            ideal = {'ideal model': share.loc[used, vocab]>=cuts} if votes=='simulated' else {}
            scores = rater_scores(known.loc[used, vocab], annotators[used], ideal)
            for name,labels in {'all': vocab, 'frequent': list(positives.index[positives>=least])}.items():
                for rater,r in scores.macro(labels).iterrows(): yield dict(model=model, votes=votes, rater=rater, labels=name, **r, images=len(used))

def ceiling():
    "Curves of panels for each target and rule"
    table,annotators,vocab = annotations()
    curves = [panel_curve(table, annotators, vocab, **target, votes=votes, model=model).assign(target=name, rule=rule, images=len(table))
        for name,target in targets.items() for rule,(votes,model) in rules.items()]
    write_csv(pd.concat(curves).round(4), here/'real-ads-ceiling.csv')
    write_csv(pd.DataFrame(ideal_rows(table, annotators, vocab)).round(4), here/'real-ads-ceiling-same-ads.csv')

base,backbone,three = 'image','efficientnet_lite0','efficientnet_lite0+efficientnet_lite1+efficientnet_lite2'
variants = { # name -> what differs: backbone, size (pixels), recipe (fields), filt (of the prepared images), n (training ads)
    'image': {},
    'words': dict(recipe=dict(image=False, words=True)),
    'image and words': dict(recipe=dict(words=True)),
    'no filter': dict(filt=None),
    '288 px': dict(size=288),
    '384 px': dict(size=384),
    'efficientnet_lite1': dict(backbone='efficientnet_lite1'),
    'efficientnet_lite2': dict(backbone='efficientnet_lite2'),
    'three backbones': dict(backbone=three),
    'three backbones and words': dict(backbone=three, recipe=dict(words=True))}
curve = {f'{n} ads': dict(n=n) for n in (25, 50, 100, 150)}

def cv_split(ads, groups, repeat, fold, n=None):
    "One fold of one repetition as the test set; `n` at random of the other ads for training (default: all)"
    split = resplit(ads, 'stratified', fold, seed=repeat, n_folds=n_folds, groups=groups)
    rest = split.split.index[split.split!='test']
    if n is None: return split
    kept = np.random.default_rng([repeat, fold]).permutation(np.sort(rest))[:n]
    return split.subset(split.split.index[(split.split=='test') | split.split.index.isin(kept)])

def held_out_f1(spec, learn, trial, facts):
    "Add macro-F1 on the training ads, predicted out of fold, to the facts of a trial"
    fit = learn.fit_result
    facts['held_out_macro_f1'] = macro_f1(fit.preds, fit.targs, fit.fold_thresholds)

def cross_validate(name, ready, groups):
    "Trials of a variant and their held-out scores: {repetition: [(trial, score) of each fold]}"
    v = variants.get(name) or curve.get(name) or {}
    ads = ready[str(v.get('filt', 'default'))]
    where = [(r, f) for r in range(n_repeats) for f in range(n_folds)]
    splits = [cv_split(ads, groups, r, f, v.get('n')) for r,f in where]
    specs = [TrialSpec(v.get('backbone', backbone), get_recipe('tuned', **v.get('recipe', {})), r, i, size=v.get('size'))
        for i,(r,f) in enumerate(where)]
    done = run_trials(specs, splits, here.parent/'runs'/'real-ads'/name.replace(' ', '-'), held_out_f1)
    score = macro_f1(np.concatenate([t.preds for t,_ in done]), np.concatenate([t.targs for t,_ in done]),
        np.concatenate([np.broadcast_to(t.thresholds, t.preds.shape) for t,_ in done]))
    print(f'{name}: macro-F1 {score:.3f} on all test folds together', flush=True)
    return {r: [(t, facts['held_out_macro_f1']) for (t,facts),(s,_) in zip(done, where) if s==r] for r in range(n_repeats)}

def chosen(found):
    "For each fold the variant with the best held-out score on its training ads, and how often each was taken"
    res,taken = {},[]
    for r in range(n_repeats):
        best = [max(found, key=lambda v: found[v][r][f][1]) for f in range(n_folds)]
        res[r],taken = [found[v][r][f] for f,v in enumerate(best)],taken+best
    return res, pd.Series(taken).value_counts()

def repetitions(found): return [join_folds([t for t,_ in folds], seed=r) for r,folds in found.items()]

def decisions(trials): return [decide(t.preds, t.thresholds, t.min_labels) for t in trials]

def only(trials, on):
    "The same trials on some of their labels"
    return [replace(t, preds=t.preds[:,on], targs=t.targs[:,on], thresholds=np.broadcast_to(t.thresholds, t.preds.shape)[:,on]) for t in trials]

def margins(names, sets):
    "Half of what one annotator scores above the constant, on the annotated images that are not among `names`"
    table,annotators,vocab = annotations()
    others = consensus_labels(table).index.difference(names)
    scores = rater_scores(table.loc[others, vocab], annotators.loc[others], {}, n_boot=2)
    return {k: (scores.f1.loc['one annotator', l]-scores.f1.loc['every label', l]).mean()/2 for k,l in sets.items()}

def by_fold(ads, found):
    "F1 of each rater and label (raters x labels) against the votes of the others, for each fold of each repetition"
    def f1(r, f):
        trials = {v: x[r][f][0] for v,x in found.items()}
        images = trials[base].images
        return rater_scores(ads.votes.loc[images, ads.vocab], ads.annotators.loc[images],
            {v: decisions([t]) for v,t in trials.items()}, n_boot=1).f1
    return [f1(r, f) for r in range(n_repeats) for f in range(n_folds)]

def compared(ads, found, pairs, sets):
    "Differences against the votes of the others, and the check by folds"
    trials = {v: repetitions(x) for v,x in found.items()}
    images = trials[base][0].images
    scores = rater_scores(ads.votes.loc[images, ads.vocab], ads.annotators.loc[images], {v: decisions(t) for v,t in trials.items()})
    folds,margin,rows = by_fold(ads, found),margins(images, sets),[]
    for name,labels in sets.items():
        table = scores.compare(pairs, margin[name], labels).reset_index().assign(labels=name, margin=margin[name])
        by_pair = [[(x.loc[a, labels]-x.loc[b, labels]).mean() for x in folds] for a,b in pairs]
        checks = pd.DataFrame([corrected_t(d, 1/(n_folds-1)) for d in by_pair]).add_prefix('fold_')
        rows.append(table.join(checks))
    return scores, pd.concat(rows, ignore_index=True)

def rater_rows(ads, found, sets):
    "Macro-F1 against the votes of the others, on all ads and by number of annotators"
    trials,rows = {v: repetitions(x) for v,x in found.items()},[]
    images = pd.Index(trials[base][0].images)
    asked = ads.annotators.loc[images].to_numpy()
    for n in (None, *np.unique(asked)):
        on = np.ones(len(images), bool) if n is None else asked==n
        scores = rater_scores(ads.votes.loc[images[on], ads.vocab], ads.annotators.loc[images[on]],
            {v: np.stack(decisions(t))[:,on] for v,t in trials.items()})
        for name,labels in sets.items():
            rows.append(scores.macro(labels).rename_axis('rater').reset_index().assign(labels=name, n_labels=len(labels),
                annotators='all' if n is None else n, n_images=int(on.sum()), positives=scores.targets[labels].sum()))
    return pd.concat(rows, ignore_index=True)

def consensus_rows(ads, found, sets, margin):
    "Scores of each variant against the consensus, and their differences from the base"
    trials,rows = {v: repetitions(x) for v,x in found.items()},[]
    for name,labels in sets.items():
        on = ads.targs.columns.isin(labels)
        for v,t in trials.items():
            here_,base_ = only(t, on),only(trials[base], on)
            diff = equivalence_test(here_, base_, margin[name])
            for m,r in mean_ci(here_).iterrows():
                rows.append(dict(variant=v, labels=name, metric=m, value=r['mean'], low=r.low, high=r.high, sd_repetitions=r.sd_seeds,
                    **diff.loc[m].add_prefix('diff_').rename({'diff_diff': 'diff'}), margin=margin[name]))
    return pd.DataFrame(rows)

def image_rows(ads, found):
    "For each ad: F1 of one annotator and of the base against the votes of the others, votes, and in how many repetitions the base predicts a label"
    trials = repetitions(found[base])
    images,y = pd.Index(trials[0].images, name='ad'),decisions(trials)
    votes = ads.votes.loc[images, ads.vocab]
    def named(row, least): return '|'.join(f'{l} {x:g}' for l,x in row.sort_values(ascending=False, kind='stable').items() if x>=least)
    repeats = pd.DataFrame(np.sum(y, axis=0), images, ads.vocab)
    return image_f1(votes, ads.annotators.loc[images], {base: y}).assign(annotators=ads.annotators.loc[images],
        votes=votes.apply(named, axis=1, least=2), predicted=repeats.apply(named, axis=1, least=n_repeats/2)).rename_axis('ad').reset_index()

def models():
    "Cross-validate all variants and write the tables"
    if 'resume' not in sys.argv: shutil.rmtree(here.parent/'runs'/'real-ads', ignore_errors=True)
    ads = pitt_ads(os.environ['ADS_PITT'])
    groups = duplicate_groups(ads.targs.index, near_duplicates(ads))
    ready = {'None': prepare_images(ads, filt=None)[0], 'default': prepare_images(ads)[0]}
    found = {name: cross_validate(name, ready, groups) for name in (*variants, *curve)}
    positives = ads.targs.sum()
    sets = {'all': list(ads.vocab), 'frequent': list(positives.index[positives>=least])}
    found['chosen'],taken = chosen({v: found[v] for v in variants})
    about = dict(n_variants=len(variants), n_repeats=n_repeats, n_folds=n_folds, least=least, backbone=backbone, **conditions())
    main_ = [v for v in ('image', 'words', 'image and words', 'three backbones and words') if v in found]
    pairs = [*((v, r) for v in (*main_, 'chosen') for r in ('one annotator', 'every label')), ('one annotator', 'every label')]
    scores,differences = compared(ads, {v: found[v] for v in (*main_, 'chosen')}, pairs, sets)
    margin = margins(ads.targs.index, sets)
    write_csv(rater_rows(ads, {v: found[v] for v in (*main_, 'chosen')}, sets).assign(**about).round(4), here/'real-ads-raters.csv')
    write_csv(differences.round(4), here/'real-ads-differences.csv')
    write_csv(consensus_rows(ads, found, sets, margin).assign(chosen=lambda d: d.variant.map(taken)).round(4), here/'real-ads-variants.csv')
    write_csv(scores.by_label().assign(positives=lambda d: d.label.map(positives)).round(4), here/'real-ads-labels.csv')
    write_csv(image_rows(ads, found).round(3), here/'real-ads-images.csv')

modes = dict(ceiling=ceiling, models=models)

def main(mode, *_): modes[mode]()

if __name__=='__main__': main(*sys.argv[1:])
