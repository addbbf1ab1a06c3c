"Tables and votes that people have: each is read rightly, or refused with the way out; none is silently wrong."
import json
from dataclasses import replace
import numpy as np, pandas as pd, pytest
from PIL import Image
from ads_sentiment.evaluation.agreement import agreement, one_human
from ads_sentiment.core import AdsError
from ads_sentiment.data.datasets import csv_ads, demo_ads, folder_ads, load_ads, votes_ads
from ads_sentiment.training.learner import soft_targs
from ads_sentiment.training.predictor import load_predictor
from ads_sentiment.study.study import run_study
from ads_sentiment.data.votes import write_label_studio, write_votes

names = ['Action', "Children's", 'Drama', 'Film Noir', 'Sci-Fi']

@pytest.fixture(scope='module')
def root(tmp_path_factory):
    "Sixty small images with one to three of five labels each; the first has none"
    root,rng = tmp_path_factory.mktemp('images'),np.random.default_rng(0)
    for i in range(60): Image.fromarray(rng.integers(0, 255, (40,30,3), dtype=np.uint8)).save(root/f'p{i}.jpg')
    return root

@pytest.fixture(scope='module')
def truth():
    "0/1, images x labels"
    rng = np.random.default_rng(1)
    t = np.zeros((60,5), int)
    for i in range(60): t[i, rng.choice(5, 1+i%3, replace=False)] = 1
    return pd.DataFrame(t, index=[f'p{i}.jpg' for i in range(60)], columns=names)

def lists(truth): return [[l for l in names if r[l]] for _,r in truth.iterrows()]
def joined(truth, sep, col='labels'): return pd.DataFrame({'fname': truth.index, col: [sep.join(l) for l in lists(truth)]})
def spaced(truth): return joined(truth, ' ').assign(labels=lambda d: d.labels.str.replace('Film Noir', 'Noir'))

def write(df, path):
    "As a file of the kind that the path says"
    kind = path.suffix
    if kind=='.jsonl': df.to_json(path, orient='records', lines=True)
    elif kind=='.parquet': df.to_parquet(path, index=False)
    else: df.to_csv(path, index=False, sep={'.tsv': '\t'}.get(kind, ','))
    return path

shapes = {
    'pipe': (lambda t: joined(t, '|'), '.csv', "joined by '|'"), 'comma': (lambda t: joined(t, ','), '.csv', "joined by ','"), 'comma and space': (lambda t: joined(t, ', '), '.csv', "joined by ','"),
    'semicolon': (lambda t: joined(t, ';'), '.csv', "joined by ';'"), 'tags': (lambda t: joined(t, '|', 'tags'), '.csv', "column 'tags'"),
    'JSON text': (lambda t: pd.DataFrame(dict(fname=t.index, labels=[json.dumps(l) for l in lists(t)])), '.csv', 'written as lists'),
    'Python text': (lambda t: pd.DataFrame(dict(fname=t.index, labels=[str(l) for l in lists(t)])), '.csv', 'written as lists'),
    'JSON lines': (lambda t: pd.DataFrame(dict(image=t.index, labels=lists(t))), '.jsonl', 'written as lists'), 'Parquet': (lambda t: pd.DataFrame(dict(image=t.index, labels=lists(t))), '.parquet', 'written as lists'),
    'tabs': (lambda t: joined(t, '|'), '.tsv', "joined by '|'"), 'int': (lambda t: t.rename_axis('fname').reset_index(), '.csv', 'columns of 0 and 1'),
    'bool': (lambda t: t.astype(bool).rename_axis('fname').reset_index(), '.csv', 'columns of 0 and 1'), 'float': (lambda t: t.astype(float).rename_axis('fname').reset_index(), '.csv', 'columns of 0 and 1'),
    'other numbers': (lambda t: t.rename_axis('fname').reset_index().assign(year=range(1990, 2050), score=.5), '.csv', 'columns left aside: year, score'),
    'index': (lambda t: joined(t, '|').rename_axis('Unnamed: 0').reset_index(), '.csv', "joined by '|'"), 'no endings': (lambda t: joined(t, '|').assign(fname=lambda d: d.fname.str[:-4]).rename(columns=dict(fname='image_id')), '.csv', "joined by '|'"),
    'long': (lambda t: pd.DataFrame([(i, l) for i,ls in zip(t.index, lists(t)) for l in ls], columns=['image', 'label']), '.csv', 'several rows per image')}

@pytest.mark.parametrize('shape', shapes)
@pytest.mark.parametrize('as_file', [True, False], ids=['file', 'DataFrame'])
def test_shape(shape, as_file, root, truth):
    make,kind,says = shapes[shape]
    df = make(truth)
    ads = load_ads(write(df, root/f'table{kind}')) if as_file else csv_ads(df, root=root)
    (root/f'table{kind}').unlink(missing_ok=True)
    got = ads.targs.rename(index=lambda i: i if i.endswith('.jpg') else f'{i}.jpg').loc[truth.index]
    assert list(got)==names and (got==truth).all(axis=None) and not ads.absent
    assert says in ads.summary() and '5 labels' in ads.summary()

def test_space(root, truth):
    assert len(csv_ads(spaced(truth), root=root).vocab)==5

def test_spreadsheet(root, truth):
    "Semicolons between cells, a BOM, and labels joined by commas"
    joined(truth, ',').to_csv(root/'sheet.csv', sep=';', index=False, encoding='utf-8-sig')
    ads = csv_ads(root/'sheet.csv')
    (root/'sheet.csv').unlink()
    assert (ads.targs.loc[truth.index]==truth).all(axis=None)

def test_absolute_paths(root, truth, tmp_path):
    ads = csv_ads(write(joined(truth, '|').assign(fname=lambda d: [str(root/f) for f in d.fname]), tmp_path/'a.csv'))
    assert len(ads)==60 and not ads.absent

def test_cp1252(root, truth):
    (root/'latin.csv').write_bytes(joined(truth, '|').assign(labels=lambda d: d.labels.str.replace('Drama', 'Drôle')).to_csv(index=False).encode('cp1252'))
    ads = csv_ads(root/'latin.csv')
    (root/'latin.csv').unlink()
    assert 'Drôle' in ads.vocab

def test_one_label_each(root, truth):
    t = joined(truth, '|').assign(labels=lambda d: d.labels.str.split('|').str[0])
    ads = csv_ads(t, root=root)
    assert 'one in each row' in ads.summary() and set(ads.vocab)==set(t.labels)

splits = {'is_valid 0/1': ('is_valid', lambda k: int(k>=48)), 'is_valid bool': ('is_valid', lambda k: k>=48), 'valid': ('valid', lambda k: k>=48), 'val': ('split', lambda k: 'train' if k<36 else 'val' if k<48 else 'test'),
    'set': ('set', lambda k: 'training' if k<36 else 'dev' if k<48 else 'Test'), 'fold': ('fold', lambda k: k%5), 'no test': ('split', lambda k: 'train' if k<48 else 'valid'), 'no valid': ('split', lambda k: 'train' if k<48 else 'test')}

@pytest.mark.parametrize('labels', ['joined', 'binary'])
@pytest.mark.parametrize('how', splits)
def test_split_is_used_and_said(how, labels, root, truth):
    col,part = splits[how]
    df = (joined(truth, '|') if labels=='joined' else truth.rename_axis('fname').reset_index()).assign(**{col: [part(k) for k in range(60)]})
    ads = csv_ads(df, root=root)
    assert ads.vocab==names and f"split from the column {col!r}" in ads.summary() and set(ads.split)=={'train', 'valid', 'test'}
    last = ads.split.loc[[f'p{k}.jpg' for k in range(48, 60)]]
    assert how=='fold' or (last=='test').all()
    assert 'drawn for validation' in ads.summary() or how in ('val', 'set', 'fold')

def refused_tables(t):
    yield 'blank image', joined(t, '|').assign(fname=lambda d: d.fname.where(d.index!=3, '')), 'row 4 has no image'
    yield 'no image column', joined(t, '|').rename(columns=dict(fname='poster')), '--image_col'
    yield 'no label column', joined(t, '|').rename(columns=dict(labels='words')), '--label_col'
    yield 'no labels', joined(t, '|').assign(labels=''), 'no row has a label'
    yield 'unclear joiner', joined(t, '|').assign(labels=lambda d: [f'a{k} - b{k+1}' for k in range(60)]), '--sep'
    yield 'odd split', joined(t, '|').assign(split='middle'), '--split_col'
    yield 'train only', joined(t, '|').assign(split='train'), 'only rows for train'
    yield 'twice', pd.concat([t, t]).rename_axis('fname').reset_index(), 'one row per image'
    yield 'no files', joined(t, '|').assign(fname=lambda d: 'x'+d.fname), 'is on disk'
    yield 'rows', joined(t, '|').iloc[:0], 'no rows'

@pytest.mark.parametrize('k', range(10))
def test_refused(k, root, truth):
    _,df,says = list(refused_tables(truth))[k]
    with pytest.raises(AdsError, match=says) as e: csv_ads(df, root=root)
    assert '\n' not in str(e.value)

def test_rows_without_a_label_are_counted(root, truth):
    ads = csv_ads(joined(truth, '|').assign(labels=lambda d: d.labels.where(d.index>2, '')), root=root)
    assert '3 images have no label and count as negative for all' in ads.summary() and len(ads)==60

@pytest.mark.parametrize('odd', ['file', 'predicted', 'reason', 'split', 'backbone', 'truth', 'a\nb', '=1+1', 'NA', '1'])
def test_odd_label_names(odd, root, truth): assert odd in csv_ads(pd.DataFrame(dict(fname=truth.index, labels=[[odd if l=='Drama' else l for l in ls] for ls in lists(truth)])), root=root).vocab

def test_odd_label_names_through_a_study(root, truth, tmp_path):
    odd = dict(zip(names, ['file', 'truth', 'split', '=1+1', 'a\nb']))
    ads = csv_ads(pd.DataFrame(dict(fname=truth.index, labels=[[odd[l] for l in ls] for ls in lists(truth)])), root=root)
    out = run_study(ads, ['efficientnet_lite0'], tmp_path/'run', size=64, prepare_size=64, engine='eager')
    table = load_predictor(out/'efficientnet_lite0').predict(root/'p0.jpg')
    assert {'file (label)', 'truth (label)', 'split (label)', '=1+1', 'a\nb'} <= set(table.columns)
    assert set(pd.read_csv(out/'per_label.csv').label)==set(odd.values())

def test_folders(root, truth, tmp_path):
    for k,(i,ls) in enumerate(zip(truth.index, lists(truth))):
        for top in ('plain', f'parted/{("train", "valid", "test")[k%3]}'):
            (tmp_path/top/ls[0]).mkdir(parents=True, exist_ok=True)
            (tmp_path/top/ls[0]/i).write_bytes((root/i).read_bytes())
    plain,parted = load_ads(tmp_path/'plain'),folder_ads(tmp_path/'parted')
    assert plain.vocab==parted.vocab==sorted({ls[0] for ls in lists(truth)}) and len(plain)==len(parted)==60
    assert all(parted.split[i].startswith(i.split('/')[0][:4]) for i in parted.targs.index)

def test_a_folder_with_one_table_is_that_table(root, truth):
    write(joined(truth, '|'), root/'posters.csv')
    assert load_ads(root).vocab==names
    write(joined(truth, '|'), root/'other.csv')
    with pytest.raises(AdsError, match='several tables: other.csv, posters.csv'): load_ads(root)
    for n in ('other', 'posters'): (root/f'{n}.csv').unlink()
    with pytest.raises(AdsError, match='holds images and no labels'): load_ads(root)

# --- votes ---------------------------------------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def demo(tmp_path_factory): return demo_ads(tmp_path_factory.mktemp('votes')/'demo', n=150, seed=3)

@pytest.mark.parametrize('how,name', [('long', 'votes.csv'), ('crowd-kit', 'crowd.csv'), ('label-studio', 'votes.json')])
def test_votes_there_and_back(how, name, demo):
    "Identical targets, alpha, one human and soft targets"
    path = demo.paths.iloc[0].parent.parent/name
    write_votes(demo.annotations, path, how)
    ads = load_ads(path, keep=demo.vocab)
    assert set(ads.targs.index)==set(demo.targs.index)
    ads = replace(ads, split=demo.split, **{k: getattr(ads, k).loc[demo.targs.index] for k in ('targs', 'paths', 'votes', 'annotators')})
    assert (ads.targs[demo.vocab]==demo.targs).all(axis=None) and ads.annotators.equals(demo.annotators.rename(ads.annotators.name))
    both = [(a.votes[demo.vocab], a.annotators) for a in (ads, demo)]
    pd.testing.assert_frame_equal(*[agreement(*b) for b in both])
    pd.testing.assert_frame_equal(*[one_human(*b, demo.vocab) for b in both])
    pd.testing.assert_frame_equal(*[soft_targs(replace(a, targs=a.targs[demo.vocab])) for a in (ads, demo)], check_names=False)

def test_annotators_keep_their_names(root):
    rows = [(f'p{i}.jpg', who, label) for i in range(6) for who,label in (('Ann', 'Calm'), ('Bob', 'Calm' if i%2 else 'Sad'), ('Cy', ''))]
    ads = votes_ads(pd.DataFrame(rows, columns=['image', 'annotator', 'label']), root=root, min_votes=1)
    assert set(ads.annotations.annotator)=={'Ann', 'Bob', 'Cy'} and (ads.annotators==3).all() and 'votes of 3 annotators' in ads.summary()
    assert set(ads.subset(['p0.jpg']).annotations.image)=={'p0.jpg'}

def test_predictions_for_label_studio(tmp_path):
    write_label_studio(pd.DataFrame(dict(file=['a.jpg'], predicted=['Calm'], reason=[''], Calm=[.8])), tmp_path/'p.json')
    task, = json.loads((tmp_path/'p.json').read_text())
    assert task['predictions'][0]['result'][0]['value']['choices']==['Calm'] and task['data']['image']=='a.jpg'

def test_real_posters(posters):
    ads = load_ads(posters)
    assert len(ads)==1200 and len(ads.vocab)==18 and "Children's" in ads.vocab and "joined by '|'" in ads.summary()
