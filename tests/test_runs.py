"A request is checked whole before anything is computed or touched; a finished run is lost only to a finished run."
from dataclasses import replace
import pandas as pd, pytest, torch
from safetensors.torch import save_file
from ads_sentiment.training import request as requests, run as runs
from ads_sentiment.training.request import RunSettings, run_config
from ads_sentiment.study.ablation import run_ablation
from ads_sentiment.core import AdsError, sole_writer, write_json
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.recipes import recipes
from ads_sentiment.study.study import run_study

small = dict(size=64, prepare_size=48, engine='eager')

@pytest.fixture(scope='module')
def demo(tmp_path_factory): return demo_ads(tmp_path_factory.mktemp('demo')/'root', n=120, seed=3)

@pytest.fixture()
def finished(tmp_path):
    "A folder that looks like a finished run"
    write_json(dict(data_digest='0'), tmp_path/'run'/'config.json')
    (tmp_path/'run'/'results.csv').write_text('kept')
    return tmp_path/'run'

@pytest.fixture()
def files(tmp_path):
    "Files that are no weights, no run and no folder"
    save_file({'a': torch.zeros(3)}, tmp_path/'other.safetensors')
    (tmp_path/'broken.pth').write_bytes(b'no weights')
    (tmp_path/'notrun').mkdir()
    (tmp_path/'notrun'/'letter.txt').write_text('mine')
    return tmp_path

def tree(folder): return {p.relative_to(folder): p.read_bytes() if p.is_file() else None for p in folder.rglob('*')}

wrong = [('split', 'foo', "split='foo': expected 'reference' or 'stratified'"), ('splits', 9, 'splits=9'), ('splits', 0, 'splits=0'), ('seeds', 0, 'seeds=0'), ('seeds', -1, 'seeds=-1'), ('seed', -1, 'seed=-1'),
    ('seed', 10**20, 'seed='), ('size', 0, 'size=0'), ('size', 1, 'size=1'), ('size', -1, 'size=-1'), ('size', 100_000, 'size=100000'), ('prepare_size', 0, 'prepare_size=0'),
    ('n_workers', -1, 'n_workers=-1'), ('engine', 'warp', 'warp'), ('names', [], 'no backbones'), ('names', ['vgg99'], 'vgg99'), ('names', ['timm/nope'], 'nope'),
    ('weights', '/nope.pth', 'not found'), ('weights', 'other.safetensors', 'does not fit'), ('weights', 'broken.pth', 'cannot be read'), ('weights', 'notrun', 'weights'),
    ('out', 'notrun', 'holds no run'), ('out', 'notrun/letter.txt', 'is a file'), ('out', '', 'expected a folder')]

@pytest.mark.parametrize('run', [run_study, run_ablation])
@pytest.mark.parametrize('name,value,says', wrong)
def test_wrong_argument_touches_nothing(run, name, value, says, demo, finished, files, monkeypatch):
    monkeypatch.setattr(requests, 'prepare_images', lambda *a, **k: pytest.fail('images were prepared'))
    monkeypatch.setattr(requests, 'load_ads', lambda *a, **k: pytest.fail('the data were opened'))
    if name in ('weights', 'out') and value and (files/value).exists(): value = files/value
    before = tree(files)
    with pytest.raises(AdsError, match=says): run(demo, **{'names': ['efficientnet_lite0'], 'out': finished, 'overwrite': True, **small, name: value})
    assert tree(files) == before

@pytest.mark.parametrize('run,more,says', [(run_ablation, dict(only=['nope']), "unknown step 'nope'"), (run_study, dict(recipe='bogus'), "unknown recipe 'bogus'"),
    (run_study, dict(recipe=replace(recipes['tuned'], folds=100)), 'folds=100')])
def test_wrong_recipe_touches_nothing(run, more, says, demo, finished, monkeypatch):
    monkeypatch.setattr(requests, 'prepare_images', lambda *a, **k: pytest.fail('images were prepared'))
    before = tree(finished)
    with pytest.raises(AdsError, match=says): run(demo, ['efficientnet_lite0'], finished, overwrite=True, **small, **more)
    assert tree(finished) == before

def others(demo):
    "Data sets that differ from `demo` in one thing each"
    moved = demo.split.copy()
    moved.iloc[[0,-1]] = moved.iloc[[-1,0]].to_numpy()
    return dict(names=replace(demo, targs=demo.targs.rename(columns={demo.vocab[0]: 'Renamed'}), votes=demo.votes.rename(columns={demo.vocab[0]: 'Renamed'})),
        values=replace(demo, targs=1-demo.targs), votes=replace(demo, annotators=demo.annotators+1), split=replace(demo, split=moved),
        files=replace(demo, paths=pd.Series(demo.paths.to_numpy()[::-1], demo.paths.index)))

@pytest.mark.parametrize('what', ['names', 'values', 'votes', 'split', 'files'])
def test_other_data_is_another_run(what, demo, tmp_path):
    config = run_config(demo, RunSettings())
    with runs.run_folder(tmp_path/'run', config): pass
    with pytest.raises(AdsError, match='data_digest'): runs.same_run(tmp_path/'run', run_config(others(demo)[what], RunSettings()))

def test_other_weights_in_the_same_file_are_another_run(demo, tmp_path):
    path,configs = tmp_path/'w.safetensors',[]
    for k in range(2):
        save_file({'a': torch.full((3,), float(k))}, path)
        configs.append(run_config(demo, RunSettings(weights=str(path))))
    write_json(configs[0], tmp_path/'run'/'config.json')
    runs.same_run(tmp_path/'run', configs[0])
    with pytest.raises(AdsError, match='weights_digest'): runs.same_run(tmp_path/'run', configs[1])

@pytest.mark.slow
def test_overwritten_run_is_kept_until_the_new_one_is_complete(demo, tmp_path, monkeypatch):
    out,aside = tmp_path/'run',tmp_path/'.run.old'
    run = lambda **k: run_study(demo, ['efficientnet_lite0'], out, weights='random', **{**small, **k})
    run(seed=1)
    first = (out/'results.csv').read_text()
    with monkeypatch.context() as m:
        m.setattr('ads_sentiment.study.study.write_report', lambda out: (_ for _ in ()).throw(KeyboardInterrupt()))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt): run(seed=2, overwrite=True)
            assert (aside/'results.csv').read_text() == first
    with pytest.raises(AdsError, match='seed: 2 there, 1 now'): run(seed=1)
    run(seed=2)
    assert not aside.exists() and (out/'results.csv').read_text() != first

@pytest.mark.slow
def test_a_run_is_repeated_from_its_configuration(tmp_path, monkeypatch, capsys):
    "Also one that was started from Python; other flags, other data and a run whose data no path names are refused"
    import sys
    from ads_sentiment.apps import cli
    from ads_sentiment.data.datasets import csv_ads
    monkeypatch.chdir(tmp_path)
    def command(name, *words):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, words)])
        code = 0
        try: getattr(cli, name)()
        except SystemExit as e: code = e.code
        return code, capsys.readouterr()
    ads = demo_ads(tmp_path/'ads', n=90, seed=5, min_votes=1)
    run_study(ads, ['efficientnet_lite0'], 'first', recipe=replace(recipes['tuned'], folds=0), seed=7, **small)
    assert command('ads_study', '--config', 'first/config.json', '--out', 'second')[0]==0
    for name in ('results', 'per_label', 'predictions'):
        a,b = (pd.read_csv(f'{f}/{name}.csv') for f in ('first', 'second'))
        pd.testing.assert_frame_equal(a[[c for c in a if 'seconds' not in c]], b[[c for c in b if 'seconds' not in c]])
    assert command('ads_compare', 'first', 'second', '--out', 'c.csv')[0]==0
    assert set(pd.read_csv('c.csv').verdict)=={'not significantly different'} and (pd.read_csv('c.csv')['diff']==0).all()
    code,said = command('ads_study', '--config', 'first', '--seed', 8, '--out', 'third')
    assert code==2 and '--seed does not go with --config' in said.err
    frame = pd.DataFrame(dict(image=[str(p) for p in ads.paths], labels=['|'.join(l) for l in ads.items().labels]))
    run_study(csv_ads(frame), ['efficientnet_lite0'], 'frame', **small)
    code,said = command('ads_study', '--config', 'frame', '--out', 'third')
    assert code==2 and '--data' in said.err
    code,said = command('ads_study', '--config', 'frame', '--data', 'ads', '--out', 'third')
    assert code==2 and 'not the data of that run' in said.err
    code,said = command('ads_compare', 'first', 'frame')
    assert code==2 and len(said.err.splitlines())==1
    assert not (tmp_path/'third').exists()

@pytest.mark.parametrize('run', [run_study, run_ablation])
@pytest.mark.parametrize('overwrite', [False, True])
def test_a_second_run_in_one_folder_is_refused_at_once(run, overwrite, demo, tmp_path, monkeypatch):
    monkeypatch.setattr(requests, 'prepare_images', lambda *a, **k: pytest.fail('images were prepared'))
    with sole_writer(tmp_path/'run'), pytest.raises(AdsError, match='another run writes there .process '):
        run(demo, ['efficientnet_lite0'], tmp_path/'run', overwrite=overwrite, **small)
    assert not [p for p in tmp_path.iterdir()]
