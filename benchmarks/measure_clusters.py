"""What does it cost to spread images over the processes of a cluster?

`measure_clusters.py [N] [WORDS]` trains EfficientNet-Lite0 on the film posters that ADS_POSTERS names (else on demo ads), and scores N copies of them
(1,024) in one process with one thread, and by `score_on_ray` with one and two processes of this machine, one core each, with the filter and without. The
steps are measured alone: reading an image, reading and filtering it, the network, and the words of WORDS (48) images. `core_seconds` is the time of
processors per image, which other work on the machine hardly changes; for Ray, that of all its processes during the second half, when each has
begun. `images_per_second` is by the clock. `start_seconds` is the time until the first part."""
import os, sys, tempfile, threading, time
os.environ |= dict(OMP_NUM_THREADS='1', ADS_PROGRESS='0')
from pathlib import Path
import pandas as pd, psutil, torch
from bench import conditions, here, installed, two_predictors
from ads_sentiment.core import write_csv
from ads_sentiment.data.images import read_images
from ads_sentiment.models.engines import Engine
from ads_sentiment.models.words import picture_words
from ads_sentiment.training.clusters import score_on_ray
from ads_sentiment.training.predictor import load_predictor
from ads_sentiment.training.scoring import Scorer, parts_folder

bs,part = 16,32

def cpu():
    "Seconds of processors that this process and those it started have used"
    used = 0
    for p in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try: used += sum(p.cpu_times()[:2])
        except psutil.NoSuchProcess: pass
    return used

def timed(job, n):
    "Columns of `n` images on which `job` works in this process"
    start,used = time.perf_counter(),time.process_time()
    job()
    return dict(images_per_second=n/(time.perf_counter()-start), core_seconds=(time.process_time()-used)/n)

def steps(model, names, engine):
    "(columns of reading, columns of the network)"
    read = []
    reading = timed(lambda: read.extend(x for x,_,_ in read_images(model.pipeline, names, 4*bs, 1) if x is not None), len(names))
    run = Engine(model.model, engine, (bs, 3, model.pipeline.side, model.pipeline.side))
    batches = [model.pipeline.normalize(torch.stack(read[i:i+bs])) for i in range(0, len(read)-bs+1, bs)]
    run(batches[0])
    return reading,timed(lambda: [run(x) for x in batches], len(batches)*bs)

def one_process(folder, names, engine):
    "Columns of a process of one core, which reads with one thread"
    scorer = Scorer(load_predictor(folder), engine, bs, 1)
    return timed(lambda: [scorer.table(names[i:i+part]) for i in range(0, len(names), part)], len(names))

def on_ray(folder, names, engine, n, out):
    "Columns of `n` processes"
    seen,start,end = [],time.perf_counter(),threading.Event()
    def watch():
        while not end.wait(.1):
            done = sum(not p.stem.endswith('.pending') for p in (parts_folder(out)/'checkpoint').glob('*.parquet'))
            if done > (seen[-1][0] if seen else 0): seen.append((done, time.perf_counter(), cpu()))
    thread = threading.Thread(target=watch)
    thread.start()
    score_on_ray(folder, names, out, 'local', engine=engine, actors=n, part=part, bs=bs)
    end.set()
    thread.join()
    (a,t,used),(b,last,used_last) = next(s for s in seen if s[0]*part >= len(names)/2),seen[-1] # all processes have begun by then
    return dict(images_per_second=(b-a)*part/(last-t), core_seconds=(used_last-used)/((b-a)*part), start_seconds=seen[0][1]-start)

def main(n=1024, words=48, engine='openvino'):
    n,words,tmp = int(n),int(words),Path(tempfile.mkdtemp())
    torch.set_num_threads(1)
    source = two_predictors(tmp)
    files,rows = [str(Path(p).resolve()) for p in source.paths],[]
    names = [files[i % len(files)] for i in range(n)]
    def row(what, **measured):
        rows.append(dict(what=what, **measured, images=n, backbone='efficientnet_lite0', engine=engine, source=source.name, load=os.getloadavg()[0],
            ray=installed('ray'), **conditions()))
        print({k: round(v, 3) if isinstance(v, float) else v for k,v in list(rows[-1].items())[:5]}, flush=True)
        write_csv(pd.DataFrame(rows), here/'clusters.csv')
    for kind in ('plain', 'filtered'):
        reading,network = steps(load_predictor(tmp/kind), names[:256], engine)
        row(f'read, {kind}', **reading)
        if kind=='plain': row('network', **network)
        row(f'one process, {kind}', **one_process(tmp/kind, names, engine))
        for k in (1, 2): row(f'Ray, {k} process{"es"*(k > 1)}, {kind}', **on_ray(tmp/kind, names, engine, k, tmp/f'{kind}-{k}'))
    picture_words(names[:1], tmp/'warm', 1)
    row('words', **timed(lambda: picture_words(names[:words], tmp/'words', 1), words))
    row('row of predictions', bytes=sum(p.stat().st_size for p in (tmp/'plain-2').glob('*.parquet'))/n)

if __name__=='__main__': main(*sys.argv[1:])
