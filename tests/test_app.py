"The app, as a shell meets it: one line of error, its address, nothing but its page, and nothing left behind"
import asyncio, http.client, json, os, re, select, socket, subprocess, sys, time, uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
import psutil, pytest
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect
from mlc_course.ui.app import _unless_closed,free_port,mlc_app
from mlc_course.classifier import Classifier
from mlc_course.engine.photos import InputError
from mlc_course.draw.scenes import draw_portrait

APP = Path(sys.executable).with_name('mlc_app')


def alone(coroutine):
    "Its result; in a thread, for in this one Playwright's loop may be running"
    with ThreadPoolExecutor(1) as pool: return pool.submit(asyncio.run, coroutine).result()


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    "A small network that tells drawn Siamese from pugs"
    path = tmp_path_factory.mktemp('app')
    for sub,names in dict(photos=('Siamese','pug'), strangers=('car','ball')).items():
        (path/sub).mkdir()
        for o in names:
            for i in range(12): draw_portrait(o, i, 48)[0].save(path/sub/f'{o}_{i}.jpg')
    Classifier.train(path/'photos', 'small_cnn', unknown=path/'strangers', size=48, epochs=2, say=lambda o: None).save(path/'model')
    return path/'model'


@contextmanager
def running(*args, **env):
    "The app as a process, and the line that it printed within a minute"
    p = subprocess.Popen([APP, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env})
    try:
        ready,_,_ = select.select([p.stdout], [], [], 60)
        yield p,p.stdout.readline().strip() if ready else ''
    finally:
        p.terminate()
        try: p.wait(30)
        except subprocess.TimeoutExpired: p.kill()
        p.communicate()


def refused(*args):
    "What the one line of error says"
    res = subprocess.run([APP, *map(str, args)], capture_output=True, text=True, timeout=60)
    assert (res.returncode,res.stdout,res.stderr.count('\n'))==(2,'',1), res
    return res.stderr


def says(capsys, *args, **kwargs):
    "The same, called from Python"
    with pytest.raises(SystemExit) as e: mlc_app(*args, **kwargs)
    err = capsys.readouterr().err
    assert (e.value.code,err.count('\n'))==(2,1), err
    return err


def status(url):
    try: return urlopen(url, timeout=30).status
    except HTTPError as e: return e.code


def _own_address():
    "By which other machines reach this one, if they do"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try: s.connect(('192.0.2.1', 9)) # sends nothing
        except OSError: return '127.0.0.1'
        return s.getsockname()[0]


def test_help():
    t0 = time.time()
    res = subprocess.run([APP, '--help'], capture_output=True, text=True)
    assert res.returncode==0 and '--port' in res.stdout and '127.0.0.1' in res.stdout
    if time.time()-t0>1: # a busy machine: count what it loads instead
        code = "import sys, mlc_course.ui.app; sys.exit(bool({'torch','fastai','voila','tornado','matplotlib'} & set(sys.modules)))"
        subprocess.run([sys.executable, '-c', code], check=True)


def test_refuses_models(tmp_path, model, capsys):
    assert 'no model folder' in refused(tmp_path)
    assert 'does not exist' in says(capsys, tmp_path/'nowhere')
    (tmp_path/'config.json').write_text((model/'config.json').read_text().replace('model 3', 'model 2'))
    (tmp_path/'model.safetensors').write_bytes((model/'model.safetensors').read_bytes())
    assert 'train again' in says(capsys, tmp_path)


def test_refuses_ports(model, capsys):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        assert 'is in use' in refused(model, '--port', s.getsockname()[1])
    assert 'out of range' in says(capsys, model, port=70000)
    assert 'tabs 0 is out of range' in says(capsys, model, tabs=0)
    for bad,why in (('abc','no number'), ('-1','out of range'), ('0','out of range'), ('80.5','no number'), ('','no number')):
        with pytest.raises(InputError, match=why): free_port(bad)
    for bad in '203.0.113.1','no such host','::2':
        with pytest.raises(InputError, match='no address of this machine'): free_port(None, bad)
    assert 1024<free_port()<=65535


def test_serves_its_page_only(model, tmp_path):
    "It prints its address once it answers there; the page shows no code, asks no other host, and no other file is served"
    port = free_port()
    with running(model, '--port', port, TMPDIR=str(tmp_path)) as (p,line):
        assert line==f'http://127.0.0.1:{port}'
        html = urlopen(line, timeout=60).read().decode()
        assert 'Ask the model' in html and 'mlc_course.ui.app import' not in html and str(model) not in html
        assert not [o for o in ('cdn','googleapis','unpkg','require.min.js') if o in html]
        for o in {'127.0.0.2',_own_address()}-{'127.0.0.1'}:
            with pytest.raises(OSError): socket.create_connection((o, port), 2)
        for o in 'Ask%20the%20model.ipynb','config.json','voila/files/Ask%20the%20model.ipynb','voila/files/x.png','voila/tree','voila/api/contents':
            assert status(f'{line}/{o}') in (403,404), o
        kernels = psutil.Process(p.pid).children(recursive=True)
        assert kernels and list(tmp_path.glob('mlc_app_*'))
        p.terminate()
        assert p.wait(40)==0 and p.stderr.read()==''
    gone,alive = psutil.wait_procs(kernels, timeout=5)
    assert not alive and not list(tmp_path.glob('mlc_app_*'))
    with pytest.raises(OSError): socket.create_connection(('127.0.0.1', port), 2)


def test_warns_of_other_addresses(model):
    with running(model, '--ip', '127.0.0.2') as (p,line):
        assert line.startswith('http://127.0.0.2:') and status(line)==200
        p.send_signal(2) # Ctrl-C
        assert p.wait(40)==0
        warned = p.stderr.read()
        assert warned.count('\n')==1 and 'everybody who reaches 127.0.0.2' in warned


@pytest.mark.parametrize('error,lines', [(WebSocketClosedError(), 0), (ValueError('the model is gone'), 1)])
def test_reports_all_but_closed_tabs(caplog, error, lines):
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_unless_closed)
    loop.call_exception_handler(dict(message='Task exception was never retrieved', exception=error))
    loop.close()
    assert len(caplog.records)==lines


# --- visitors who mean harm, and many of them

PROTOCOL = 'v1.kernel.websocket.jupyter.org'

class Visitor:
    "What the script of the page does, and what somebody else's script could do"
    async def open(self, url):
        self.url,res = url,await AsyncHTTPClient().fetch(HTTPRequest(url, request_timeout=120))
        self.cookie = re.search('_xsrf=([^;]*)', res.headers['Set-Cookie'])[1]
        self.kernel = re.search('"kernelId": "([^"]+)"', res.body.decode())[1]
        self.address = f'{url.replace("http", "ws")}/api/kernels/{self.kernel}/channels'
        self.ws = await websocket_connect(self.address, subprotocols=[PROTOCOL])
        return self

    async def send(self, kind, content, buffers=(), channel='shell'):
        head = dict(msg_id=uuid.uuid4().hex, msg_type=kind, username='', session='s', version='5.3', date='2026-01-01T00:00:00Z')
        parts = [json.dumps(o).encode() for o in (head, {}, {}, content)]+list(buffers)
        await self.ws.write_message(serialize_msg_to_ws_v1(parts, channel), binary=True)

    async def wait(self, kind, ok=lambda o: True, secs=60):
        async def look():
            while (m := await self.ws.read_message()) is not None:
                head,_,_,content = map(json.loads, deserialize_msg_from_ws_v1(m)[1][:4])
                if head['msg_type']==kind and ok(content): return content
            raise EOFError
        return await asyncio.wait_for(look(), secs)

    async def find(self, model):
        "The widget of this kind"
        await self.send('comm_info_request', {})
        for o in (await self.wait('comm_info_reply'))['comms']: await self.send('comm_msg', dict(comm_id=o, data=dict(method='request_state')))
        return (await self.wait('comm_msg', lambda o: o['data'].get('state', {}).get('_model_name')==model))['comm_id']

    async def upload(self, widget, name, data):
        state = dict(name=name, type='image/jpeg', size=9, last_modified=0, **({} if isinstance(data, bytes) else dict(content=data)))
        where = [['value',0,'content']] if isinstance(data, bytes) else []
        await self.send('comm_msg', dict(comm_id=widget, data=dict(method='update', state=dict(value=[state]), buffer_paths=where)), [data] if where else [])

    async def answer(self, name):
        said = await self.wait('comm_msg', lambda o: name in str(o['data'].get('state', {}).get('value', '')))
        return said['data']['state']['value']

    async def leave(self, token=None):
        head = dict(Cookie=f'_xsrf={self.cookie}')
        query = '' if token is None else f'?_xsrf={token}'
        res = await AsyncHTTPClient().fetch(HTTPRequest(f'{self.url}/voila/api/shutdown/{self.kernel}{query}', method='POST', body=b'', headers=head), raise_error=False)
        return res.code


def megabytes(p):
    "Of the server and its kernels, and how many these are"
    ps = [o for o in (psutil.Process(p.pid), *psutil.Process(p.pid).children(recursive=True))]
    return sum(o.memory_info().rss for o in ps)//2**20,len(ps)-1


def hostile_files(folder):
    img = draw_portrait('pug', 100, 300)[0]
    img.save(folder/'good.jpg')
    img.convert('CMYK').save(folder/'inks.jpg')
    good = (folder/'good.jpg').read_bytes()
    files = dict(good=good, inks=(folder/'inks.jpg').read_bytes(), half=good[:len(good)//2], text=b'a letter', page=b'<html>', eps=b'%!PS-Adobe-3.0 EPSF-3.0\n')
    shared = Path(__file__).resolve().parents[2]/'shared/data/hostile'
    return files | {o:(shared/o).read_bytes() for o in ('bomb_30000x30000.png','gray16.png','animated.webp','text.heic') if (shared/o).exists()}


def test_twenty_uploads(model, tmp_path, says):
    "At once from two tabs, with names that climb and files that are none: all are answered, and the memory comes back"
    files = [*hostile_files(tmp_path).items()]
    async def visit(url, p):
        visitors = await asyncio.gather(*(Visitor().open(url) for _ in range(2)))
        async def ten(k, v):
            widget = await v.find('FileUploadModel')
            names = [f'../../../etc/{k}{i}-{files[i%len(files)][0]}' for i in range(10)]
            for i,o in enumerate(names): await v.upload(widget, o, files[i%len(files)][1])
            return [(o,await v.answer(o)) for o in names]
        said = sum(await asyncio.gather(*(ten(k, v) for k,v in enumerate(visitors))), [])
        busy = megabytes(p)
        assert [await v.leave(v.cookie) for v in visitors]==[204,204]
        return said,busy
    with running(model) as (p,url):
        urlopen(url, timeout=60).read()                             # one tab that stays
        while megabytes(p)[1]<2: time.sleep(.2)
        time.sleep(3)
        before = megabytes(p)
        said,busy = alone(visit(url, p))
        for _ in range(100):
            after = megabytes(p)
            if after[1]<=before[1] and after[0]<before[0]*1.15: break
            time.sleep(.2)
        assert after[1]<=before[1] and after[0]<before[0]*1.15, (before,busy,after)
        assert status(url)==200
    assert len(said)==20
    for name,o in said:
        kind = name.split('-')[-1]
        why = dict(half='is damaged', text='is no picture', page='is no picture', eps='is no picture').get(kind) or ('million' if 'bomb' in kind else 'HEIC' if 'heic' in kind else '')
        assert why in o if why else 'role="alert"' not in o, (name,o)
    says(f'app: 20 uploads answered; server and kernels {before[0]} MB before, {busy[0]} during, {after[0]} after')


def test_visitors_run_no_code(model, tmp_path):
    "Nothing that a visitor sends runs, names a file of the server, or stops it"
    mark = tmp_path/'mark'
    code = dict(code=f'open({str(mark)!r}, "w")', silent=False, store_history=False, user_expressions={'a':f'open({str(mark)!r}, "w")'}, allow_stdin=False)
    async def visit(url):
        v = await Visitor().open(url)
        for o in 'shell','control','stdin','iopub': await v.send('execute_request', code, channel=o)
        for o in 'complete_request','inspect_request','history_request','is_complete_request','debug_request','usage_request':
            await v.send(o, dict(code='import os; os.', cursor_pos=3, command='evaluate', arguments={}))
        widget = await v.find('FileUploadModel')
        for o in '/etc/passwd',str(model/'config.json'),10**12,None: await v.upload(widget, 'path.jpg', o) # a path, or no bytes
        await v.upload(widget, '/etc/passwd', b'text')
        assert 'is no picture' in await v.answer('/etc/passwd')
        for bad in ((10**17).to_bytes(8, 'little')*2, b'', b'x', '{"header":{"msg_type":"comm_msg"}}'): # each would have to be refused, not counted up to
            w = await websocket_connect(v.address, subprotocols=[PROTOCOL])
            await w.write_message(bad, binary=isinstance(bad, bytes))
            while await asyncio.wait_for(w.read_message(), 30) is not None: pass # it is closed
        for head in dict(), {'Sec-WebSocket-Protocol':PROTOCOL, 'Origin':'http://evil.example'}, {'Sec-WebSocket-Protocol':PROTOCOL, 'Host':'evil.example', 'Origin':'http://evil.example'}:
            with pytest.raises(HTTPClientError, match='403'): await websocket_connect(HTTPRequest(v.address, headers=head))
        assert [await v.leave(), await v.leave('wrong')]==[403,403]  # another site cannot end it: it does not know the cookie
        assert await v.leave(v.cookie)==204
    with running(model) as (p,url):
        alone(visit(url))
        assert status(url)==200 and megabytes(p)[0]<4000
    assert not mark.exists()


def test_addresses(model):
    "No address reaches another file, a list of kernels, or another template; the page is not had under another site's name"
    ups = ['/voila/files/','/voila/static/','/voila/templates/','/voila/templates/lab/static/','/voila/labextensions/','/voila/api/themes/','/static/','/']
    paths = [a+b for a in ups for b in ('../../../../../../../etc/passwd','%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd','..%2f..%2f..%2fetc%2fpasswd','%2fetc%2fpasswd')]
    paths += ['/api/contents','/api/kernels','/api/sessions','/api/terminals','/login','/logout','/metrics','/voila/templates/mlc_app/conf.json','/voila/templates/x']
    with running(model) as (p,url):
        def ask(path, method='GET', **head):
            c = http.client.HTTPConnection(url[7:], timeout=60)
            c.request(method, path, headers=head)
            return c.getresponse().status
        for o in paths: assert ask(o) in (403,404), (o,ask(o))
        for o in 'POST','PUT','DELETE': assert ask('/api/kernels', o) in (403,404,405)
        assert ask('/', Host='evil.example')==403 and ask('/', Host='evil.example:80', Origin='http://evil.example')==403
        html = urlopen(f'{url}/?template=lab&theme=dark', timeout=60).read().decode()
        assert '<h1>Ask the model</h1>' in html and 'theme-light' in html
        p.terminate()
        p.wait(40)
        assert 'Traceback' not in p.stderr.read()


def test_too_many_tabs(model):
    "The second tab is told to wait, and gets in when the first has left"
    async def visit(url):
        v = await Visitor().open(url)
        for _ in range(3):
            code = status(url)
            if code==503: break
        assert code==503
        with pytest.raises(HTTPError) as e: urlopen(url, timeout=60)
        assert 'Too many people' in e.value.read().decode()
        assert await v.leave(v.cookie)==204
    with running(model, '--tabs', 1) as (p,url):
        alone(visit(url))
        assert megabytes(p)[1]<=2
        for _ in range(50):
            if status(url)==200: break
            time.sleep(.2)
        else: pytest.fail('the page stays closed')
