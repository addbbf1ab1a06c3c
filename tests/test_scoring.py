"Folders of any size: a run that is killed loses and doubles no row; shares of a job array make the whole; stored models are scored on other data."
import signal, subprocess, sys
from dataclasses import replace
import numpy as np, pandas as pd, pytest
from ads_sentiment.apps import cli
from ads_sentiment.core import AdsError
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import prepare_images
from ads_sentiment.study.evaluate import Evaluation
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.training.predictor import load_predictor, save_predictor
from ads_sentiment.training.scoring import list_images, parts_folder, score_images, shard_of

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "Demo ads, a predictor, and images of which some are no images"
    home = tmp_path_factory.mktemp('scoring')
    ads = demo_ads(home/'ads', n=60, seed=3)
    learn = recipe_learner(prepare_images(ads)[0], size=64)
    learn.fit_head(say=None)
    save_predictor(learn, home/'one')
    (home/'new').mkdir()
    files = sorted((home/'ads').glob('[0-9]*/*.jpg'))
    for k in range(90): (home/'new'/f'{k:03}.jpg').write_bytes(files[k % len(files)].read_bytes() if k%9 else b'no picture')
    return home

@pytest.fixture(scope='module')
def model(home): return load_predictor(home/'one')

@pytest.fixture(scope='module')
def names(home): return list_images(home/'new')

def run(monkeypatch, capsys, line):
    "(exit code, output, errors) of a command line in this process"
    words = line.split()
    monkeypatch.setattr(sys, 'argv', words)
    code = 0
    try: getattr(cli, words[0])()
    except SystemExit as e: code = e.code
    return code, *capsys.readouterr()

slow = """
import sys, time
from ads_sentiment.training import scoring
write = scoring._write_part
def slowly(table, path):
    write(table, path)
    print(path.name, flush=True)
    time.sleep(30)
scoring._write_part = slowly
from ads_sentiment.training.predictor import load_predictor
scoring.score_images(load_predictor(sys.argv[1]), scoring.list_images(sys.argv[2]), sys.argv[3], part=16)
"""

@pytest.mark.parametrize('ending', ['csv', 'parquet'])
def test_killed_twice(home, model, names, tmp_path, ending):
    "kill -9 in two parts; the third call gives the rows of an undisturbed run"
    out,kept = tmp_path/f'x.{ending}',[]
    for _ in range(2):
        p = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', slow, home/'one', home/'new', out], stdout=subprocess.PIPE, text=True)
        assert p.stdout.readline().startswith('part-')
        p.send_signal(signal.SIGKILL)
        p.wait()
        kept.append(len(list(parts_folder(out).glob('part-*'))))
    assert kept==[1, 2] and not out.exists()
    res = score_images(model, names, out, part=16)
    assert (res['images'], res['computed'], res['skipped']) == (90, 90-32, 10)
    whole = tmp_path/f'whole.{ending}'
    score_images(model, names, whole, part=16)
    assert out.read_bytes()==whole.read_bytes() and not parts_folder(out).exists()

def test_same_as_predict(model, names, tmp_path):
    want = model.predict(names)
    score_images(model, names, tmp_path/'x.parquet', bs=7)
    got = pd.read_parquet(tmp_path/'x.parquet')
    assert list(got.columns)==list(want.columns) and (got[['file', 'predicted', 'reason']]==want[['file', 'predicted', 'reason']]).all().all()
    assert np.nanmax(np.abs(got[model.vocab].to_numpy()-want[model.vocab].to_numpy())) < 1e-5

@pytest.mark.parametrize('engine', ['openvino', 'onnxruntime'])
def test_engines_agree(model, names, tmp_path, engine):
    score_images(model, names[:20], tmp_path/'a.parquet', engine='eager')
    res = score_images(model, names[:20], tmp_path/'b.parquet', engine=engine)
    a,b = (pd.read_parquet(tmp_path/f'{k}.parquet') for k in 'ab')
    assert res['engine']==engine and np.nanmax(np.abs(a[model.vocab].to_numpy()-b[model.vocab].to_numpy())) < 1e-5

def test_shares_make_the_whole(home, names, tmp_path, monkeypatch, capsys):
    for k in (1, 2, 3):
        code,_,_ = run(monkeypatch, capsys, f"ads_predict {home/'new'} --predictor {home/'one'} --out {tmp_path/'x.csv'} --shard {k}/3")
        assert code==0
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '3')
    assert shard_of('auto')==(2, 3)
    rows = pd.concat(pd.read_csv(p) for p in sorted(tmp_path.glob('x-*-of-3.csv')))
    assert sorted(rows.file)==sorted(names)

def test_table_and_list_and_address(home, tmp_path, monkeypatch, capsys):
    pd.DataFrame(dict(file=['000.jpg', '001.jpg', 'gone.jpg', '001.jpg'], price=1)).to_csv(home/'new'/'t.csv', index=False)
    (tmp_path/'names.txt').write_text(f"{home/'new'/'002.jpg'}\nfile://{home/'new'/'003.jpg'}\n")
    code,out,err = run(monkeypatch, capsys, f"ads_predict {home/'new'/'t.csv'} {tmp_path/'names.txt'} --predictor {home/'one'}")
    (home/'new'/'t.csv').unlink()
    assert code==0 and '4 predicted' in err and '2 skipped' in err and out.count('001.jpg')==2 and 'gone.jpg: skipped' in out
    assert f"file://{home/'new'/'003.jpg'}: " in out and 'skipped' not in out.split('003.jpg')[1]

def test_address_that_fails(model, tmp_path):
    res = score_images(model, ['file:///nowhere/a.jpg', 'nosuch://b.jpg'], tmp_path/'x.csv')
    assert res['skipped']==2
    assert pd.read_csv(tmp_path/'x.csv').reason.str.startswith('cannot be opened').all()

def test_output_among_the_images(home, tmp_path, monkeypatch, capsys):
    "A run goes on, although its output and its parts lie in the folder that it scores"
    new = tmp_path/'new'
    new.mkdir()
    for k in range(1, 4): (new/f'{k}.jpg').write_bytes((home/'new'/f'00{k}.jpg').read_bytes())
    line = f"ads_predict {new} --predictor {home/'one'} --out {new/'x.csv'}"
    for _ in range(2): assert run(monkeypatch, capsys, line)[0]==0
    assert len(pd.read_csv(new/'x.csv'))==3

@pytest.mark.parametrize('more,says', [('--shard 0/2', 'shard'), ('--shard 1/2', '--out'), ('--out {tmp}/x.json', '.csv or .parquet'), ('--top-k 0', 'top_k'),
    ('--top-k 99 --out {tmp}/x.csv', 'top_k'), ('--engine warp --out {tmp}/x.csv', 'unknown engine'), ('--engine eager', '--out'),
    ('--out {tmp}/x.csv --shard auto', 'environment')])
def test_refused(home, tmp_path, monkeypatch, capsys, more, says):
    code,_,err = run(monkeypatch, capsys, f"ads_predict {home/'new'} --predictor {home/'one'} {more.format(tmp=tmp_path)}")
    assert code==2 and says in err and err.count('\n')==1 and not list(tmp_path.iterdir())

def test_parts_of_another_request(home, model, names, tmp_path):
    def stop(line): raise KeyboardInterrupt
    out = tmp_path/'x.csv'
    with pytest.raises(KeyboardInterrupt): score_images(model, names, out, part=16, say=stop)
    for other in (lambda: score_images(model, names[1:], out, part=16), lambda: score_images(model, names, out, part=8),
        lambda: score_images(replace(model, thresholds=model.thresholds/2), names, out, part=16)):
        with pytest.raises(AdsError, match='another request'): other()
    assert score_images(model, names, out, part=16)['images']==90

def test_evaluate(home, model, tmp_path, monkeypatch, capsys):
    code,out,err = run(monkeypatch, capsys, f"ads_evaluate {home/'ads'} --predictor {home/'one'} --out {tmp_path/'e'}")
    assert code==0 and 'macro-F1' in out and 'one annotator' in out and sorted(p.name for p in (tmp_path/'e').iterdir())==['per_label.csv', 'predictions.csv', 'scores.csv']
    found = model.evaluate(demo_ads(home/'ads', n=60, seed=3))
    assert isinstance(found, Evaluation) and abs(pd.read_csv(tmp_path/'e'/'scores.csv', index_col=0).value['mean_ap']-found.scores.value['mean_ap']) < 1e-9
    code,out,err = run(monkeypatch, capsys, f"ads_evaluate {home/'ads'} --predictor {home/'one'} --own-test")
    assert code==2 and 'run' in err
