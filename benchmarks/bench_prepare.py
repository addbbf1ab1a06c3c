"""Preparing images: ours against the reference study's serial loop, with and without its JPEG round trips, and a second run from the cache."""
import shutil, tempfile
from pathlib import Path
import cv2, numpy as np
from bench import alternate, poster_ads, write
from ads_sentiment.data.images import BilateralFilter, bilateral, one_cv2_thread, prepare_images, read_image

n,size = 240,384
data,source = poster_ads(n)
folder = Path(tempfile.mkdtemp())

def reference(save=True): # One image after the other, every step saved as JPEG and read again, as the study's script does
    out = folder/'reference'
    out.mkdir(exist_ok=True)
    for i,p in enumerate(data.paths):
        im,path = cv2.resize(cv2.imread(str(p)), (size,size)),str(out/f'{i}.jpg')
        for _ in range(2):
            if save:
                cv2.imwrite(path, im)
                im = cv2.imread(path)
            im = cv2.bilateralFilter(im, 9, 9, 9)
        cv2.imwrite(path if save else str(out/f'{i}.png'), im)

def ours():
    shutil.rmtree(folder/'ours', ignore_errors=True)
    again()

def again():
    ads,skipped = prepare_images(data, folder/'ours', size, BilateralFilter())
    assert len(ads)==n and not len(skipped)

small = [np.asarray(read_image(p).resize((size,size))) for p in data.paths[:60]]
def bare(): # The filter alone, one thread
    with one_cv2_thread():
        for a in small: bilateral(a)

t = alternate({'reference loop': reference, 'reference loop without round trips, PNG': lambda: reference(False), 'prepare_images': ours, 'prepare_images, second run': again, 'filter alone': bare})
t['filter alone'] *= n/len(small)/cv2.getNumThreads() # as if shared by all threads without loss
write('prepare', [dict(what=k, images=n, size=size, seconds=s, images_per_second=n/s, ratio=t['reference loop']/s, source=source) for k,s in t.items()])
shutil.rmtree(folder)
for k,s in t.items(): print(f"{k}: {n/s:.0f} images/s, {t['reference loop']/s:.2f} x the reference loop")
