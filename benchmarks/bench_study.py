"""The whole job, three backbones on 1,200 images: `ads_study --recipe tuned` against 100 epochs of the reference study's training loop, and of fastai's own.

The published weights can't always be had, and what is done without them takes longer (BatchNorm statistics of random weights are estimated). So the job is timed
as with them: files of random weights, BatchNorm statistics included, lie where torch looks for the published ones."""
import os, subprocess, sys, tempfile, time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse
import pandas as pd, torch, torchvision
from bench import poster_csv, posters, write
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2 as T
from fastai.vision.all import ColReader, DataBlock, ImageBlock, IndexSplitter, MultiCategoryBlock, Resize, ResizeMethod, vision_learner
from ads_sentiment.models.backbones import backbones, estimate_bn
from ads_sentiment.models.weights import load_body
from ads_sentiment.data.loaders import augmentations
from ads_sentiment.data.datasets import csv_ads, demo_ads
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.evaluation.metrics import macro_f1
from ads_sentiment.data.images import prepare_images, read_image
from ads_sentiment.recipes import reference

names,n,labels,timed = ['resnet50', 'mobilenet_v3_large', 'efficientnet_b3'],1200,18,64
epochs,parts = 100,dict(train=.6, valid=.2)
paths,source = posters(n)
folder = Path(tempfile.mkdtemp())

class Ads(Dataset): # Prepared images, as the study keeps them: 384 x 384 JPEGs
    def __init__(self, files, tfm): self.files,self.tfm = files,tfm
    def __len__(self): return len(self.files)
    def __getitem__(self, i): return self.tfm(Image.open(self.files[i]).convert('RGB')),torch.zeros(labels)

def prepared():
    for i,p in enumerate(paths[:timed]): read_image(p).resize((384,384)).save(folder/f'{i}.jpg', quality=95)
    return [folder/f'{i}.jpg' for i in range(timed)]

def reference_epoch(name, files): # Seconds of one epoch over `timed` training images and of a validation over as many
    b = backbones[name]
    end = [T.Resize((b.ref_size,b.ref_size)), T.ToImage(), T.ToDtype(torch.float32, scale=True), T.Normalize([.6]*3, [.33]*3)]
    net = b.builder().requires_grad_(False)
    last = net.fc if name=='resnet50' else net.classifier[-1]
    new = nn.Linear(last.in_features, labels)
    if name=='resnet50': net.fc = new
    else: net.classifier[-1] = new
    loss_func,opt = nn.BCEWithLogitsLoss(pos_weight=torch.ones(labels)),torch.optim.Adam(new.parameters(), .01)
    seconds = {}
    for part,tfm in dict(train=T.Compose(augmentations['reference']+end), valid=T.Compose(end)).items():
        start = time.perf_counter()
        net.train(part=='train')
        for x,y in DataLoader(Ads(files, tfm), batch_size=32, shuffle=part=='train'):
            with torch.set_grad_enabled(part=='train'): loss = loss_func(net(x), y)
            if part=='train': loss.backward(); opt.step(); opt.zero_grad()
        seconds[part] = time.perf_counter()-start
    return seconds

def fastai_epoch(name, files): # Seconds of one epoch of `vision_learner(...).fit`, its body frozen as fastai does it, over `timed` training images and a third as many for validation
    items = pd.DataFrame(dict(file=[*files, *files[:timed//3]], labels=[['a', 'b'][:1+i%2] for i in range(timed+timed//3)]))
    block = DataBlock((ImageBlock, MultiCategoryBlock(vocab=list('abcdefghijklmnopqr'[:labels]))), get_x=ColReader('file'), get_y=ColReader('labels'),
                      splitter=IndexSplitter(range(timed, len(items))), item_tfms=Resize(backbones[name].ref_size, method=ResizeMethod.Squish))
    learn = vision_learner(block.dataloaders(items, bs=32, num_workers=0), getattr(torchvision.models, name), pretrained=False, loss_func=nn.BCEWithLogitsLoss())
    learn.freeze()
    with learn.no_bar(), learn.no_logging():
        start = time.perf_counter()
        learn.fit(1)
        return time.perf_counter()-start

def stand_ins(home): # Files of random weights where torch looks for the published ones
    batch = torch.stack([T.functional.to_dtype(T.functional.to_image(Image.open(f).resize((224,224))), torch.float32, scale=True) for f in files[:32]])
    for name in names:
        b,net = backbones[name],backbones[name].builder()
        body,_ = load_body(name, 'random')
        estimate_bn(body, [(batch-.45)/.23])
        net.load_state_dict(body.state_dict(), strict=False)
        path = Path(home)/'hub'/'checkpoints'/Path(urlparse(b.published.url).path).name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(net.state_dict(), path)

def same_head(): # Macro-F1 of the reference's head without augmentation, trained on images, and on features computed once
    ads,_ = prepare_images(csv_ads(poster_csv()) if source=='film posters' else demo_ads(), tempfile.mkdtemp(), reencode=True)
    recipe,res = replace(reference, aug='none', bn_train=False, passes=1, epochs=10),[]
    for what,fit in [('images, every epoch anew', 'fit_recipe'), ('features, computed once', 'fit_head')]:
        learn = recipe_learner(ads, 'efficientnet_lite0', recipe, size=128)
        start = time.perf_counter()
        with learn.no_bar(), learn.no_logging(): getattr(learn, fit)(**({} if fit=='fit_recipe' else dict(folder=tempfile.mkdtemp())))
        preds,targs = learn.get_preds(dl=learn.dls.test)
        res.append(dict(what=f'reference head on {what}', backbone='efficientnet_lite0', images=len(ads), epochs=recipe.epochs, seconds=time.perf_counter()-start,
                        macro_f1=macro_f1(preds, targs, learn.fit_result.thresholds), engine=learn.extractor.engine_used or 'eager', source=source))
        print(f"{res[-1]['what']}: {res[-1]['seconds']:.0f} s, macro-F1 {res[-1]['macro_f1']:.4f}", flush=True)
    return res

def ours(engine):
    where = poster_csv() if source=='film posters' else 'demo'
    cache = tempfile.mkdtemp()
    start = time.perf_counter()
    subprocess.run([Path(sys.executable).parent/'ads_study', '--data', str(where), '--backbones', ','.join(names), '--weights', 'imagenet', '--recipe', 'tuned', '--engine', engine,
                    '--out', str(folder/f'run-{engine}')], check=True, capture_output=True, env={**os.environ, 'ADS_SENTIMENT_CACHE': cache, 'ADS_PROGRESS': '0', 'TORCH_HOME': str(folder/'torch')})
    return time.perf_counter()-start, pd.read_csv(folder/f'run-{engine}'/'results.csv')

files,rows,total = prepared(),[],0
for name in names:
    s = reference_epoch(name, files)
    epoch = sum(s[p]*parts[p]*n/timed for p in parts)
    total += epoch*epochs
    rows.append(dict(what='reference loop', backbone=name, images=n, images_timed=timed, epochs=epochs, epoch_seconds=epoch, seconds=epoch*epochs, source=source))
    theirs = fastai_epoch(name, files)*parts['train']*n/timed
    rows.append(dict(what='fastai vision_learner.fit', backbone=name, images=n, images_timed=timed, epochs=epochs, epoch_seconds=theirs, seconds=theirs*epochs, source=source))
    print(f'{name}: reference epoch {epoch:.1f} s, fastai epoch {theirs:.1f} s', flush=True)
stand_ins(folder/'torch')
for engine in ('auto', 'openvino-bf16'):
    seconds,res = ours(engine)
    for r in res.itertuples():
        ref = next(x for x in rows if x['backbone']==r.backbone and x['what']=='reference loop')
        rows.append(dict(what=f'ads_study, engine {engine}', backbone=r.backbone, images=n, seconds=r.total_seconds, feature_seconds=r.feature_seconds, head_seconds=r.head_seconds,
                         ratio=ref['seconds']/r.total_seconds, macro_f1=r.macro_f1, engine=r.engine, source=source))
    rows.append(dict(what=f'ads_study, engine {engine}', backbone='all three, whole command', images=n, seconds=seconds, ratio=total/seconds, source=source))
    print(f'engine {engine}: {seconds:.0f} s, {total/seconds:.0f} x', flush=True)
write('study', rows + same_head())
