"""Does `shortcuts` find nothing without a shortcut, and a planted one first? `measure_slices.py unplanted` asks 20 demos of 500 drawn ads (seeds 100 to 119);
where no label follows a column there is no shortcut whatever the model does, so a model is trained only for the others. `measure_slices.py planted` takes
two of them as they are, and with the training and validation images of one label changed: darkened, recompressed or blurred, in two strengths; the test
images stay as they were. Tested are the held-out predictions of the training and validation images. `slices` is asked too: on how many columns does the
loss depend? The margin of `shortcuts` was chosen on other demos (seeds 0 to 2 and 27 to 40), where `Alert`, an eye with many edges, went with sharpness.
A run that was stopped can be gone on with: demos whose rows are there are not measured again."""
import io, shutil, sys, tempfile
from dataclasses import replace
from pathlib import Path
import numpy as np, pandas as pd
from PIL import Image, ImageFilter
from bench import conditions, here
from ads_sentiment.core import write_csv
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.data.images import prepare_images, read_image
from ads_sentiment.evaluation.metrics import label_ap
from ads_sentiment.explain.interpretation import MultiLabelInterpretation
from ads_sentiment.explain.slices import image_facts
from ads_sentiment.training.learner import recipe_learner

seeds,planted,label,share = range(100, 120),(100, 110),'Creative',.8
strengths = dict(darkened=[.6, .4], recompressed=[15, 5], blurred=[1.5, 3])
columns = dict(darkened=['brightness', 'contrast'], recompressed=['bits_per_pixel', 'kilobytes'], blurred=['sharpness', 'bits_per_pixel', 'kilobytes'])

def encoded(im, quality=60):
    "An image as the bytes of a JPEG"
    file = io.BytesIO()
    im.save(file, 'JPEG', quality=quality)
    return file.getvalue()

def changed(im, kind, strength):
    "Bytes of the changed image: brightness times `strength`, JPEG quality, or sigma of the blur in pixels"
    if kind=='recompressed': return encoded(im, strength)
    if kind=='blurred': return encoded(im.filter(ImageFilter.GaussianBlur(strength)))
    return encoded(Image.eval(im, lambda v: int(v*strength)))

def plant(ads, folder, kind, strength, seed):
    "The ads, with a share of the training and validation images of the label changed"
    has = ads.targs.index[(ads.targs[label]==1) & (ads.split!='test')]
    paths = ads.paths.copy()
    for i in np.random.default_rng(seed).choice(has, int(share*len(has)), replace=False):
        dest = Path(folder)/f'{Path(i).stem}.jpg'
        dest.write_bytes(changed(read_image(paths[i]), kind, strength))
        paths[i] = dest
    return replace(ads, paths=paths)

def label_follows(seen, facts):
    "How many labels follow a column? Of a model that predicts the same for all"
    same = MultiLabelInterpretation.from_preds(np.full(seen.targs.shape, .5), seen.targs.to_numpy(), seen.vocab, files=list(seen.targs.index))
    return int((same.shortcuts(facts).verdict=='label follows').sum())

def found_by(ads, seen, facts, folder, seed):
    "Pairs of `shortcuts`, columns of `slices`, and average precision of the label on the test images"
    ready,_ = prepare_images(ads, folder/'prepared', size=224)
    learn = recipe_learner(ready, seed=seed)
    fit = learn.fit_head(folder=folder/'features')
    interp = MultiLabelInterpretation.from_preds(fit.preds, fit.targs, ads.vocab, files=list(seen.targs.index))
    preds,targs = learn.split_preds('test', folder/'features')
    return interp.shortcuts(facts), interp.slices(facts), label_ap(preds, targs)[ads.vocab.index(label)]

def measure(ads, folder, seed, train, kind='none', strength=np.nan):
    "One row: what is found; without `train` a model is trained only if a label follows a column"
    seen = ads.subset(ads.targs.index[ads.split!='test'])
    facts = image_facts(seen)
    row = dict(demo=seed, planted=kind, strength=strength, n_ads=len(seen), n_label=int(seen.targs[label].sum()), follows=label_follows(seen, facts), found=0)
    if not (row['follows'] or train): return row
    pairs,parts,ap = found_by(ads, seen, facts, folder, seed)
    first,n = pairs.iloc[0],pairs.verdict.value_counts()
    right = first.label==label and first.column in columns.get(kind, []) and first.verdict=='possible shortcut'
    return row | dict(found=int(n.get('possible shortcut', 0)), label=first.label, column=first.column, auc=first.auc, rho=first.rho, p=first.p, right=right,
        model_follows=int(n.get('model follows', 0)), slices=int((parts.verdict!='not significant').sum()), ap_test=ap)

def demo(seed, mode):
    "Rows of one demo"
    folder,train = Path(tempfile.mkdtemp()),mode=='planted'
    ads = demo_ads(folder/'ads', n=500, seed=seed)
    rows = [measure(ads, folder, seed, train)]
    for kind,strength in [(kind, s) for kind,values in strengths.items() for s in values if train]:
        new = Path(tempfile.mkdtemp(dir=folder))
        rows.append(measure(plant(ads, new, kind, strength, seed), folder, seed, train, kind, strength))
        print(rows[-1], flush=True)
    shutil.rmtree(folder)
    return rows

def main(mode):
    file = here/f'slices-{mode}.csv'
    table = pd.read_csv(file) if file.exists() else pd.DataFrame(dict(demo=[]))
    for seed in dict(unplanted=seeds, planted=planted)[mode]:
        if seed in set(table.demo): continue
        rows = pd.DataFrame(demo(seed, mode)).assign(**conditions())
        table = pd.concat([table, rows]) if len(table) else rows
        write_csv(table.round(4), file)
        print(table.tail(7).to_string(), flush=True)

if __name__=='__main__': main(sys.argv[1])
