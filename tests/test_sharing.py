"What a predictor gives to others: its card, numbers, neighbours, ONNX, and the Hub without a network."
import json
from pathlib import Path
import numpy as np, pytest, torch
from huggingface_hub import ModelCard
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score
from ads_sentiment.core import AdsError
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import ImagePipeline, prepare_images
from ads_sentiment.models.backbones import get_backbone
from ads_sentiment.models.heads import build_model
from ads_sentiment.recipes import tuned
from ads_sentiment.training import sharing
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.training.neighbours import load_neighbours
from ads_sentiment.training.predictor import Predictor, add_scores, load_predictor, save_predictor

@pytest.fixture(scope='module')
def source(tmp_path_factory): return demo_ads(tmp_path_factory.mktemp('ads'), n=180, seed=3)

@pytest.fixture(scope='module')
def learn(source):
    learn = recipe_learner(prepare_images(source)[0], size=96, engine='eager')
    learn.fit_head(say=None)
    return learn

@pytest.fixture(scope='module')
def folder(learn, tmp_path_factory): return save_predictor(learn, tmp_path_factory.mktemp('run')/'model')

@pytest.fixture(scope='module')
def model(folder): return load_predictor(folder)

@pytest.fixture(scope='module')
def files(source): return list(source.paths[source.split=='test'])

def test_card_follows_the_scores(folder, model, tmp_path):
    "No score is claimed before there is one; names of the Hub; intervals and one annotator; the note among the limits"
    model.save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path/'README.md')
    assert 'Not measured' in card.text and card.data.eval_results is None
    add_scores(tmp_path, 'stratified', macro_f1=.5, macro_f1_low=.4, macro_f1_high=.6, annotator_macro_f1=.45, annotator_macro_f1_low=.4, annotator_macro_f1_high=None)
    card = ModelCard.load(tmp_path/'README.md')
    found, = card.data.eval_results
    assert (found.metric_type, found.metric_value, found.metric_args)==('macro_f1', .5, dict(low=.4, high=.6, level=.95))
    assert card.data.library_name=='ads_sentiment' and card.data.license=='other'
    for words in ('| macro-F1 | 0.500 | 0.400 to 0.600 |', 'one annotator', 'drawn by a program', '## Intended use', '## Licences', *model.vocab): assert words in card.text

def test_odd_names_do_not_break_the_card(folder, tmp_path):
    from dataclasses import replace
    model = load_predictor(folder)
    odd = ['a|b', '<b>x</b>', 'a\nb: c', '---', *model.vocab[4:]]
    replace(model, vocab=odd).save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path/'README.md')
    assert card.data.library_name=='ads_sentiment' and '| a\\|b |' in card.text and '<b>' not in card.text
    assert load_predictor(tmp_path).vocab==odd

def test_numbers_are_those_of_the_learner(learn, model, files):
    np.testing.assert_allclose(model.predict_proba(files), learn.split_preds('test')[0], atol=1e-5)
    np.testing.assert_allclose(model.features(files), learn.features('test'), atol=2e-3)
    np.testing.assert_array_equal(model.predict(files)[model.vocab].to_numpy(float), model.predict_proba(files, bs=16))

def test_what_cannot_be_read_is_nan(model, files, folder):
    mixed = [files[0], folder/'predictor.json']
    for rows in (model.predict_proba(mixed), model.features(mixed)): assert np.isfinite(rows[0]).all() and np.isnan(rows[1]).all()
    assert model.features([folder/'predictor.json']).shape==(1, model.width)
    near,far = model.similar(mixed, k=2),model.unlike(mixed)
    assert len(near)==3 and near.reason.tolist()[:2]==['', ''] and near.reason[2] and far.unlike.isna().tolist()==[False, True]

def test_a_saved_copy_is_the_same(model, files, tmp_path):
    copy = load_predictor(model.save_pretrained(tmp_path/'copy'))
    np.testing.assert_array_equal(copy.predict_proba(files), model.predict_proba(files))
    assert copy.versions==model.versions and copy.similar(files[0]).equals(model.similar(files[0]))
    assert repr(copy)==repr(model)

def altered(path, k):
    "A near-duplicate: smaller and re-encoded, cropped, brighter, or with a caption's bar"
    im = Image.open(path).convert('RGB')
    w,h = im.size
    if k==0: return im.resize((w//2, h//2))
    if k==1: return im.crop((w//30, h//30, w-w//30, h-h//30))
    if k==2: return ImageEnhance.Brightness(im).enhance(1.15)
    im.paste((255, 255, 255), (0, h-h//16, w, h))
    return im

def test_near_duplicates_are_found(model, source):
    names = source.targs.index[source.split=='train']
    planted = [altered(source.paths[n], i%4) for i,n in enumerate(names)]
    near = model.similar(planted)
    found = near.groupby('file', sort=False).neighbour.apply(list)
    assert np.mean([n in f for n,f in zip(names, found)]) >= .95

def photos():
    "Crops of the two photographs that come with scikit-learn"
    for a in load_sample_images().images:
        im = Image.fromarray(a)
        for i in range(8): yield im.crop((40*i, 20*i, 40*i+300, 20*i+260))

def test_photographs_are_unlike_drawn_ads(model, source, files):
    own,other = model.unlike(files).unlike,model.unlike(list(photos())).unlike
    assert roc_auc_score([0]*len(own)+[1]*len(other), [*own, *other]) >= .95
    assert .2 < own.median() < .8 and model.unlike(source.paths[source.split=='train']).unlike.max() < .1

def test_without_or_with_wrong_neighbours(model, folder, files, tmp_path):
    model.save_pretrained(tmp_path)
    path = tmp_path/'neighbours.safetensors'
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(AdsError, match='no neighbours.safetensors'): load_predictor(tmp_path).unlike(files)
    path.write_bytes(kept[:3000])
    with pytest.raises(AdsError, match='does not hold neighbours'): load_predictor(tmp_path)
    path.write_bytes((folder/'model.safetensors').read_bytes())
    with pytest.raises(AdsError, match='does not hold neighbours'): load_predictor(tmp_path)
    near = load_neighbours(folder/'neighbours.safetensors')
    near.mean,near.std,near.components = near.mean[:-1],near.std[:-1],near.components[:,:-1]
    near.save(path)
    with pytest.raises(AdsError, match='another model'): load_predictor(tmp_path).similar(files)

def test_only_words_have_no_neighbours(learn):
    from types import SimpleNamespace
    from ads_sentiment.training import predictor
    assert predictor._neighbours(SimpleNamespace(dls=learn.dls, recipe=SimpleNamespace(image=False))) is None

def untrained(name, size=None, recipe=tuned):
    "A predictor with random weights"
    b = get_backbone(name)
    net,used = build_model(b, recipe, 5, size, 'random', 1)
    return Predictor(net.eval(), list('abcde'), np.full(5, .5), ImagePipeline(size=size or b.size, mean=b.mean, std=b.std), b.name, used, recipe)

@pytest.mark.parametrize('name,size', [('efficientnet_lite0+mobilenet_v3_large', 64), ('timm/vit_tiny_patch16_224', None)])
def test_onnx_agrees(name, size, tmp_path):
    "`export_onnx` compares with PyTorch by itself; one and several images"
    ort = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    p = untrained(name, size)
    session = ort.InferenceSession(sharing.export_onnx(p, tmp_path))
    x = np.random.default_rng(1).integers(0, 256, (2, 3, p.pipeline.side, p.pipeline.side), dtype=np.uint8)
    want = p.probabilities(p.pipeline.normalize(torch.from_numpy(x)))
    np.testing.assert_allclose(session.run(None, dict(pixels=x))[0], want, atol=1e-4)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told['labels'])==p.vocab and json.loads(told['pipeline'])['size']==p.pipeline.size and list(tmp_path.iterdir())==[tmp_path/'model.onnx']

def test_onnx_says_what_is_missing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(sharing.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(AdsError, match='pip install onnx onnxscript onnxruntime'): sharing.export_onnx(model, tmp_path)

class FakeHub:
    "A Hub in a folder"
    def __init__(self, home): self.home,self.calls = home,[]
    def create_repo(self, repo_id, **kwargs):
        self.calls.append(('create', repo_id, kwargs))
        (self.home/repo_id).mkdir(parents=True, exist_ok=True)
    def upload_folder(self, repo_id, folder_path, allow_patterns, **kwargs):
        self.calls.append(('upload', repo_id, kwargs))
        for p in Path(folder_path).iterdir():
            if p.name in allow_patterns: (self.home/repo_id/p.name).write_bytes(p.read_bytes())
        return repo_id

def test_to_the_hub_and_back(model, files, tmp_path, monkeypatch):
    hub = FakeHub(tmp_path)
    monkeypatch.setattr(sharing, 'HfApi', lambda token=None: hub)
    asked = {}
    monkeypatch.setattr(sharing, 'snapshot_download', lambda name, **kwargs: asked.update(kwargs) or str(tmp_path/name))
    model.push_to_hub('me/ads')
    assert [c[0] for c in hub.calls]==['create', 'upload'] and hub.calls[0][2]['private'] is True
    assert {p.name for p in (tmp_path/'me'/'ads').iterdir()}=={'predictor.json', 'model.safetensors', 'neighbours.safetensors', 'README.md'}
    monkeypatch.chdir(tmp_path/'me') # where no folder is called me/ads
    back = Predictor.from_pretrained('me/ads', revision='main')
    assert asked['revision']=='main' and not [p for p in asked['allow_patterns'] if p.endswith(('.py', '.pkl', '.bin', '*'))]
    np.testing.assert_array_equal(back.predict_proba(files[:2]), model.predict_proba(files[:2]))

def test_a_network_error_is_one_line(model, tmp_path, monkeypatch):
    class Unplugged(FakeHub):
        def create_repo(self, *args, **kwargs): raise RuntimeError('no\nroute')
    monkeypatch.setattr(sharing, 'HfApi', lambda token=None: Unplugged(tmp_path))
    with pytest.raises(AdsError, match='me/ads on the Hub: RuntimeError: no route'): model.push_to_hub('me/ads')

@pytest.mark.parametrize('name', ['no such/na me/x', 'nowhere', ''])
def test_the_hub_fails_in_one_line(name, monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(AdsError) as e: Predictor.from_pretrained(name, local_files_only=True)
    assert '\n' not in str(e.value)
