"""What are the words in pictures worth, and do the words that are named as important matter to the model?

`measure_words.py scores-posters` trains five variants on five stratified splits with five seeds each, `scores-demo` the first three with one seed on
600 demo ads whose slogans hint at sentiments: differences are paired by test image, from `tuned` and from the same backbone without words. `deletion-posters`
and `deletion-demo` blank boxes of words in test images, read them again and predict: the ten (demo ads: two) words that count most for a label that
is predicted rightly, against as many random ones. On demo ads the most important word is also compared with the hint word that was drawn.
`reading` measures how long the posters take to be read, and to be taken from the store. Posters are those that ADS_POSTERS names."""
import sys, tempfile, time
import numpy as np, pandas as pd
from PIL import Image, ImageDraw
from bench import compared, conditions, here, named_ads, tested
from ads_sentiment.core import write_csv
from ads_sentiment.data.images import prepare_images, read_image
from ads_sentiment.data.splits import resplit
from ads_sentiment.evaluation.bootstrap import paired_test
from ads_sentiment.evaluation.metrics import decide
from ads_sentiment.explain.explanation import explain
from ads_sentiment.explain.faithfulness import mean_by_ad
from ads_sentiment.explain.pointing import cue_boxes
from ads_sentiment.models.words import picture_words
from ads_sentiment.recipes import Recipe, tuned
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.training.predictor import load_predictor, save_predictor

one,three = 'efficientnet_lite0','efficientnet_lite0+efficientnet_lite1+efficientnet_lite2'
variants = { # name -> (backbone, recipe, the variant without words)
    'tuned': (one, tuned, None),
    'words alone': (one, Recipe(words=True, image=False), None),
    'image and words': (one, Recipe(words=True), 'tuned'),
    'three backbones': (three, tuned, None),
    'three backbones and words': (three, Recipe(words=True), 'three backbones')}

def data(mode): return named_ads(mode) if mode=='posters' else named_ads(mode, n=600, words=True)

def scores(mode):
    "Rows of all variants on one data set"
    ads,_ = prepare_images(data(mode))
    seeds,done,rows = range(42, 47) if mode=='posters' else [42],{},[]
    for name,(backbone,recipe,other) in list(variants.items())[:None if mode=='posters' else 3]:
        done[name],facts = tested(ads, seeds, backbone, recipe)
        row = dict(variant=name, backbone=backbone, words=recipe.words, **compared(done[name], done['tuned']))
        if other:
            pair = paired_test(done[name], done[other])
            for m in ('macro_f1', 'mean_ap'):
                row |= {f'{m}_words': pair['diff'][m], f'{m}_words_low': pair.diff_low[m], f'{m}_words_high': pair.diff_high[m]}
        seconds = sum(f['feature_seconds']+f['head_seconds'] for f in facts)
        rows.append(dict(**row, seconds=seconds, weights=facts[0]['weights'], data=ads.name, n_images=len(ads), n_labels=len(ads.vocab), n_splits=5,
            n_seeds=len(seeds), **conditions()))
        print(f"{name}: macro-F1 {row['macro_f1']:.3f} [{row['macro_f1_low']:.3f}, {row['macro_f1_high']:.3f}], mAP {row['mean_ap']:.3f}", flush=True)
    return rows

def blanked(im, words):
    "A copy of an image in which the boxes of words have the mean colour of their surroundings"
    im,(w,h) = im.copy(),im.size
    d = ImageDraw.Draw(im)
    for x in words:
        box = [x.x0*w-2, x.y0*h-2, x.x1*w+2, x.y1*h+2]
        edge = np.asarray(im.crop([max(box[0]-4, 0), max(box[1]-4, 0), min(box[2]+4, w), min(box[3]+4, h)]).resize((16, 16), Image.Resampling.BOX))
        ring = np.concatenate([edge[0], edge[-1], edge[:,0], edge[:,-1]])
        d.rectangle(box, fill=tuple(np.median(ring, 0).astype(int).tolist()))
    return im

def deletion(mode, n=200, seed=42):
    "One row per label that is predicted rightly in an image with enough words: the fall of its probability after each blanking"
    most,source = (10, data(mode)) if mode=='posters' else (2, data(mode))
    ads,_ = prepare_images(source)
    split = resplit(ads, 'stratified')
    learn = recipe_learner(split, one, Recipe(words=True))
    learn.fit_head()
    model = load_predictor(save_predictor(learn, tempfile.mkdtemp()))
    preds,targs = learn.split_preds('test')
    images,hits = split.targs.index[(split.split=='test').to_numpy()],decide(preds, learn.thresholds())*targs
    pairs = [(images[i], split.vocab[j]) for i,j in np.argwhere(hits)]
    hints = cue_boxes(source, 'word').set_index(['image', 'label']) if mode=='demo' else None
    rng,rows = np.random.default_rng(seed),[]
    for k in rng.permutation(len(pairs)):
        image,label = pairs[k]
        found = explain(model, split.originals[image], labels=label)
        if len(found.words) <= most: continue
        value,im = found.word_values[:,0],read_image(split.originals[image])
        chosen = {'important': np.argsort(-value)[:most], 'random': rng.choice(len(value), most, replace=False)}
        after = model.predict([blanked(im, [found.words[t] for t in ids]) for ids in chosen.values()])
        row = dict(image=image, label=label, words=len(value), before=float(found.probs[0]), seen=float(found.seen_probs[0]))
        row |= dict(zip(chosen, (found.probs[0]-after[label]).astype(float)))
        if hints is not None and (image, label) in hints.index:
            box,top = hints.loc[[(image, label)]].iloc[0],found.words[int(value.argmax())]
            x,y = (top.x0+top.x1)/2,(top.y0+top.y1)/2
            row |= dict(hint=box.word, pointed=bool(box.x0<=x<=box.x1 and box.y0<=y<=box.y1), chance=1/len(value))
        rows.append(row)
        if len(rows)==n: break
    return pd.DataFrame(rows),most

def summary(table, most, mode):
    "Means over pairs with intervals over images"
    t = table.assign(difference=table.important-table.random, reading=table.before-table.seen)
    names = ['important', 'random', 'difference', 'reading', *(c for c in ('pointed', 'chance') if c in t)]
    return [dict(measure=c, **mean_by_ad(t[c].astype(float), t.image), most=most, data=mode, **conditions()) for c in names]

def reading():
    "Seconds for reading the posters, and for taking their words from the store"
    paths,folder = list(named_ads('posters').paths),tempfile.mkdtemp()
    def timed():
        start = time.perf_counter()
        words = picture_words(paths, folder)
        return time.perf_counter()-start,words
    (first,words),(again,_) = timed(),timed()
    n = [len(w) for w in words]
    return [dict(images=len(paths), seconds=first, images_per_second=len(paths)/first, again_seconds=again, median_words=np.median(n),
        without_words=sum(x==0 for x in n), **conditions())]

def main(what):
    kind,_,mode = what.partition('-')
    if kind=='scores': rows = scores(mode)
    elif kind=='reading': rows = reading()
    else: rows = summary(*deletion(mode), mode)
    write_csv(pd.DataFrame(rows), here/f'words-{what}.csv')
    print(pd.DataFrame(rows).iloc[:,:8].to_string(), flush=True)

if __name__=='__main__': main(*sys.argv[1:])
