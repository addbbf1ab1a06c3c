"""Does scoring a folder keep its memory and its speed, and does it survive being killed?

`measure_scoring.py [N] [SMALL]` trains EfficientNet-Lite0 on the film posters that ADS_POSTERS names (else on demo ads), links N copies of them (7,000)
into a folder, and runs `ads_predict` on it in processes of their own: undisturbed, and killed twice with kill -9 and started again. The peak of memory is
that of the process beyond what it holds after loading libraries and model. Two other folders of SMALL (50,000) and of 7,000 small images are scored by the
same model for the memory alone. The rate is compared with what reading and the engine reach alone, measured on 512 images before and after:
1/(1/read + 1/engine), with the filter that the predictor was trained with, and without."""
import signal, statistics, subprocess, sys, tempfile, time
from pathlib import Path
import pandas as pd, torch
from PIL import Image
from bench import conditions, here, two_predictors
from ads_sentiment.core import write_csv
from ads_sentiment.data.images import pixels, read_images
from ads_sentiment.models.features import read_ahead, read_batches
from ads_sentiment.training.predictor import load_predictor
from ads_sentiment.training.scoring import Scorer, list_images, parts_folder

child = """
import json, os, resource, sys, threading, time
from ads_sentiment.training.predictor import load_predictor
from ads_sentiment.training.scoring import list_images, score_images
def held(): return int(open('/proc/self/statm').read().split()[1])*resource.getpagesize()/2**20
model = load_predictor(sys.argv[1])
model.predict(list_images(sys.argv[2])[:1])
start,top,run = held(),[0.],threading.Event()
def watch():
    while not run.wait(.1): top.append(max(top.pop(), held()))
t = threading.Thread(target=watch)
t.start()
res = score_images(model, list_images(sys.argv[2]), sys.argv[3], part=512, engine=sys.argv[4])
run.set()
t.join()
print(json.dumps(dict(res, before_mib=start, peak_mib=top[0]-start)))
"""

def score(predictor, images, out, engine, kill_after=()):
    "Run a scoring process; killed as soon as there are so many parts, one process per number"
    import json
    for n in (*kill_after, None):
        p = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', child, predictor, images, out, engine], stdout=subprocess.PIPE, text=True)
        if n is None:
            said = p.communicate()[0]
            return json.loads(said.splitlines()[-1])
        while len(list(parts_folder(out).glob('part-*'))) < n and p.poll() is None: time.sleep(.05)
        p.send_signal(signal.SIGKILL)
        p.wait()

def alone(model, names, engine, bs=16):
    "Images per second of reading alone, of the engine alone, and of features from the same files as a study extracts them"
    start = time.perf_counter()
    read = [x for x,_,_ in read_images(model.pipeline, names, 4*bs) if x is not None]
    reading = len(read)/(time.perf_counter()-start)
    run = Scorer(model, engine, bs).run
    x = model.pipeline.normalize(torch.stack(read[:bs]))
    run(x)
    start = time.perf_counter()
    for i in range(0, len(read)-bs+1, bs): run(model.pipeline.normalize(torch.stack(read[i:i+bs])))
    body = (len(read)//bs*bs)/(time.perf_counter()-start)
    start = time.perf_counter()
    for x in read_batches(lambda i: pixels(model.pipeline.image(names[i])), range(len(names)), bs, read_ahead(engine)): run(model.pipeline.normalize(x))
    return reading,body,len(names)/(time.perf_counter()-start)

def main(n=7000, small=50000, engine='openvino'):
    n,small,tmp = int(n),int(small),Path(tempfile.mkdtemp())
    source = two_predictors(tmp)
    folders = dict(copies=tmp/'copies', small=tmp/'small', fewer=tmp/'fewer')
    for f in folders.values(): f.mkdir()
    files = [Path(p) for p in source.paths]
    for i in range(n): (folders['copies']/f'{i:06}{files[i%len(files)].suffix}').symlink_to(files[i%len(files)].resolve())
    tiny = tmp/'tiny.png'
    Image.effect_noise((48, 48), 60).convert('RGB').save(tiny)
    for name,k in (('small', small), ('fewer', n)):
        for i in range(k): (folders[name]/f'{i:06}.png').symlink_to(tiny)
    rows = []
    def row(what, res, **more):
        rows.append(dict(what=what, images=res['images'], seconds=res['seconds'], images_per_second=res['computed']/res['seconds'],
            peak_mib=res['peak_mib'], engine=engine, **more, source=source.name, **conditions()))
        print({k: v if isinstance(v, str) else round(v, 3) for k,v in list(rows[-1].items())[:10]}, flush=True)
        write_csv(pd.DataFrame(rows), here/'scoring.csv')
    for kind in ('plain', 'filtered'):
        model,some = load_predictor(tmp/kind),list_images(folders['copies'])[:512]
        before = alone(model, some, engine)
        res = score(tmp/kind, folders['copies'], tmp/f'{kind}.csv', engine)
        reading,body,extraction = (statistics.mean(p) for p in zip(before, alone(model, some, engine)))
        serial = 1/(1/reading + 1/body)
        row(f'{n:,} copies, {kind}', res, read_per_second=reading, engine_per_second=body, ratio=res['images']/res['seconds']/serial,
            extraction_per_second=extraction, extraction_ratio=res['images']/res['seconds']/extraction)
    res = score(tmp/'plain', folders['copies'], tmp/'killed.csv', engine, kill_after=(3, 8))
    same = (tmp/'killed.csv').read_bytes()==(tmp/'plain.csv').read_bytes()
    row('killed twice with kill -9', res, same_rows=same, computed=res['computed'])
    for name in ('fewer', 'small'): row(f'{len(list(folders[name].iterdir())):,} small images', score(tmp/'plain', folders[name], tmp/f'{name}.csv', engine))

if __name__=='__main__': main(*sys.argv[1:])
