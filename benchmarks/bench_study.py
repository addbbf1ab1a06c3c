"""The whole job, three backbones on 1,200 images: `ads_study --recipe tuned` against the reference study's training loop, 100 epochs of it."""
import os, subprocess, sys, tempfile, time
from pathlib import Path
import pandas as pd, torch
from bench import poster_csv, posters, write
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2 as T
from ads_sentiment.backbones import backbones
from ads_sentiment.data import augmentations
from ads_sentiment.preprocess import read_image

names,n,labels,timed = ['resnet50', 'mobilenet_v3_large', 'efficientnet_b3'],1200,18,128
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

def ours(engine):
    where = poster_csv() if source=='film posters' else 'demo'
    cache = tempfile.mkdtemp()
    start = time.perf_counter()
    subprocess.run([Path(sys.executable).parent/'ads_study', '--data', str(where), '--backbones', ','.join(names), '--weights', 'random', '--recipe', 'tuned', '--engine', engine,
                    '--out', str(folder/f'run-{engine}')], check=True, capture_output=True, env={**os.environ, 'ADS_SENTIMENT_CACHE': cache, 'ADS_PROGRESS': '0'})
    return time.perf_counter()-start, pd.read_csv(folder/f'run-{engine}'/'results.csv')

files,rows,total = prepared(),[],0
for name in names:
    s = reference_epoch(name, files)
    epoch = sum(s[p]*parts[p]*n/timed for p in parts)
    total += epoch*epochs
    rows.append(dict(what='reference loop', backbone=name, images=n, images_timed=timed, epochs=epochs, epoch_seconds=epoch, seconds=epoch*epochs, source=source))
    print(f'{name}: reference epoch {epoch:.1f} s', flush=True)
for engine in ('auto', 'openvino-bf16'):
    seconds,res = ours(engine)
    for r in res.itertuples():
        ref = next(x for x in rows if x['backbone']==r.backbone)
        rows.append(dict(what=f'ads_study, engine {engine}', backbone=r.backbone, images=n, seconds=r.total_seconds, feature_seconds=r.feature_seconds, head_seconds=r.head_seconds,
                         ratio=ref['seconds']/r.total_seconds, macro_f1=r.macro_f1, engine=r.engine, source=source))
    rows.append(dict(what=f'ads_study, engine {engine}', backbone='all three, whole command', images=n, seconds=seconds, ratio=total/seconds, source=source))
    print(f'engine {engine}: {seconds:.0f} s, {total/seconds:.0f} x', flush=True)
write('study', rows)
