"Tables and votes that people have: each is read rightly, or refused with the way out; none is silently wrong."
import json,os,shutil,time
from dataclasses import replace
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from ads_sentiment.evaluation.agreement import agreement, one_annotator
from ads_sentiment.core import AdsError
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.loaders import ads_dataloaders
from ads_sentiment.data.datasets import data_kind, csv_ads, demo_ads, folder_ads, load_ads, votes_ads
from ads_sentiment.training.head_fit import soft_targs
from ads_sentiment.training.learner import word_files
from ads_sentiment.training.predictor import image_files, load_predictor
from ads_sentiment.study.study import run_study
from ads_sentiment.data.votes import read_votes, write_label_studio, write_votes
from ads_sentiment.apps.cli import ads_prepare

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
    "Identical targets, alpha, one annotator and soft targets"
    path = demo.paths.iloc[0].parent.parent/name
    write_votes(demo.annotations, path, how)
    ads = load_ads(path, keep=demo.vocab)
    assert set(ads.targs.index)==set(demo.targs.index)
    ads = replace(ads, split=demo.split, **{k: getattr(ads, k).loc[demo.targs.index] for k in ('targs', 'paths', 'votes', 'annotators')})
    assert (ads.targs[demo.vocab]==demo.targs).all(axis=None) and ads.annotators.equals(demo.annotators.rename(ads.annotators.name))
    both = [(a.votes[demo.vocab], a.annotators) for a in (ads, demo)]
    pd.testing.assert_frame_equal(*[agreement(*b) for b in both])
    pd.testing.assert_frame_equal(*[one_annotator(*b, demo.vocab) for b in both])
    pd.testing.assert_frame_equal(*[soft_targs(replace(a, targs=a.targs[demo.vocab])) for a in (ads, demo)], check_names=False)

def test_annotators_keep_their_names(root):
    rows = [(f'p{i}.jpg', who, label) for i in range(6) for who,label in (('Ann', 'Calm'), ('Bob', 'Calm' if i%2 else 'Sad'), ('Cy', ''))]
    ads = votes_ads(pd.DataFrame(rows, columns=['image', 'annotator', 'label']), root=root, min_votes=1)
    assert set(ads.annotations.annotator)=={'Ann', 'Bob', 'Cy'} and (ads.annotators==3).all() and 'votes of 3 annotators' in ads.summary()
    assert set(ads.subset(['p0.jpg']).annotations.image)=={'p0.jpg'}

def test_a_column_of_annotators_makes_votes(root):
    "Whatever it is called, in `load_ads` and on the command line's way"
    rows = [(f'p{i}.jpg', who, 'Calm' if i%2 else 'Sad') for i in range(6) for who in ('Ann', 'Bob')]
    table = pd.DataFrame(rows, columns=['image', 'who', 'label'])
    assert data_kind(table, 'who')[0]=='votes'
    table.to_csv(root/'who.csv', index=False)
    ads = load_ads(root/'who.csv', annotator_col='who')
    assert set(ads.annotations.annotator)=={'Ann', 'Bob'} and (ads.annotators==2).all()
    (root/'who.csv').unlink()

def test_predictions_for_label_studio(tmp_path):
    write_label_studio(pd.DataFrame(dict(file=['a.jpg'], predicted=['Calm'], reason=[''], Calm=[.8])), tmp_path/'p.json')
    task, = json.loads((tmp_path/'p.json').read_text())
    assert task['predictions'][0]['result'][0]['value']['choices']==['Calm'] and task['data']['image']=='a.jpg'

def test_real_posters(posters):
    ads = load_ads(posters)
    assert len(ads)==1200 and len(ads.vocab)==18 and "Children's" in ads.vocab and "joined by '|'" in ads.summary()

# --- never silently wrong: read rightly and said, or refused in one line with the way out ---------------------------------

def onehot(truth): return truth.rename_axis('fname').reset_index()
def thirds(k): return ('train', 'train', 'valid', 'test')[k%4]
def parts(f): return [f(k) for k in range(60)]
def single(truth): return joined(truth, '|').assign(labels=lambda d: d.labels.str.split('|').str[0])
def rare(truth, cell, rows=3): return single(truth).assign(labels=lambda d: d.labels.where(d.index>=rows, cell))

def refuses(read, *says):
    "Check that reading is refused in one line that holds all of `says`"
    with pytest.raises(AdsError) as e: read()
    assert all(s in str(e.value) for s in says) and '\n' not in str(e.value), str(e.value)

wrong_tables = {
    'splits contradict': (lambda t: joined(t, '|').assign(split=parts(thirds), is_valid=parts(lambda k: k%2)),
        ["'split'", "'is_valid'", '--split_col']),
    'split named twice': (lambda t: joined(t, '|').assign(set=parts(thirds), phase=parts(lambda k: thirds(k+1))),
        ["'set'", "'phase'", '--split_col']),
    'split with gaps': (lambda t: joined(t, '|').assign(split=parts(lambda k: thirds(k) if k!=7 else '')),
        ['row 8', "'split'", '--split_col']),
    'split by numbers': (lambda t: onehot(t).assign(split=parts(lambda k: k%3)), ["'split'", '0, 1, 2', '--split_col']),
    'unknown parts': (lambda t: joined(t, '|').assign(data_split=parts(lambda k: 'AB'[k%2])),
        ["'data_split'", 'A, B', '--split_col']),
    'a vehicle or a flag': (lambda t: onehot(t).rename(columns=dict(Drama='train')), ["'train'", '--split_col']),
    'rare slash': (lambda t: rare(t, 'Action/Drama'), ["'Action/Drama'", '3 rows', '--sep']),
    'rare plus': (lambda t: rare(t, 'Action+Drama'), ["'Action+Drama'", '--sep']),
    'rare and': (lambda t: rare(t, 'Action and Drama'), ["'Action and Drama'", '--sep']),
    'rare space': (lambda t: rare(t, 'Action Drama'), ["'Action Drama'", '--sep']),
    'rare newline': (lambda t: rare(t, 'Action\nDrama'), ["'Action\\nDrama'", '--sep']),
    'two separators': (lambda t: rare(t, 'Action|Drama').assign(labels=lambda d: d.labels.where(d.index<57, 'Action, Drama')),
        ["'Action, Drama'", '--sep']),
    'one image, two sets of labels': (lambda t: pd.concat([joined(t, '|'),
        pd.DataFrame(dict(fname=['p2.jpg'], labels=["Film Noir|Children's"]))]), ["'p2.jpg'", 'rows 3 and 61']),
    'one image, two spellings': (lambda t: pd.concat([joined(t, '|'), pd.DataFrame(dict(fname=['./p2.jpg'], labels=['Drama']))]),
        ["'p2.jpg'", "'./p2.jpg'", 'same file']),
    'two image columns': (lambda t: joined(t, '|').rename(columns=dict(fname='path')).assign(
        file=lambda d: d.path.where(d.index>0, 'p1.jpg')), ["'file'", "'path'", '--image_col']),
    'gap in a label': (lambda t: onehot(t).assign(Drama=lambda d: d.Drama.astype(float).where(d.index!=4)),
        ["'Drama'", 'row 5', '0 or 1']),
    'odd value in a label': (lambda t: onehot(t).assign(Drama=lambda d: d.Drama.where(d.index!=4, 2)), ["'Drama'", 'row 5', "'2'"]),
    'only marks': (lambda t: onehot(t).assign(Drama=lambda d: d.Drama.map({1: '1', 0: ''})), ["'Drama'", '0 or 1']),
    'one column of 0 and 1': (lambda t: pd.DataFrame(dict(fname=t.index, label=t.Drama.to_numpy())), ["'label'", '--label_col']),
    'label split': (lambda t: onehot(t).rename(columns=dict(Drama='split')), ["'split'", '--split_col']),
    'labels twice': (lambda t: joined(t, '|').assign(Drama=lambda d: 1-t.Drama.to_numpy()), ["'labels'", "'Drama'"]),
}

@pytest.mark.parametrize('as_file', [True, False], ids=['file', 'DataFrame'])
@pytest.mark.parametrize('case', wrong_tables)
def test_wrong_table_is_refused(case, as_file, root, truth, tmp_path):
    make,says = wrong_tables[case]
    refuses(lambda: csv_ads(write(make(truth), tmp_path/'t.csv') if as_file else make(truth), root=root), *says)

wrong_texts = {
    'more cells than columns': ('fname,labels\np0.jpg,Action,Drama\np1.jpg,Action,Drama\np2.jpg,Action,Drama\n', ['line 2', '3 cells']),
    'a column twice': ('fname,Action,Action\np0.jpg,1,0\np1.jpg,0,1\np2.jpg,1,1\n', ["'Action'", 'twice']),
    'no name': ('fname,Action,\np0.jpg,1,0\np1.jpg,0,1\np2.jpg,1,1\n', ['column 3', 'no name'])}

@pytest.mark.parametrize('case', wrong_texts)
def test_wrong_text_is_refused(case, root, tmp_path):
    text,says = wrong_texts[case]
    (tmp_path/'t.csv').write_text(text)
    refuses(lambda: csv_ads(tmp_path/'t.csv', root=root), *says)

flags = {'phase': thirds, 'Usage': lambda k: thirds(k).upper(), 'data_split': lambda k: f'{thirds(k)}_set', 'year': lambda k: f'{thirds(k)}2017'}

@pytest.mark.parametrize('labels', [lambda t: joined(t, '|'), onehot], ids=['joined', 'binary'])
@pytest.mark.parametrize('col', flags)
def test_split_under_an_unusual_name(col, labels, root, truth):
    ads = csv_ads(labels(truth).assign(**{col: parts(flags[col])}), root=root)
    assert f"split from the column {col!r}" in ads.understood and ads.vocab==names
    assert ads.split.loc[truth.index].tolist()==parts(thirds)

@pytest.mark.parametrize('cols', [['is_test'], ['is_train'], ['train', 'valid', 'test'], ['train', 'test'], ['split', 'is_valid'], ['split', 'is_test']],
    ids='-'.join)
def test_split_in_flags(cols, root, truth):
    "Flags are a split and never labels; two columns that agree are one split"
    last = parts(lambda k: thirds(k)=='test')
    make = {'is_test': last, 'is_train': [not l for l in last], 'split': parts(thirds), 'is_valid': parts(lambda k: thirds(k)=='valid'),
            'train': parts(lambda k: int(thirds(k)=='train' or thirds(k)=='valid' and 'valid' not in cols)),
            'valid': parts(lambda k: int(thirds(k)=='valid')), 'test': [int(l) for l in last]}
    ads = csv_ads(onehot(truth).assign(**{c: make[c] for c in cols}), root=root)
    assert ads.vocab==names and all(f"'{c}'" in ads.understood for c in cols)
    assert [p=='test' for p in ads.split.loc[truth.index]]==last and set(ads.split)=={'train', 'valid', 'test'}

def test_columns_left_aside_are_said(root, truth):
    assert 'columns left aside: year, Set of labels' in csv_ads(joined(truth, '|').assign(year=1990, **{'Set of labels': 'A'}), root=root).understood

@pytest.mark.parametrize('sep', ['|', ';', ',', ', '])
def test_rare_separator_is_found(sep, root, truth):
    ads = csv_ads(rare(truth, f'Action{sep}Drama'), root=root)
    assert ads.vocab==names and ads.targs.loc['p0.jpg'].tolist()==[1, 0, 1, 0, 0] and f'joined by {sep.strip()!r}, in 3 rows' in ads.understood

def test_sep_decides_what_is_asked(root, truth):
    df = rare(truth, 'Action/Drama')
    assert csv_ads(df, root=root, sep='/').vocab==names and 'Action/Drama' in csv_ads(df, root=root, sep='|').vocab
    assert "'|' occurs in no row" in csv_ads(df, root=root, sep='|').understood

def test_spellings_of_a_label_are_said(root, truth):
    assert "'Drama' and 'drama' differ only in case" in csv_ads(rare(truth, 'drama'), root=root).understood

def test_equal_rows_of_one_image_are_one(root, truth):
    df = joined(truth, '|')
    ads = csv_ads(pd.concat([df, df.iloc[2:4]]), root=root)
    assert '2 repeated rows' in ads.understood and (ads.targs.loc[truth.index]==truth).all(axis=None)

def test_a_long_table_says_how_many(root, truth):
    assert 'in several rows per image (3 of 60 images have several)' in csv_ads(pd.concat([single(truth),
        pd.DataFrame(dict(fname=['p0.jpg', 'p1.jpg', 'p2.jpg'], labels='Sci-Fi'))]), root=root).understood

@pytest.mark.parametrize('odd', ['image', 'file', 'split', 'backbone', 'predicted', 'truth', 'reason', 'id', 'path', 'label', 'labels', 'class', 'set',
                                 'fold', 'test', 'index', 'user', 'filename'])
def test_odd_names_of_label_columns(odd, root, truth):
    "A column of 0 and 1 is a label whatever its name, unless it can be a split: then `split_col=''` says so"
    df = onehot(truth).rename(columns=dict(Drama=odd))
    ads = csv_ads(df, root=root, split_col='')
    assert set(ads.vocab)==set(df.columns[1:]) and ads.targs.loc[truth.index, odd].tolist()==truth.Drama.tolist()
    if odd in ('split', 'set', 'fold'): refuses(lambda: csv_ads(df, root=root), '--split_col')
    elif odd!='test': assert csv_ads(df, root=root).targs.equals(csv_ads(df, root=root, split_col='').targs)

def test_same_name_in_two_folders(truth, root, tmp_path):
    for f in ('cats/1.jpg', 'dogs/1.jpg', 'dogs/2.jpg', 'dogs/3.jpg'):
        (tmp_path/f).parent.mkdir(exist_ok=True)
        (tmp_path/f).write_bytes((root/'p0.jpg').read_bytes())
    table = lambda *files: pd.DataFrame(dict(fname=files, labels=['a', 'b', 'a', 'b'][:len(files)]))
    refuses(lambda: csv_ads(table('1.jpg', '2.jpg', '3.jpg'), root=tmp_path), "'1.jpg'", 'cats/1.jpg', 'dogs/1.jpg')
    assert csv_ads(table('cats/1.jpg', 'dogs/1.jpg', '2.jpg', '3'), root=tmp_path).absent==[]
    (tmp_path/'cats/1.jpg').unlink() # its namesake elsewhere is another image
    assert csv_ads(table('cats/1.jpg', 'dogs/1.jpg', '2.jpg', '3'), root=tmp_path).absent==['cats/1.jpg']

def test_windows_paths(root, truth):
    ads = csv_ads(joined(truth, '|').assign(fname=lambda d: [f'{root.name}\\{f}' for f in d.fname]), root=root.parent)
    assert len(ads)==60 and not ads.absent
    assert not csv_ads(joined(truth, '|').assign(fname=lambda d: [f'C:\\Users\\me\\{f}' for f in d.fname]), root=root).absent

values = {'text': lambda t: t.astype(str), 'padded text': lambda t: ' ' + t.astype(str), 'bool text': lambda t: t.astype(bool).astype(str).apply(lambda c: c.str.lower()),
    'yes and no': lambda t: t.replace({0: 'No', 1: 'Yes'}), 'float text': lambda t: t.astype(float).astype(str), 'nullable': lambda t: t.astype('Int64'),
    'nullable bool': lambda t: t.astype('boolean'), 'categories': lambda t: t.astype(str).astype('category'), 't and f': lambda t: t.replace({0: 'F', 1: 'T'})}

@pytest.mark.parametrize('as_file', [True, False], ids=['file', 'DataFrame'])
@pytest.mark.parametrize('kind', values)
def test_values_of_label_columns(kind, as_file, root, truth, tmp_path):
    df = onehot(values[kind](truth.astype(object if ' ' not in kind and kind in ('text',) else int)))
    ads = csv_ads(write(df, tmp_path/'t.csv') if as_file else df, root=root)
    assert list(ads.targs)==names and (ads.targs.loc[truth.index]==truth).all(axis=None)

@pytest.mark.parametrize('labels', [lambda t: joined(t, '|'), onehot, lambda t: joined(t, '|').assign(split=parts(thirds))], ids=['joined', 'binary', 'split'])
def test_empty_rows(labels, root, truth, tmp_path):
    "As a spreadsheet leaves them, in the middle and at the end"
    lines = labels(truth).to_csv(index=False, sep=';').splitlines()
    blank = ';'*lines[0].count(';')
    (tmp_path/'t.csv').write_text('\n'.join([*lines[:9], blank, '', *lines[9:], blank, blank, '']), encoding='utf-8-sig')
    ads = csv_ads(tmp_path/'t.csv', root=root)
    assert (ads.targs.loc[truth.index]==truth).all(axis=None) and '3 empty rows left out' in ads.understood

def test_row_numbers_count_empty_rows(root):
    df = pd.DataFrame(dict(fname=['p0.jpg', '', '', 'p1.jpg'], labels=['a', '', 'b', 'b']))
    refuses(lambda: csv_ads(df, root=root), 'row 3 has no image')

@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'cp1252'])
@pytest.mark.parametrize('sep', [',', ';', '\t'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_text_files(encoding, sep, end, root, truth, tmp_path):
    (tmp_path/'t.csv').write_bytes(joined(truth, '|').assign(labels=lambda d: d.labels.str.replace('Drama', 'Drôle, or not')).to_csv(index=False, sep=sep,
        lineterminator=end).encode(encoding))
    ads = csv_ads(tmp_path/'t.csv', root=root)
    assert 'Drôle, or not' in ads.vocab and len(ads.vocab)==5 and len(ads)==60 and ('CP-1252' in ads.understood)==(encoding=='cp1252')

def test_semicolons_and_commas_in_the_header(root, truth, tmp_path):
    df = onehot(truth).rename(columns={n: f'{n}, a, b' for n in names})
    df.to_csv(tmp_path/'t.csv', sep=';', index=False)
    assert csv_ads(tmp_path/'t.csv', root=root).vocab==[f'{n}, a, b' for n in names]

def image_folders(tmp_path, root, *files):
    "Copy images to folders"
    for k,f in enumerate(files):
        (tmp_path/f).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/f).write_bytes((root/f'p{k}.jpg').read_bytes())
    return tmp_path

def grid(tops, n=3): return [f'{t}/{l}/{k}.jpg' for t in tops for l in ('bright', 'dark') for k in range(n)]

@pytest.mark.parametrize('tops', [('train', 'test'), ('Training', 'Testing'), ('train', 'val'), ('train', 'dev', 'test'), ('train_set', 'test_set')], ids='-'.join)
def test_folders_of_splits(tops, root, tmp_path):
    ads = load_ads(image_folders(tmp_path, root, *grid(tops)))
    assert ads.vocab==['bright', 'dark'] and set(ads.split)=={'train', 'valid', 'test'} and 'split from the names of folders' in ads.understood
    assert (ads.split[[i.startswith(tops[-1]) for i in ads.split.index]]=='test').all() and ('drawn for validation' in ads.understood)==(len(tops)==2)

wrong_folders = {
    'another folder': ([*grid(['train', 'valid', 'test']), 'extra/1.jpg'], ['extra', 'train, valid']),
    'labels beside': ([*grid(['train', 'test']), 'bright/1.jpg'], ['bright', 'train']),
    'train only': (grid(['train']), ['train']),
    'no labels': (['train/1.jpg', 'train/2.jpg', 'test/3.jpg'], ['folder for each label']),
    'one label': (['bright/1.jpg', 'bright/2.jpg', 'bright/3.jpg'], ['bright', 'at least two']),
    'a level too many': (grid(['2019', 'y2020']), ['2019/bright', 'LABEL']),
    'two trains': ([*grid(['train', 'training', 'test'])], ['train', 'training'])}

@pytest.mark.parametrize('case', wrong_folders)
def test_wrong_folders_are_refused(case, root, tmp_path):
    files,says = wrong_folders[case]
    refuses(lambda: folder_ads(image_folders(tmp_path, root, *files)), *says)

def test_one_image_under_two_labels(root, tmp_path):
    image_folders(tmp_path, root, 'bright/1.jpg', 'bright/2.jpg', 'dark/2.jpg', 'dark/3.jpg')
    assert len(folder_ads(tmp_path))==4 # the same name for two images
    (tmp_path/'dark/1.jpg').write_bytes((tmp_path/'bright/1.jpg').read_bytes())
    refuses(lambda: folder_ads(tmp_path), 'bright/1.jpg', 'dark/1.jpg', 'table')

def test_a_label_called_train(root, tmp_path):
    assert folder_ads(image_folders(tmp_path, root, *[f'{l}/{k}.jpg' for l in ('car', 'train') for k in range(3)])).vocab==['car', 'train']

def test_loose_images_are_said(root, tmp_path):
    assert '1 image outside the folders of labels left aside' in folder_ads(image_folders(tmp_path, root, *grid(['train', 'test']), 'train/x.jpg')).understood

# --- Label Studio ---------------------------------------------------------------------------------------------------------

def choices(labels, control='sentiment', kind='choices'): return dict(type=kind, from_name=control, to_name='image', value={kind: labels})
def annotation(who, *results, **more): return dict(**({} if who is None else dict(completed_by=who)), result=list(results), **more)
def task(k, *annotations): return dict(id=k, data=dict(image=f'p{k}.jpg'), annotations=list(annotations))
def export(tasks, path): return path.write_text(json.dumps(tasks), encoding='utf-8-sig') and path

def voted(*extra, labels=('Calm', 'Sad')):
    "Six tasks that two annotators agree on, and more"
    return [*(task(k, *(annotation(w, choices([labels[k%2]])) for w in (1, 2))) for k in range(6)), *extra]

def test_label_studio_says_what_is_left_aside(root, tmp_path):
    tasks = voted(task(6), task(7, annotation(1, was_cancelled=True), annotation(2, was_cancelled=True)),
        task(8, annotation(1, choices(['Calm'])), annotation(2, choices(['Calm'])), annotation(3, was_cancelled=True)))
    ads = load_ads(export(tasks, tmp_path/'e.json'), root=root)
    assert len(ads)==7 and ads.annotators['p8.jpg']==2
    assert '3 cancelled annotations' in ads.understood and '2 tasks without annotations' in ads.understood and "'sentiment'" in ads.understood

def test_label_studio_with_two_controls(root, tmp_path):
    tasks = [task(k, *(annotation(w, choices([('Calm', 'Sad')[k%2]]), choices(['sharp'], 'quality')) for w in (1, 2))) for k in range(6)]
    path = export(tasks, tmp_path/'e.json')
    refuses(lambda: load_ads(path, root=root), 'quality, sentiment', '--label_col')
    assert load_ads(path, root=root, label_col='sentiment').vocab==['Calm', 'Sad']
    refuses(lambda: load_ads(path, root=root, label_col='sentimnt'), "Did you mean 'sentiment'?")

wrong_exports = {
    'no id': (voted(task(6, annotation(None, choices(['Calm'])))), ['task 7', 'completed_by']),
    'null id': (voted(task(6, annotation(None, choices(['Calm']), completed_by=None))), ['task 7', 'completed_by']),
    'empty id': (voted(task(6, annotation({}, choices(['Calm'])))), ['task 7', 'completed_by']),
    'twice by one': (voted(task(6, annotation(1, choices(['Calm'])), annotation(1, choices(['Sad'])))), ["'p6.jpg'", "annotator '1'", 'twice']),
    'boxes': ([task(k, annotation(1, choices(['Calm'], kind='rectanglelabels'))) for k in range(6)], ['rectanglelabels', 'choices']),
    'only cancelled': ([task(k, annotation(1, was_cancelled=True)) for k in range(6)], ['no annotation']),
    'predictions': ([dict(id=1, data=dict(image='p1.jpg'), predictions=[])], ['no annotation'])}

@pytest.mark.parametrize('case', wrong_exports)
def test_wrong_export_is_refused(case, root, tmp_path):
    tasks,says = wrong_exports[case]
    refuses(lambda: load_ads(export(tasks, tmp_path/'e.json'), root=root), *says)

def minimal(k, who, **more): return dict(id=k, image=f'p{k}.jpg', annotator=who, annotation_id=10*k+who, created_at='2024', updated_at='2024', lead_time=1.5, **more)

def test_json_min(root, tmp_path):
    "One choice is text, several are an object"
    rows = [minimal(k, w, mood=('Calm', {'choices': ['Calm', 'Sad']})[k%2]) for k in range(6) for w in (1, 2)]
    ads = load_ads(export(rows, tmp_path/'m.json'), root=root)
    assert ads.vocab==['Calm', 'Sad'] and ads.targs.Calm.all() and ads.targs.Sad.sum()==3 and (ads.annotators==2).all()
    assert "'mood'" in ads.understood

wrong_minimal = {
    'two controls': ([minimal(k, w, mood='Calm', quality='sharp') for k in range(6) for w in (1, 2)], ['mood', 'quality', '--label_col']),
    'no annotator': ([{k: v for k,v in minimal(k, 1, mood='Calm').items() if k!='annotator'} for k in range(6)], ['annotator']),
    'null annotator': ([{**minimal(k, 1, mood='Calm'), 'annotator': None if k==2 else 1} for k in range(6)], ['row 3', 'annotator'])}

@pytest.mark.parametrize('case', wrong_minimal)
def test_wrong_json_min_is_refused(case, root, tmp_path):
    rows,says = wrong_minimal[case]
    refuses(lambda: load_ads(export(rows, tmp_path/'m.json'), root=root), *says)

def test_flags_that_an_export_does_not_know(root, tmp_path):
    refuses(lambda: load_ads(export(voted(), tmp_path/'e.json'), root=root, sep=','), 'sep', 'Label Studio')

# --- votes in tables ------------------------------------------------------------------------------------------------------

def ballots(**cells): return pd.DataFrame([(f'p{k}.jpg', w, 'Calm' if k%2 else 'Sad') for k in range(6) for w in ('Ann', 'Bob')],
    columns=['image', 'annotator', 'label']).assign(**cells)

def test_votes_say_how_they_were_understood(root):
    ads = votes_ads(ballots(note='x'), root=root)
    assert all(s in ads.understood for s in ("column 'label', one in each row", 'columns left aside: note'))

def test_names_of_annotators_are_trimmed(root):
    df = ballots(annotator=lambda d: d.annotator.where(d.index>1, d.annotator+' '))
    assert votes_ads(df, root=root).annotations.annotator.nunique()==2

def test_numbers_of_annotators_stay_whole(root):
    assert set(votes_ads(ballots(annotator=[1., 2.]*6), root=root).annotations.annotator)=={'1', '2'}

def test_two_ballots_of_one_annotator(root):
    more = pd.DataFrame([('p2.jpg', 'Ann', 'Angry, Calm')], columns=['image', 'annotator', 'label'])
    df = pd.concat([ballots(label=['Calm', 'Calm, Sad']*6), more])
    refuses(lambda: votes_ads(df, root=root), "'p2.jpg'", "'Ann'", 'rows 5 and 13')

def test_long_votes_are_fast(tmp_path):
    rng,n = np.random.default_rng(0),200_000
    df = pd.DataFrame(dict(image=[f'{i//20}.jpg' for i in range(n)], annotator=rng.integers(0, 50, n), label=rng.choice(names, n)))
    df.to_csv(tmp_path/'v.csv', index=False)
    start = time.process_time()
    votes = read_votes(tmp_path/'v.csv')
    assert time.process_time()-start < 2.5 and len(votes)==len(df.drop_duplicates()) # about a second on an idle machine

def test_folders_hold_what_predict_reads(tmp_path):
    for label in ('Calm', 'Eager'):
        (tmp_path/label).mkdir()
        for suffix in ('png', 'ico', 'jfif'): Image.new('RGB', (16,16), 'red').save(tmp_path/label/f'{label}.{suffix}', 'JPEG' if suffix=='jfif' else None)
    assert sorted(map(str, load_ads(tmp_path).paths))==sorted(map(str, image_files(tmp_path)))

# --- ads_prepare ----------------------------------------------------------------------------------------------------------

prepared_names = {'image and split': ['image', 'split'], 'usual columns': ['label', 'file'], 'flags': ['test', 'train'], 'other case': ['Image', 'SPLIT'],
    'separators': ['a|b', 'a, b'], 'parts of another': ['Action|Drama', 'Action, Drama'], 'brackets': ['["a"]', '{"a"}'], 'line break': ['a\nb', 'index'], 'numbers': ['0', '1']}

@pytest.mark.parametrize('case', prepared_names)
def test_prepared_labels_come_back(case, root, truth, tmp_path):
    odd = dict(zip(names[2:4], prepared_names[case]))
    ads = csv_ads(pd.DataFrame(dict(fname=truth.index, labels=[[odd.get(l, l) for l in ls] for ls in lists(truth)])), root=root)
    table = ads.to_table(root)
    again = csv_ads(write(table, root/'again.csv'))
    (root/'again.csv').unlink()
    assert sorted(again.vocab)==sorted(ads.vocab) and again.targs[ads.vocab].equals(ads.targs) and again.split.equals(ads.split)

def test_prepare_writes_what_study_reads(root, truth, tmp_path, capsys):
    write(pd.DataFrame(dict(fname=truth.index, labels=[[{'Drama': 'image', 'Action': 'split'}.get(l, l) for l in ls] for ls in lists(truth)])), root/'odd.jsonl')
    ads_prepare(root/'odd.jsonl', tmp_path/'prepared', 32)
    (root/'odd.jsonl').unlink()
    ads = load_ads(tmp_path/'prepared'/'ads.csv')
    assert set(ads.vocab)=={'image', 'split', "Children's", 'Film Noir', 'Sci-Fi'} and ads.targs.image.sum()==truth.Drama.sum()

def prepared_table(root, truth, tmp_path, folder='prepared'):
    "The table that ads_prepare writes, of images that lie outside its folder"
    write(pd.DataFrame(dict(fname=truth.index, labels=[json.dumps(l) for l in lists(truth)])), root/'all.csv')
    ads_prepare(root/'all.csv', tmp_path/folder, 32)
    (root/'all.csv').unlink()
    return tmp_path/folder/'ads.csv'

def test_prepared_images_keep_their_originals(root, truth, tmp_path):
    ads = load_ads(prepared_table(root, truth, tmp_path))
    assert {p.resolve() for p in ads.originals}=={(root/f).resolve() for f in truth.index}
    assert all(p.parent.parent==tmp_path/'prepared' for p in ads.paths) and 'original' not in ads.understood
    again,_ = prepare_images(ads, tmp_path/'again', size=16) # of prepared images: words are read in the first ones
    assert again.originals.tolist()==ads.originals.tolist()
    dls = ads_dataloaders(again, 16)
    assert set(word_files(dls, dls.test.items))<=set(ads.originals)
    assert again.to_table(tmp_path).original_file.tolist()==[os.path.relpath(p, tmp_path) for p in ads.originals]

def test_prepared_images_are_not_filtered_twice(root, truth, tmp_path):
    ads = load_ads(prepared_table(root, truth, tmp_path))
    assert ads.pipeline.prepare_size==32 and ads.pipeline.filter
    same,_ = prepare_images(ads, size=32)
    assert same.paths.equals(ads.paths) and ads_dataloaders(ads, 16).pipeline.filter==ads.pipeline.filter
    other,_ = prepare_images(ads, tmp_path/'other', size=16)
    plain = csv_ads(joined(truth, '|'), root=root)
    want,_ = prepare_images(plain, tmp_path/'want', size=16)
    pixels = lambda d: {Path(o).name: p.read_bytes() for o,p in zip(d.originals, d.paths)}
    assert pixels(other)==pixels(want)

def test_originals_that_are_gone_are_told_in_one_line(root, truth, tmp_path):
    here = tmp_path/'here'
    shutil.copytree(root, here)
    path = prepared_table(here, truth, tmp_path)
    (here/truth.index[0]).unlink()
    ads = load_ads(path)
    assert f'1 of {len(ads)} original images are not on disk' in ads.summary() and '\n' not in ads.summary()
    gone = ads.originals==ads.paths
    assert gone.sum()==1 and ads.originals[~gone].map(Path.is_file).all()
    shutil.rmtree(here)
    ads = load_ads(path)
    assert ads.originals is None and f'{len(ads)} of {len(ads)} original images' in ads.understood

def test_what_cannot_be_written_is_refused(root, truth):
    ads = csv_ads(pd.DataFrame(dict(fname=truth.index, labels=lists(truth))), root=root)
    odd = replace(ads, targs=ads.targs.rename(columns=dict(Drama='image', Action=' padded')))
    refuses(lambda: odd.to_table(root), "' padded'")

# --- found while looking for more -----------------------------------------------------------------------------------------

@pytest.mark.parametrize('col', ['IsValid', 'is test', 'Is_Training', 'holdout', 'is-val'])
def test_flags_in_other_spellings(col, root, truth):
    train = 'rain' in col
    ads = csv_ads(onehot(truth).assign(**{col: parts(lambda k: (k%4==0)!=train)}), root=root)
    assert ads.vocab==names and f'split from the column {col!r}' in ads.understood
    assert [p=='test' for p in ads.split.loc[truth.index]]==parts(lambda k: k%4==0)

def test_split_of_a_long_table_is_drawn_by_image(root, truth):
    rows = [(i, l, k%4==0) for k,(i,ls) in enumerate(zip(truth.index, lists(truth))) for l in ls]
    ads = csv_ads(pd.DataFrame(rows, columns=['image', 'label', 'is_valid']), root=root)
    assert ads.split.value_counts().to_dict()=={'train': 36, 'test': 15, 'valid': 9}

def test_split_of_votes_is_used(root):
    df = ballots(split=lambda d: d.image.map(lambda i: 'test' if i in ('p0.jpg', 'p1.jpg') else 'train'))
    ads = votes_ads(df, root=root)
    assert set(ads.split.index[ads.split=='test'])=={'p0.jpg', 'p1.jpg'} and "split from the column 'split'" in ads.understood
    refuses(lambda: votes_ads(df.assign(split=['train', 'test']*6), root=root), 'different split')

def test_rows_that_may_not_count(root):
    refuses(lambda: votes_ads(ballots(vote=[0, 1]*6), root=root), "'vote'")
    refuses(lambda: csv_ads(ballots(value=[0, 1]*6).drop(columns='annotator'), root=root), "'value'")

texts = {'set': "{'Action', 'Drama'}", 'tuple': "('Action', 'Drama')", 'NumPy': "['Action' 'Drama']", 'one joined cell': 'Action|Drama'}

@pytest.mark.parametrize('kind', texts)
def test_other_texts_of_lists(kind, root, truth):
    assert csv_ads(joined(truth, '|').assign(labels=texts[kind]), root=root).vocab==['Action', 'Drama']

@pytest.mark.parametrize('cell', ['[Action, Drama]', '{"Action": 1}', "'Action', 'Drama'", 'Film Noir Drama', 'Sci-Fi Drama'])
def test_other_texts_are_refused(cell, root, truth): refuses(lambda: csv_ads(rare(truth, cell), root=root), '--sep')

def test_labels_in_two_places(root, truth):
    df = onehot(truth).assign(category=['x', 'y']*30)
    refuses(lambda: csv_ads(df, root=root), "'category'", 'Action', '--label_col')
    assert csv_ads(df, root=root, label_col='category').vocab==['x', 'y']

def test_missing_values_as_text_are_said(root, truth): assert "'nan' may be a missing value" in csv_ads(rare(truth, 'nan'), root=root).understood
