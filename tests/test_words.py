"A model that reads words, used with the habits of fastai and pandas users: right, or one line"
import numpy as np, pytest, torch
from ads_sentiment.core import AdsError
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import prepare_images
from ads_sentiment.models.words import can_read
from ads_sentiment.recipes import Recipe
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.training.predictor import load_predictor, save_predictor

pytestmark = pytest.mark.skipif(not can_read(), reason='needs rapidocr-onnxruntime')

@pytest.fixture(scope='module')
def source(tmp_path_factory): return demo_ads(tmp_path_factory.mktemp('words')/'demo', n=40, seed=1, words=True)

@pytest.fixture(scope='module')
def learn(source, tmp_path_factory):
    ads,_ = prepare_images(source, tmp_path_factory.mktemp('prepared'), size=96)
    learn = recipe_learner(ads, recipe=Recipe(words=True), size=64, engine='eager')
    learn.fit_head(say=None)
    return learn

def test_words_of_a_prepared_file_are_those_of_its_original(learn, source):
    files = list(learn.dls.test.items.path)
    loader = learn.dls.test_dl(files)
    assert np.allclose(learn.get_preds(dl=loader)[0], _image_logits(learn, loader), atol=1e-5)

def _image_logits(learn, loader):
    "Probabilities from the loader's images and the words of the test set"
    with torch.no_grad(): z = torch.cat([learn.model(b[0].as_subclass(torch.Tensor)) for b in loader])
    return torch.sigmoid(z + torch.from_numpy(learn.fit_result.text_head(learn.words('test'))))

@pytest.mark.parametrize('name,arg', [('fit', 1), ('fit_one_cycle', 1), ('save', 'm'), ('load', 'm')])
def test_nothing_trains_or_keeps_the_image_part_alone(learn, name, arg):
    with pytest.raises(AdsError, match='words'): getattr(learn, name)(arg)

def test_validate_needs_labels(learn):
    files = list(learn.dls.test.items.path)
    with pytest.raises(AdsError, match='validate needs labels'): learn.validate(dl=learn.dls.test_dl(files))

def test_predictor_wants_words_of_each_image(learn, tmp_path):
    p = load_predictor(save_predictor(learn, tmp_path/'p'))
    x = torch.zeros(2, 3, 64, 64)
    for words in (None, [[]], [[]]*3):
        with pytest.raises(AdsError, match='words'): p.probabilities(x, words)
    assert p.probabilities(x, [[]]*2).shape==(2, len(p.vocab))

def test_pictures_without_words(source, tmp_path, monkeypatch):
    monkeypatch.setattr('ads_sentiment.training.learner.picture_words', lambda images: [[]]*len(list(images)))
    learn = recipe_learner(source, recipe=Recipe(words=True), size=64, engine='eager')
    learn.fit_head(folder=tmp_path, say=None)
    assert np.isfinite(learn.split_preds('test', tmp_path)[0]).all()
