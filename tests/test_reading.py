"A model that reads: fitted, saved, loaded, damaged and explained, from Python and in a terminal; the same probabilities everywhere, or one line."
import sys
import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt, numpy as np, pandas as pd, pytest, torch
from fastai.vision.all import Interpretation, load_learner
from PIL import Image
from safetensors.torch import load_file, save_file
from ads_sentiment.apps import cli
from ads_sentiment.core import AdsError
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.loaders import ads_dataloaders
from ads_sentiment.explain.explanation import explain, label_table
from ads_sentiment.models import words as words_module
from ads_sentiment.recipes import get_recipe
from ads_sentiment.study.study import run_study
from ads_sentiment.training.head_fit import head_logits, part_logits
from ads_sentiment.training.learner import ads_learner
from ads_sentiment.training.predictor import load_predictor, save_predictor

pytestmark = [pytest.mark.filterwarnings('ignore'), pytest.mark.skipif(not words_module.can_read(), reason='the package that reads words is not installed')]

@pytest.fixture(scope='module')
def source(): return demo_ads(n=120, seed=3, words=True) # in the cache, so that words are read once
@pytest.fixture(scope='module')
def ads(source, tmp_path_factory): return prepare_images(source, tmp_path_factory.mktemp('prepared'), size=96)[0]

@pytest.fixture(scope='module')
def make(ads, tmp_path_factory):
    "A fitted learner with changes of the recipe"
    store = tmp_path_factory.mktemp('features')
    def new(**changes):
        learn = ads_learner(ads_dataloaders(ads, size=64), recipe=get_recipe('multimodal', **changes), engine='eager', path=tmp_path_factory.mktemp('learner'))
        if hasattr(learn, 'progress'): learn.remove_cb(learn.progress)
        learn.fit_head(folder=store, say=None)
        return learn
    return new

@pytest.fixture(scope='module')
def learn(make): return make()
@pytest.fixture(scope='module')
def test_files(source, ads): return list(source.paths[ads.targs.index[ads.split=='test']])
@pytest.fixture(scope='module')
def saved(learn, tmp_path_factory): return save_predictor(learn, tmp_path_factory.mktemp('saved')/'one')
@pytest.fixture(scope='module')
def model(saved): return load_predictor(saved)

def close(a, b, tol=1e-5): np.testing.assert_allclose(np.asarray(a, dtype=float), np.asarray(b, dtype=float), atol=tol, rtol=0)

# --- learner -------------------------------------------------------------------------------------------------------------------------------------

def test_words_matter(learn):
    "Otherwise the cases below would prove nothing"
    parts = part_logits(learn, 'test')
    assert list(parts)==['image', 'words'] and parts['words'].std(0).max() > .01
    close(sum(parts.values()), head_logits(learn, 'test'))

def test_every_way_to_predict_agrees(learn, ads, test_files):
    want = learn.split_preds('test')[0]
    p,t,yes = learn.get_preds('test', with_decoded=True)
    close(p, want, 1e-3)
    close(t, ads.targs[ads.split=='test'])
    close(yes, p>=torch.tensor(learn.thresholds()))
    for files in (test_files, ads.items().query("split=='test'"), [f.read_bytes() for f in test_files]):
        close(learn.get_preds(dl=learn.dls.test_dl(files))[0], p, 1e-4)
    close(learn.get_preds(dl=learn.dls.test_dl(test_files), act=torch.sigmoid, with_input=True)[1], p, 1e-4)
    assert learn.get_preds(dl=learn.dls.test_dl(test_files))[1] is None
    row = learn.dls.test.items.iloc[0]
    for item in (test_files[0], str(test_files[0]), test_files[0].read_bytes(), row, row.to_dict()): close(learn.predict(item)[2], p[0], 1e-4)

def test_training_images_are_in_order(learn): close(learn.get_preds(dl=learn.dls.train)[0], learn.split_preds('train')[0], 1e-3)

def test_losses_and_scores(learn):
    loss,*metrics = learn.validate('test')
    p,t,losses = learn.get_preds('test', with_loss=True)
    close(losses.mean(), loss)
    assert len(Interpretation.from_learner(learn, dl=learn.dls.test).losses)==len(p)
    close(learn.validate()[0], learn.score('valid').log_loss.iloc[0])
    close(loss, learn.score('test').log_loss.iloc[0], 1e-3)

@pytest.mark.parametrize('part', ['valid', 'test', 'train'])
def test_show_results(learn, part):
    plt.close('all')
    learn.show_results(part, max_n=3)
    assert len([a for a in plt.gcf().axes if a.images])==3

def test_tta_is_refused(learn):
    with pytest.raises(AdsError, match='reads words'): learn.tta('test')

def test_an_exported_learner_reads(learn, test_files):
    learn.export('e.pkl')
    close(load_learner(learn.path/'e.pkl').predict(test_files[0])[2], learn.predict(test_files[0])[2])

def test_before_the_fit_it_says_that_it_reads_nothing(ads, capsys):
    learn = ads_learner(ads_dataloaders(ads, size=64), recipe=get_recipe('multimodal'), engine='eager')
    learn.get_preds('test')
    assert 'the head on words is not fitted' in capsys.readouterr().out
    with pytest.raises(AdsError, match='fit_head'): save_predictor(learn, learn.path, .5)

@pytest.mark.parametrize('changes', [dict(folds=0), dict(targets='soft'), dict(image=False), dict(calibration='temperature'), dict(image=False, calibration='none', thresholds='half'), dict(min_labels=1, aug='mild', passes=2)])
def test_recipes(make, changes, test_files, tmp_path):
    learn = make(**changes)
    want = learn.split_preds('test')[0]
    close(learn.get_preds('test')[0], want, 1e-3)
    other = load_predictor(save_predictor(learn, tmp_path))
    close(other.predict(test_files)[list(learn.dls.vocab)], want, 1e-3)
    if 'image' in changes: assert list(part_logits(learn, 'test'))==['words'] and other.predict(test_files)[list(learn.dls.vocab)].nunique().max()>1

@pytest.mark.parametrize('changes,says', [(dict(image=False, words=False), 'nothing to predict from'), (dict(solver='adam'), "needs solver='lbfgs'"), (dict(calibration='none'), 'needs a calibration')])
def test_recipes_that_are_refused(changes, says):
    with pytest.raises(AdsError, match=says): get_recipe('multimodal', **changes)

# --- predictor ----------------------------------------------------------------------------------------------------------------------------------

def test_the_same_after_loading(learn, saved, model, ads, test_files):
    x = torch.stack([learn.dls.pipeline.tensor(f) for f in test_files])
    words = learn.words('test')
    with torch.no_grad(): z = learn.model.eval()(x.to(next(learn.model.parameters()).device)).cpu()
    close(model.probabilities(x, words), torch.sigmoid(z + torch.from_numpy(learn.fit_result.text_head(words))), 1e-6)
    close(load_predictor(saved).probabilities(x, words), model.probabilities(x, words), 0)
    assert (saved/'words.safetensors').stat().st_size < 40e6
    assert 'and their words' in repr(model)

def test_probabilities_need_the_words(model):
    with pytest.raises(AdsError, match='give words'): model.probabilities(torch.zeros(1, 3, 64, 64))

kinds = dict(path=lambda p: p, text=str, bytes=lambda p: p.read_bytes(), pillow=Image.open)
@pytest.mark.parametrize('kind', kinds)
def test_predict_takes(model, learn, test_files, kind):
    close(model.predict([kinds[kind](f) for f in test_files[:2]])[list(model.vocab)], learn.get_preds('test')[0][:2], 2e-3)

def test_images_without_words_and_no_images(model, tmp_path):
    Image.new('RGB', (80,60), 'white').save(tmp_path/'white.png')
    (tmp_path/'notes.png').write_text('hello')
    t = model.predict(tmp_path)
    assert t.set_index(t.file.map(lambda f: str(f).rsplit('/')[-1])).reason.astype(bool).to_dict()=={'white.png': False, 'notes.png': True}

def damaged(folder, saved, change):
    folder.mkdir()
    for f in saved.iterdir(): (folder/f.name).write_bytes(f.read_bytes())
    change(folder/'words.safetensors')
    return folder

def fewer(p): save_file({k: v[...,:-1].contiguous() if k!='idf' else v for k,v in load_file(p).items()}, p)
def narrow(p): save_file({k: v[:-1].contiguous() for k,v in load_file(p).items()}, p)
def without_bias(p): save_file({k: v for k,v in load_file(p).items() if k!='bias'}, p)
def not_finite(p): save_file({k: v*float('nan') for k,v in load_file(p).items()}, p)
def cut(p): p.write_bytes(p.read_bytes()[:1000])
def text(p): p.write_text('hello')
def empty(p): p.write_bytes(b'')
def folder(p):
    p.unlink()
    p.mkdir()
@pytest.mark.parametrize('change', [fewer, narrow, without_bias, not_finite, cut, text, empty, folder, lambda p: p.unlink()])
def test_damaged_words(saved, tmp_path, change):
    with pytest.raises(AdsError, match='words.safetensors'): load_predictor(damaged(tmp_path/'p', saved, change))

def test_without_the_package(saved, ads, monkeypatch):
    monkeypatch.setattr(words_module, 'can_read', lambda: False)
    with pytest.raises(AdsError, match=r"pip install 'ads_sentiment\[text\]'"): load_predictor(saved)
    with pytest.raises(AdsError, match='rapidocr'): ads_learner(ads_dataloaders(ads, size=64), recipe=get_recipe('multimodal'))
    ads_learner(ads_dataloaders(ads, size=64), engine='eager') # the others need no package

# --- explanation --------------------------------------------------------------------------------------------------------------------------------

def test_explained_probabilities_are_the_predicted_ones(learn, model, ads, test_files):
    want = model.predict(test_files[:3])[ads.vocab]
    for m in (model, learn):
        close([e.probs for e in explain(m, test_files[:3], labels=ads.vocab)], want, 1e-3)
        close(label_table(m, test_files[0]).prob[ads.vocab], want.iloc[0], 1e-3)
    prepared = list(ads.paths[ads.split=='test'])[:3] # whose words are those of the originals
    assert [e.words for e in explain(learn, prepared)]==learn.words('test')[:3]

# --- terminal ------------------------------------------------------------------------------------------------------------------------------------

def run(capsys, monkeypatch, *words):
    "Run a command in this process: exit code, what it printed, what it complained"
    monkeypatch.setattr(sys, 'argv', list(map(str, words)))
    code = 0
    try: getattr(cli, words[0])()
    except SystemExit as e: code = e.code
    return code, *capsys.readouterr()

@pytest.fixture(scope='module')
def study(source, tmp_path_factory):
    "A finished run of a model that reads"
    out = tmp_path_factory.mktemp('study')/'run'
    return run_study(source, ['efficientnet_lite0'], out, 'multimodal', size=64, engine='eager')

@pytest.mark.slow
def test_a_study_that_reads(study, source, test_files, capsys, monkeypatch, tmp_path):
    root = source.source['data'] if source.source['data']!='demo-words' else next(p for p in test_files[0].parents if (p/'demo.json').exists())
    line = ['ads_study', '--data', root, '--recipe', 'multimodal', '--backbones', 'efficientnet_lite0', '--size', 64, '--engine', 'eager', '--out', tmp_path/'run']
    code,out,err = run(capsys, monkeypatch, *line)
    assert code==0 and 'words in the images read' in out and not err
    mine,other = (pd.read_csv(p/'predictions.csv') for p in (tmp_path/'run', study))
    assert mine.equals(other)
    parts = pd.read_csv(tmp_path/'run'/'parts.csv')
    assert parts.part.tolist()==['image and words', 'image alone', 'words alone'] and (parts.mean_ap_low<=parts.mean_ap).all()
    assert 'Seeing and reading' in (tmp_path/'run'/'report.html').read_text()
    before = (tmp_path/'run'/'parts.csv').read_bytes()
    (tmp_path/'run'/'parts.csv').unlink()
    code,out,err = run(capsys, monkeypatch, *line) # the same command goes on
    assert code==0 and 'finished before' in out and (tmp_path/'run'/'parts.csv').read_bytes()==before
    code,out,err = run(capsys, monkeypatch, 'ads_study', '--config', tmp_path/'run'/'config.json', '--out', tmp_path/'again')
    assert code==0 and pd.read_csv(tmp_path/'again'/'predictions.csv').equals(mine)

def test_predict_and_explain_in_a_terminal(study, test_files, capsys, monkeypatch, tmp_path):
    code,out,err = run(capsys, monkeypatch, 'ads_predict', *test_files[:2], '--predictor', study, '--out', tmp_path/'p.csv')
    p = pd.read_csv(tmp_path/'p.csv')
    model = load_predictor(study)
    assert code==0
    close(p[list(model.vocab)], model.predict(test_files[:2])[list(model.vocab)], 2e-6) # six digits are written
    white = tmp_path/'white.png'
    Image.new('RGB', (80,60), 'white').save(white)
    (tmp_path/'notes.txt').write_text('hello')
    code,out,err = run(capsys, monkeypatch, 'ads_explain', *test_files[:2], white, tmp_path/'notes.txt', '--predictor', study, '--out', tmp_path/'out', '--labels', ','.join(model.vocab[:2]))
    assert code==0 and 'words.csv' in out and '3 explained, 1 skipped' in out
    t = pd.read_csv(tmp_path/'out'/'words.csv')
    assert list(t)==['file', 'label', 'word', 'confidence', 'x0', 'y0', 'x1', 'y1', 'value'] and set(t.label)==set(model.vocab[:2])
    for f in test_files[:2]:
        w,h = Image.open(f).size
        want,rows = explain(model, f, labels=model.vocab[:2]),t[t.file==str(f)]
        assert len(rows)==2*len(want.words) and rows.x1.le(w+.1).all() and rows.y1.le(h+.1).all()
        close(rows.value, want.word_table().value, 1e-5)
        close(rows.x1, want.word_table().x1*w, .06)
    code,out,err = run(capsys, monkeypatch, 'ads_explain', white, '--predictor', study, '--out', tmp_path/'white')
    assert code==0 and len(pd.read_csv(tmp_path/'white'/'words.csv'))==0 # a header

wrong = {'needs a calibration': '--change words=True,calibration=none', 'nothing to predict from': '--change image=False', "needs solver='lbfgs'": '--recipe reference --change words=True', "Did you mean 'multimodal'?": '--recipe multimodel'}
@pytest.mark.parametrize('says', wrong)
def test_wrong_use_is_one_line(says, capsys, monkeypatch, tmp_path):
    code,out,err = run(capsys, monkeypatch, 'ads_study', '--data', 'demo-words', *wrong[says].split(), '--out', tmp_path/'run')
    assert code==2 and says in err and err.count('\n')==1 and not (tmp_path/'run').exists()

@pytest.mark.parametrize('line', ['ads_study --data demo-words --recipe multimodal --out {tmp}/run', 'ads_study --change words=True,image=False --out {tmp}/run', 'ads_predict {ad} --predictor {study}', 'ads_explain {ad} --predictor {study} --out {tmp}/e',
    'ads_study --ablate --steps words --out {tmp}/run', 'ads_study --config {study}/config.json --out {tmp}/run'])
def test_without_the_package_one_line(line, study, test_files, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(words_module, 'can_read', lambda: False)
    code,out,err = run(capsys, monkeypatch, *line.format(tmp=tmp_path, study=study, ad=test_files[0]).split())
    assert code==2 and "pip install 'ads_sentiment[text]'" in err and err.count('\n')==1 and not list(tmp_path.iterdir())
