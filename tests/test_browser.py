"""Each widget in a real browser: a notebook served by Voilà, clicked through in headless Chromium, without network.

A report is opened at the widths of a laptop and of a phone.

`ADS_SCREENSHOTS=1 python -m pytest tests/test_browser.py` also renews the pictures in nbs/images/ that the pages of the widgets and of the study show."""
import importlib.util, io, json, os, shutil, signal, socket, subprocess, sys, time
from pathlib import Path
import pytest
from PIL import Image

root = Path(__file__).parent.parent
chromium = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
lacking = [m for m in ('playwright', 'voila') if not importlib.util.find_spec(m)] + ([] if chromium else ['chromium'])
pytestmark = pytest.mark.skipif(bool(lacking), reason=f'not installed: {", ".join(lacking)}')

cells = ['''
import pandas as pd
from ads_sentiment.data.loaders import ads_dataloaders
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.training.learner import ads_learner
from ads_sentiment.training.predictor import save_predictor
from ads_sentiment.data.images import prepare_images
from ads_sentiment.apps.widgets import *
ads = demo_ads('ads', n=400, seed=1)
ready,_ = prepare_images(ads, 'ready', size=160)
learn = ads_learner(ads_dataloaders(ready, size=160))
fit = learn.fit_head(folder='features')
test = ads.targs.index[ads.split=='test']
preds = pd.DataFrame(learn.split_preds('test', 'features')[0], test, ads.vocab)
for name in ('first', 'second'): save_predictor(learn, f'run/{name}', fit.thresholds)
''',
'AdPredictor(learn, ads.subset(test))',
'LabelExplorer(ads, preds, fit.thresholds, learn.recipe.min_labels)',
'FilterLab(ads)']

def write_notebook(path):
    "The notebook that Voilà serves: demo ads, a head trained on them in seconds, the three widgets"
    code = [dict(cell_type='code', metadata={}, execution_count=None, outputs=[], source=s) for s in cells]
    kernel = dict(kernelspec=dict(name='python3', display_name='Python 3', language='python'))
    path.write_text(json.dumps(dict(cells=code, metadata=kernel, nbformat=4, nbformat_minor=4)))
    return path

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def listens(port, proc):
    "Does the server answer? An `AssertionError` if it ended"
    assert proc.poll() is None, f'Voilà ended with code {proc.returncode}'
    with socket.socket() as s: return s.connect_ex(('127.0.0.1', port))==0

@pytest.fixture(scope='module')
def server(tmp_path_factory):
    "Voilà on a free port, ended with its kernels after the tests; yields its address"
    folder,port = tmp_path_factory.mktemp('voila'),free_port()
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get('PYTHONPATH')])])
    env = {**os.environ, 'ADS_PROGRESS': '0', 'PYTHONPATH': path, 'JUPYTER_CONFIG_DIR': str(folder/'config'), 'ADS_PREDICTOR': str(folder/'run')}
    write_notebook(folder/'widgets.ipynb')
    shutil.copy(root/'nbs'/'apps'/'03_page.ipynb', folder)
    args = [sys.executable, '-m', 'voila', folder, '--no-browser', f'--port={port}', '--Voila.ip=127.0.0.1']
    with open(folder/'log.txt', 'w') as log:
        proc = subprocess.Popen(list(map(str, args)), cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.time() + 60
        while not listens(port, proc) and time.time() < end: time.sleep(.1)
        yield f'http://127.0.0.1:{port}/'
    finally:
        print((folder/'log.txt').read_text()[-3000:])
        proc.send_signal(signal.SIGINT) # Voilà ends its kernels
        try: proc.wait(15)
        except subprocess.TimeoutExpired: proc.kill()

@pytest.fixture(scope='module')
def page(server):
    "The page with all widgets drawn; what is not on this machine can't be reached"
    from playwright.sync_api import sync_playwright
    quiet = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync']
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=quiet)
        page = browser.new_page(viewport=dict(width=1080, height=1000))
        page.set_default_timeout(20_000)
        page.route('**/*', lambda r: r.continue_() if r.request.url.startswith((server, 'data:', 'blob:')) else r.abort())
        page.goto(f'{server}voila/render/widgets.ipynb', timeout=240_000)
        page.wait_for_selector('.ads-filter-lab img', timeout=240_000)
        yield page
        assert 'Traceback' not in page.inner_text('body')
        browser.close()

def src(page, selector, n=0): return page.locator(f'{selector} img').nth(n).get_attribute('src')

def until(page, true):
    "Wait until `true()`, some seconds at most"
    end = time.time() + 20
    while not true() and time.time() < end: page.wait_for_timeout(50)
    assert true()

def changes(page, what, was):
    "Wait until `what()` is no longer `was`, and return what it is"
    until(page, lambda: what()!=was)
    return what()

def options(select): return [t.replace('\xa0', ' ') for t in select.locator('option').all_inner_texts()]
def select(select, name): select.select_option(index=options(select).index(name))

def wanted(): return os.environ.get('ADS_SCREENSHOTS') not in (None, '', '0')

def keep(screenshot, name):
    "Renew a picture of the documentation, if that is asked for"
    if not wanted(): return
    im = Image.open(io.BytesIO(screenshot())).convert('RGB')
    for quality in range(88, 40, -6):
        im.save(root/'nbs'/'images'/name, quality=quality, optimize=True)
        if (root/'nbs'/'images'/name).stat().st_size < 118_000: return

def shoot(page, selector, name):
    page.mouse.move(0, 0)
    keep(page.locator(selector).screenshot, name)

def test_pick_an_ad_and_click_labels(page):
    at = '.ads-predictor'
    box,first = page.locator(at),src(page, at)
    name = options(box.locator('select'))[3]
    select(box.locator('select'), name)
    assert changes(page, lambda: src(page, at), first)
    page.wait_for_function('t => document.querySelector(".ads-predictor b")?.innerText==t', arg=name)
    bars = box.locator('.ads-bar').all_inner_texts()
    predicted = ['predicted' in t and 'never predicted' not in t for t in bars]
    assert predicted==sorted(predicted, reverse=True) and len(bars)==box.locator('.ads-label').count()
    one,two = (box.locator('.ads-label').nth(i) for i in (0, 1))
    assert box.locator('.ads-map').count()==0
    shown = lambda label: (t := box.locator('.ads-map').all_inner_texts()) and len(t)==4 and all(label.inner_text() in x for x in t)
    one.click()
    until(page, lambda: shown(one) and page.locator('.ads-map img').count()==4)
    maps = [src(page, '.ads-map', i) for i in range(4)]
    shoot(page, at, 'widget_ad_predictor.jpg')
    two.click()
    changes(page, lambda: src(page, '.ads-map', 2), maps[2])
    until(page, lambda: shown(two))

def upload(page, path):
    with page.expect_file_chooser() as chooser: page.locator('.ads-predictor .widget-upload').click()
    chooser.value.set_files(path)

def test_upload(page, tmp_path):
    at = '.ads-predictor'
    said = lambda: page.locator(f'{at} [role=status]').all_inner_texts()
    Image.effect_mandelbrot((300,200), (-2,-1,1,1), 60).convert('RGB').save(tmp_path/'mine.png')
    (tmp_path/'notes.jpg').write_text('not an image')
    (tmp_path/'big.png').write_bytes(bytes(9_000_000))
    shown = src(page, at)
    upload(page, tmp_path/'mine.png')
    shown = changes(page, lambda: src(page, at), shown)
    until(page, lambda: 'mine.png' in page.locator(at).inner_text() and said()==[])
    upload(page, tmp_path/'notes.jpg')
    changes(page, said, [])
    until(page, lambda: 'notes.jpg: not an image file that Pillow knows' in said()[0])
    old = said()
    upload(page, tmp_path/'big.png')
    changes(page, said, old)
    until(page, lambda: 'big.png has 9.0 MB; expected an image of at most 8 MB' in said()[0])
    until(page, lambda: 'mine.png' not in page.locator(at).inner_text() and page.locator(f'{at} .ads-bar').count()==0) # nothing of the ad before is left

@pytest.mark.parametrize('width', [1280, 390])
def test_the_page_of_a_run(width, page, server, tmp_path):
    "`make app`: a menu of the models of a run, an upload, its labels and maps, no wider than the screen"
    from ads_sentiment.data.datasets import demo_ads
    ad = demo_ads(tmp_path/'ads', n=40, seed=2).paths.iloc[0]
    tab = page.context.browser.new_page(viewport=dict(width=width, height=1240))
    tab.set_default_timeout(20_000)
    tab.goto(f'{server}voila/render/03_page.ipynb', timeout=240_000)
    tab.wait_for_selector('.ads-predictor .widget-upload', timeout=240_000)
    assert options(tab.locator('.ads-page select').first)==['first', 'second'] and 'import' not in tab.inner_text('body')
    upload(tab, ad)
    tab.wait_for_selector('.ads-bar')
    tab.locator('.ads-label').first.click()
    until(tab, lambda: tab.locator('.ads-map img').count()==4)
    assert ad.name in tab.inner_text('.ads-predictor')
    wide = 'w => [...document.querySelectorAll(".ads-page, .ads-page *")].filter(e => e.scrollWidth > w || e.getBoundingClientRect().right > w).length'
    assert tab.evaluate(wide, width)==0
    if width > 1000: keep(tab.locator('.ads-page').screenshot, 'page.jpg')
    tab.close()

def test_explore_labels(page):
    at = '.ads-explorer'
    box = page.locator(at)
    label,show,split = (box.locator('select').nth(i) for i in range(3))
    count,cards = lambda: box.locator('.ads-count').inner_text(),lambda: box.locator('.ads-card').all_inner_texts()
    number = lambda: int(count().split()[0].replace(',', ''))
    everything,first = number(),src(page, at)
    assert len(cards())==12
    box.get_by_role('button', name='next').click()
    changes(page, lambda: src(page, at), first)
    until(page, lambda: 'page 2 of' in box.inner_text()) # the caption of the page arrives after its pictures
    select(show, 'hits')
    changes(page, number, everything)
    until(page, lambda: 'page 1 of' in box.inner_text() and all('hit' in t for t in cards()))
    shoot(page, at, 'widget_label_explorer.jpg')
    select(show, 'ads with the label')
    until(page, lambda: number()==everything)
    n_ads = lambda option: int(option.rsplit(' (', 1)[1].rstrip(')').replace(',', ''))
    common = max(options(label)[1:], key=n_ads)
    name = common.rsplit(' (', 1)[0]
    select(label, common)
    until(page, lambda: number()==n_ads(common) and all(name in t for t in cards()))
    select(split, 'test')
    until(page, lambda: number() < n_ads(common) and 'train' not in count())
    select(show, 'voted for, but not the label')
    low = box.locator('.noUi-handle-lower').first # least votes
    low.focus()
    for _ in range(5): low.press('ArrowRight')
    until(page, lambda: 'Nothing matches' in box.inner_text() and number()==0 and not cards())

def test_filter_lab(page):
    at = '.ads-filter-lab'
    box = page.locator(at)
    code = lambda: box.locator('pre').inner_text()
    before,after,start = src(page, at, 0),src(page, at, 5),int(code().split('sigma_color=')[1].split(',')[0])
    assert box.locator('img').count()==15 and 'ms per image' in box.inner_text()
    handle = box.locator('.noUi-handle').nth(1) # sigma_color
    handle.focus()
    for _ in range(30): handle.press('ArrowRight')
    until(page, lambda: f'sigma_color={start+30}' in code())
    after = changes(page, lambda: src(page, at, 5), after)
    assert src(page, at, 0)==before
    shoot(page, at, 'widget_filter_lab.jpg')
    select(box.locator('select'), 'gamma 0.5')
    after = changes(page, lambda: src(page, at, 5), after)
    until(page, lambda: "gallery_transforms['gamma 0.5']" in code())
    box.get_by_role('button', name='other ads').click()
    changes(page, lambda: src(page, at, 0), before)
    changes(page, lambda: src(page, at, 5), after)

@pytest.fixture(scope='module')
def report(tmp_path_factory):
    "The report of a small study, the one of the page Study"
    from ads_sentiment.data.datasets import demo_ads
    from ads_sentiment.study.study import run_study
    folder = tmp_path_factory.mktemp('report')
    ads = demo_ads(folder/'ads', n=500, seed=1, drop=20)
    return run_study(ads, ['efficientnet_lite0', 'efficientnet_lite1'], folder/'first', size=128, prepare_size=160)/'report.html'

@pytest.mark.parametrize('width', [1280, 390])
def test_a_report_fits_the_screen(report, width, page):
    "No section is wider than the screen, pictures of examples and calibration are drawn, links lead to sections"
    tab = page.context.browser.new_page(viewport=dict(width=width, height=844))
    tab.goto(report.as_uri())
    for summary in tab.locator('section > details > summary').all(): summary.click()
    assert tab.evaluate('document.documentElement.scrollWidth') <= width
    for name in ('examples', 'comparison', 'calibration'):
        assert tab.locator(f'#{name} img').first.evaluate('i => i.complete && i.naturalWidth') > 300
    assert 'ads_predict' in tab.locator('#use').inner_text()
    links = [a.get_attribute('href') for a in tab.locator('nav a').all()]
    assert links[0]=='#examples' and all(tab.locator(l).count()==1 for l in links)
    assert report.stat().st_size < 4_000_000
    tab.close()

def test_the_picture_of_a_report(report, page):
    tab = page.context.browser.new_page(viewport=dict(width=1080, height=1060))
    tab.goto(report.as_uri())
    keep(tab.screenshot, 'report.jpg')
    if wanted(): # shown where a link to the site is shared
        im = Image.open(root/'nbs'/'images'/'report.jpg')
        top = im.crop((0, 0, im.width, im.width*630//1200)).resize((1200, 630))
        top.quantize(96).save(root/'nbs'/'images'/'card.png', optimize=True)
    assert tab.locator('#examples figcaption').is_visible()
    tab.close()

@pytest.mark.parametrize('width', [1080, 390])
def test_a_gallery_shows_what_is_chosen(report, width, page, tmp_path):
    "The cards of a choice, best first, and no others; nothing is wider than the screen"
    from ads_sentiment.study.gallery import write_gallery
    from ads_sentiment.training.predictor import load_predictor
    predictor = load_predictor(report.parent/'efficientnet_lite0')
    table = predictor.predict(report.parent.parent/'ads'/'0')
    tab = page.context.browser.new_page(viewport=dict(width=width, height=860))
    tab.goto(write_gallery(table, tmp_path/'gallery.html', n=8, about=f'{predictor.backbone}: {predictor.about()}').as_uri())
    choice,shown = tab.locator('#choice'),lambda: tab.evaluate("""[...document.querySelectorAll('#cards li')].filter(c => !c.hidden)
        .sort((a, b) => a.style.order-b.style.order).map(c => c.innerText)""")
    names = [o.rsplit(' (', 1)[0] for o in options(choice)]
    label = max(predictor.vocab, key=lambda l: sum(l in p.split('|') for p in table.predicted))
    for name in (label, 'skipped') if 'skipped' in names else (label,):
        choice.select_option(index=names.index(name))
        found = table[[name in p.split('|') for p in table.predicted]].nlargest(8, label) if name==label else table[table.reason!=''].head(8)
        assert [next(f for f in table.file if t.rstrip().endswith(f)) for t in shown()]==list(found.file)
    choice.select_option(index=names.index(label))
    assert tab.evaluate('document.documentElement.scrollWidth') <= width
    if width==1080: keep(tab.screenshot, 'gallery.jpg')
    tab.close()
