"Rules that hold for any data, tried on random ones: the vote rule, splits, thresholds, calibration, metrics, the feature store and tables."
import tempfile
from dataclasses import replace
from pathlib import Path
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as skm
from ads_sentiment.core import AdsError
from ads_sentiment.data.annotations import annotator_counts, consensus_labels, vote_table
from ads_sentiment.data.datasets import AdsData, csv_ads
from ads_sentiment.data.splits import duplicate_groups, resplit, stratified_folds
from ads_sentiment.evaluation.calibration import calibrate
from ads_sentiment.evaluation.metrics import decide, label_ap, log_loss, macro_f1, micro_f1, roc_auc
from ads_sentiment.evaluation.thresholds import choose_thresholds, expected_thresholds, tune_thresholds
from ads_sentiment.models.store import FeatureStore

few = settings(max_examples=40, deadline=None, derandomize=True)
labels = ['Calm', 'Eager', 'Sad', 'Amused']

# --- the vote rule -------------------------------------------------------------------------------------------------------------------------------

votes = st.lists(st.lists(st.sets(st.sampled_from(labels)), min_size=1, max_size=5), min_size=1, max_size=12) # images of annotators of labels

def long(images):
    rows = [(f'{i}.jpg', who, l) for i,people in enumerate(images) for who,named in enumerate(people) for l in sorted(named) or [None]]
    df = pd.DataFrame(rows, columns=['image', 'annotator', 'label'])
    return df.assign(image=pd.Categorical(df.image, [f'{i}.jpg' for i in range(len(images))]), label=pd.Categorical(df.label, labels))

@few
@given(votes, st.integers(1, 3), st.integers(0, 3), st.booleans())
def test_vote_rule(images, min_votes, drop, drop_images):
    "The table counts votes; a label holds with `min_votes`; the rarest are dropped, with their images if asked"
    table = vote_table(long(images))
    count = {(f'{i}.jpg', l): sum(l in named for named in people) for i,people in enumerate(images) for l in labels}
    assert table.stack().to_dict()==count and annotator_counts(long(images)).tolist()==[len(p) for p in images]
    holds = {i: {l for l in labels if count[i,l] >= min_votes} for i in table.index}
    rarest = sorted(labels, key=lambda l: sum(l in h for h in holds.values()))[:drop] # ties in column order, as `sorted` keeps them
    want = {i: h-set(rarest) for i,h in holds.items() if h-set(rarest) and not (drop_images and h & set(rarest))}
    try: got = consensus_labels(table, min_votes, drop, drop_images=drop_images)
    except AdsError: assert not want
    else: assert {i: {l for l in got if r[l]} for i,r in got.iterrows()}==want and list(got)==[l for l in labels if l not in rarest]

# --- splits --------------------------------------------------------------------------------------------------------------------------------------

@st.composite
def grouped(draw):
    "0/1 labels of images, and pairs of near-duplicates"
    n = draw(st.integers(12, 40))
    targs = draw(hnp.arrays(np.int64, (n, draw(st.integers(1, 4))), elements=st.integers(0, 1)))
    names = [f'{i}.jpg' for i in range(n)]
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=6))
    return pd.DataFrame(targs, index=pd.Index(names, name='image'), columns=labels[:targs.shape[1]]), pd.DataFrame(pairs, columns=['a', 'b'])

def as_ads(targs):
    split = pd.Series(pd.Categorical(['train', 'valid', 'test']*len(targs))[:len(targs)], targs.index, name='split').astype(object)
    return AdsData('any', targs, split, pd.Series([Path(i) for i in targs.index], targs.index, dtype=object))

@few
@given(grouped(), st.integers(0, 10**6), st.integers(0, 4), st.randoms())
def test_stratified_splits(drawn, seed, fold, rng):
    "Each image is in one fold, in one test set; groups stay together; the order of the rows is of no matter"
    targs,pairs = drawn
    groups = duplicate_groups(targs.index, pairs)
    folds = stratified_folds(targs, groups, 5, seed)
    assert folds.index.equals(targs.index) and folds.isin(range(5)).all() and (folds.groupby(groups).nunique()==1).all()
    order = list(targs.index)
    rng.shuffle(order)
    assert stratified_folds(targs.loc[order], groups.loc[order], 5, seed).loc[targs.index].equals(folds)
    try: ads = resplit(as_ads(targs), 'stratified', fold, seed, groups=groups)
    except AdsError as e: assert 'leave no image for' in str(e)
    else:
        assert sorted(ads.targs.index)==sorted(targs.index) and set(ads.split)=={'train', 'valid', 'test'} and ads.targs.loc[targs.index].equals(targs)
        assert (ads.split.groupby(groups).nunique()==1).all() and set(ads.split.index[ads.split=='test'])==set(folds.index[folds==fold])

# --- probabilities, thresholds, metrics ------------------------------------------------------------------------------------------------------------

@st.composite
def predictions(draw, n_min=2):
    "Probabilities, some of them equal, and 0/1, images x labels"
    shape = draw(st.integers(n_min, 30)),draw(st.integers(1, 4))
    elements = st.one_of(st.sampled_from([0., .25, .5, 1.]), st.floats(0, 1, width=32))
    return draw(hnp.arrays(np.float64, shape, elements=elements)),draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 1)))

def f1s(p, t, th): return skm.f1_score(t, p>=th, average=None, zero_division=0) if t.shape[1]>1 else [skm.f1_score(t, p>=th, zero_division=0)]

@few
@given(predictions(), st.floats(0, 1))
def test_metrics_are_those_of_scikit_learn(drawn, th):
    p,t = drawn
    y = decide(p, th)
    assert macro_f1(p, t, th)==pytest.approx(np.mean(f1s(p, t, th))) and micro_f1(p, t, th)==pytest.approx(skm.f1_score(t.ravel(), y.ravel(), zero_division=0))
    assert log_loss(p, t)==pytest.approx(skm.log_loss(t.ravel(), p.ravel(), labels=[0,1]))
    for j,(ap,auc) in enumerate(zip(label_ap(p, t), roc_auc(p, t))):
        n = t[:,j].sum()
        assert ap==pytest.approx(skm.average_precision_score(t[:,j], p[:,j])) if n else np.isnan(ap)
        assert auc==pytest.approx(skm.roc_auc_score(t[:,j], p[:,j])) if 0<n<len(t) else np.isnan(auc)

@few
@given(predictions())
def test_tuned_thresholds_are_the_best(drawn):
    "No other threshold has a higher F1 on the images it was tuned on"
    p,t = drawn
    th = tune_thresholds(p, t)
    assert ((th>=0)&(th<=1)).all()
    best = np.max([f1s(p, t, np.full(p.shape[1], x)) for x in np.unique(p)], axis=0)
    assert np.asarray(f1s(p, t, th))[t.any(0)]==pytest.approx(best[t.any(0)])

@few
@given(predictions(), st.sampled_from(['logits', 'half', 'tuned', 'shrunk', 'expected']))
def test_thresholds_by_any_name(drawn, how):
    p,t = drawn
    th = choose_thresholds(p, t, how)
    assert th.shape==(p.shape[1],) and ((th>=0)&((th<=1)|np.isinf(th))).all()
    assert decide(p, th).shape==p.shape and (how=='expected' or np.isfinite(th).all())

@few
@given(predictions(), st.randoms())
def test_the_order_of_images_is_of_no_matter(drawn, rng):
    p,t = drawn
    order = list(range(len(p)))
    rng.shuffle(order)
    for tuned in (tune_thresholds, expected_thresholds): assert tuned(p[order], t[order])==pytest.approx(tuned(p, t))
    assert macro_f1(p[order], t[order])==pytest.approx(macro_f1(p, t))

@settings(few, max_examples=20)
@given(predictions(n_min=5), st.sampled_from(['none', 'temperature', 'platt']), st.floats(.1, 50))
def test_calibration_is_monotone(drawn, how, scale):
    "Probabilities in 0..1, in the order of the logits of each label"
    p,t = drawn
    logits = scale*(p-.5)
    c = calibrate(logits, t, how)
    grid = np.linspace(-100, 100, 41)[:,None]*np.ones(p.shape[1])
    assert (np.diff(c(grid), axis=0)>=0).all() and (c(grid)>=0).all() and (c(grid)<=1).all() and (np.asarray(c.slope)>0).all()
    def loss(z): return (np.logaddexp(0, z) - t*z).mean()
    if how=='temperature': assert loss(c.logits(logits)) <= loss(logits) + 1e-6

# --- the feature store ---------------------------------------------------------------------------------------------------------------------------

row = st.tuples(st.integers(0, 20), st.integers(0, 99))

@few
@given(st.lists(st.tuples(st.lists(row, max_size=6), st.booleans()), max_size=8), st.lists(st.integers(0, 20)))
def test_feature_store(batches, asked):
    "Rows are those that were given first, in any order of appending and opening, and after bytes of a crash at the end"
    with tempfile.TemporaryDirectory() as tmp:
        store,want = FeatureStore(tmp, 3),{}
        for batch,again in batches:
            if again:
                if store.index.exists(): store.index.write_bytes(store.index.read_bytes() + b'half')
                store = FeatureStore(tmp, 3)
            store.append([f'k{k}' for k,_ in batch], np.array([[v, v+1, -v] for _,v in batch], np.float32).reshape(-1, 3))
            for k,v in batch: want.setdefault(k, v)
        there = [k for k in asked if k in want]
        for s in (store, FeatureStore(tmp, 3)):
            assert len(s)==len(want) and s.missing([f'k{k}' for k in asked])==list(dict.fromkeys(f'k{k}' for k in asked if k not in want))
            assert s.rows([f'k{k}' for k in there]).tolist()==[[want[k], want[k]+1, -want[k]] for k in there]

# --- tables ---------------------------------------------------------------------------------------------------------------------------------------

name = st.text(st.characters(codec='utf-8', exclude_categories=['Cs']), min_size=1, max_size=12)

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "Thirty files; what is in them is of no matter"
    folder = tmp_path_factory.mktemp('table')
    for i in range(30): (folder/f'{i}.jpg').touch()
    return folder

@few
@given(drawn=grouped(), names=st.lists(name, min_size=4, max_size=4, unique=True), seed=st.integers(0, 99))
def test_tables_come_back(folder, drawn, names, seed):
    "A table of any labels and split is read as the same data, or was refused when it was to be written"
    targs = drawn[0].iloc[:30]
    targs = targs.set_axis(names[:targs.shape[1]], axis=1)
    ads = as_ads(targs)
    ads = replace(ads, split=pd.Series(np.random.default_rng(seed).permutation(ads.split), ads.split.index, name='split'), paths=targs.index.to_series().map(lambda i: folder/i))
    try: table = ads.to_table(folder)
    except AdsError as e:
        assert '\n' not in str(e)
        return
    table.to_csv(folder/'table.csv', index=False)
    for got in (csv_ads(table, root=folder), csv_ads(folder/'table.csv')):
        assert sorted(got.vocab)==sorted(ads.vocab) and got.targs.loc[targs.index, ads.vocab].equals(targs)
        assert got.split.loc[targs.index].tolist()==ads.split.loc[targs.index].tolist()
