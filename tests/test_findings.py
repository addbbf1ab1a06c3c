"The rules of a report: what may be said of an interval that touches, of equal scores, of a missing number."
from types import SimpleNamespace
import numpy as np, pandas as pd, pytest
from ads_sentiment.study.findings import (against_annotator, against_baselines, annotator_agreement, best_backbone,
better_of,
    duplicate_pairs, findings, headline, label_baseline, labels_above_baseline, n_trials, random_weights, rare_labels,
    split_leaks,
    training_choices, versus)

names = ['a', 'b', 'c']

def results(low=(.3, .2, .1), high=(.5, .4, .3), base=.25, **columns):
    "Results of a run with up to three backbones; macro-F1 and mAP have the same intervals"
    n = len(low)
    mid = (np.array(low)+np.array(high))/2
    scores = {f'{s}{end}': v for s in ('macro_f1', 'micro_f1', 'mean_ap')
        for end,v in [('', mid), ('_low', low), ('_high', high)]}
    return pd.DataFrame({**dict(backbone=names[:n], split='reference', n_splits=1, seeds='42', all_labels_macro_f1=base,
        most_frequent_macro_f1=.05, prevalence_random_macro_f1=.1, chance_mean_ap=base), **scores, **columns})

def pairs(*rows):
    "Paired comparisons from (first, second, low, high)"
    return pd.DataFrame([dict(first=a, second=b, metric=m, diff_low=l, diff_high=h)
        for a,b,l,h in rows for m in ('macro_f1', 'mean_ap')])

def voted(low, high, human=(.4, .5)):
    "Results of one backbone beside one annotator"
    return results([.3], [.5], annotator_macro_f1=sum(human)/2, annotator_macro_f1_low=human[0], annotator_macro_f1_high=human[1],
        held_out_macro_f1=(low+high)/2, held_out_macro_f1_low=low, held_out_macro_f1_high=high,
        held_out_all_labels_macro_f1=.1)

def labels(positives, f1, backbone='a', n=100):
    "Scores per label of one backbone on `n` test images"
    return pd.DataFrame([dict(backbone=backbone, label=f'label {i}', test_positives=p, f1=f, tp=p, fp=0, fn=0, tn=n-p)
        for i,(p,f) in enumerate(zip(positives, f1))])

@pytest.mark.parametrize('low,high,base,verdict', [(.2, .3, .1, 'above'), (.2, .3, .4, 'below'), (.2, .3, .25, 'open'),
    (.2, .3, .2, 'open'), (.2, .3, .3, 'open'), (np.nan, .3, .1, 'unknown'), (.2, .3, np.nan, 'unknown'), (.2, np.inf,
    .1, 'unknown')])
def test_an_interval_that_touches_a_value_decides_nothing(low, high, base, verdict):
    assert versus(low, high, base)==verdict

@pytest.mark.parametrize('score', ['macro_f1', 'mean_ap'])
def test_each_backbone_has_one_verdict_against_its_baseline(score):
    found = against_baselines(results(low=(.26, .25, .1), high=(.5, .4, .2)), score)
    verdicts = [(f.numbers['verdict'], list(f.numbers['backbones'])) for f in found]
    assert verdicts == [('above', ['a']), ('open', ['b']), ('below', ['c'])]
    assert 'is not significantly different from' in found[1].text and 'lies above' not in found[1].text
    assert all(f.numbers['baseline']==.25 and f.rule for f in found)

def test_a_baseline_that_is_better_counts():
    r = results([.3], [.5], prevalence_random_macro_f1=.35)
    assert against_baselines(r)[0].numbers['verdict']=='open' and 'at random' in against_baselines(r)[0].text
    assert headline(r)[0].numbers['verdict']=='open'

def test_a_missing_number_is_said_and_not_guessed():
    r = results(macro_f1_low=[.3, np.nan, .1])
    found = {f.numbers['verdict']: f for f in against_baselines(r)}
    assert list(found['unknown'].numbers['backbones'])==['b'] and 'a number is missing' in found['unknown'].text
    assert 'b' not in [n for v,f in found.items() if v!='unknown' for n in f.numbers['backbones']]
    nothing = results([.3], [.5]).assign(**dict.fromkeys(['all_labels_macro_f1',
        'most_frequent_macro_f1', 'prevalence_random_macro_f1'], np.nan))
    assert against_baselines(nothing)[0].numbers['verdict']=='unknown'
    assert 'a number is missing' in headline(nothing)[0].text

@pytest.mark.parametrize('low,high,better', [(.01, .2, ('a', 'b')), (-.2, -.01, ('b', 'a')), (0., .2, None), (-.2, 0.,
None), (0., 0., None),
    (-.1, .1, None), (np.nan, .1, None)])
def test_better_only_if_the_whole_difference_is_on_one_side_of_0(low, high, better):
    assert better_of(pairs(('a', 'b', low, high)).iloc[0])==better

def test_overlapping_intervals_do_not_hide_a_difference():
    "Both scores depend on the same test images; only their difference counts"
    found, = best_backbone(results([.30, .29], [.50, .49]), pairs(('a', 'b', .005, .015)))
    assert found.numbers['beats']==['b'] and 'not significantly different' not in found.text

def test_equal_scores_have_no_winner():
    found, = best_backbone(results([.3, .3], [.5, .5]), pairs(('a', 'b', 0., 0.)))
    assert found.numbers['beats']==[] and found.numbers['open']==['b']
    assert 'beats' not in found.text
    assert 'does not show which of them is best' in found.text

def test_the_order_in_a_pair_does_not_matter():
    r,p = results(),pairs(('a', 'b', .01, .2), ('a', 'c', -.01, .3), ('b', 'c', .1, .2))
    turned = pairs(('b', 'a', -.2, -.01), ('c', 'a', -.3, .01), ('b', 'c', .1, .2))
    assert best_backbone(r, p)==best_backbone(r, turned)
    assert best_backbone(r, p)[0].numbers['beats']==['b'] and best_backbone(r, p)[0].numbers['open']==['c']

def test_a_pair_with_a_missing_number_is_neither_better_nor_open():
    found, = best_backbone(results([.3, .2], [.5, .4]), pairs(('a', 'b', np.nan, .2)))
    assert found.numbers['beats']==found.numbers['open']==[] and "can't be compared with b" in found.text

def test_one_backbone_is_not_called_the_best():
    r = results([.3], [.5])
    assert best_backbone(r, None)==best_backbone(r, pairs(('a', 'b', .1, .2)))==[]
    assert headline(r)[0].text.startswith('The macro-F1 on the test set')
    assert headline(results())[0].text.startswith('The highest macro-F1')

@pytest.mark.parametrize('low,high,verdict', [(.51, .6, 'above'), (.5, .6, 'open'), (.3, .39, 'below'), (.3, .4,
'open'), (.45, .48, 'open'),
    (.3, .6, 'open'), (np.nan, .6, 'unknown')])
def test_one_annotator_is_beaten_only_by_an_interval_that_does_not_touch(low, high, verdict):
    assert [f.numbers['verdict'] for f in against_annotator(voted(low, high).assign(held_out_macro_f1=.45))]==[verdict]

def test_without_votes_nothing_is_said_of_annotators():
    assert against_annotator(results())==[] and annotator_agreement(None)==[]
    assert against_annotator(voted(.3, .4).assign(annotator_macro_f1=np.nan))==[]

def test_agreement_counts_labels_at_the_limits():
    "An alpha of exactly 2/3 is not below the limit; an interval that starts at 0 is at chance"
    d = pd.DataFrame(dict(label=['x', 'y', 'z', 'mean'], alpha=[2/3, .6, np.nan, .63], low=[.5, 0., np.nan, .4],
        high=[.8, .7, np.nan, .7]))
    assert annotator_agreement(d)[0].numbers==dict(mean=.63, labels=2, below_limit=1, chance=1)
    alone = annotator_agreement(d.iloc[[0, 3]])[0]
    assert 'Highest' not in alone.text and alone.numbers['labels']==1

def test_labels_count_only_above_their_own_baseline():
    d = labels([50, 10, 0], [2/3, .2, 0.]) # predicting always scores 2/3, 2/11 and nothing
    assert np.allclose(label_baseline(d)[:2], [2/3, 2/11]) and np.isnan(label_baseline(d)[2])
    assert labels_above_baseline(d)[0].numbers=={'a': dict(above=1, labels=2)}
    both = pd.concat([d, labels([50, 10, 0], [.9, .9, .9], 'b')], ignore_index=True)
    assert list(labels_above_baseline(both, ['b', 'a'])[0].numbers)==['b', 'a']

@pytest.mark.parametrize('positives,rare', [([19, 30], 1), ([20, 30], 0), ([0, 30], 0), ([1, 19], 2)])
def test_rare_labels_have_1_to_19_test_images(positives, rare):
    assert [f.numbers['rare'] for f in rare_labels(labels(positives, [.5, .5]))]==([rare] if rare else [])

@pytest.mark.parametrize('best,at_end', [(0, True), (1, False), (2, True)])
def test_both_ends_of_a_grid_are_reported_but_not_the_first_epoch(best, at_end):
    h = pd.DataFrame(dict(backbone='a', l2=[10, 1, .1], mean_ap=[.3-.1*abs(i-best) for i in range(3)]))
    assert training_choices(h)[0].numbers['at_end']==(['a'] if at_end else [])
    e = pd.DataFrame(dict(backbone='a', epoch=range(3), valid_loss=[.3+.1*abs(i-best) for i in range(3)]))
    assert training_choices(e)[0].numbers['at_end']==(['a'] if best==2 else [])

def test_of_equal_values_of_l2_the_strongest_is_chosen():
    h = pd.DataFrame(dict(backbone='a', l2=[.1, 1, 10, 100], mean_ap=[.2, .3, .3, .2]))
    assert training_choices(h)[0].numbers['chosen']=={'a': 10.}

def test_nothing_chosen_nothing_said():
    assert training_choices(pd.DataFrame(dict(backbone='a', l2=[1.], mean_ap=[.3])))==[]
    assert training_choices(pd.DataFrame(dict(backbone='a', l2=[1., 2.], mean_ap=np.nan)))==[]

def test_near_duplicates_that_nobody_looked_for_are_not_called_absent():
    leaks = pd.DataFrame(dict(split_a=['train', 'valid', 'test', 'valid'], split_b=['test', 'train', 'train', 'test']))
    assert duplicate_pairs(None)==split_leaks(None)==split_leaks(leaks[:0])==[]
    assert duplicate_pairs(0)[0].numbers==dict(pairs=0, divided=0, train_test=0)
    assert duplicate_pairs(5, leaks)[0].numbers==dict(pairs=5, divided=4, train_test=2)

def test_random_weights_are_named_only_where_there_are_some():
    r = results()
    assert random_weights(r[:0])==[]
    assert 'b and c ran with random weights and are not compared' in random_weights(r[1:])[0].text
    assert n_trials(r.assign(n_splits=2, seeds='1 2 3'))==6

def test_a_run_with_the_bare_necessities(tmp_path):
    run = SimpleNamespace(folder=tmp_path, config={}, names=['a'], random=results()[:0], all_random=False,
        results=results([.3], [.5]),
        paired=None, per_label=labels([50], [.5]), history=pd.DataFrame(dict(backbone=['a'], epoch=[0],
        valid_loss=[.3])), agreement=None,
        leaks=None)
    found = findings(run)
    assert [f.kind for f in found]==['headline', 'baseline', 'baseline', 'intervals', 'labels_above']
    assert all(f.text.endswith('.') and f.rule.endswith('.') for f in found)
    assert not any('  ' in f.text or '<' in f.text for f in found)
