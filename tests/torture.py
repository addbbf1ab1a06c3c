"""Break files at random and kill processes at random moments: `make torture`, or `python tests/torture.py --help`.

A mutant or a moment depends on the seed and its number alone, so `--again KIND:NUMBER` repeats one."""
import argparse, contextlib, csv, hashlib, io, json, os, queue, random, resource, shutil, signal, subprocess, sys, tempfile, threading, time, zlib
from dataclasses import asdict
from http.server import ThreadingHTTPServer
from pathlib import Path
import numpy as np, pandas as pd
from PIL import Image
from ads_sentiment.core import AdsError
from ads_sentiment.data.datasets import csv_ads, demo_ads, pitt_ads
from ads_sentiment.data.images import read_image
from ads_sentiment.training.clusters import _no_stderr
from ads_sentiment.training.predictor import load_predictor
from ads_sentiment.training.run import Run, same_again
from test_download import Handler, images as download_images, zipped

# --- mutants ------------------------------------------------------------------------------------------------------------------------------------

tokens = [b'[' * 100_000, b'{"a":' * 5000, b'9' * 5000, b'1e999', b'NaN', b'-1', b'null', b'"\\ud800"', b'\0' * 1000, b'\xef\xbb\xbf', b'\xff\xfe', b'\r\n', b'"', b',', b';', b'\t', b'|', b'=1+1', b'../..']

def mutate_bytes(data, rng, text=False):
    "Flip, cut, put in, repeat or erase some bytes, half of the time near the beginning"
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        top = len(data) if rng.random()<.5 else min(len(data), 120)
        at,n = rng.randrange(top+1),rng.randint(1, 1+len(data)//rng.choice([2, 20, 200, 2000]))
        what = rng.randrange(7 if text else 6)
        if what==0 and at<len(data): data[at] ^= 1<<rng.randrange(8)
        elif what==1 and at<len(data): data[at] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        elif what==2: del data[at:at+n]
        elif what==3: data[at:at] = rng.randbytes(rng.randint(1, 20))
        elif what==4: data[at:at+n] = data[(b := rng.randrange(len(data)+1)):b+n]
        elif what==5: data[at:at+n] = bytes(min(n, 2000))
        else: data[at:at] = rng.choice(tokens)
    return bytes(data)

def mutate_text(data, rng): return mutate_bytes(data, rng, text=True)

def mutate_image(data, rng):
    "As `mutate_bytes`; half of the PNGs get the checksum of their changed header, so that it is read"
    data = mutate_bytes(data, rng)
    if data[:4]==b'\x89PNG' and len(data)>33 and rng.random()<.5: data = data[:29] + zlib.crc32(data[12:29]).to_bytes(4, 'big') + data[33:]
    return data

odd = ['null', 'true', 'false', '0', '-1', '1', '2', '0.5', '-0.0', '1e308', '1' + '0'*20, '1' + '0'*300, 'NaN', 'Infinity', '""', '" "', '"x"', '"a\\nb"', '"\\ud800"', '"../.."', '"\\u0000"', '"file"', '[]', '{}', '[[]]',
    '{"a": 1}', '["x"]', f'"{"A"*10_000}"', f'[{"0,"*10_000}0]', '['*150 + ']'*150]

def places(obj):
    "Every (container, key) of a JSON value"
    keys = obj.keys() if isinstance(obj, dict) else range(len(obj)) if isinstance(obj, list) else ()
    return [(obj, k) for k in keys] + [p for k in keys for p in places(obj[k])]

def mutate_json(data, rng):
    "Replace, remove, rename, repeat or exchange values; half of the time as `mutate_bytes`"
    if rng.random()<.4: return mutate_text(data, rng)
    obj = json.loads(data.decode('latin-1'))
    for _ in range(rng.randint(1, 3)):
        if not (found := places(obj)): break
        if rng.random()<.5: found = found[:max(1, len(found)//20)] # the outer ones
        (a,k),(b,j),what = rng.choice(found),rng.choice(found),rng.randrange(6)
        if what<3: a[k] = json.loads(rng.choice(odd))
        elif what==3: del a[k]
        elif what==4 and isinstance(a, dict): a[rng.choice(['', 'x', '\ud800', 'A'*1000])] = a.pop(k)
        else: a[k] = json.loads(json.dumps(b[j]))
    return json.dumps(json.loads(rng.choice(odd)) if rng.random()<.02 else obj).encode()

cells = ['', ' ', '0', '1', '2', 'yes', 'nan', 'x|y', 'a,b', '"', '["Calm"]', "['a'", '[' * 3000, 'train', 'val', 'a.jpg', '../x.jpg', '/dev/zero', '\0', 'ünï', '=1+1', 'A'*20_000, 'a\nb', '1e999', '-1']

def mutate_csv(data, rng):
    "Change cells, rows, columns and separators of a table; half of the time as `mutate_bytes`"
    if rng.random()<.4: return mutate_text(data, rng)
    rows = list(csv.reader(io.StringIO(data.decode())))
    for _ in range(rng.randint(1, 4)):
        i,j,what = rng.randrange(len(rows)),rng.randrange(len(rows[0])),rng.randrange(6)
        if what<2 and j<len(rows[i]): rows[i][j] = rng.choice(cells)
        elif what==2: rows.insert(i, rng.choice([[], [rng.choice(cells)], list(rows[i]), rows[i]*2]))
        elif what==3 and len(rows)>1: del rows[i]
        elif what==4: rows = [r+r[j:j+1] for r in rows] if rng.random()<.5 else [r[:j]+r[j+1:] for r in rows]
        else: rows = [r[:j]+[rng.choice(cells)]+r[j+1:] for r in rows]
        if not rows or not rows[0]: return b''
    out = io.StringIO(newline='')
    csv.writer(out, delimiter=rng.choice(',,,;\t|')).writerows(rows)
    return out.getvalue().encode(rng.choice(['utf-8', 'utf-8', 'utf-16', 'utf-8-sig']))

def mutate_lines(data, rng):
    "Change a list of lines"
    if rng.random()<.5: return mutate_text(data, rng)
    lines = data.splitlines(True)
    for _ in range(rng.randint(1, 3)):
        i,j = rng.randrange(len(lines)),rng.randrange(len(lines))
        lines[i] = rng.choice([b'', lines[j], lines[i]*2, b'31. "New"\n', b'"' + lines[i], lines[i][::-1]])
    return b''.join(lines)

# --- readers ------------------------------------------------------------------------------------------------------------------------------------

def picture(k=0): return Image.fromarray(np.kron(np.random.default_rng(k).integers(0, 255, (12,16,3), dtype=np.uint8), np.ones((10,10,1), np.uint8)))

def image_files():
    "Small files of the usual formats and kinds"
    im,exif,grey = picture(),Image.Exif(),Image.fromarray((np.arange(19200).reshape(120,160)*3).astype(np.uint16))
    exif[0x0112] = 6
    kinds = dict(jpeg=(im, 'JPEG', dict(exif=exif)), progressive=(im, 'JPEG', dict(progressive=True)), cmyk=(im.convert('CMYK'), 'JPEG', {}), png=(im, 'PNG', {}), rgba=(im.convert('RGBA'), 'PNG', {}),
        palette=(im.convert('P'), 'PNG', {}), grey16=(grey, 'PNG', {}), gif=(im, 'GIF', dict(save_all=True, append_images=[picture(1)])), webp=(im, 'WEBP', {}), lossless=(im, 'WEBP', dict(lossless=True)),
        tiff=(im, 'TIFF', {}), lzw=(im, 'TIFF', dict(compression='tiff_lzw')), tiffjpeg=(im, 'TIFF', dict(compression='jpeg')), tiff16=(grey, 'TIFF', dict(compression='tiff_adobe_deflate')), bmp=(im, 'BMP', {}))
    res = {}
    for name,(image,form,how) in kinds.items():
        image.save(f := io.BytesIO(), form, **how)
        res[name] = f.getvalue()
    return res

def make_home(home, n=60):
    "A root of demo ads, a table of them, and a run with a predictor: files for mutants and kills"
    from ads_sentiment.data.images import prepare_images
    from ads_sentiment.data.loaders import ads_dataloaders
    from ads_sentiment.training.learner import ads_learner
    from ads_sentiment.training.predictor import save_predictor
    from ads_sentiment.training.request import RunSettings, run_config
    from ads_sentiment.core import write_csv, write_json
    ads = demo_ads(home/'ads', n=n, seed=3)
    (home/'ads'/'demo.json').rename(home/'demo.json')
    write_csv(table := ads.to_table(home/'ads'), home/'ads'/'table.csv')
    table.to_json(home/'ads'/'table.jsonl', orient='records', lines=True)
    learn = ads_learner(ads_dataloaders(prepare_images(ads, home/'prepared', size=64)[0], size=64), engine='eager', weights='random')
    learn.fit_head(folder=home/'features', say=None)
    save_predictor(learn, home/'run'/'efficientnet_lite0', macro_f1=.5)
    write_json(run_config(ads, RunSettings(size=64), backbones=['efficientnet_lite0'], recipe=asdict(learn.recipe)), home/'run'/'config.json')
    return home

def read_run(home):
    "All that is read in a configuration"
    run = Run(home/'run')
    assert repr(run) and run.recipe and run.settings
    same_again(home/'run')

def loaded(home): assert len((p := load_predictor(home/'run')).vocab)==len(p.thresholds) and not np.isnan(p.thresholds).any() and repr(p)

def text_readers(home):
    "Kind -> (file, mutator, reader)"
    notes = home/'ads'/'annotations_images'/'image'
    def opened(): assert len(pitt_ads(home/'ads', min_votes=1, drop=0, download=False))
    return dict(votes=(notes/'Sentiments.json', mutate_json, opened), labels=(notes/'Sentiments_List.txt', mutate_lines, opened),
        table=(home/'ads'/'table.csv', mutate_csv, lambda: csv_ads(home/'ads'/'table.csv')), records=(home/'ads'/'table.jsonl', mutate_text, lambda: csv_ads(home/'ads'/'table.jsonl')),
        predictor=(home/'run'/'efficientnet_lite0'/'predictor.json', mutate_json, lambda: loaded(home)), config=(home/'run'/'config.json', mutate_json, lambda: read_run(home)))

# --- trials of mutants --------------------------------------------------------------------------------------------------------------------------

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*(1 if sys.platform=='darwin' else 1024)

class Hangs(Exception): "Longer than a minute"
def _stop(*_): raise Hangs

def judged(read, limit_s=5, limit_bytes=2*2**30):
    "Call a reader: '' for success, 'refused' for an `AdsError` of one line, else what is wrong"
    before,start,res = peak(),time.process_time(),''
    if threading.current_thread() is threading.main_thread(): # a reader that never returns
        signal.signal(signal.SIGALRM, _stop)
        signal.alarm(60)
    try: read()
    except AdsError as e: res = 'refused' if '\n' not in str(e) and 0 < len(str(e)) < 2000 else f'message of {len(str(e)):,} characters: {str(e)[:200]!r}'
    except MemoryError: res = 'MemoryError'
    except Exception as e: res = f'{type(e).__name__}: {str(e)[:200]}'
    finally: signal.alarm(0)
    if (s := time.process_time()-start) > limit_s: res = f'{s:.1f} s; {res}'
    if peak() > max(before, limit_bytes): res = f'{peak()/2**30:.1f} GiB; {res}'
    return res

def drawn(seed, kind, i): return random.Random(f'{seed} {kind} {i}')

def try_mutants(trials, seed, say=print):
    "Read mutants given as (kind, number, mutant); returns the number of mutants and refusals by kind, and the failures"
    counts,bad = {},[]
    for kind,i,data,read in trials:
        counts.setdefault(kind, [0, 0])[0] += 1
        with _no_stderr(): res = judged(read)
        if res=='refused': counts[kind][1] += 1
        elif res:
            bad.append((kind, i, res))
            kept = Path(tempfile.gettempdir())/f'torture-{seed}-{kind}-{i}'
            kept.write_bytes(data)
            say(f'FAILED {kind} {i}: {res}\n  --seed {seed} --again {kind}:{i}; the mutant is {kept}')
    for kind,(n,told) in counts.items(): say(f'{kind}: {n:,} mutants, {n-told-sum(b[0]==kind for b in bad):,} read, {told:,} refused')
    return counts,bad

def numbers(kinds, n, again):
    "Numbers of the mutants of each kind, in turn"
    if again: return [(k, int(i)) for k,i in [again.split(':')] if k in kinds]
    return [(kinds[i%len(kinds)], i//len(kinds)) for i in range(n)]

def image_mutants(n, seed, again=''):
    files = image_files()
    for kind,i in numbers(list(files), n, again):
        data = mutate_image(files[kind], drawn(seed, kind, i))
        yield kind,i,data,lambda: [read_image(data, size).load() for size in (None, 64)]

def text_mutants(home, n, seed, again=''):
    readers = text_readers(home)
    for kind,i in numbers(list(readers), n, again):
        path,mutate,read = readers[kind]
        whole = path.read_bytes()
        data = mutate(whole, drawn(seed, kind, i))
        path.write_bytes(data)
        try: yield kind,i,data,read
        finally: path.write_bytes(whole)

# --- kills --------------------------------------------------------------------------------------------------------------------------------------

bin = Path(sys.executable).parent
score = """import sys
from ads_sentiment.training.predictor import load_predictor
from ads_sentiment.training.scoring import list_images, score_images
score_images(load_predictor(sys.argv[1]), list_images(sys.argv[2:]), 'p.csv', part=8, engine='eager', say=print)"""
fetch = "import sys; from ads_sentiment.data.download import download_pitt; download_pitt('pitt', [0], annotations=False, base=sys.argv[1], ask=False, wait=.1)"

def commands(home, url):
    "Command of each kind; each runs in a folder of its own, with a cache of its own"
    study = [bin/'ads_study', '--data', home/'ads', '--backbones', 'efficientnet_lite0', '--weights', 'random', '--size', 64, '--engine', 'eager', '--seed', 5, '--out', 'run']
    return dict(study=study, predict=[sys.executable, '-c', score, home/'run', home/'ads'/'0'], prepare=[bin/'ads_prepare', home/'ads', 'prepared', '--size', 256, '--n-workers', 1], download=[sys.executable, '-c', fetch, url])

def start(command, folder, **kwargs):
    "Start a command; a limit on the sizes of files, if any, is set in the child"
    folder.mkdir(exist_ok=True, parents=True)
    env = {**os.environ, 'ADS_SENTIMENT_CACHE': str(kwargs.pop('cache', folder/'cache')), 'ADS_PROGRESS': '0', 'PYTHONUNBUFFERED': '1', 'no_proxy': '127.0.0.1'}
    most = kwargs.pop('most', None)
    def child():
        signal.signal(signal.SIGINT, signal.SIG_DFL) # a job in the background starts with it ignored
        if most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    return subprocess.Popen(list(map(str, command)), cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=child, **kwargs)

def watched(proc, folder):
    "Yield (event, seconds since the start): 'start', 'first file', each line; ends with the process"
    begin,lines = time.monotonic(),queue.Queue()
    def read():
        for line in proc.stdout: lines.put(line.strip())
        lines.put(None)
    threading.Thread(target=read, daemon=True).start()
    yield 'start',0.
    wrote = False
    while True:
        try: line = lines.get(timeout=.005)
        except queue.Empty: line = ''
        if not wrote and any(p.is_file() for p in folder.rglob('*')):
            wrote = True
            yield 'first file',time.monotonic()-begin
        if line is None: return
        if line: yield line,time.monotonic()-begin

def finished(proc): return proc.wait(timeout=300),proc.stderr.read()

def result(folder):
    "What a command made: content of every file that is the same in each run; of pictures and pages only that they are there"
    res = {}
    for p in sorted(p for p in folder.rglob('*') if p.is_file() and 'cache' not in p.relative_to(folder).parts[:1]):
        name = p.relative_to(folder).as_posix()
        if p.suffix=='.csv': res[name] = (t := pd.read_csv(p, dtype=str))[[c for c in t if 'seconds' not in c and c!='path']].to_csv()
        elif p.suffix=='.json': res[name] = {k: v for k,v in json.loads(p.read_text()).items() if 'seconds' not in k and 'zip' not in k} # a zip's entry has the date
        elif p.suffix=='.npz': res[name] = {k: v.tolist() for k,v in np.load(p).items()}
        elif p.suffix in ('.png', '.html') and 'prepared' not in name: res[name] = p.stat().st_size > 1000
        else: res[name] = hashlib.sha256(p.read_bytes()).hexdigest()
    return res

def leftovers(folder):
    "Temporary files and locks, outside the cache's own locks"
    return [p.relative_to(folder).as_posix() for p in folder.rglob('*') if '.part' in p.name or p.name.startswith('.') and p.suffix in ('.lock', '.holder', '.old')]

def age(folder):
    "Make half-written files in the cache as old as if the command was started again on the next day"
    for p in (folder/'cache').rglob('.*.part*'): os.utime(p, (time.time()-86400,)*2)

def undisturbed(command, folder):
    "Events of a run that is left alone, its end, and its result"
    events = list(watched(proc := start(command, folder), folder))
    code,err = finished(proc)
    assert code==0, err
    return events,result(folder)

def compare(folder, want):
    "What differs from an undisturbed run, and what was left"
    got = result(folder)
    differ = [k for k in want.keys()|got.keys() if want.get(k)!=got.get(k)]
    return [f'differs: {k}' for k in sorted(differ)] + [f'left: {n}' for n in leftovers(folder)]

def interrupted(command, folder, events, at, rng, sig):
    "Send a signal at a random moment between event number `at` and the next; (where it fell, exit code, standard error)"
    wait = rng.random()*max(0, [*(t for _,t in events), events[-1][1]+.3][at+1]-events[at][1])
    proc = start(command, folder)
    for i,_ in enumerate(watched(proc, folder)):
        if i==at:
            time.sleep(wait)
            proc.send_signal(sig)
    return f'{wait:.2f} s after {events[at][0][:60]!r}',*finished(proc)

def resumed(command, folder, want):
    "Run a command to its end; what is wrong with its exit code, result and leftovers"
    age(folder)
    proc = start(command, folder)
    _,err = proc.communicate(timeout=300)
    return [f'exit code {proc.returncode}: {err[-300:]}'] if proc.returncode else compare(folder, want)

def stopped_well(code, err): return code==0 or code==130 and len(err.strip().splitlines())==1

def interrupt(kind, command, home, n, seed, whole, sig=signal.SIGKILL, say=print):
    "Stop `n` runs at moments spread over their events, start each again and compare with one that was left alone; returns the failures"
    bad,(events,want) = [],whole
    first = 0 if n > len(events) else 1 # few fall into the imports
    for k in range(n):
        folder = home/f'{kind}-{sig.name}-{k}'
        where,code,err = interrupted(command, folder, events, first + k%(len(events)-first), drawn(seed, kind+sig.name, k), sig)
        problems = [] if sig==signal.SIGKILL or stopped_well(code, err) else [f'exit code {code}, {err[-300:]!r}']
        problems += resumed(command, folder, want)
        say(f'{kind} {k}: {sig.name} {where}: ' + ('; '.join(problems) or 'the same afterwards'))
        bad += [f'{kind} {k}: {p}' for p in problems]
        shutil.rmtree(folder)
    return bad

def two_at_once(command, home, want, say=print):
    "A second run on one --out is refused in one line; the first is as if alone"
    folder = home/'two'
    events = watched(first := start(command, folder), folder)
    for name,_ in events:
        if name not in ('start', 'first file'): break # it prints, so it works
    second = start(command, folder)
    err = second.communicate(timeout=300)[1]
    for _ in events: pass
    code,_ = finished(first)
    problems = [] if code==0 and second.returncode==2 and len(err.strip().splitlines())==1 and 'writes there (process ' in err else [f'exit codes {code} and {second.returncode}, {err[-300:]!r}']
    problems += compare(folder, want)
    say('two at once: ' + ('; '.join(problems) or 'the second is refused'))
    return [f'two at once: {p}' for p in problems]

@contextlib.contextmanager
def small_disk(folder, size):
    "A disk of `size` bytes at `folder` that can be enlarged by the function it yields; `None` where nothing may be mounted"
    def mount(*words): return bool(shutil.which('mount')) and subprocess.run([shutil.which('mount'), *words, folder], capture_output=True).returncode==0
    folder.mkdir(parents=True)
    there = mount('-t', 'tmpfs', '-o', f'size={size}', 'tmpfs')
    try: yield (lambda: mount('-o', 'remount,size=1g')) if there else None
    finally:
        if there: subprocess.run([shutil.which('umount'), '-l', folder], check=True)

def full_disk(command, home, want, size, where, say=print):
    "`--out` or the cache on a disk that becomes full (or, where nothing may be mounted, a limit on the size of files): one line, and identical afterwards"
    folder = home/f'full-{where}-{size}'
    with small_disk(folder/where, size) as enlarge:
        proc = start(command, folder, most=None if enlarge else size)
        err = proc.communicate(timeout=300)[1].strip()
        lines = err.splitlines()
        ok = proc.returncode==2 and len(lines)==1 and 'free some space' in err and ': ' in err or proc.returncode==0
        problems = [] if ok else [f'exit code {proc.returncode}: {err[-500:]!r}']
        if enlarge: enlarge()
        problems += resumed(command, folder, want)
    say(f'{size:,} bytes ({"a small disk" if enlarge else "a limit on the size of files"}) for {where}: {lines[-1] if lines else "enough"}: ' + ('; '.join(problems) or 'the same afterwards'))
    return [f'full {where} {size}: {p}' for p in problems]

@contextlib.contextmanager
def server(seed):
    "A slow server with a zip of the release on 127.0.0.1; yields its address"
    srv = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    with tempfile.TemporaryDirectory() as tmp: srv.files = {'subfolder-0.zip': zipped(Path(tmp)/'z', download_images(400, 3000, seed))}
    srv.log,srv.rate,srv.daemon_threads = [],2e6,True
    threading.Thread(target=srv.serve_forever, kwargs=dict(poll_interval=.02), daemon=True).start()
    try: yield f'http://127.0.0.1:{srv.server_port}'
    finally:
        srv.shutdown()
        srv.server_close()

shares = dict(study=.6, predict=.15, prepare=.1, download=.15) # of the kills

def try_kills(home, n, seed, sigints=0, sizes=(), kinds=tuple(shares), two=False, say=print):
    "Kills, Ctrl-C, two at once and full disks; returns the failures"
    bad = []
    with server(seed) as url:
        for kind,command in commands(home, url).items():
            if kind not in kinds: continue
            whole = undisturbed(command, home/f'{kind}-whole')
            bad += [f'{kind}: left {f}' for f in leftovers(home/f'{kind}-whole')]
            bad += interrupt(kind, command, home, max(1, round(n*shares[kind])), seed, whole, say=say)
            if kind!='study': continue
            bad += interrupt(kind, command, home, sigints, seed, whole, signal.SIGINT, say)
            if two: bad += two_at_once(command, home, whole[1], say)
            for where in ('run', 'cache'):
                for size in sizes: bad += full_disk(command, home, whole[1], size, where, say)
    return bad

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name,default,about in [('images', 10_000, 'mutants of images'), ('texts', 10_000, 'mutants of votes, label lists, tables, predictor.json and config.json'), ('kills', 40, 'kill -9'),
                               ('sigints', 5, 'Ctrl-C'), ('seed', 1, 'seed of everything')]: parser.add_argument(f'--{name}', type=int, default=default, help=f'{about} (default: {default:,})')
    parser.add_argument('--again', default='', help='repeat one mutant, such as jpeg:17')
    a,begin = parser.parse_args(),time.monotonic()
    print(f'seed {a.seed}', flush=True)
    def say(line): print(line, flush=True)
    with tempfile.TemporaryDirectory() as tmp:
        home = make_home(Path(tmp))
        bad = try_mutants(image_mutants(a.images, a.seed, a.again), a.seed, say)[1] + try_mutants(text_mutants(home, a.texts, a.seed, a.again), a.seed, say)[1]
        say(f'{time.monotonic()-begin:.0f} s; peak memory {peak()/2**30:.2f} GiB')
        if not a.again and a.kills: bad += try_kills(home, a.kills, a.seed, a.sigints, (200_000, 2_000_000, 6_000_000), two=True, say=say)
    for b in bad: say(f'FAILED {b}')
    say(f'{len(bad)} failures in {time.monotonic()-begin:.0f} s')
    return bool(bad)

if __name__=='__main__': sys.exit(main())
