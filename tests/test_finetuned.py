"A body that learns: what changes and what does not, no feature of a frozen body where a trained one is asked for, and refusals by name."
import numpy as np, pandas as pd, pytest, torch
from fastai.callback.core import Callback
from ads_sentiment.core import AdsError
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import prepare_images
from ads_sentiment.explain.explanation import explain
from ads_sentiment.models.features import module_digest
from ads_sentiment.recipes import Recipe, get_recipe
from ads_sentiment.study import study
from ads_sentiment.study.ablation import plan
from ads_sentiment.study.report_settings import recipe_facts, recipe_table
from ads_sentiment.training import head_fit, request
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.training.predictor import load_predictor, save_predictor
from ads_sentiment.training.request import device_recipe
from ads_sentiment.training.trials import trial_facts
from dataclasses import asdict

pytestmark = pytest.mark.filterwarnings('ignore')
short = get_recipe('finetuned', finetune=1, finetune_lr=.003)

@pytest.fixture(scope='module')
def ads(tmp_path_factory):
    return prepare_images(demo_ads(tmp_path_factory.mktemp('demo'), n=150, seed=1), tmp_path_factory.mktemp('prepared'), size=80)[0]
@pytest.fixture(scope='module')
def store(tmp_path_factory): return tmp_path_factory.mktemp('features')

def make(ads, recipe=short, **kwargs): return recipe_learner(ads, recipe=recipe, size=64, weights='random', engine='eager', **kwargs)

def body_of(learn): return {k: v.clone() for k,v in learn.model[0].state_dict().items()}

class Worst(Callback):
    "Make the scores before training the worst possible, so that a trained epoch is kept"
    order = 59 # before BestEpoch
    def before_fit(self): self.learn.best_epoch.start = dict(valid_loss=1e9, macro_f1=-1., mean_ap=-1.)

def fit(ads, store, **kwargs):
    learn = make(ads, **kwargs)
    learn.fit_head(folder=store, say=None, cbs=Worst())
    return learn

@pytest.fixture(scope='module')
def start(ads): return body_of(make(ads))
@pytest.fixture(scope='module')
def learn(ads, store): return fit(ads, store)

def test_weights_change_and_batchnorm_statistics_do_not(learn, start):
    changed = {k for k,v in body_of(learn).items() if not torch.equal(v, start[k])}
    statistics = {k for k in start if k.endswith(('running_mean', 'running_var', 'num_batches_tracked'))}
    assert changed == set(start) - statistics and learn.trained

def test_the_fit_is_held_out_and_its_history_begins_with_the_frozen_body(learn):
    f = learn.fit_result
    assert len(f.preds)==len(learn.dls.valid.items) and not f.seen_valid and learn.fresh
    assert f.history.epoch.tolist()==[0, 1] and f.best_epochs['mean_ap']==1 and f.l2 > 0
    assert trial_facts(learn)['best_ap_epoch']==1 and trial_facts(learn)['epochs']==1
    assert not any(p.requires_grad for p in learn.model[0].parameters()) # frozen again

def test_features_and_predictions_are_those_of_the_trained_body(learn, ads, store):
    frozen = make(ads)
    assert np.abs(learn.features('test', store) - frozen.features('test', store)).max() > 1e-3
    assert learn.extractor.key('eager')!=frozen.extractor.key('eager')
    by_images = learn.get_preds('test')[0].numpy()
    np.testing.assert_allclose(learn.split_preds('test', store)[0], by_images, atol=1e-5)
    first = next(learn.model[0].parameters())
    own = first.detach().clone()
    with torch.no_grad(): first.mul_(1.5)
    other = learn.features('test', store)
    with torch.no_grad(): first.copy_(own)
    assert np.abs(other - learn.features('test', store)).max() > 1e-3 # nothing of an earlier state is taken

def test_the_same_seed_gives_the_same_model(learn, ads, store):
    again = fit(ads, store)
    assert module_digest(again.model)==module_digest(learn.model)
    pd.testing.assert_frame_equal(again.fit_result.history, learn.fit_result.history)

def test_a_predictor_holds_the_trained_body(learn, ads, tmp_path):
    predictor = load_predictor(save_predictor(learn, tmp_path/'p'))
    test = (ads.split=='test').to_numpy()
    probs = predictor.predict(list(map(str, np.array(ads.originals)[test])))[list(ads.vocab)].to_numpy(float)
    np.testing.assert_allclose(probs, learn.split_preds('test')[0], atol=1e-5)
    assert predictor.recipe==short
    a,b = (explain(m, str(np.array(ads.originals)[test][0])) for m in (learn, predictor))
    np.testing.assert_allclose(a.probs, b.probs, atol=1e-5)
    np.testing.assert_allclose(a.probs, probs[0][[list(ads.vocab).index(l) for l in a.labels]], atol=1e-5)
    np.testing.assert_allclose(a.cams, b.cams, atol=1e-3)

def test_without_a_better_epoch_the_frozen_fit_is_kept(ads, store, start):
    class Best(Worst):
        def before_fit(self): self.learn.best_epoch.start = dict(valid_loss=-1e9, macro_f1=2., mean_ap=2.)
    kept = make(ads, get_recipe(short, finetune=9))
    f = kept.fit_head(folder=store, say=None, cbs=Best())
    assert not kept.trained and all(torch.equal(v, start[k]) for k,v in body_of(kept).items())
    assert f.best_epochs['mean_ap']==0 and len(f.history)==head_fit.patience+1 # stopped early
    frozen = make(ads, get_recipe('tuned', folds=0))
    frozen.fit_head(folder=store, say=None)
    np.testing.assert_allclose(kept.split_preds('test', store)[0], frozen.split_preds('test', store)[0], atol=1e-6)

def test_unfreeze_has_its_place(ads, store):
    own = make(ads)
    with pytest.raises(AdsError, match='freeze_to.1.*unfreeze'): own.freeze_to(1)
    own.unfreeze()
    with own.no_bar(), own.no_logging(): own.fit_one_cycle(1, slice(1e-4, 1e-3))
    assert own.trained and len(own.opt.hypers)==3
    with pytest.raises(AdsError, match='the body has been trained.*new learner'): own.fit_head(folder=store)
    own.freeze()
    assert not any(p.requires_grad for p in own.model[0].parameters())
    tuned = make(ads, get_recipe('tuned'))
    for call in (tuned.unfreeze, tuned.fine_tune):
        with pytest.raises(AdsError, match="keeps the body frozen.*recipe='finetuned'"): call()

def test_training_after_the_fit_makes_it_stale(ads, store):
    own = fit(ads, store)
    own.unfreeze()
    with own.no_bar(), own.no_logging(): own.fit(1, 1e-3)
    with pytest.raises(AdsError, match='stale'): own.thresholds()

@pytest.mark.parametrize('field, value, message', [('folds', 5, 'folds=5: each fold would need'), ('solver', 'adam', "take solver='lbfgs'"),
    ('mirror', True, 'take mirror=False'), ('words', True, 'take words=False'), ('targets', 'soft', "take targets='hard'"),
    ('passes', 4, 'take passes=0'), ('finetune', -1, 'finetune=-1'), ('finetune_lr', 0, 'finetune_lr=0')])
def test_fields_that_do_not_go_together(field, value, message):
    with pytest.raises(AdsError, match=message): get_recipe('finetuned', **{field: value})

def test_an_ensemble_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(AdsError, match='finetune=8 is for one backbone.*ensemble'):
        study.run_study('demo', ['efficientnet_lite0+efficientnet_lite1'], tmp_path/'run', 'finetuned', weights='random')

def test_the_ablation_trains_a_body_only_where_asked():
    assert 'body that learns' not in [s.name for s in plan(None)]
    step = plan(None, ['thresholds by expected F1', 'body that learns'])[-1]
    assert step.recipe==get_recipe('finetuned') and step.changes['finetune']==8

def test_the_report_tells_how_the_body_was_trained():
    config = dict(recipe=asdict(short), recipe_name='changed')
    assert 'up to 1 epoch of Adam for body and head, the one with the highest validation mAP' in dict(recipe_facts(config))['Training of the head']
    fields = [r[0] for r in recipe_table(config).rows[:recipe_table(config).n_plain]]
    assert 'best_by' in fields and 'finetune_lr' in fields and 'epochs' not in fields

# --- the reference to the letter, where a GPU makes that cheap ------------------------------------------------------------------------------------

@pytest.fixture
def on_cuda(monkeypatch): monkeypatch.setattr(request, 'ads_device', lambda: torch.device('cuda'))

def test_on_cuda_the_reference_sees_new_views_in_every_epoch(on_cuda):
    assert device_recipe('reference').passes==0
    assert device_recipe('reference', passes=4).passes==device_recipe('reference', passes='4').passes==4
    assert device_recipe('reference', thresholds='half')==get_recipe('reference', thresholds='half', passes=0)
    assert device_recipe(get_recipe('reference'))==get_recipe('reference') and device_recipe('tuned')==Recipe()

def test_elsewhere_it_keeps_four_passes(monkeypatch):
    monkeypatch.setattr(request, 'ads_device', lambda: torch.device('cpu'))
    assert device_recipe('reference')==get_recipe('reference')

@pytest.mark.parametrize('recipe, passes', [('reference', 0), (get_recipe('reference'), 4)])
def test_a_study_writes_down_what_it_used(on_cuda, monkeypatch, tmp_path, recipe, passes):
    class Stop(Exception): pass
    def stop(source, settings, **more): raise Stop(more['recipe']['passes'], more['recipe_name'])
    monkeypatch.setattr(study, 'run_config', stop)
    with pytest.raises(Stop) as e: study.run_study('demo', ['efficientnet_lite0'], tmp_path/'run', recipe, weights='random', n=40)
    assert e.value.args==(passes, 'reference')
