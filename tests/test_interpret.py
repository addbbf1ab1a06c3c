"At the size of the study's test set every table of `MultiLabelInterpretation` equals scikit-learn's, after one pass."
import gc
import numpy as np, pandas as pd, pytest, torch
from sklearn import metrics as skm
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from fastai.vision.all import BCEWithLogitsLossFlat, CategoryMap, DataLoader, DataLoaders, Learner
from ads_sentiment.core import AdsError
from ads_sentiment.explain.interpretation import MultiLabelInterpretation
from ads_sentiment.evaluation.thresholds import tune_thresholds

n,L = 3712,20
vocab = [f'Label {j:02d}' for j in range(L)]

def made_up(seed=0):
    "Probabilities (float32), targets from votes, votes and numbers of annotators"
    rng = np.random.default_rng(seed)
    annotators = rng.choice([3,5], n)
    ease = np.linspace(.35, .02, L)
    votes = rng.binomial(annotators[:,None], ease*rng.uniform(.3, 1.7, (n,L)).clip(0, 1))
    targs = (votes>=2).astype(int)
    mixed = rng.normal(size=(L,L))*.3+np.eye(L) # errors of one label go with those of others
    logits = 2.5*targs + .8*votes/annotators[:,None] - 2 + rng.normal(size=(n,L))@mixed
    return (1/(1+np.exp(-logits))).astype(np.float32), targs, votes, annotators

@pytest.fixture(scope='module')
def interp():
    p,t,votes,annotators = made_up()
    files = [f'{i%11}/{i}.jpg' for i in range(n)]
    votes,annotators = pd.DataFrame(votes, files, vocab),pd.Series(annotators, files)
    return MultiLabelInterpretation(p, t, vocab, tune_thresholds(p, t), files, votes=votes, annotators=annotators)

@pytest.fixture(scope='module')
def p(interp): return interp.preds.astype(np.float64)
@pytest.fixture(scope='module')
def t(interp): return made_up()[1]
@pytest.fixture(scope='module')
def y(interp, p): return (p >= interp.thresholds).astype(int)

def close(a, b, tol=1e-9):
    a,b = (np.asarray(x, dtype=float) for x in (a, b))
    np.testing.assert_allclose(a, b, rtol=0, atol=tol)

def weighted(t, y, w): return skm.multilabel_confusion_matrix(t, y, sample_weight=w)

def test_is_of_the_size_of_the_study(interp):
    assert (len(interp), len(interp.vocab)) == (n, L)
    for on in (interp.targs & interp.decoded, interp.targs > interp.decoded, interp.targs < interp.decoded):
        assert on.any()

def test_confusion_matrices(interp, t, y):
    assert (interp.confusion_matrices() == skm.multilabel_confusion_matrix(t, y)).all()

def test_report(interp, p, t, y):
    r = interp.report().set_index('label').rename(columns={'f1': 'f1-score'})
    theirs = skm.classification_report(t, y, target_names=vocab, output_dict=True, zero_division=0)
    for k in ('precision', 'recall', 'f1-score', 'support'): close(r[k], [theirs[l][k] for l in vocab])
    close(r.predicted, y.sum(0))
    close(r.ap, skm.average_precision_score(t, p, average=None))
    close(r.roc_auc, skm.roc_auc_score(t, p, average=None))
    close(r[['tn','fp','fn','tp']], skm.multilabel_confusion_matrix(t, y).reshape(L, 4))
    for k,row in interp.averages().iterrows():
        close(row, [theirs[f'{k} avg'][c] for c in ('precision', 'recall', 'f1-score')])

def test_missed_as(interp, t, y):
    missed = t*(1-y)
    assert missed.any(0).all()
    fp,tn = (np.stack([weighted(t, y, missed[:,j])[:,0,k] for j in range(L)]) for k in (1,0))
    alarms = 1-np.array([skm.recall_score(t[:,j], y[:,j], pos_label=0) for j in range(L)])
    with np.errstate(invalid='ignore'): rate = fp/(fp+tn)
    theirs = dict(count=fp, cases=fp+tn, rate=rate, expected=np.tile(alarms, (L,1)), lift=rate/alarms,
                  excess=fp-(fp+tn)*alarms)
    for k,v in theirs.items(): close(interp.missed_as(k), v)
    top = interp.predicted_instead(L*L)
    assert len(top) == (fp>0).sum() and top.excess.is_monotonic_decreasing
    for r in top.to_dict('records'):
        i,j = vocab.index(r['missed']),vocab.index(r['predicted'])
        close([r[k] for k in theirs], [v[i,j] for v in theirs.values()])

def test_cooccurrence(interp, t, y):
    both,share = {},{}
    for k,a in dict(truth=t, predicted=y).items():
        both[k] = np.stack([weighted(a, a, a[:,j])[:,1,1] for j in range(L)])
        share[k] = np.array([[skm.precision_score(a[:,i], a[:,j]) for i in range(L)] for j in range(L)])
        close(interp.cooccurrence(k), both[k])
        close(interp.cooccurrence(k, share=True), share[k])
    close(interp.cooccurrence('difference'), both['predicted']-both['truth'])
    close(interp.cooccurrence('difference', share=True), share['predicted']-share['truth'])

def test_curves(interp, p, t):
    for j,l in enumerate(vocab):
        precision,recall,th = skm.precision_recall_curve(t[:,j], p[:,j])
        c = interp.curve(l)
        close(c[['precision','recall']], np.c_[precision, recall])
        close(c.threshold[:-1], th)
        close(skm.auc(*interp.curve(l, 'roc')[['fpr','tpr']].to_numpy().T), skm.roc_auc_score(t[:,j], p[:,j]))

def test_top_losses(interp, p, t, y):
    theirs = np.array([skm.log_loss(t[i], p[i], labels=[0,1]) for i in range(n)])
    top = interp.top_losses()
    assert top.loss.is_monotonic_decreasing and set(top.index) == set(range(n))
    close(top.loss, theirs[top.index], 1e-5)
    close(interp.top_losses(largest=False).loss, np.sort(theirs), 1e-5)
    for r in interp.top_losses(200).itertuples():
        for text,on in ((r.hits, t&y), (r.missed, t&(1-y)), (r.false_alarms, (1-t)&y)):
            names = {c.rsplit(' ', 3)[0] for c in text.split(', ') if c}
            assert names == {vocab[j] for j in np.flatnonzero(on[r.Index])}
    one = interp.top_losses(50, label=vocab[4])
    close(one.loss, np.sort(-np.log(np.where(t[:,4], p[:,4], 1-p[:,4])))[::-1][:50], 1e-5)

def test_agreement(interp, p, t, y):
    votes,annotators = made_up()[2:]
    agree = np.array([np.nan if not k.any() else (k*(k-1)).sum()/((m-1)*k.sum()) for k,m in zip(votes, annotators)])
    close(interp.image_agreement(), agree)
    table = interp.by(interp.image_agreement(), n_boot=50)
    assert table.images.sum() == np.isfinite(agree).sum() and len(table)>2
    for k,r in enumerate(table.itertuples()):
        i = (agree>=r.low) & ((agree<r.high) if k<len(table)-1 else (agree<=r.high))
        assert i.sum() == r.images
        close(r.f1, skm.f1_score(t[i], y[i], average='samples', zero_division=0))
        close(r.recall, skm.recall_score(t[i], y[i], average='micro'))
        close(r.loss, skm.log_loss(t[i].ravel(), p[i].ravel()), 1e-5)
    for r in interp.by_votes(n_boot=50).itertuples():
        at = votes==r.low
        close(r.predicted, y[at].mean())
        if r.positives: close(r.recall, skm.recall_score(t.ravel(), y.ravel(), sample_weight=at.ravel()))
    share = votes/annotators[:,None]
    for r in interp.by_votes('share', n_boot=50).itertuples():
        at = share==0 if r.high==0 else (share>r.low+1e-8) & (share<r.high+1e-8)
        assert at.sum() == r.decisions
        close(r.predicted, y[at].mean())
    e = interp.errors_and_agreement(n_boot=50)
    for kind,on in {'missed': (t>y).any(1), 'false alarm': (y>t).any(1)}.items():
        close(e.loc[kind, 'diff'], np.nanmean(agree[on])-np.nanmean(agree[~on]))

def test_intervals_cover(interp):
    "The confidence interval of a difference that is zero contains zero in most cases"
    p,t,votes,annotators = made_up()
    files,held = list(map(str, range(n))),[]
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(n) # votes of other images
        mixed = dict(votes=pd.DataFrame(votes[order], files, vocab), annotators=pd.Series(annotators[order], files))
        other = MultiLabelInterpretation(p, t, vocab, .5, files, **mixed)
        e = other.errors_and_agreement(n_boot=200).loc['missed']
        held.append(e.low<=0<=e.high)
    assert sum(held) >= 16

class Counted(nn.Module):
    "Logits from images of one colour; counts the images"
    def __init__(self):
        super().__init__()
        self.fc,self.n = nn.Linear(3, L),0
    def forward(self, x):
        self.n += len(x)
        return self.fc(x.mean((2,3)))

def tensor_bytes(): # Of all tensors alive, each storage once
    gc.collect()
    real = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor) and not issubclass(type(o), FakeTensor)] # tracers leave fake ones
    storages = [o.untyped_storage() for o in real if o.device.type!='meta']
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())

@pytest.mark.parametrize('size', [8, 64])
def test_one_pass_and_small(size):
    "All tables and pictures need one pass; the memory grows with images x labels, not with the size of the images"
    torch.manual_seed(0)
    items = [(torch.rand(3,1,1).expand(3, size, size), (torch.rand(L)<.3).float()) for _ in range(n)]
    dls = DataLoaders(*(DataLoader(items, bs=64) for _ in range(2)))
    for dl in dls: dl.vocab = CategoryMap(vocab)
    learn = Learner(dls, Counted(), loss_func=BCEWithLogitsLossFlat())
    before = tensor_bytes()
    with learn.no_bar(): interp = MultiLabelInterpretation.from_learner(learn)
    for f in (interp.report, interp.averages, interp.missed_as, interp.predicted_instead, interp.cooccurrence,
              interp.top_losses, interp.confusion_matrices, interp.plot_confusions, interp.plot_missed_as,
              interp.plot_curves, interp.plot_cooccurrence, interp.plot_top_losses): f()
    assert learn.model.n == n
    assert interp.vocab == vocab
    assert tensor_bytes()-before < 3*n*L*4 + 2*learn.x.nbytes # a Learner itself keeps its last batch
    assert n*learn.x[0].nbytes > 20*2*learn.x.nbytes # which is little beside all images
    arrays = [a for a in vars(interp).values() if isinstance(a, (np.ndarray, torch.Tensor))]
    assert sum(a.nbytes for a in arrays) == n*L*6 + n*4 + L*8

def test_data_without_votes_say_so():
    p,t,*_ = made_up()
    interp = MultiLabelInterpretation.from_preds(p, t, vocab)
    with pytest.raises(AdsError, match='there are no votes'): interp.plot_by_agreement()

def test_one_label(interp, p, t, y):
    "The averages of a single label are its binary scores; over ads they are those of its column beside an empty one"
    one = MultiLabelInterpretation(interp.preds[:,:1], t[:,:1], vocab[:1], interp.thresholds[:1]).averages()
    binary = skm.precision_recall_fscore_support(t[:,0], y[:,0], average='binary', zero_division=0)[:3]
    for how in ('micro', 'macro', 'weighted'): close(one.loc[how], binary)
    beside = [np.c_[a[:,0], np.zeros(n, dtype=int)] for a in (t, y)]
    close(one.loc['samples'], skm.precision_recall_fscore_support(*beside, average='samples', zero_division=0)[:3])

def test_decisions_repeat():
    "A label whose probability equals its threshold is predicted, in spite of the rounding to float32"
    p,t,*_ = made_up()
    p,th = p.astype(np.float64).round(2),np.linspace(.05, .95, L).round(2)
    first = MultiLabelInterpretation(p, t, vocab, th)
    assert (p==th).any() and (first.preds[p==th] < np.tile(th, (n,1))[p==th]).any()
    assert (first.decoded == (p>=th)).all()
    assert (first.with_thresholds(first.thresholds).decoded == first.decoded).all()
    text = first.top_losses()
    for column,sign in (('hits', '<'), ('false_alarms', '<'), ('missed', '≥')):
        assert not text[column].str.contains(sign).any()

def test_names_of_tables_count():
    p,t,*_ = made_up()
    files = [f'{i}.jpg' for i in range(n)]
    targs = pd.DataFrame(t, files, vocab)
    make = MultiLabelInterpretation.from_preds
    assert make(p, targs, vocab, files=files).files == files
    with pytest.raises(AdsError, match='targs and files differ'): make(p, targs, vocab, files=files[::-1])
    with pytest.raises(AdsError, match='targs and vocab differ'): make(p, targs[vocab[::-1]], vocab, files=files)

def test_modes_are_kept():
    "Interpretation in the middle of training leaves all modules in their mode"
    items = [(torch.rand(3, 4, 4), (torch.rand(L)<.3).float()) for _ in range(8)]
    dls = DataLoaders(*(DataLoader(items, bs=4) for _ in range(2)))
    learn = Learner(dls, Counted(), loss_func=BCEWithLogitsLossFlat())
    for on in (True, False):
        learn.model.train(on)
        with learn.no_bar(): MultiLabelInterpretation.from_learner(learn)
        assert learn.model.training == on == learn.model.fc.training
