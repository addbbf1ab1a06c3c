"The command line as a user meets it: wrong words, broken data, awkward files, a run that is killed."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from forked import run_command
from ads_sentiment.models.words import can_read

bin = Path(sys.executable).parent

def installed(*args, cwd=None, **env):
    "Run the script of a command, as a user does; never a traceback"
    return checked(subprocess.run([bin/args[0], *map(str, args[1:])], cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600))

def ads(*args):
    "Run a command in a process of its own that need not import the large packages; never a traceback"
    return checked(run_command(*args))

def checked(res):
    print(res.stdout[-3000:], res.stderr[-3000:])
    assert 'Traceback' not in res.stderr
    return res

@pytest.fixture(scope='session')
def pitt_root(tmp_path_factory):
    "Sixty demo ads in the Pitt layout"
    root = tmp_path_factory.mktemp('pitt')/'root'
    assert ads('ads_demo', root, '--n', 60, '--seed', 3).returncode==0
    return root

@pytest.fixture()
def broken(pitt_root, tmp_path):
    "A root whose annotations a test may break"
    notes = tmp_path/'annotations_images'/'image'
    notes.mkdir(parents=True)
    for n in ('Sentiments.json', 'Sentiments_List.txt'): (notes/n).write_bytes((pitt_root/'annotations_images'/'image'/n).read_bytes())
    for p in pitt_root.iterdir():
        if p.name.isdigit(): (tmp_path/p.name).symlink_to(p)
    return tmp_path

def refused(says, *args):
    "A study that ends with code 2 and one line that says why"
    res = ads('ads_study', *args)
    assert res.returncode==2
    assert says in res.stderr and len(res.stderr.strip().splitlines())==1

@pytest.mark.parametrize('line', ['ads_study --data nowhere', 'ads_study --backbones resnet51', 'ads_study --size 0', 'ads_predict', 'ads_predict  --predictor x', 'ads_explain',
    'ads_explain a.jpg --predictor x --out y', 'ads_demo d --n 0', 'ads_prepare nowhere p', 'ads_evaluate nowhere --predictor x'])
def test_installed_commands_refuse(line, tmp_path):
    "Wrong command lines as a user types them: one line, exit code 2, nothing is written; two spaces stand for an empty word"
    res = installed(*line.split(' '), cwd=tmp_path, ADS_SENTIMENT_CACHE=str(tmp_path/'cache'))
    assert res.returncode==2 and len(res.stderr.strip().splitlines())==1 and res.stderr.startswith(line.split()[0])
    assert not [p for p in tmp_path.rglob('*') if p.is_file()]

def test_no_annotations(tmp_path): refused('Sentiments.json is missing', '--data', tmp_path)
def test_unknown_backbone(tmp_path): refused("Did you mean 'resnet50'?", '--backbones', 'resnet51', '--out', tmp_path/'run')
def test_unknown_weights(pitt_root, tmp_path):
    refused('weights', '--data', pitt_root, '--weights', 'imagnet', '--backbones', 'efficientnet_lite0', '--out', tmp_path/'run')
def test_empty_after_consensus(pitt_root, tmp_path): refused('no image is left', '--data', pitt_root, '--min_votes', 99, '--out', tmp_path/'run')
def test_out_is_something_else(pitt_root): refused('holds no run', '--data', pitt_root, '--out', pitt_root)

def test_broken_json(broken):
    path = broken/'annotations_images'/'image'/'Sentiments.json'
    path.write_text(path.read_text()[:1000])
    refused('broken JSON', '--data', broken)

def test_label_id_not_in_list(broken):
    path = broken/'annotations_images'/'image'/'Sentiments.json'
    votes = json.loads(path.read_text())
    votes[next(iter(votes))] = [['77']]
    path.write_text(json.dumps(votes))
    refused("label id '77'", '--data', broken)

def test_csv_without_labels(tmp_path):
    (tmp_path/'a.csv').write_text('fname,year\na.jpg,1999\n')
    refused('no label column', '--data', tmp_path/'a.csv')

def test_bad_predictor(tmp_path, pitt_root):
    for folder in (tmp_path/'nowhere', tmp_path): assert ads('ads_predict', pitt_root/'0', '--predictor', folder).returncode==2

def awkward(folder, n=36):
    "Images of every awkward kind, most of them plain, and a CSV of them; returns the names that can't be read"
    rng = np.random.default_rng(0)
    arr = lambda *shape: rng.integers(0, 255, shape, dtype=np.uint8)
    plain = lambda: Image.fromarray(np.kron(arr(5,6,3), np.ones((9,9,1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(n): plain().save(folder/f'{i}.jpg')
    plain().convert('L').save(folder/'0.jpg')
    plain().convert('CMYK').save(folder/'1.jpg')
    plain().save(folder/'2.jpg', exif=exif)
    plain().convert('P').save(folder/'3.jpg', format='PNG')
    plain().convert('RGBA').save(folder/'4.jpg', format='PNG')
    Image.fromarray(rng.integers(0, 65535, (40,40), dtype=np.uint16)).save(folder/'5.jpg', format='PNG')
    plain().save(folder/'6.jpg', format='GIF', save_all=True, append_images=[plain()])
    plain().save(folder/'7.jpg', format='WEBP')
    plain().resize((1,1)).save(folder/'8.jpg')
    whole = (folder/'9.jpg').read_bytes()
    (folder/'9.jpg').write_bytes(whole[:len(whole)//2])
    (folder/'10.jpg').write_bytes(b'')
    (folder/'11.jpg').write_text('not an image')
    (folder/'12.jpg').unlink()
    labels = ['red|round' if i%3 else 'blue' for i in range(n)]
    pd.DataFrame(dict(fname=[f'{i}.jpg' for i in range(n)], labels=labels)).to_csv(folder/'set.csv', index=False)
    return {'9.jpg', '10.jpg', '11.jpg', '12.jpg'}

def test_awkward_images_and_same_numbers_again(tmp_path):
    bad = awkward(tmp_path)
    study = lambda out, **env: installed('ads_study', '--data', tmp_path/'set.csv', '--backbones', 'efficientnet_lite0', '--size', 64, '--out', tmp_path/out, **env)
    assert study('one').returncode==0
    skipped = pd.read_csv(tmp_path/'one'/'skipped.csv')
    assert set(skipped.file)==bad and skipped.reason.str.len().gt(5).all()
    assert study('two', ADS_SENTIMENT_CACHE=str(tmp_path/'fresh_cache')).returncode==0 # nothing kept from the first run
    one,two = (pd.read_csv(tmp_path/o/'results.csv') for o in ('one', 'two'))
    steady = [c for c in one if not c.endswith('seconds')]
    assert len(steady) < len(one.columns) and one[steady].equals(two[steady])
    html = (tmp_path/'one'/'report.html').read_text()
    assert 'src="data:image/png;base64,' in html and 'src="figures' not in html

def test_predict_with_a_trained_model(tmp_path, pitt_root):
    assert ads('ads_study', '--data', pitt_root, '--backbones', 'efficientnet_lite0', '--size', 64, '--out', tmp_path/'run').returncode==0
    (tmp_path/'new').mkdir()
    Image.new('RGB', (50,80), 'red').save(tmp_path/'new'/'a.jpg')
    (tmp_path/'new'/'notes.txt').write_text('hello')
    assert installed('ads_predict', tmp_path/'new', '--predictor', tmp_path/'run', '--out', tmp_path/'p.csv').returncode==0
    p = pd.read_csv(tmp_path/'p.csv', keep_default_na=False)
    assert p.reason.tolist()==['', 'not an image file that Pillow knows']
    assert ads('ads_predict', tmp_path/'new', '--predictor', tmp_path/'run'/'efficientnet_lite0').stdout.count('\n')==2

def explain(*args): return ads('ads_explain', *args)

@pytest.fixture(scope='session')
def predictor(pitt_root, tmp_path_factory):
    "A predictor trained on the sixty ads, and one of them"
    from ads_sentiment.data.loaders import ads_dataloaders
    from ads_sentiment.data.datasets import pitt_ads
    from ads_sentiment.training.learner import ads_learner
    from ads_sentiment.training.predictor import save_predictor
    from ads_sentiment.data.images import prepare_images
    ads,_ = prepare_images(pitt_ads(pitt_root), tmp_path_factory.mktemp('prepared'), size=96)
    learn = ads_learner(ads_dataloaders(ads, size=96), engine='eager')
    return save_predictor(learn, tmp_path_factory.mktemp('predictor'), learn.fit_head().thresholds),pitt_ads(pitt_root).paths[ads.targs.index[0]]

def test_explain(tmp_path, predictor):
    "Two ads of one name, one pixel and a text file: a picture each, a row a label and layer, the reason for what is left out"
    folder,ad = predictor
    for d in ('one', 'two'):
        (tmp_path/d).mkdir()
        Image.open(ad).convert('RGB').save(tmp_path/d/'ad.png')
    Image.new('RGB', (1,1), 'red').save(tmp_path/'pixel.png')
    (tmp_path/'notes.txt').write_text('hello')
    res = installed('ads_explain', tmp_path/'one', tmp_path/'two'/'ad.png', tmp_path/'pixel.png', tmp_path/'notes.txt', '--predictor', folder, '--out', tmp_path/'out')
    assert res.returncode==0 and '3 explained, 1 skipped' in res.stdout
    assert {p.name for p in (tmp_path/'out').iterdir()}=={'ad.png', 'ad_2.png', 'pixel.png', 'explain.csv', 'skipped.csv'}
    t = pd.read_csv(tmp_path/'out'/'explain.csv', keep_default_na=False)
    assert list(t)==['file', 'label', 'prob', 'threshold', 'predicted', 'layer', 'peak_x', 'peak_y', 'evidence', 'picture']
    assert t.file.nunique()==3 and (t.groupby('file').layer.nunique()==4).all()
    w,h = Image.open(ad).size
    seen = t[(t.evidence=='yes') & ~t.file.str.contains('pixel')]
    assert len(seen) and seen.peak_x.astype(float).between(0, w).all() and seen.peak_y.astype(float).between(0, h).all()
    assert (t[t.evidence=='no'][['peak_x', 'peak_y']]=='').all(axis=None)
    assert pd.read_csv(tmp_path/'out'/'skipped.csv').reason.tolist()==['not an image file that Pillow knows']
    assert Image.open(tmp_path/'out'/'ad.png').size[0] > 300

def test_explain_names_labels_layers_and_method(tmp_path, predictor):
    folder,ad = predictor
    vocab = json.loads((folder/'predictor.json').read_text())['vocab'][:2]
    assert explain(ad, '--predictor', folder, '--out', tmp_path/'out', '--labels', ','.join(vocab), '--layers', 'features.bn2', '--method', 'layercam').returncode==0
    t = pd.read_csv(tmp_path/'out'/'explain.csv')
    assert t.label.tolist()==vocab and set(t.layer)=={'features.bn2'}

@pytest.mark.parametrize('says,args', [('unknown label', ['--labels', 'Happyy']), ('unknown layer', ['--layers', 'layer4']), ("Did you mean 'gradcam'?", ['--method', 'grad-cam'])])
def test_explain_refuses(tmp_path, predictor, says, args):
    folder,ad = predictor
    res = explain(ad, '--predictor', folder, '--out', tmp_path/'out', *args)
    assert res.returncode==2 and says in res.stderr and len(res.stderr.strip().splitlines())==1

@pytest.mark.slow
def test_explain_loses_nothing(tmp_path, predictor):
    "Images are never written over, pictures have names of their own, thin images and strange names are drawn, what cannot be written is said"
    folder,ad = predictor
    src = tmp_path/'src'
    src.mkdir()
    im = Image.open(ad).convert('RGB')
    for name in ('a.png', 'a.jpg', 'a_2.png'): im.save(src/name)
    im.resize((2,3000)).save(src/'thin.png')
    im.save(os.fsdecode(os.fsencode(src)+b'/bad\xff.png'))
    before = (src/'a.png').read_bytes()
    res = explain(src/'a.png', '--predictor', folder, '--out', src)
    assert res.returncode==2 and 'overwritten' in res.stderr and (src/'a.png').read_bytes()==before
    for _ in range(2): # what lies in the folder of the output is not explained again
        assert '5 explained, 0 skipped' in explain(src, src/'a.png', '--predictor', folder, '--out', src/'out').stdout
    t = pd.read_csv(src/'out'/'explain.csv')
    assert t.file.nunique()==t.picture.nunique()==5 and {p.name for p in (src/'out').glob('*.png')}==set(t.picture)
    res = explain(ad, '--predictor', folder, '--out', src/'a.png'/'x')
    assert res.returncode==2 and len(res.stderr.strip().splitlines())==1

def test_explain_needs_its_arguments(tmp_path):
    for args in (['a.jpg'], ['a.jpg', '--predictor', tmp_path], ['a.jpg', '--predictor', tmp_path, '--out', tmp_path/'out']):
        res = explain(*args)
        assert res.returncode==2 and len(res.stderr.strip().splitlines())==1

def test_a_killed_run_goes_on(tmp_path, pitt_root):
    args = ['--data', pitt_root, '--backbones', 'efficientnet_lite0,mobilenet_v3_large', '--weights', 'random', '--size', 64, '--out', tmp_path/'run']
    first = subprocess.Popen([bin/'ads_study', *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    done = tmp_path/'run'/'efficientnet_lite0'/'result.json'
    for _ in range(1200):
        if done.exists() or first.poll() is not None: break
        time.sleep(.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = done.read_bytes()
    res = ads('ads_study', *args)
    assert res.returncode==0 and 'efficientnet_lite0: finished before' in res.stdout
    assert done.read_bytes()==kept
    assert pd.read_csv(tmp_path/'run'/'results.csv').backbone.tolist()==['efficientnet_lite0', 'mobilenet_v3_large']

def test_unknown_recipe(tmp_path): refused("Did you mean 'tuned'?", '--recipe', 'tunded', '--out', tmp_path/'run')
def test_unknown_field(tmp_path): refused("Did you mean 'epochs'?", '--change', 'epoch=3', '--out', tmp_path/'run')
def test_unknown_split(pitt_root, tmp_path): refused("stratified", '--data', pitt_root, '--split', 'random', '--backbones', 'efficientnet_lite0', '--out', tmp_path/'run')
def test_unknown_step(pitt_root, tmp_path): refused("unknown step", '--data', pitt_root, '--ablate', '--steps', 'no bn', '--out', tmp_path/'run')
def test_soft_targets_without_votes(tmp_path):
    awkward(tmp_path)
    pd.DataFrame(dict(fname=[f'{i}.jpg' for i in range(36)], labels=['red', 'blue|red', 'green']*12)).to_csv(tmp_path/'set.csv', index=False)
    refused('no votes', '--data', tmp_path/'set.csv', '--change', 'targets=soft', '--size', 64, '--backbones', 'efficientnet_lite0', '--out', tmp_path/'run')

@pytest.mark.slow
def test_seeds_and_splits(tmp_path, pitt_root):
    "The reference recipe over two seeds and splits: a row of means, the conditions beside it, a person by the same rule"
    res = ads('ads_study', '--data', pitt_root, '--recipe', 'reference', '--change', 'epochs=2,passes=1', '--backbones', 'efficientnet_lite0,mobilenet_v3_large',
              '--weights', 'random', '--size', 64, '--seeds', 2, '--split', 'stratified', '--splits', 2, '--out', tmp_path/'run')
    assert res.returncode==0
    rows = pd.read_csv(tmp_path/'run'/'results.csv')
    for c,v in dict(recipe='changed', split='stratified', n_splits=2, seeds='42 43', data='demo').items(): assert rows[c].eq(v).all(), c
    assert rows.weights.str.startswith('random').all()
    assert len([*(tmp_path/'run').glob('*/trials/*.npz')])==8
    assert rows[['annotator_macro_f1', 'held_out_macro_f1', 'macro_f1_sd_seeds', 'macro_f1_sd_splits', 'prevalence_random_macro_f1']].notna().all(axis=None)
    pairs = pd.read_csv(tmp_path/'run'/'paired.csv')
    assert set(pairs.verdict) <= {'a better', 'b better', 'not significantly different'} and len(pairs)==3

@pytest.mark.slow
def test_ablation(tmp_path, pitt_root):
    "Two steps, started twice: the second time nothing is trained"
    args = ['--data', pitt_root, '--ablate', '--steps', 'no weights of positives,cross-validation', '--size', 64, '--out', tmp_path/'run']
    assert ads('ads_study', *args).returncode==0
    one = pd.read_csv(tmp_path/'run'/'ablation.csv')
    assert one.step.tolist()==['no weights of positives', 'cross-validation'] and (tmp_path/'run'/'figures'/'ablation_efficientnet_lite0.png').exists()
    assert one[['data', 'split', 'seeds', 'weights']].notna().all(axis=None)
    assert ads('ads_study', *args).returncode==0
    two = pd.read_csv(tmp_path/'run'/'ablation.csv')
    assert one.drop(columns='seconds').equals(two.drop(columns='seconds'))

@pytest.mark.skipif(not can_read(), reason='the package that reads words is not installed')
@pytest.mark.slow
def test_a_model_that_reads(tmp_path):
    "Ads with hint words: a study, its report, predictions of images and an explanation with the words"
    assert ads('ads_demo', tmp_path/'hinted', '--n', 40, '--seed', 3, '--words').returncode==0
    run = ads('ads_study', '--data', tmp_path/'hinted', '--recipe', 'multimodal', '--backbones', 'efficientnet_lite0', '--size', 64, '--out', tmp_path/'run')
    assert run.returncode==0 and 'words in the images read' in run.stdout
    assert 'Seeing and reading' in (tmp_path/'run'/'report.html').read_text()
    images = sorted((tmp_path/'hinted').glob('[0-9]*/*.jpg'))[:2]
    assert ads('ads_predict', *images, '--predictor', tmp_path/'run', '--out', tmp_path/'p.csv').returncode==0
    assert len(pd.read_csv(tmp_path/'p.csv'))==2
    assert 'words.csv' in ads('ads_explain', *images, '--predictor', tmp_path/'run', '--out', tmp_path/'out').stdout
    t = pd.read_csv(tmp_path/'out'/'words.csv')
    assert len(t) and t.file.nunique()==2 and t.x1.max()>2 # pixels

def test_wrong_use_of_words(tmp_path):
    refused('needs a calibration', '--data', 'demo-words', '--change', 'words=True,calibration=none', '--out', tmp_path/'run')
    refused('nothing to predict from', '--data', 'demo-words', '--change', 'image=False', '--out', tmp_path/'run')

@pytest.mark.slow
def test_real_ads(tmp_path, pitt):
    "The annotations are there for all, the images for some: one line says how many are absent"
    res = ads('ads_study', '--data', pitt, '--backbones', 'efficientnet_lite0', '--out', tmp_path/'run')
    assert res.returncode==0
    line = res.stdout.splitlines()[0]
    config = json.loads((tmp_path/'run'/'config.json').read_text())
    assert f"{config['n_absent']:,} of {config['n_absent']+config['n_images']:,} annotated images" in line
    assert (pd.read_csv(tmp_path/'run'/'skipped.csv').reason=='absent from disk').sum()==config['n_absent']

def test_a_full_disk_names_the_file_and_the_way_out(pitt_root, tmp_path):
    "A limit on the size of files stands for a disk that is full when the model is written"
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000)); sys.argv = ['ads_study', *sys.argv[1:]]; from ads_sentiment.apps.cli import ads_study; ads_study()"
    args = ['--data', pitt_root, '--backbones', 'efficientnet_lite0', '--weights', 'random', '--size', 64, '--engine', 'eager', '--out', tmp_path/'run']
    res = subprocess.run([sys.executable, '-c', code, *map(str, args)], capture_output=True, text=True, timeout=600)
    print(res.stdout[-2000:], res.stderr[-2000:])
    assert res.returncode==2 and 'Traceback' not in res.stderr
    assert 'model.safetensors: File too large; free some space and run again' in res.stderr.splitlines()[-1]
    assert not [p for p in (tmp_path/'run').rglob('.*.part*')]
