"Predictors and the commands around them with the words that people type: right, or one line and exit code 2 before anything is computed."
import io, json, os, pickle, shutil, stat, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from ads_sentiment.apps import cli
from ads_sentiment.core import AdsError, write_json
from ads_sentiment.data.loaders import ads_dataloaders
from ads_sentiment.models.heads import build_model
from ads_sentiment.data.datasets import demo_ads, load_ads
from ads_sentiment.training.learner import ads_learner
from ads_sentiment.training.predictor import load_predictor, save_predictor
from ads_sentiment.data.images import prepare_images

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A folder with demo ads, a run with one predictor, one with two, an empty folder, and files that are something else"
    home = tmp_path_factory.mktemp('home')
    source = demo_ads(home/'DEMO', n=60, seed=3)
    ads,_ = prepare_images(source, home/'prepared', size=96)
    odd = dict(zip(ads.vocab, ['file', 'predicted', 'a\nb', '=1+1', 'truth', 'x threshold']))
    renamed = type(ads)(ads.name, ads.targs.rename(columns=odd), ads.split, ads.paths, note=ads.note, pipeline=ads.pipeline)
    learn = ads_learner(ads_dataloaders(renamed, size=64), engine='eager')
    learn.fit_head(folder=home/'features', say=None)
    for folder in ('one/lite0', 'two/a', 'two/b'): save_predictor(learn, home/folder, macro_f1=.5, macro_f1_low=.4, macro_f1_high=.6)
    for name in ('one', 'two'): write_json(dict(data_digest=''), home/name/'config.json')
    (home/'emptydir').mkdir()
    (home/'afile').write_text('hello')
    (home/'ad.jpg').write_bytes(source.paths.iloc[0].read_bytes())
    for name,text in {'empty': '', 'hdr': 'image,labels\n', 'nolab': 'image,year\nad.jpg,1999\n', 'blank': 'image,labels\nad.jpg,red\n,blue\nad.jpg,red|blue\n',
                      'clash': 'image,labels\nad.jpg,split\nafile,red|split\nad.jpg,red\n'}.items(): (home/f'{name}.csv').write_text(text)
    (home/'dir.csv').mkdir()
    return home

@pytest.fixture(scope='module')
def model(home): return load_predictor(home/'one')

def run(capsys, monkeypatch, line):
    "Run a command line in this process: exit code, what it printed, what it complained"
    name,*words = line.split() if isinstance(line, str) else line
    monkeypatch.setattr(sys, 'argv', [name, *('' if w=='""' else w for w in words)])
    code = 0
    try: getattr(cli, name)()
    except SystemExit as e: code = e.code
    return code, *capsys.readouterr()

wrong = ['ads_predict', 'ads_predict ad.jpg', 'ads_predict --predictor one', 'ads_predict /nope --predictor one', 'ads_predict ad.jpg --predictor /nope', 'ads_predict ad.jpg --predictor emptydir',
    'ads_predict ad.jpg --predictor one/lite0/predictor.json', 'ads_predict ad.jpg --predictor DEMO/0', 'ads_predict emptydir --predictor one', 'ads_predict ad.jpg --predictor one --out emptydir',
    'ads_predict ad.jpg --predictor one --out afile/x.csv', 'ads_predict ad.jpg --predictor ""', 'ads_predict "" --predictor one', 'ads_predict ad.jpg "" --predictor one',
    'ads_predict ad.jpg --predictor one --out ""', 'ads_predict ad.jpg --predictor one --out ad.jpg', 'ads_predict ad.jpg --predictor two',
    'ads_explain', 'ads_explain ad.jpg', 'ads_explain ad.jpg --predictor one', 'ads_explain ad.jpg --out e', 'ads_explain --predictor one --out e', 'ads_explain ad.jpg --predictor one --out e1 --labels Nope',
    'ads_explain ad.jpg --predictor one --out e2 --layers nope', 'ads_explain ad.jpg --predictor one --out e3 --method magic', 'ads_explain ad.jpg --predictor one --out afile', 'ads_explain /nope --predictor one --out e',
    'ads_explain ad.jpg --predictor one --out ""', 'ads_explain "" --predictor one --out e',
    'ads_demo d1 --n 0', 'ads_demo d2 --n -5', 'ads_demo afile', 'ads_demo one', 'ads_demo "" --n 5', 'ads_demo d6 --n 5 --seed -1',
    'ads_prepare /nope p1', 'ads_prepare emptydir p2', 'ads_prepare DEMO afile', 'ads_prepare DEMO p6 --size 0', 'ads_prepare DEMO p7 --size -3', 'ads_prepare DEMO p8 --n-workers -2', 'ads_prepare DEMO ""', 'ads_prepare "" p',
    *(f'ads_prepare {name}.csv p' for name in ('empty', 'hdr', 'nolab', 'dir', 'blank', 'clash')), 'ads_explain ad.jpg --predictor one --out e4 --labels ,', 'ads_explain ad.jpg --predictor one --out afile/x', 'ads_prepare DEMO afile/x',
    'ads_study --data DEMO --size 0', 'ads_study --data DEMO --n-workers -1', 'ads_study --data DEMO --seed -1', 'ads_study --data ""', 'ads_study --data /nope', 'ads_study --data DEMO --split foo',
    'ads_study --data DEMO --change solver=adam,lr=nan', 'ads_study --data DEMO --change folds=1000 --backbones efficientnet_lite0', 'ads_study --data DEMO --out afile', 'ads_study --data DEMO --out emptydir/../DEMO',
    'ads_study --data DEMO --ablate --steps nope', 'ads_study --data DEMO --weights /nope.pth', 'ads_study --data DEMO --backbones ,,vgg99',
    'ads_prepare DEMO p3 --size 100000', *(f'ads_study --data {data}' for data in ('empty.csv', 'afile', 'blank.csv --min_votes 2', 'blank.csv --image_col nope', 'blank.csv --label_col nope', 'blank.csv --sep ""')),
    *(f'ads_study --data DEMO --backbones efficientnet_lite0 --out o {more}' for more in ('--out one/lite0', '--out DEMO --overwrite', '--seeds 0', '--seeds -1', '--splits 0', '--splits 9', '--size 1', '--size -1', '--size 100000',
        '--seed 99999999999999999999', '--backbones timm/nope', '--weights afile', '--weights emptydir', '--backbones resnet50 --weights one/lite0/model.safetensors', '--recipe bogus', '--change foo=1', '--change folds',
        '--change folds=x', '--change l2=nan', '--change folds=1', '--change folds=100000', '--change epochs=10000000', '--change bs=1', '--change lr_min=inf', '--change passes=1000000000', '--ablate --recipe reference', '--steps x',
        '--drop 30', '--drop -1', '--drop Nope', '--keep Nope', '--min_votes 0', '--min_votes 99', '--image_col x', '--engine warp', '--engine eager-fp16', '--download 99', '--download x'))]

@pytest.mark.parametrize('line', wrong)
def test_one_line_and_code_2(line, home, capsys, monkeypatch):
    monkeypatch.chdir(home)
    before = {p for p in home.rglob('*')}
    code,out,err = run(capsys, monkeypatch, line)
    assert code==2 and len(err.strip().splitlines())==1 and err.startswith(line.split()[0]), err
    left = {p for p in home.rglob('*')} - before
    assert not [p for p in left if p.is_file()], left

@pytest.mark.parametrize('line', ['ads_predict ad.jpg --bogus', 'ads_demo', 'ads_demo d3 --n x', 'ads_demo d7 --n 1e3', 'ads_prepare', 'ads_prepare DEMO p9 --size x', 'ads_study DEMO', 'ads_study --size x'])
def test_what_argparse_refuses(line, capsys, monkeypatch): assert run(capsys, monkeypatch, line)[0]==2

def test_one_ad_is_too_few(home, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code,_,err = run(capsys, monkeypatch, 'ads_demo d4 --n 1')
    assert code==2 and len(err.strip().splitlines())==1, (code, err)

@pytest.mark.parametrize('name', ['ads_study', 'ads_demo', 'ads_prepare', 'ads_predict', 'ads_explain'])
def test_version(name, capsys, monkeypatch):
    from ads_sentiment import __version__
    for words in ('', 'x ', '--out y '): assert run(capsys, monkeypatch, f'{name} {words}--version')[:2]==(0, f'{name} {__version__}\n')

def test_what_follows_two_dashes_is_a_name(home, capsys, monkeypatch):
    monkeypatch.chdir(home)
    (home/'--a-b.jpg').write_bytes((home/'ad.jpg').read_bytes())
    code,out,_ = run(capsys, monkeypatch, 'ads_predict --predictor one -- --a-b.jpg')
    (home/'--a-b.jpg').unlink()
    assert code==0 and out.startswith('--a-b.jpg: ')

def test_predict_several(home, capsys, monkeypatch):
    "Images and folders together, a run for a predictor; the table has thresholds beside probabilities and six digits"
    monkeypatch.chdir(home)
    code,out,_ = run(capsys, monkeypatch, 'ads_predict ad.jpg afile DEMO/0 --predictor one --out p.csv')
    p,n = pd.read_csv(home/'p.csv'),len([*(home/'DEMO'/'0').iterdir()])
    assert code==0 and len(p)==n+2 and f'{n+1} predicted' in out and out.splitlines()[-1].endswith('1 skipped; p.csv') and 'drawn by a program' in out and 'efficientnet_lite0' in out
    numbers = pd.read_csv(home/'p.csv', dtype=str).iloc[:,3:].to_numpy().ravel()
    assert max(len(v.split('.')[1]) for v in numbers if isinstance(v, str) and '.' in v) <= 6 and not p.columns.duplicated().any()
    code,out,err = run(capsys, monkeypatch, 'ads_predict ad.jpg --predictor one')
    assert code==0 and len(out.splitlines())==1 and '1 predicted' in err

def test_names_in_a_terminal_that_knows_ascii_only(home, tmp_path):
    "One line an image, whatever its name"
    for name in ('ünïcode', 'a\nb', '=1+1'): shutil.copy(home/'ad.jpg', tmp_path/f'{name}.jpg')
    res = subprocess.run([Path(sys.executable).parent/'ads_predict', tmp_path, '--predictor', home/'one'], env={**os.environ, 'PYTHONIOENCODING': 'ascii'}, capture_output=True, text=True)
    assert res.returncode==0 and len(res.stdout.splitlines())==3 and r'\xfcn\xefcode.jpg: ' in res.stdout and r'a\nb.jpg: ' in res.stdout

def test_a_wrong_label_leaves_no_folder(home, capsys, monkeypatch):
    monkeypatch.chdir(home)
    code,_,err = run(capsys, monkeypatch, 'ads_explain ad.jpg --predictor one --out nothing --labels Nope')
    assert code==2 and 'Nope' in err and not (home/'nothing').exists()

def test_a_run_with_several_names_them(home):
    with pytest.raises(AdsError, match='name one of them: .*two/a, .*two/b'): load_predictor(home/'two')

kinds = dict(text=str, path=Path, bytes=lambda p: p.read_bytes(), image=Image.open, texts=lambda p: [str(p)], images=lambda p: (Image.open(p),), series=lambda p: pd.Series([p]),
    frame=lambda p: pd.DataFrame(dict(fname=[str(p)], other=[1])), opened=lambda p: pd.DataFrame(dict(image=[Image.open(p)])), generator=lambda p: (x for x in [p]), array=lambda p: np.array([str(p)]))

@pytest.mark.parametrize('kind', kinds)
def test_predict_takes(kind, model, home):
    want,got = model.predict([home/'ad.jpg']),model.predict(kinds[kind](home/'ad.jpg'))
    assert len(got)==1 and got.predicted.equals(want.predicted)
    np.testing.assert_array_equal(got.iloc[:,3:].to_numpy(dtype=float), want.iloc[:,3:].to_numpy(dtype=float))

@pytest.mark.parametrize('bad', ['', 'ads10', 'x'*5000, 'a\0b', [''], [], None, 3, [3], [None], {}, np.int64(3), np.zeros((4,4,3), np.uint8), [np.zeros((4,4,3), np.uint8)], bytearray(9), io.BytesIO(b'\n\n'),
    pd.DataFrame(dict(a=[1])), pd.DataFrame(dict(path=['a.jpg', np.nan]))], ids=lambda b: ' '.join(str(b).split())[:20])
def test_predict_refuses(bad, model):
    with pytest.raises(AdsError) as e: model.predict(bad)
    assert '\n' not in str(e.value)

def test_folders_in_a_list(model, home):
    table = model.predict([home/'ad.jpg', str(home/'DEMO'/'0'), home/'gone.jpg'])
    assert len(table)==2+len([*(home/'DEMO'/'0').iterdir()]) and table.reason.tolist()==['']*(len(table)-1)+['no such file']

def test_odd_label_names_do_no_harm(model, home):
    table = model.predict(home/'ad.jpg')
    assert {'file', 'predicted', 'reason', 'file (label)', 'predicted (label)', 'truth (label)', 'x threshold (label)', '=1+1'} <= set(table.columns)
    assert table.file.iloc[0]==str(home/'ad.jpg') and not table.columns.duplicated().any()

def test_others_may_read_the_files(home):
    mask = os.umask(0)
    os.umask(mask)
    for name in ('model.safetensors', 'predictor.json'): assert stat.S_IMODE((home/'one'/'lite0'/name).stat().st_mode)==0o666 & ~mask

def test_drawn_ads_say_so_as_a_folder(tmp_path):
    demo_ads(tmp_path/'ads', n=20, seed=3)
    ads = load_ads(tmp_path/'ads')
    assert ads.name=='demo' and 'drawn by a program' in ads.note

def test_it_says_what_it_was_trained_on(model, home):
    told = json.loads((home/'one'/'lite0'/'predictor.json').read_text())['trained_on']
    assert told['data']=='demo' and told['n_train']>0 and told["scores"]["macro_f1"]==.5 and 'drawn by a program' in told['note']
    assert 'drawn by a program' in repr(model) and 'macro-F1 0.500 [0.400, 0.600]' in repr(model) and len(repr(model).splitlines())<=5

def test_labels_that_are_never_predicted_are_null(home, tmp_path):
    told = json.loads((home/'one'/'lite0'/'predictor.json').read_text())
    for name in ('model.safetensors', 'predictor.json'): (tmp_path/name).write_bytes((home/'one'/'lite0'/name).read_bytes())
    write_json({**told, 'thresholds': [None]*len(told['vocab'])}, tmp_path/'predictor.json')
    never = load_predictor(tmp_path)
    assert np.isinf(never.thresholds).all() and never.predict(home/'ad.jpg').predicted.iloc[0]==''

# --- folders from strangers ---------------------------------------------------------------------------------------------------------------------

def nested(n): return '['*n + ']'*n

def put(told, where, value):
    "`told` with another value at a place such as pipeline.filter.d, as JSON"
    *outer,last = where.split('.')
    told = json.loads(json.dumps(told))
    at = told
    for k in outer: at = at[k]
    at[last] = '@'
    return json.dumps(told).replace('"@"', value)

strangers = [('vocab', nested(100_000)), ('vocab', nested(900)), ('trained_on', '{"a":'*500 + '1' + '}'*500), ('trained_on.n_test', '9'*10_000), ('trained_on.n_test', '9'*1000), ('backbone', '"timm/../../etc"'), ('backbone', '"vgg99"'),
    ('backbone', '"timm/convnext_xxlarge"'), ('backbone', '"efficientnet_lite0+timm/convnext_xxlarge"'), ('vocab', json.dumps([str(i) for i in range(200_000)])), ('vocab', json.dumps(['A'*5000])), ('vocab', '["\\ud800"]'),
    ('pipeline.size', '20000'), ('pipeline.size', '1e6'), ('pipeline.size', '1'+'0'*30), ('pipeline.size', '0'), ('pipeline.prepare_size', '-1'), ('pipeline.prepare_size', '30000'), ('pipeline.prepare_size', '"x"'),
    ('pipeline.filter.d', '"x"'), ('pipeline.filter.d', '999'), ('pipeline.filter.d', '-5'), ('pipeline.filter.times', '1000000000'), ('pipeline.filter.sigma_color', 'NaN'), ('pipeline.filter.sigma_color', 'null'),
    ('pipeline.filter', '{"d":101,"sigma_color":9,"sigma_space":9,"times":100}'), ('pipeline.reencode', '"maybe"'), ('pipeline.mean', '[true,true,true]'), ('pipeline.std', '[NaN,1,1]'), ('pipeline.mean', '[Infinity,0,0]'),
    ('thresholds', '[true,true,true,true,true,true]'), ('thresholds', '[NaN,1,1,1,1,1]'), ('thresholds', '[2,1,1,1,1,1]'), ('thresholds', '[1]'), ('recipe.min_labels', '0.5'), ('recipe.min_labels', 'NaN'), ('format', '2.0'), ('format', '4'), ('weights', '{}'), ('recipe', '[]')]

@pytest.mark.parametrize('where,value', strangers, ids=[f'{w}={v[:20]}' for w,v in strangers])
def test_a_folder_from_a_stranger_is_refused(where, value, home, tmp_path, monkeypatch):
    "In one line, before a model of its size is built"
    monkeypatch.setattr('ads_sentiment.training.predictor.build_model', lambda *a, **k: pytest.fail('a model was built') if where!='backbone' else build_model(*a, **k))
    shutil.copy(home/'one'/'lite0'/'model.safetensors', tmp_path)
    (tmp_path/'predictor.json').write_text(put(json.loads((home/'one'/'lite0'/'predictor.json').read_text()), where, value))
    with pytest.raises(AdsError) as e: load_predictor(tmp_path)
    assert '\n' not in str(e.value) and len(str(e.value)) < 1000

def a_large_header(n): return n.to_bytes(8, 'little') + json.dumps({'a': dict(dtype='F32', shape=[10**6, 10**6], data_offsets=[0, 4*10**12])}).encode()
files = dict(pickle=pickle.dumps(dict(a=1)), shape=a_large_header(78), header=a_large_header(2**62), empty=b'', nul=bytes(1000), absent=None)

@pytest.mark.parametrize('kind', files)
def test_weights_from_a_stranger(kind, home, tmp_path):
    shutil.copy(home/'one'/'lite0'/'predictor.json', tmp_path)
    if files[kind] is not None: (tmp_path/'model.safetensors').write_bytes(files[kind])
    with pytest.raises(AdsError, match='does not hold this model') as e: load_predictor(tmp_path)
    assert '\n' not in str(e.value)

texts = dict(empty=b'', nul=bytes(1000), utf16='{"a": 1}'.encode('utf-16'), bom=b'\xef\xbb\xbf{}', list=b'[]', long=b'[' + b'0,'*9_000_000 + b'0]')

@pytest.mark.parametrize('kind', [*texts, 'folder', 'device'])
def test_no_predictor_json(kind, tmp_path):
    path = tmp_path/'predictor.json'
    if kind=='folder': path.mkdir()
    elif kind=='device': path.symlink_to('/dev/zero')
    else: path.write_bytes(texts[kind])
    with pytest.raises(AdsError, match='predictor.json') as e: load_predictor(tmp_path)
    assert '\n' not in str(e.value)
