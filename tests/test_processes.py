"A body trained in two processes: the same model in both, files of the first alone, gathered scores, and no failure."
import json, os, subprocess, sys
import pytest

script = '''
import json, sys
from pathlib import Path
import numpy as np, torch
from fastai.callback.core import Callback
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import prepare_images
from ads_sentiment.evaluation.metrics import mean_ap
from ads_sentiment.models.features import module_digest
from ads_sentiment.recipes import get_recipe
from ads_sentiment.training import head_fit, trials
from ads_sentiment.training.processes import launched, lead

rank,out = launched()[0],Path(sys.argv[1])
head_fit._start_scores = lambda learn, logits: dict(valid_loss=1e9, macro_f1=-1., mean_ap=-1.) # so that a trained epoch is kept

def run(spec, ads):
    learn = trials.run_trial(spec, ads)[0]
    z = head_fit.head_logits(learn, 'valid')
    facts = dict(digest=module_digest(learn.model), trained=learn.trained, bs=learn.dls.train.bs, progress=hasattr(learn, 'progress'),
        history=learn.fit_result.history.mean_ap.tolist(), ap=mean_ap(torch.sigmoid(z).numpy(), head_fit.split_targs(learn.dls, 'valid')))
    (out/f'{rank}.json').write_text(json.dumps(facts))
    learn.get_preds('test') # alone: fastai gathers nothing

def work():
    ads,_ = prepare_images(demo_ads(out/'ads', n=81, seed=1), out/'prepared', size=64)
    recipe = get_recipe('finetuned', finetune=1, finetune_lr=.003, calibration='none')
    run(trials.TrialSpec('efficientnet_lite0', recipe, size=64, weights='random', engine='eager'), ads)

lead(work, run)
'''

@pytest.mark.filterwarnings('ignore')
def test_two_processes_train_one_body(tmp_path):
    pytest.importorskip('accelerate', reason='the package accelerate is not installed')
    (tmp_path/'script.py').write_text(script)
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', 'ADS_SENTIMENT_CACHE': str(tmp_path/'cache')}
    res = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', tmp_path/'script.py', tmp_path],
        capture_output=True, text=True, timeout=300, env=env)
    assert res.returncode==0, res.stderr[-3000:] # of torchrun, which fails if one process does
    first,second = [json.loads((tmp_path/f'{k}.json').read_text()) for k in range(2)]
    assert first==second and first['trained'] and first['bs']==32 and not first['progress']
    assert first['history'][-1]==pytest.approx(first['ap'], abs=1e-6) # scores over all validation images, not those of one process
