"Visitors of the app, as programs: one that asks, many that ask at once, and files that mean harm"
import http.client, json, os, select, subprocess, threading, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import NamedTuple
from urllib.parse import quote
import psutil
from conftest import BIN, SHARED, png


@contextmanager
def running(*args, **env):
    "The app as a process, and the line that it printed within a minute"
    command = [BIN/'mlc_app', *map(str, args)]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p = subprocess.Popen(command, text=True, env=os.environ|env, **pipes)
    try:
        ready,_,_ = select.select([p.stdout], [], [], 60)
        yield p,p.stdout.readline().strip() if ready else ''
    finally:
        p.terminate()
        try: p.wait(30)
        except subprocess.TimeoutExpired: p.kill()
        p.communicate()


class Reply(NamedTuple):
    status:int
    headers:dict # Names in lower case
    body:bytes

    @property
    def json(self): return json.loads(self.body)


def ask(url, path='/', data=None, method=None, **headers):
    "One request of its own; underscores in names of headers are hyphens"
    c = http.client.HTTPConnection(url.split('/')[2], timeout=60)
    headers = {o.replace('_', '-'): x for o,x in headers.items()}
    c.request(method or ('GET' if data is None else 'POST'), path, data, headers)
    res = c.getresponse()
    reply = Reply(res.status, {o.lower(): x for o,x in res.getheaders()}, res.read())
    c.close()
    return reply


def form(files):
    "Body and type of a form with these `(name, bytes)`"
    mark,parts = 'a7Xb',[]
    for name,data in files:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="photos"; filename="{name}"\r\n\r\n'
        parts += [head.encode(), data, b'\r\n']
    return b''.join([*parts, f'--{mark}--\r\n'.encode()]),f'multipart/form-data; boundary={mark}'


def megabytes(pid):
    "Of a process and those that it started"
    p = psutil.Process(pid)
    return sum(o.memory_info().rss for o in [p, *p.children(recursive=True)])/2**20


def jpeg(img, **kwargs):
    file = BytesIO()
    img.save(file, format='jpeg', **kwargs)
    return file.getvalue()


def hostile_files():
    "Name to bytes: what people might send in place of a photo, and what nobody should"
    from mlc_course.draw.scenes import draw_portrait
    img = draw_portrait('pug', 100, 300)[0]
    good = jpeg(img)
    files = {'inks.jpg': jpeg(img.convert('CMYK')), 'half.jpg': good[:len(good)//2], 'empty.jpg': b'',
        'text.jpg': b'a letter', 'page.jpg': b'<html>', 'eps.jpg': b'%!PS-Adobe-3.0 EPSF-3.0\n',
        'huge.png': png(30_000, n_rows=1), 'large.png': png(4_000), 'random.jpg': os.urandom(100_000)}
    for name in 'animated.webp','gray16.png','text.heic','thin_1x4000.jpg','zero_byte.jpg':
        file = SHARED/'data/hostile'/name
        if file.exists(): files[name] = file.read_bytes()
    return files


class Load(NamedTuple):
    "What came of many requests"
    replies:list # `(name, answer)`; the answer is None where none came
    secs:list    # Of each, sorted
    wall:float   # Seconds in all
    peak:float   # Megabytes

    def at(self, share): return self.secs[min(len(self.secs)-1, int(share*len(self.secs)))]


def app_visit(url):
    "A visitor of ours, who stays connected: `fn(name, data)` gives the answer"
    c = http.client.HTTPConnection(url.split('/')[2], timeout=120)
    def visit(name, data):
        while True:
            c.request('POST', f'/api/predict?path={quote(name)}', data)
            res = c.getresponse()
            answer = json.loads(res.read())
            if res.status not in (429,503): return answer
            time.sleep(float(res.getheader('Retry-After'))) # as the app asks
    return visit


def load(pid, new_visitor, files, n, at_once):
    "`n` requests by `at_once` visitors; `new_visitor()` makes one; `files` are `(name, bytes)`, in turn"
    left,lock,replies,secs = iter(range(n)),threading.Lock(),[],[]
    def visitor(_):
        visit = new_visitor()
        while True:
            with lock: i = next(left, None)
            if i is None: return
            name,data = files[i%len(files)]
            start = time.perf_counter()
            try: answer = visit(name, data)
            except (OSError,http.client.HTTPException,ValueError): answer,visit = None,new_visitor()
            with lock:
                replies.append((name,answer))
                secs.append(time.perf_counter()-start)
    done,peak = threading.Event(),[megabytes(pid)]
    def watch():
        while not done.wait(.1): peak.append(megabytes(pid))
    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool: list(pool.map(visitor, range(at_once)))
    wall = time.perf_counter()-start
    done.set()
    watcher.join()
    return Load(replies, sorted(secs), wall, max(peak))
