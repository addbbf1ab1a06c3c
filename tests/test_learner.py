"Habits of fastai users with an `AdsLearner`: each gives the right result or refuses with the way out; no training number is a validation number."
import json, re, subprocess, sys
import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt, numpy as np, pandas as pd, pytest, torch
from fastai.vision.all import (ClassificationInterpretation, CSVLogger, EarlyStoppingCallback, Interpretation, Learner, SaveModelCallback, load_learner)
from PIL import Image
from ads_sentiment import core
from ads_sentiment.core import AdsError
from ads_sentiment.data.loaders import ads_dataloaders
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.explain.interpretation import MultiLabelInterpretation
from ads_sentiment.data.loaders import plain_dl
from ads_sentiment.models.features import module_digest
from ads_sentiment.training.head_fit import split_targs
from ads_sentiment.training.learner import ads_learner
from ads_sentiment.evaluation.metrics import log_loss, mean_ap
from ads_sentiment.data.images import UnreadableImage, prepare_images
from ads_sentiment.recipes import get_recipe

pytestmark = pytest.mark.filterwarnings('ignore')
adam = get_recipe(solver='adam', epochs=2)

@pytest.fixture(scope='module')
def source(tmp_path_factory): return demo_ads(tmp_path_factory.mktemp('demo'), n=120, seed=1)
@pytest.fixture(scope='module')
def ads(source, tmp_path_factory): return prepare_images(source, tmp_path_factory.mktemp('prepared'), size=80)[0]
@pytest.fixture(scope='module')
def store(tmp_path_factory): return tmp_path_factory.mktemp('features')

@pytest.fixture
def make(ads, store, tmp_path):
    "A new learner, its head fitted unless `fit=False`"
    def new(recipe='tuned', fit=True, data=None):
        learn = ads_learner(ads_dataloaders(data or ads, size=64), recipe=get_recipe(recipe), engine='eager', path=tmp_path)
        learn.remove_cb(learn.progress) if hasattr(learn, 'progress') else None
        if fit:
            learn.fit_head(folder=store, say=None)
        return learn
    return new

@pytest.fixture
def learn(make): return make()

@pytest.fixture(scope='module')
def raw(source, ads): return source.paths[ads.targs.index[ads.split=='test'][0]]

def close(a, b, tol=1e-5): np.testing.assert_allclose(np.asarray(a, dtype=float), np.asarray(b, dtype=float), atol=tol, rtol=0)

def trained_preds(learn, part):
    "What the head itself says of a split, without any callback"
    out = Learner.get_preds(learn, dl=[(x,) for x,_ in plain_dl(learn.dls, part)])[0]
    return out.numpy()

# --- validation after fit_head -------------------------------------------------------------------------------------------------------------------

def test_the_head_knows_its_validation_images(learn):
    "Otherwise the cases below would prove nothing"
    fit = learn.fit_result
    assert mean_ap(trained_preds(learn, 'valid'), fit.valid[1]) > mean_ap(fit.valid[0], fit.valid[1]) + .2

def by_name(learn): return learn.get_preds('valid')[0]
def by_default(learn): return learn.get_preds()[0]
def by_loader(learn): return learn.get_preds(dl=learn.dls.valid)[0]
def by_features(learn): return learn.split_preds('valid')[0]
def by_ours(learn): return MultiLabelInterpretation.from_learner(learn, 'valid').preds

@pytest.mark.parametrize('how', [by_name, by_default, by_loader, by_features, by_ours])
def test_validation_predictions_are_out_of_fold(learn, how): close(how(learn), learn.fit_result.valid[0])

@pytest.mark.parametrize('part', ['valid', 'test'])
@pytest.mark.parametrize('recipe', ['tuned', get_recipe(folds=0), adam], ids=['folds', 'no folds', 'adam'])
def test_validate_says_what_score_says(make, recipe, part):
    learn = make(recipe)
    s = learn.score(part).iloc[0]
    close(learn.validate(part), s[['log_loss', 'macro_f1', 'mean_ap']], 1e-4)

def test_score_has_baselines(learn):
    s = learn.score('test')
    assert list(s.index)==['efficientnet_lite0', 'all labels', 'prevalence-random'] and list(s.columns)==['macro_f1', 'micro_f1', 'mean_ap', 'log_loss', 'ece']
    with pytest.raises(AdsError, match='valid, test'): learn.score('train')

def test_fit_head_ends_with_one_line(make, store, capsys):
    make(fit=False).fit_head(folder=store)
    line, = capsys.readouterr().out.strip().splitlines()
    assert re.fullmatch(r'\d+ held-out images: macro-F1 [\d.]+ \(all labels [\d.]+\), mAP [\d.]+ \(chance [\d.]+\)', line)

def test_what_a_subset_of_the_validation_set_would_show_is_refused(learn):
    for dl in (learn.dls.valid.new(shuffle=True), learn.dls.valid.new(get_idxs=lambda: [0,1]), learn.dls.test_dl(learn.dls.valid.items.iloc[:3], with_labels=True)):
        for f in (learn.get_preds, learn.validate):
            with pytest.raises(AdsError, match='training numbers'): f(dl=dl)

# --- what comes after --------------------------------------------------------------------------------------------------------------------------------

def fit(learn): learn.fit(1)
def one_cycle(learn): learn.fit_one_cycle(1)
def changed(learn):
    with torch.no_grad(): learn.model[1][-1].bias += 1

@pytest.mark.parametrize('later', [fit, one_cycle, changed])
def test_a_later_fit_makes_thresholds_and_validation_stale(make, later):
    learn = make()
    later(learn)
    for f in (learn.validate, learn.get_preds, lambda: learn.score('valid'), lambda: learn.score('test'), learn.thresholds):
        with pytest.raises(AdsError, match='stale'): f()
    p,_,y = learn.get_preds('test', with_decoded=True)
    close(y, p>=.5)

@pytest.mark.parametrize('later', [fit, one_cycle])
def test_training_on_from_a_head_that_saw_the_validation_set_is_said(make, later, capsys):
    core.say_once.cache_clear()
    later(make())
    assert 'are training numbers' in capsys.readouterr().out
    with pytest.raises(AdsError, match='make a new learner'): make().__class__.fit_head(_with(make(), adam))

def _with(learn, recipe):
    learn.recipe = recipe
    return learn

def test_a_later_fit_without_folds_can_be_validated(make):
    learn = make(adam)
    learn.fit(1)
    with pytest.raises(AdsError, match='stale'): learn.thresholds()
    close(learn.get_preds()[0], trained_preds(learn, 'valid')) # the validation set was never learned from

# --- habits: the rows of the table in the notebook ------------------------------------------------------------------------------------------------------

def show_batch(learn, raw): learn.dls.show_batch(max_n=2)
def summary(learn, raw): assert re.search(r'Total non-trainable params: [\d,]{7,}', learn.summary())
def lr_find(learn, raw):
    before = module_digest(learn.model[1])
    assert 0 < learn.lr_find(show_plot=False, num_it=10).valley < 10
    assert module_digest(learn.model[1])==before and learn.fresh
def fine_tune(learn, raw):
    with pytest.raises(AdsError, match='keeps the body frozen'): learn.fine_tune(1)
def unfreeze(learn, raw):
    for f in (learn.unfreeze, lambda: learn.freeze_to(0), lambda: learn.freeze_to(-2)):
        with pytest.raises(AdsError, match='keeps the body frozen'): f()
    learn.freeze()
    assert [n for n,p in learn.model.named_parameters() if p.requires_grad]==['1.4.weight', '1.4.bias']
def predict(learn, raw):
    labels,yes,p = learn.predict(raw)
    close(yes, p>=torch.tensor(learn.thresholds()))
    assert list(labels)==[l for l,y in zip(learn.dls.vocab, yes) if y]
def get_preds(learn, raw):
    p,t,y = learn.get_preds('test', with_decoded=True)
    close(p, learn.get_preds(dl='test')[0])
    close(p, trained_preds(learn, 'test'))
    close(t, split_targs(learn.dls, 'test'))
    close(y, p>=torch.tensor(learn.thresholds()))
    close(p, learn.get_preds(2)[0])
    with pytest.raises(AdsError, match='test'): learn.get_preds('tset')
def test_dl_habit(learn, raw):
    p,_ = learn.get_preds(dl=learn.dls.test_dl([raw, str(raw)]))
    close(p[0], p[1])
    close(p[0], learn.get_preds('test')[0][0], 1e-4) # prepared as the test images were
def tta(learn, raw):
    close(learn.tta('test')[0], learn.get_preds('test')[0]) # no augmentation in this recipe
    with pytest.raises(AdsError, match='training numbers'): learn.tta()
def validate(learn, raw): close(learn.validate()[0], log_loss(learn.fit_result.valid[0], learn.fit_result.valid[1]))
def show_results(learn, raw):
    for part in ('valid', 'test', 0):
        plt.close('all')
        learn.show_results(part, max_n=3)
        assert len([a for a in plt.gcf().axes if a.images])==3
def export(learn, raw):
    learn.export('e.pkl')
    other = load_learner(learn.path/'e.pkl')
    close(other.predict(raw)[2], learn.predict(raw)[2])
    close(other.thresholds(), learn.thresholds())
    with pytest.raises(AdsError, match='holds no images'): other.get_preds('test')
def save_and_load(learn, raw):
    learn.save('m')
    kept,scores = learn.fit_result,learn.validate()
    with torch.no_grad(): learn.model[1][-1].bias += 1
    learn.load('m')
    close(learn.validate(), scores)
    close(learn.fit_result.thresholds, kept.thresholds)
def to_fp16(learn, raw):
    before = learn.validate()
    learn.to_fp16()
    close(learn.validate(), before)
    close(learn.predict(raw)[2], learn.to_fp32().predict(raw)[2], .05)
def interpretation(learn, raw):
    with pytest.raises(AdsError, match='MultiLabelInterpretation'): Interpretation.from_learner(learn)
    assert len(Interpretation.from_learner(learn, dl=learn.dls.test).losses)==len(learn.dls.test.items)
def classification_interpretation(learn, raw):
    with pytest.raises(AdsError, match='MultiLabelInterpretation'): ClassificationInterpretation.from_learner(learn)
def callbacks(make):
    learn = make(adam, fit=False)
    learn.fit(2, 1e-3, cbs=[SaveModelCallback(), EarlyStoppingCallback(patience=1), CSVLogger()])
    rows = pd.read_csv(learn.path/'history.csv')
    assert list(rows)[:5]==['epoch', 'train_loss', 'valid_loss', 'macro_f1', 'mean_ap']
    close(learn.validate()[0], rows.valid_loss.min(), 1e-4) # the best epoch is loaded again

habits = {'show_batch': show_batch, 'summary': summary, 'lr_find': lr_find, 'fine_tune': fine_tune, 'unfreeze': unfreeze,
    'predict': predict, 'get_preds': get_preds, 'test_dl': test_dl_habit, 'tta': tta, 'validate': validate, 'show_results': show_results, 'export': export,
    'save': save_and_load, 'to_fp16': to_fp16, 'SaveModelCallback': callbacks, 'Interpretation': interpretation,
    'ClassificationInterpretation': classification_interpretation}

@pytest.mark.parametrize('habit', habits)
def test_habit(habit, make, raw): habits[habit](make) if habits[habit] is callbacks else habits[habit](make(), raw)

# --- new images -----------------------------------------------------------------------------------------------------------------------------------------

new_images = dict(path=lambda p,r: p, text=lambda p,r: str(p), bytes=lambda p,r: p.read_bytes(),
    row=lambda p,r: r, mapping=lambda p,r: r.to_dict())

@pytest.mark.parametrize('kind', new_images)
def test_predict_takes(learn, raw, kind):
    row = learn.dls.test.items.iloc[0]
    close(learn.predict(new_images[kind](raw, row))[2], learn.get_preds('test')[0][0], 1e-4)

def test_predict_takes_pillow(learn, raw, tmp_path):
    im = Image.open(raw)
    im.save(tmp_path/'ad.png')
    close(learn.predict(im)[2], learn.predict(tmp_path/'ad.png')[2])

@pytest.mark.parametrize('wrong,error', [(3, AdsError), (None, AdsError), ('nope.jpg', UnreadableImage), (b'', UnreadableImage), (b'text', UnreadableImage)])
def test_predict_refuses(learn, wrong, error):
    with pytest.raises(error): learn.predict(wrong)

def test_an_exported_learner_predicts_in_another_process(learn, raw):
    learn.export('e.pkl')
    code = ("import sys, warnings; warnings.simplefilter('ignore'); from fastai.learner import load_learner; learn = load_learner(sys.argv[1])\n"
            "with learn.no_bar(): print(learn.predict(sys.argv[2])[2].tolist(), learn.get_preds(dl=learn.dls.test_dl([sys.argv[2]]))[0][0].tolist(), sep='\\n')")
    out = subprocess.run([sys.executable, '-c', code, learn.path/'e.pkl', raw], capture_output=True, text=True, check=True).stdout
    for line in out.strip().splitlines()[-2:]: close(json.loads(line), learn.predict(raw)[2])

