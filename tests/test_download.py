"Downloads that are killed, run twice at once, fed broken zips or starved; every server here is on 127.0.0.1"
import hashlib,json,os,random,re,signal,socket,subprocess,sys,threading,time,zipfile
from http.server import BaseHTTPRequestHandler,ThreadingHTTPServer
import pytest
from ads_sentiment.core import AdsError
from ads_sentiment.data.download import download_file,download_pitt,unpack_zip

pytestmark = pytest.mark.skipif(os.name=='nt', reason='signals and limits of POSIX')

class Handler(BaseHTTPRequestHandler):
    "Serves `server.files` with ETag and Range, `server.rate` bytes a second"
    def do_GET(self):
        srv = self.server
        data = srv.files.get(self.path.strip('/'))
        if data is None: return self.send_error(404)
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        at = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        at = int(at[1]) if at and self.headers.get('If-Range', tag)==tag else 0
        srv.log.append((self.command, self.path, at))
        self.send_response(206 if at else 200)
        self.send_header('ETag', tag)
        self.send_header('Content-Length', len(data)-at)
        if at: self.send_header('Content-Range', f'bytes {at}-{len(data)-1}/{len(data)}')
        self.end_headers()
        if self.command=='GET': self.send(data[at:])
    do_HEAD = do_GET
    def send(self, data):
        step = max(1, int(min(self.server.rate/100, len(data))))
        try:
            for i in range(0, len(data), step):
                self.wfile.write(data[i:i+step])
                if self.server.rate<1e9: time.sleep(.01)
        except OSError: pass
    def log_message(self, *args): pass

@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    srv = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    srv.daemon_threads = True
    srv.files,srv.log,srv.rate,srv.url = {},[],1e9,f'http://127.0.0.1:{srv.server_port}'
    threading.Thread(target=srv.serve_forever, kwargs=dict(poll_interval=.02), daemon=True).start()
    yield srv
    srv.shutdown()
    srv.server_close()

def images(n, size, seed=42): # as in subfolder 0
    rng = random.Random(seed)
    return {f'0/{i}.jpg': rng.randbytes(size) for i in range(n)}

def zipped(path, members):
    with zipfile.ZipFile(path, 'w') as z:
        for name,data in members.items(): z.writestr(name, data)
    return path.read_bytes()

code = """
from ads_sentiment.data.download import AdsError,download_pitt
{before}
try: download_pitt({root!r}, **{args!r})
except AdsError as e:
    print(e)
    raise SystemExit(2)
"""

def start(root, url, before='', stdin=subprocess.DEVNULL, **kwargs):
    "Download subfolder 0 in a process of its own"
    args = dict(subfolders=[0], annotations=False, base=url, ask=False, tries=2, wait=.05, timeout=5) | kwargs
    run = [sys.executable, '-c', code.format(before=before, root=str(root), args=args)]
    return subprocess.Popen(run, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

def wait_for(cond, seconds=30):
    end = time.monotonic()+seconds
    while not cond():
        assert time.monotonic()<end, 'waited too long'
        time.sleep(.002)

def kill(proc, sig=signal.SIGKILL):
    proc.send_signal(sig)
    return proc.communicate(timeout=60)[0]

def same(root, members): return {f'0/{f.name}': f.read_bytes() for f in (root/'0').iterdir()}==members

def test_killed_while_downloading(mirror, tmp_path):
    members,root,sizes = images(40, 50_000),tmp_path/'pitt',[]
    mirror.files['subfolder-0.zip'] = whole = zipped(tmp_path/'z', members)
    part = root/'subfolder-0.zip.part'
    for i in range(1, 3):
        mirror.rate = 2e6
        proc = start(root, mirror.url)
        wait_for(lambda: part.exists() and part.stat().st_size > i*len(whole)/5)
        kill(proc)
        sizes.append(part.stat().st_size)
        assert whole.startswith(part.read_bytes()) and not (root/'subfolder-0.zip').exists()
    mirror.rate = 1e9
    assert start(root, mirror.url).communicate(timeout=60)[0].count('goes on after')==1
    assert same(root, members)
    assert [at for method,_,at in mirror.log if method=='GET']==[0, *sizes]

def test_killed_while_unpacking(mirror, tmp_path):
    members,root = images(3000, 200),tmp_path/'pitt'
    mirror.files['subfolder-0.zip'] = zipped(tmp_path/'z', members)
    there = lambda: len(os.listdir(root/'0')) if (root/'0').is_dir() else 0
    for i in range(1, 3):
        proc = start(root, mirror.url)
        wait_for(lambda: there() > i*600)
        kill(proc)
        assert 0 < there() < 3000
        assert all(members[f'0/{f.name}']==f.read_bytes() for f in (root/'0').iterdir())
    n = there()
    out = start(root, mirror.url).communicate(timeout=60)[0]
    assert f'3000 files, {3000-n} of them new' in out and same(root, members)
    assert [o[0] for o in mirror.log]==['HEAD','GET']
    assert not (root/'.unpacking').exists()

def test_killed_at_random_times(mirror, tmp_path):
    members,root,rng = images(300, 3000),tmp_path/'pitt',random.Random(1)
    mirror.files['subfolder-0.zip'] = zipped(tmp_path/'z', members)
    mirror.rate = 4e6
    for i in range(5):
        proc = start(root, mirror.url, before="import sys; print('ready', flush=True)", keep_zips=i%2==0)
        proc.stdout.readline()
        time.sleep(rng.uniform(0, .4))
        kill(proc)
    proc = start(root, mirror.url)
    proc.communicate(timeout=60)
    assert proc.returncode==0 and same(root, members)
    assert not list(root.glob('*.zip.part')) and not (root/'.unpacking').exists()

def test_ctrl_c_keeps_what_came(mirror, tmp_path):
    members,root = images(40, 50_000),tmp_path/'pitt'
    mirror.files['subfolder-0.zip'],mirror.rate = zipped(tmp_path/'z', members),2e6
    part = root/'subfolder-0.zip.part'
    proc = start(root, mirror.url, before="import signal; signal.signal(signal.SIGINT, signal.default_int_handler)") # a job in the background starts with it ignored
    wait_for(lambda: part.exists() and part.stat().st_size > 500_000)
    assert 'KeyboardInterrupt' in kill(proc, signal.SIGINT)
    assert part.stat().st_size > 500_000

def test_two_at_once(mirror, tmp_path):
    members,root = images(40, 50_000),tmp_path/'pitt'
    mirror.files['subfolder-0.zip'],mirror.rate = zipped(tmp_path/'z', members),4e6
    procs = [start(root, mirror.url) for _ in range(3)]
    outs = [p.communicate(timeout=60)[0] for p in procs]
    assert [p.returncode for p in procs].count(0)>=1 and same(root, members)
    for p,out in zip(procs, outs): assert p.returncode==0 or 'another download writes there (process ' in out
    assert len([o for o in mirror.log if o[0]=='GET'])==1

def test_file_size_limit(mirror, tmp_path):
    "A real error of the file system in the middle of a download: told, and gone on with"
    members,root = images(40, 50_000),tmp_path/'pitt'
    mirror.files['subfolder-0.zip'] = zipped(tmp_path/'z', members)
    limit = 'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))'
    proc = start(root, mirror.url, before=limit)
    out = proc.communicate(timeout=60)[0]
    assert proc.returncode==2 and 'File too large; free some space and run again' in out
    kept = (root/'subfolder-0.zip.part').stat().st_size
    assert kept==700_000
    download_pitt(root, [0], annotations=False, base=mirror.url, ask=False)
    assert same(root, members) and mirror.log[-1]==('GET', '/subfolder-0.zip', kept)

@pytest.mark.parametrize('silent', [True, False])
def test_server_that_never_answers(tmp_path, monkeypatch, silent):
    "One that says nothing, one that sends its headers a byte at a time"
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    srv,over = socket.create_server(('127.0.0.1', 0)),threading.Event()
    def drip(conn):
        try:
            conn.sendall(b'HTTP/1.1 200 OK\r\nX-A: ')
            while not over.wait(.02): conn.sendall(b'a')
        except OSError: pass
    def accept():
        kept = []
        while True:
            try: kept.append(srv.accept()[0])
            except OSError: return
            if not silent: threading.Thread(target=drip, args=kept[-1:], daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    begin = time.monotonic()
    with pytest.raises(AdsError, match='gave up after 2 tries'):
        download_file(f'http://127.0.0.1:{srv.getsockname()[1]}/a.zip', tmp_path/'a.zip', tries=2, timeout=.3, wait=.01)
    assert time.monotonic()-begin < 3
    over.set()
    srv.close()

def test_nobody_at_the_terminal(mirror, tmp_path):
    mirror.files['subfolder-0.zip'] = zipped(tmp_path/'z', images(2, 100))
    proc = start(tmp_path/'pitt', mirror.url, ask=True)
    assert 'ask=False' in proc.communicate(timeout=60)[0] and proc.returncode==2
    assert [o[0] for o in mirror.log]==['HEAD']

@pytest.mark.parametrize('answer', ['y', 'n'])
def test_somebody_at_the_terminal(mirror, tmp_path, monkeypatch, answer):
    pty = pytest.importorskip('pty')
    monkeypatch.setenv('ADS_PROGRESS', '0')
    members,root = images(2, 100),tmp_path/'pitt'
    mirror.files['subfolder-0.zip'] = zipped(tmp_path/'z', members)
    ours,theirs = pty.openpty()
    proc = start(root, mirror.url, ask=True, stdin=theirs)
    os.close(theirs)
    os.write(ours, f'{answer}\n'.encode())
    out = proc.communicate(timeout=60)[0]
    os.close(ours)
    assert 'Fetch this? [y/N]' in out and proc.returncode==(0 if answer=='y' else 2)
    if answer=='y': assert same(root, members)
    else: assert 'as you said' in out and [o[0] for o in mirror.log]==['HEAD']

def outside(tmp_path): return {f.relative_to(tmp_path).as_posix() for f in tmp_path.rglob('*') if 'out' not in f.parts}

def test_broken_zips(tmp_path):
    "Zips with bytes changed, cut out or put in: unpacked or refused with an AdsError, never anything else, never outside"
    rng,members = random.Random(3),images(6, 300) | {'0/text.json': b'[1, 2, 3]'*100}
    with zipfile.ZipFile(tmp_path/'z', 'w', zipfile.ZIP_DEFLATED) as z:
        for name,data in members.items(): z.writestr(name, data)
    whole,told = (tmp_path/'z').read_bytes(),0
    before = outside(tmp_path)
    for i in range(250):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data)) if i%2 else rng.randrange(len(data)-500, len(data))
            what = rng.randrange(3)
            if what==0: data[at] = rng.choice([0, 1, 255, 47, 46, data[at]^1, rng.randrange(256)])
            elif what==1 and len(data)>600: del data[at:at+rng.randint(1, 20)]
            else: data[at:at] = rng.randbytes(rng.randint(1, 8))
        (tmp_path/'z').write_bytes(data)
        try: unpack_zip(tmp_path/'z', tmp_path/'out'/str(i))
        except AdsError as e: told += str(tmp_path) in str(e)
        assert not (tmp_path/'out'/str(i)/'.unpacking').exists()
    assert told > 60 and outside(tmp_path)==before

@pytest.mark.parametrize('members, why', [({'0/1.jpg': bytes(2**24)}, 'would unpack to 16.8 MB'), ({'0/': b''}, 'no files in this zip')])
@pytest.mark.parametrize('by_hand', [True, False])
def test_zip_bomb_and_empty_zip(mirror, tmp_path, members, why, by_hand):
    "Refused each time, with nothing written, whether fetched or found"
    with zipfile.ZipFile(tmp_path/'z', 'w', zipfile.ZIP_DEFLATED) as z:
        for name,data in members.items(): z.writestr(name, data)
    mirror.files['subfolder-0.zip'],root = (tmp_path/'z').read_bytes(),tmp_path/'pitt'
    if by_hand:
        root.mkdir()
        (root/'subfolder-0.zip').write_bytes((tmp_path/'z').read_bytes())
    for _ in range(2):
        with pytest.raises(AdsError, match=why): download_pitt(root, [0], annotations=False, base=mirror.url, ask=False, tries=1, wait=.01)
        assert not [f for f in root.rglob('*') if f.name=='0' or f.suffix=='.jpg' or f.name.endswith('files.json')]

def test_nothing_heavy_is_imported():
    code = "import sys, ads_sentiment.data.download; print([m for m in ('torch','fastai','pandas','numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip()=='[]'

def test_checksums_that_somebody_edited(mirror, tmp_path):
    mirror.files['subfolder-0.zip'] = zipped(tmp_path/'z', images(2, 100))
    go = lambda: download_pitt(tmp_path/'pitt', [0], annotations=False, base=mirror.url, ask=False)
    go()
    sums = tmp_path/'pitt'/'checksums.json'
    for text in ('[]', '{"a": 1}', '{"subfolder-0.zip"', '\xff'):
        sums.write_text(text, encoding='latin-1')
        with pytest.raises(AdsError, match='checksums.json'): go()
    sums.write_text(json.dumps({'subfolder-0.zip': {'sha256': 'changed'}}))
    go()
    assert len(json.loads(sums.read_text())['subfolder-0.zip']['sha256'])==64
