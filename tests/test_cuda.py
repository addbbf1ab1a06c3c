"""What is to be run when a GPU is at hand: `pytest -m cuda`. On another machine these tests are skipped.

Tolerances: eager PyTorch on CUDA multiplies in TF32, whose 10 bits leave about three digits, so features are compared with those of the CPU to 1 % and
probabilities to 0.02; engines with 16 bits to the tolerance of `auto`."""
import copy, os
import numpy as np, pandas as pd, pytest, torch
from torch import nn
from ads_sentiment.core import ads_device
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import prepare_images
from ads_sentiment.explain.explanation import explain
from ads_sentiment.explain.gradcam import layer_cams
from ads_sentiment.models.engines import Engine, candidates, choose_engine, feature_error, tolerance
from ads_sentiment.models.features import batch_size, read_batches
from ads_sentiment.recipes import get_recipe
from ads_sentiment.study.study import run_study
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.training.predictor import load_predictor, probability_columns, save_predictor
from ads_sentiment.training.request import device_recipe
from ads_sentiment.training.scoring import list_images, score_images

pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings('ignore'),
    pytest.mark.skipif(not torch.cuda.is_available(), reason='torch finds no CUDA device; run pytest -m cuda on a machine with a GPU')]

@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as m:
        m.setenv('ADS_SENTIMENT_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield
@pytest.fixture(scope='module')
def folder(tmp_path_factory): return tmp_path_factory.mktemp('ads')/'ads'
@pytest.fixture(scope='module')
def source(folder): return demo_ads(folder, n=150, seed=1)
@pytest.fixture(scope='module')
def ads(source): return prepare_images(source)[0]
@pytest.fixture(scope='module')
def learn(ads):
    learn = recipe_learner(ads, engine='eager')
    learn.fit_head(say=None)
    return learn

def on_cpu(model): return copy.deepcopy(model).cpu().eval()

def images(learn, n=16):
    "Normalized test images, on the CPU"
    files = list(learn.dls.test.items['path'])[:n]
    return torch.stack([learn.extractor.pipeline.tensor(f, prepared=True) for f in files])

def body_and_pool(learn): return nn.Sequential(learn.model[0], learn.extractor.pool).eval()

def test_device(monkeypatch):
    assert ads_device().type=='cuda' and batch_size()==64
    monkeypatch.setenv('LOCAL_RANK', str(torch.cuda.device_count()-1))
    assert ads_device().index==torch.cuda.device_count()-1
    monkeypatch.setenv('LOCAL_RANK', '0')
    assert ads_device().index==0

def test_batches_reach_the_device_and_weights_lie_in_channels_last(learn):
    x = next(read_batches(lambda i: torch.full((3,8,8), i, dtype=torch.uint8), range(5), bs=5))
    assert x.device.type=='cuda' and x[:,0,0,0].tolist()==[0, 1, 2, 3, 4]
    weights = [p for p in learn.model[0].parameters() if p.ndim==4 and p.shape[1] > 1 and p.shape[-1] > 1]
    assert weights and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)

def test_stored_features_are_those_of_the_cpu(learn):
    x = images(learn)
    with torch.no_grad(): want = on_cpu(body_and_pool(learn))(x)
    got = torch.from_numpy(learn.features('test')[:len(x)])
    assert feature_error(got, want) < .01

@pytest.mark.parametrize('engine', ['eager-fp16', 'eager-bf16', 'compiled-fp16'])
def test_engines_with_16_bits(learn, engine):
    x,model = images(learn).to(ads_device()),body_and_pool(learn)
    got = Engine(model, engine, (16, *x.shape[1:]))(x)
    assert feature_error(got, Engine(model, 'eager', x.shape)(x)) < tolerance and got.dtype==torch.float32 and got.device.type=='cpu'

def test_auto_chooses_among_them(learn):
    x = images(learn).to(ads_device())
    assert choose_engine(body_and_pool(learn), x, 'test', say=None) in candidates(ads_device())

def test_the_batch_is_halved_until_it_fits():
    net = nn.Sequential(*[nn.Conv2d(c, 64, 3, padding=1) for c in (3, 64, 64)], nn.AdaptiveAvgPool2d(1), nn.Flatten()).to(ads_device()).eval()
    x = torch.rand(64, 3, 256, 256, device=ads_device())
    want,run = Engine(net, 'eager', x.shape)(x[:4].repeat(16, 1, 1, 1)[:4]),Engine(net, 'eager', x.shape)
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 2**29 # one layer of 64 images takes 2**30 bytes
    torch.cuda.set_per_process_memory_fraction(room/torch.cuda.get_device_properties(0).total_memory)
    try: got = run(x)
    finally: torch.cuda.set_per_process_memory_fraction(1.)
    assert run.fits < 64 and len(got)==64
    assert feature_error(got[:4], want) < .01

@pytest.fixture(scope='module')
def run(source, tmp_path_factory): return run_study(source, ['efficientnet_lite0'], tmp_path_factory.mktemp('runs')/'run', size=96)

def test_a_study_from_end_to_end(run):
    row = pd.read_csv(run/'results.csv').iloc[0]
    assert row.device=='cuda' and row.mean_ap > row.chance_mean_ap and (run/'report.html').exists()

def test_a_predictor_gives_the_probabilities_of_the_study_and_of_the_cpu(run, source):
    predictor,kept = load_predictor(run),pd.read_csv(run/'predictions.csv')
    test = kept[kept.split=='test']
    table = predictor.predict([str(source.paths[f]) for f in test.file])
    probs = table[probability_columns(predictor.vocab)].to_numpy(float)
    np.testing.assert_allclose(probs, test[probability_columns(predictor.vocab)].to_numpy(float), atol=.02)
    x = torch.stack([predictor.pipeline.tensor(str(source.paths[f])) for f in test.file[:8]])
    with torch.no_grad(): want = torch.sigmoid(on_cpu(predictor.model)(x)).numpy()
    np.testing.assert_allclose(probs[:8], want, atol=.02)

def test_scoring_a_folder(run, folder, tmp_path):
    done = score_images(load_predictor(run), list_images(folder)[:40], tmp_path/'x.csv', engine='eager-fp16', part=16, bs=8)
    assert done['images']==done['predicted']+done['skipped']==40 and len(pd.read_csv(tmp_path/'x.csv'))==40

@pytest.mark.parametrize('method', ['gradcam', 'layercam'])
def test_maps_are_those_of_the_cpu(learn, method):
    x,model = images(learn, 4),on_cpu(learn.model)
    last = [m for m in model[0].modules() if isinstance(m, nn.Conv2d)][-1]
    want = layer_cams(model, x, [last], [0, 1, 2], method)[0]
    mine = [m for m in learn.model[0].modules() if isinstance(m, nn.Conv2d)][-1]
    got = layer_cams(learn.model, x.to(ads_device()), [mine], [0, 1, 2], method)[0].cpu()
    there = ~(want.isnan() | got.isnan())
    assert there.float().mean() > .5 and (got-want)[there].abs().mean() < .02

def test_an_explanation(learn, source):
    found = explain(learn, str(source.paths.iloc[0]))
    assert np.isfinite(found.probs).all() and len(found.labels)

def test_the_body_is_trained_with_mixed_precision(ads, tmp_path):
    own = recipe_learner(ads, recipe=get_recipe('finetuned', finetune=2), size=96, engine='eager')
    fit = own.fit_head(say=None)
    assert np.isfinite(fit.history[['valid_loss', 'mean_ap']].to_numpy(float)).all() and len(fit.history)==3
    probs = load_predictor(save_predictor(own, tmp_path/'p')).predict([str(f) for f in list(own.dls.ads.originals)[:8]])[probability_columns(ads.vocab)].to_numpy(float)
    assert np.isfinite(probs).all()

def test_the_reference_to_the_letter(ads):
    own = recipe_learner(ads, recipe=device_recipe('reference', epochs='1'), size=96, engine='eager')
    assert own.recipe.passes==0 and own.dls.train.num_workers==min(8, os.cpu_count() or 1)
    assert np.isfinite(own.fit_head(say=None).history.valid_loss).all()
