"One import for everything: it forgets no name, and no name hides another one."
import builtins, importlib, pkgutil, re
from pathlib import Path
import ads_sentiment
import ads_sentiment.all as everything
import fastai.vision.all as fastai_all

found = pkgutil.walk_packages(ads_sentiment.__path__, 'ads_sentiment.')
apart = ('ads_sentiment.all', 'ads_sentiment._modidx', 'ads_sentiment.apps.site') # site needs nbdev and is for contributors
names = [m.name for m in found if not m.ispkg and m.name not in apart]
ours = [(m, n, getattr(importlib.import_module(m), n)) for m in names for n in importlib.import_module(m).__all__]

def test_number_of_public_names():
    "A change that adds, removes or merges public names touches this number"
    assert len({n for _,n,_ in ours})==645

def test_every_public_name_is_there():
    "Also fails where two modules give different objects the same name"
    assert not [f'{m}.{n}' for m,n,o in ours if getattr(everything, n, None) is not o]
    assert {n for _,n,_ in ours} <= set(everything.__all__)

def test_no_name_hides_one_of_fastai():
    "The very same object under the same name is fine"
    assert not [f'{m}.{n}' for m,n,o in ours if getattr(fastai_all, n, o) is not o]
    given = {n for n in vars(fastai_all) if not n.startswith('_')}
    assert not [n for n in given if getattr(everything, n) is not getattr(fastai_all, n)]
    assert given <= set(everything.__all__)

def test_no_name_hides_a_builtin(): assert not [f'{m}.{n}' for m,n,_ in ours if hasattr(builtins, n)]

def test_the_library_does_not_import_it():
    files = [p for p in Path(ads_sentiment.__path__[0]).rglob('*.py') if p.name!='_modidx.py']
    used = re.compile(r'(from|import) +ads_sentiment\.all\b|from +\.+all +import')
    assert not [p for p in files if used.search(p.read_text(encoding='utf-8'))]
