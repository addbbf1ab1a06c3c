"""What votes are worth when they are taken as noisy measurements: `measure_votes.py demo` and `… targets` on 2,000 demo ads, whose true labels
are known, and `… pitt` on the Pitt annotations that ADS_PITT names, where one annotator of each ad is held out. Intervals are over ads (1,000
bootstrap draws). Probabilities of a model are out of fold, or of ads that the head has not learned from. Nothing was chosen on these numbers: each
method has its defaults, and the numbers of variants are those of the rows."""
import os, sys
from dataclasses import replace
import numpy as np, pandas as pd
from bench import conditions, here
from ads_sentiment.core import write_csv
from ads_sentiment.data.annotations import annotator_counts, consensus_labels, find_annotations, read_labels, read_sentiments, vote_table
from ads_sentiment.data.datasets import demo_ads, pitt_ads
from ads_sentiment.data.demo import demo_facts, sentiments
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.splits import resplit
from ads_sentiment.evaluation.bootstrap import Trial, bootstrap_sums, mean_ci, paired_test, percentile_interval, resampled_counts
from ads_sentiment.evaluation.posterior import add_votes, ask_next, named_posterior, next_vote, two_coin, wrong_majority
from ads_sentiment.recipes import Recipe
from ads_sentiment.training.learner import recipe_learner

n_boot,names = 1000,list(sentiments)

def interval(draws): return dict(zip(('low', 'high'), percentile_interval(np.asarray(draws)).iloc[0]))

def row(question, method, value, draws, base=None, against='', **more):
    "One row: a value with its interval, and its difference from a base, `(value, draws)`"
    res = dict(question=question, method=method, value=value, **interval(draws), **more)
    if base is None: return res
    d = interval(draws-base[1])
    return res | dict(against=against, diff=value-base[0], diff_low=d['low'], diff_high=d['high'])

def auroc(score, positive):
    "AUROC over all decisions and its draws, images x labels: ads are drawn with all their labels"
    n = len(score)
    order = np.argsort(score, axis=None, kind='stable')
    s,pos,ad = score.ravel()[order],positive.ravel()[order],np.repeat(np.arange(n), score.shape[1])[order]
    last = np.searchsorted(s, s, side='right')-1
    first = np.searchsorted(s, s, side='left')
    def of(w):
        w = w[ad].astype(np.float64)
        below = np.vstack([np.zeros((1, w.shape[1])), np.cumsum(w*~pos[:,None], axis=0)])
        rank = (below[first[pos]] + below[last[pos]+1])/2 # ties count half
        return (w[pos]*rank).sum(0)/(w[pos].sum(0)*below[-1])
    blocks = (b[:,i:i+50] for b in resampled_counts(n, n_boot, np.random.default_rng(42)) for i in range(0, b.shape[1], 50))
    return of(np.ones((n,1), np.float32))[0],np.concatenate([of(b) for b in blocks])

# the demo ads, all of them, and a model of those with a label

def everyone(study, wide):
    "All ads in one `AdsData`: those of the study with their split, the others as further test images"
    order = [*study.targs.index, *wide.targs.index.difference(study.targs.index, sort=False)]
    split = study.split.reindex(order).fillna('test').rename('split')
    targs = (wide.votes.loc[order, study.vocab]>=2).astype(int)
    tables = {k: getattr(wide, k).loc[order] for k in ('paths', 'votes', 'annotators')}
    return replace(wide, targs=targs, split=split, source=None, **tables)

def fitted(ads, soft=None, seed=42):
    "Probabilities of images that the head has not learned from, and the fit; `soft` (images x labels): targets in place of the majority"
    recipe = Recipe()
    if soft is not None:
        recipe = Recipe(targets='soft', prior_votes=0)
        ads = replace(ads, votes=soft.mul(ads.annotators, axis=0)) # their share is `soft` again
    learn = recipe_learner(ads, recipe=recipe, seed=seed)
    fit = learn.fit_head()
    return pd.DataFrame(np.concatenate([fit.preds, learn.split_preds('test')[0]]), ads.targs.index, ads.vocab),fit

def facts_of(ads, more):
    "True labels of demo ads (images x labels, 0/1), and the votes of `more` further annotators (images x more x labels)"
    facts = {f['file']: f for f in (demo_facts(i, more=more) for i in range(2000))}
    at = {l: j for j,l in enumerate(ads.vocab)}
    truth,votes = np.zeros((len(ads), len(at)), bool),np.zeros((len(ads), more, len(at)), int)
    for i,file in enumerate(ads.targs.index):
        truth[i,[at[l] for l in facts[file]['labels'] if l in at]] = True
        for a,ids in enumerate(facts[file].get('more', [])): votes[i,a,[at[l] for l in (names[int(k)-1] for k in ids) if l in at]] = 1
    return truth,votes

def find_wrong(votes, annotators, probs, truth, question):
    "Which score finds the wrong majorities?"
    k,m = votes.to_numpy(),annotators.to_numpy()[:,None]
    taken = k>=2
    wrong,p = taken!=truth,probs.to_numpy()
    scores = {'disagreement': k/m*(1-k/m), 'model alone': np.where(taken, 1-p, p),
              'posterior, votes alone': wrong_majority(two_coin(votes, annotators)).to_numpy(),
              'posterior, all ads alike': wrong_majority(two_coin(votes, annotators, probs, kinds=1)).to_numpy(),
              'posterior': wrong_majority(two_coin(votes, annotators, probs)).to_numpy()}
    done = {name: auroc(s, wrong) for name,s in scores.items()}
    return [row(question, name, *d, done['disagreement'], 'disagreement', metric='AUROC', n_ads=len(k), n_wrong=int(wrong.sum()))
            for name,d in done.items()]

def bought(fit, more, truth, by, n, rounds, seed=42):
    """Corrected labels per ad after `n` more votes, bought in `rounds`, as the posterior decides and as the two-votes rule decides; each ad has
    at most as many votes as were drawn"""
    def right(fit): return [(np.asarray(d)==truth).sum(1) for d in (fit.posterior>.5, fit.votes>=2)]
    start,given = right(fit),pd.Series(0, fit.votes.index)
    for r in range(rounds):
        open_ = given.index[given<more.shape[1]]
        part = replace(fit, **{k: getattr(fit, k).loc[open_] for k in ('posterior', 'prior', 'kinds', 'votes', 'annotators')})
        asked = ask_next(part, n//rounds, by, seed=1000*seed+r).image
        i = fit.votes.index.get_indexer(asked)
        new = pd.DataFrame(more[i,given.loc[asked]], asked, fit.votes.columns)
        fit = add_votes(fit, new, pd.Series(1, asked))
        given.loc[asked] += 1
    return np.subtract(right(fit), start).astype(float)

def buy(fit, more, truth, question):
    "Corrected labels by each score, with 500 votes in one round and in ten, and by budget; at random: the mean of 20 draws"
    def gain(by, n, rounds): return np.mean([bought(fit, more, truth, by, n, rounds, k) for k in range(20 if by=='random' else 1)], axis=0)
    rows,scores = [],('value', 'uncertainty', 'disagreement', 'random')
    for n,rounds in [(500, 1), *((n, 10) for n in (100, 200, 300, 400, 500, 750, 1000))]:
        gains = {by: gain(by, n, rounds) for by in scores}
        for d,decision in enumerate(('posterior', 'two votes')):
            draws = dict(zip(scores, bootstrap_sums(np.stack([gains[by][d] for by in scores], 1), n_boot, 42).T))
            base = gains['random'][d].sum(),draws['random']
            rows += [row(question, by, gains[by][d].sum(), draws[by], base, 'random', metric='corrected labels', decision=decision,
                         n_votes=n, rounds=rounds, n_ads=len(truth)) for by in scores]
    return rows

def smoothed(votes, annotators):
    "Majorities, moved toward 1/2 by the disagreement of the annotators"
    share = votes.div(annotators, axis=0)
    e = share*(1-share)
    return (1-e).where(votes>=2, e)

def test_trial(ads, truth, recipe, soft, k):
    "A head that learns `soft` (images x labels) in place of majorities, on the test images of a split; and the learner"
    if soft is not None: ads = replace(ads, votes=soft.reindex(ads.targs.index, fill_value=0).mul(ads.annotators, axis=0)) # shares are `soft` again
    learn = recipe_learner(ads, recipe=recipe)
    learn.fit_head()
    preds,majority = learn.split_preds('test')
    right = dict(truth=truth.loc[ads.split=='test'].to_numpy().astype(int), majority=majority)
    return learn,{by: Trial(preds, y, learn.thresholds(), split=k) for by,y in right.items()}

def target_trials(ads, truth, k):
    "Trials on one split by what is learned. Only training and validation images lend their votes and held-out probabilities to the posterior"
    given = Recipe(targets='soft', prior_votes=0)
    learn,hard = test_trial(ads, truth, Recipe(), None, k)
    seen = ads.targs.index[ads.split!='test']
    votes,asked = ads.votes.loc[seen, ads.vocab],ads.annotators[seen]
    posterior = two_coin(votes, asked, pd.DataFrame(learn.fit_result.preds, seen, ads.vocab)).posterior
    return {'majority': hard, 'soft': test_trial(ads, truth, Recipe(targets='soft'), None, k)[1],
            'smoothed by agreement': test_trial(ads, truth, given, smoothed(votes, asked), k)[1],
            'posterior': test_trial(ads, truth, given, posterior, k)[1]}

def targets():
    """Models that learn majorities, shares of votes, smoothed majorities and the posterior, on the test images of five stratified splits, against truth
    and majority. Out-of-fold scores would not do: the posterior of an image contains a model that has learned from the others, so they would leak"""
    ads,_ = prepare_images(demo_ads(n=2000))
    truth = pd.DataFrame(facts_of(ads, 0)[0], ads.targs.index, ads.vocab)
    splits = [resplit(ads, 'stratified', fold=k) for k in range(5)]
    done,rows = [target_trials(s, truth.loc[s.targs.index], k) for k,s in enumerate(splits)],[]
    for by in ('truth', 'majority'):
        trials = {name: [d[name][by] for d in done] for name in done[0]}
        for name,ts in trials.items():
            ci,pair = mean_ci(ts),paired_test(ts, trials['majority'])
            rows += [dict(question=f'targets, scored by {by}', method=name, metric=k, value=ci['mean'][k], low=ci.low[k], high=ci.high[k], against='majority',
                diff=pair['diff'][k], diff_low=pair.diff_low[k], diff_high=pair.diff_high[k], n_ads=len(ads), n_splits=5) for k in ('mean_ap', 'macro_f1')]
    finish(rows, 'targets')

def pool_votes(truth, vocab, n_people=40, seed=42):
    "Votes of 40 simulated annotators, each with an own sensitivity and own false alarms; three see each ad: image, annotator, label"
    rng = np.random.default_rng(seed)
    sens,false = rng.uniform(.35, .95, n_people),rng.uniform(.005, .1, n_people)
    rows = []
    for i,true in enumerate(truth):
        for a in rng.choice(n_people, 3, replace=False):
            named = rng.random(len(true)) < np.where(true, sens[a], false[a])
            rows += [(i, f'annotator {a}', vocab[j]) for j in np.flatnonzero(named)] or [(i, f'annotator {a}', None)]
    return pd.DataFrame(rows, columns=['image', 'annotator', 'label'])

def with_names(ads, probs, truth):
    "Annotators with names: crowd-kit's Dawid-Skene per label against shared coins, and shared coins with a model"
    long = pool_votes(truth, ads.vocab)
    votes = long.dropna(subset='label').groupby(['image', 'label']).size().unstack(fill_value=0).reindex(
        index=range(len(truth)), columns=ads.vocab, fill_value=0).set_axis(ads.targs.index)
    long = long.assign(image=ads.targs.index[long.image])
    three = pd.Series(3, ads.targs.index)
    scores = {'share of votes': votes.div(3), 'two coins, shared': two_coin(votes, three).posterior,
              'crowd-kit, coins of each annotator': named_posterior(long).reindex(index=ads.targs.index, columns=ads.vocab, fill_value=0),
              'two coins, shared, and a model': two_coin(votes, three, probs).posterior}
    done = {k: auroc(v.to_numpy(), truth) for k,v in scores.items()}
    return [row('annotators with names', k, *d, done['share of votes'], 'share of votes', metric='AUROC', n_ads=len(truth),
                n_wrong=int(((scores[k].to_numpy()>.5)!=truth).sum())) for k,d in done.items()]

def demo():
    study,wide = demo_ads(n=2000),demo_ads(n=2000, min_votes=1, drop=0)
    ads,_ = prepare_images(everyone(study, wide))
    probs,_ = fitted(ads)
    truth,more = facts_of(ads, 5)
    votes,labelled = ads.votes[ads.vocab],np.arange(len(ads)) < len(study)
    rows = []
    for name,on in {'labelled ads': labelled, 'all ads': labelled|True}.items():
        of = votes[on],ads.annotators[on],probs[on]
        rows += find_wrong(*of, truth[on], f'wrong majorities, {name}')
        rows += buy(two_coin(*of), more[on], truth[on], f'bought votes, {name}')
    rows += with_names(ads.subset(study.targs.index), probs[labelled], truth[labelled])
    finish(rows, 'demo')

# held-out annotators of the Pitt ads

def one_out(annotations, m, labels, rng):
    "0/1 (images, labels): the votes of one annotator of each image, drawn at random"
    named = annotations.dropna(subset='label')
    named = named[named.label.isin(labels)]
    held = np.zeros((len(m), len(labels)), int)
    who = (rng.random(len(m))*m.to_numpy()).astype(int)
    i = m.index.get_indexer(named.image.astype(str))
    mine = (i>=0) & (named.annotator.to_numpy()==who[i])
    held[i[mine], pd.Index(labels).get_indexer(named.label.astype(str))[mine]] = 1
    return held

def shares(votes, m, strength):
    "Share of the votes, shrunk toward that of the label"
    f = votes.sum()/m.sum()
    return (votes+strength*f).div(m+strength, axis=0)

def predictions(rest, m, probs=None):
    "Probability that one more annotator names each label, by several methods"
    res = {'share of votes, shrunk by two': shares(rest, m, 2), 'share of votes, shrunk by ten': shares(rest, m, 10)}
    coins = {'two coins, ads alike': dict(kinds=1), 'two coins': {}}
    if probs is not None: coins |= {'two coins and model, ads alike': dict(kinds=1, probs=probs), 'two coins and model': dict(probs=probs)}
    return res | {name: next_vote(two_coin(rest, m, **how)) for name,how in coins.items()}

def held_out_rows(question, losses, **more):
    "Rows of log losses, images x methods"
    draws = bootstrap_sums(losses, n_boot, 42)/len(losses)
    base = losses.columns[0]
    return [row(question, k, losses[k].mean(), draws[:,j], (losses[base].mean(), draws[:,0]), base, metric='log loss of a held-out vote',
                n_ads=len(losses), **more) for j,k in enumerate(losses)]

def loss(p, y):
    p = np.clip(np.asarray(p), 1e-6, 1-1e-6)
    return -(y*np.log(p) + (1-y)*np.log1p(-p)).mean(1)

def pitt():
    folder,rows = find_annotations(os.environ['ADS_PITT']),[]
    annotations = read_sentiments(folder/'Sentiments.json', read_labels(folder/'Sentiments_List.txt'))
    table,m = vote_table(annotations),annotator_counts(annotations)
    vocab = list(consensus_labels(table).columns)
    held = one_out(annotations, m, vocab, np.random.default_rng(42))
    rest = table[vocab]-held
    losses = pd.DataFrame({k: loss(p, held) for k,p in predictions(rest, m-1).items()})
    rows += held_out_rows('held-out annotators, all annotations', losses, n_repeats=1)
    ads,_ = prepare_images(pitt_ads(os.environ['ADS_PITT'], download=False))
    total = []
    for seed in range(5):
        held = one_out(ads.annotations, ads.annotators, ads.vocab, np.random.default_rng(seed))
        rest = ads.votes[ads.vocab]-held
        probs,_ = fitted(replace(ads, targs=(rest>=2).astype(int)), shares(rest, ads.annotators-1, 2), seed)
        total.append(pd.DataFrame({k: loss(p, held) for k,p in predictions(rest, ads.annotators-1, probs).items()}))
    rows += held_out_rows('held-out annotators, ads with images', sum(total)/len(total), n_repeats=5)
    finish(rows, 'pitt')

def finish(rows, mode):
    table = pd.DataFrame(rows).assign(**conditions())
    write_csv(table, here/f'votes-{mode}.csv')
    print(table[[c for c in ('question', 'method', 'metric', 'value', 'low', 'high', 'diff', 'diff_low', 'diff_high', 'n_votes', 'rounds') if c in table]].round(3).to_string())

if __name__=='__main__': dict(demo=demo, targets=targets, pitt=pitt)[sys.argv[1]]()
