"""Does `shortcuts` name a planted shortcut first, and does it find nothing without one? 20 demos of 500 drawn ads (seeds 100 to 119) as they are, and four of
them with the training and validation images of one label changed: darkened, recompressed or blurred, in two strengths. The test images stay as they
were. Tested are the held-out predictions of the training and validation images. `slices` is asked too: how many columns does the loss depend on? The
margin of `shortcuts` was chosen on other demos (seeds 0 to 2 and 27 to 40), where `Alert`, an eye with many edges, went with sharpness."""
import io, shutil, tempfile
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

seeds,planted,label,share = range(100, 120),range(100, 120, 5),'Creative',.8
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

def measure(ads, folder, seed, kind='none', strength=np.nan):
    "One row: what `shortcuts` and `slices` find"
    ready,_ = prepare_images(ads, folder/'prepared', size=224)
    learn = recipe_learner(ready, seed=seed)
    fit = learn.fit_head(folder/'features')
    seen = ads.subset(ready.targs.index[ready.split!='test'])
    interp = MultiLabelInterpretation.from_preds(fit.preds, fit.targs, ads.vocab, files=list(seen.targs.index))
    facts = image_facts(seen)
    pairs,parts = interp.shortcuts(facts),interp.slices(facts)
    first,n = pairs.iloc[0],pairs.verdict.value_counts()
    preds,targs = learn.split_preds('test', folder/'features')
    j = ads.vocab.index(label)
    return dict(demo=seed, planted=kind, strength=strength, n_ads=len(seen), n_label=int(fit.targs[:,j].sum()), found=int(n.get('possible shortcut', 0)),
        label=first.label, column=first.column, auc=first.auc, rho=first.rho, p=first.p,
        right=kind!='none' and first.label==label and first.column in columns[kind] and first.verdict=='possible shortcut',
        label_follows=int(n.get('label follows', 0)), model_follows=int(n.get('model follows', 0)), slices=int((parts.verdict!='not significant').sum()),
        ap_test=label_ap(preds, targs)[j])

def main():
    rows = []
    for seed in seeds:
        folder = Path(tempfile.mkdtemp())
        ads = demo_ads(folder/'ads', n=500, seed=seed)
        rows.append(measure(ads, folder, seed))
        if seed in planted:
            for kind,strength in [(kind, s) for kind,values in strengths.items() for s in values]:
                new = Path(tempfile.mkdtemp(dir=folder))
                rows.append(measure(plant(ads, new, kind, strength, seed), folder, seed, kind, strength))
        shutil.rmtree(folder)
        write_csv(pd.DataFrame(rows).assign(**conditions()).round(4), here/'slices-demo.csv')
        print(pd.DataFrame(rows).tail(10).drop(columns=['n_label']).round(3).to_string(), flush=True)

if __name__=='__main__': main()
