"Scores in parts of the images and tests for shortcuts: against scikit-learn and SciPy, with made-up predictions, and what is refused"
import numpy as np, pandas as pd, pytest
from scipy import stats
from sklearn import metrics as skm
from ads_sentiment.core import AdsError
from ads_sentiment.explain.interpretation import MultiLabelInterpretation
from ads_sentiment.explain.slices import corrected_p, rank_test

n,L = 600,20
files = [f'{i%11}/{i}.jpg' for i in range(n)]
vocab = [f'Label {j:02d}' for j in range(L)]

def made_up(seed=0, label=0., model=0.):
    "An interpretation and facts; label 0 and its probabilities follow brightness by `label` and `model`"
    rng = np.random.default_rng(seed)
    facts = pd.DataFrame(rng.normal(size=(n,8)), pd.Index(files, name='image'), ['brightness', *(f'noise {k}' for k in range(7))])
    logits = rng.normal(size=(n,L))-1.5
    logits[:,0] += label*facts.brightness
    targs = rng.random((n,L)) < 1/(1+np.exp(-logits))
    seen = 2*targs + rng.normal(size=(n,L)) - 1.5
    seen[:,0] += model*facts.brightness
    return MultiLabelInterpretation(1/(1+np.exp(-seen)), targs.astype(int), vocab, files=files),facts

@pytest.fixture(scope='module')
def plain(): return made_up()

def test_by_is_scikit_learn_on_a_part(plain):
    interp,facts = plain
    table = interp.by('brightness', facts, n_boot=50)
    assert table.images.tolist() == [150]*4
    for r in table.itertuples():
        v = facts.brightness.to_numpy()
        on = (v>=r.low) & (v<=r.high)
        t,y,p = interp.targs[on],interp.decoded[on],interp.preds[on]
        got = [r.f1, r.macro_f1, r.mean_ap, r.recall]
        np.testing.assert_allclose(got, [skm.f1_score(t, y, average='samples', zero_division=0), skm.f1_score(t, y, average='macro', zero_division=0),
            skm.average_precision_score(t, p), skm.recall_score(t, y, average='micro')], atol=1e-9)

def test_by_takes_columns_as_pandas_users_give_them(plain):
    interp,facts = plain
    few = dict(n_boot=20)
    first = interp.by('brightness', facts, **few)
    wider = pd.concat([facts, facts.rename(lambda f: f'other/{f}')]).sample(frac=1, random_state=0)
    for column in (facts.brightness, wider.brightness, facts.brightness.to_numpy(), facts.brightness.tolist(), facts.brightness.astype('Float64')):
        pd.testing.assert_frame_equal(interp.by(column, **few), first)
    dark = facts.brightness<0
    for column in (dark, dark.map({True: 'dark', False: 'light'}), dark.map({True: 'dark', False: 'light'}).astype('category'), dark.astype(int)):
        assert sorted(interp.by(column, **few).images) == sorted(dark.value_counts())
    gaps = facts.brightness.where(~dark)
    assert interp.by(gaps, **few).images.sum() == (~dark).sum()
    numbered = MultiLabelInterpretation(interp.preds, interp.targs)
    pd.testing.assert_frame_equal(numbered.by(facts.brightness.reset_index(drop=True), **few), first)

@pytest.mark.parametrize('column, message', [
    (lambda f: 'brigthness', "Did you mean 'brightness'"),
    (lambda f: f, 'is a DataFrame'),
    (lambda f: f.brightness.to_numpy()[:-1], 'expected 600 values'),
    (lambda f: f.brightness[:-1], 'has no row for'),
    (lambda f: f.brightness.reset_index(drop=True), 'as its index'),
    (lambda f: pd.concat([f.brightness, f.brightness]), 'several rows'),
    (lambda f: f.brightness*np.nan, 'has no value'),
    (lambda f: f.brightness*np.inf, 'infinite'),
    (lambda f: f.brightness*0, 'nothing to compare'),
    (lambda f: (f.brightness.rank()-590).clip(lower=0), 'too many of the values are equal'),
    (lambda f: pd.Series(files, files), 'at most 20 categories')])
def test_by_refuses(plain, column, message):
    interp,facts = plain
    with pytest.raises(AdsError, match=message): interp.by(column(facts), facts)

def test_by_refuses_one_bin_and_a_name_without_a_table(plain):
    interp,facts = plain
    with pytest.raises(AdsError, match='bins=1'): interp.by('brightness', facts, bins=1)
    with pytest.raises(AdsError, match='there is no table'): interp.by('brightness')

@pytest.mark.parametrize('facts, message', [
    (lambda f: f.reset_index(drop=True), 'facts has no row'),
    (lambda f: f[:-1], 'has no row for'),
    (lambda f: f.assign(empty=np.nan), 'column empty has no value'),
    (lambda f: f.assign(endless=np.inf), 'infinite'),
    (lambda f: f[[]], 'expected a table'),
    (lambda f: f.to_numpy(), 'expected a table'),
    (lambda f: f.assign(name=files), 'at most 20 categories')])
def test_tests_refuse(plain, facts, message):
    interp,table = plain
    for f in (interp.slices, interp.shortcuts):
        with pytest.raises(AdsError, match=message): f(facts(table))

def test_a_shortcut_needs_both_the_label_and_the_model():
    for label,model,verdict in ((1.5, 1, 'possible shortcut'), (1.5, 0, 'label follows'), (0, 1, 'model follows'), (1.5, -1, 'label follows')):
        interp,facts = made_up(1, label, model)
        pairs = interp.shortcuts(facts, n_perm=500)
        row = pairs[(pairs.label==vocab[0]) & (pairs.column=='brightness')].iloc[0]
        assert row.verdict == verdict, (label, model)
        if verdict=='possible shortcut': assert pairs.iloc[0].column=='brightness' and (pairs.verdict==verdict).sum()==1

def test_nothing_is_found_where_nothing_is():
    found = [(made_up(k)[0].shortcuts(made_up(k)[1], n_perm=199, margin=0).p.min()<=.05) for k in range(20)]
    assert sum(found) <= 3

def test_a_constant_column_is_no_shortcut(plain):
    interp,facts = plain
    pairs = interp.shortcuts(facts.assign(same=3), n_perm=99)
    assert (pairs[pairs.column=='same'][['auc', 'p', 'p_label', 'p_model']] == [.5, 1, 1, 1]).all(axis=None)

def test_slices_find_the_column_that_the_loss_depends_on():
    interp,facts = made_up(2)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(n,L))*3*(facts.brightness.to_numpy()>.5)[:,None]
    logits = np.log(interp.preds/(1-interp.preds))+noise
    worse = MultiLabelInterpretation(1/(1+np.exp(-logits)), interp.targs, vocab, files=files)
    assert worse.slices(facts, n_perm=199).loc[0, ['column', 'verdict']].tolist() == ['brightness', 'worse where high']
    assert (interp.slices(facts, n_perm=199).verdict=='not significant').all()

def test_rank_test_is_spearman_and_corrects():
    rng = np.random.default_rng(0)
    x,y = rng.normal(size=(80,3)),rng.normal(size=(80,2))
    rho,z,null = rank_test(x, y, n_perm=999)
    np.testing.assert_allclose(rho, [[stats.spearmanr(a, b).statistic for a in x.T] for b in y.T], atol=1e-9)
    alone = corrected_p(z, null, np.arange(6).reshape(2, 3)==0)[0,0]
    exact = stats.permutation_test((x[:,0],), lambda a: stats.spearmanr(a, y[:,0]).statistic, permutation_type='pairings', n_resamples=2000,
        rng=np.random.default_rng(1)).pvalue
    assert abs(alone-exact) < .05
    assert corrected_p(z, null)[0,0] >= alone
