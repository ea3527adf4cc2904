"The app, as a shell meets it: one line of error, its address, nothing but its page, nothing left behind"
import asyncio, http.client, json, os, re, select, socket, subprocess, time, uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from urllib.error import HTTPError
from urllib.request import urlopen
import psutil, pytest
from jupyter_server.services.kernels.connection import base as wire
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect
from conftest import BIN, SHARED, call, refused
from messages import fault
from mlc_course.draw.scenes import draw_portrait
from mlc_course.ui.app import free_port, mlc_app
from mlc_course.ui.voila_app import report_unless_closed


def alone(coroutine):
    "Its result; in a thread, for in this one Playwright's loop may be running"
    with ThreadPoolExecutor(1) as pool: return pool.submit(asyncio.run, coroutine).result()


@contextmanager
def running(*args, **env):
    "The app as a process, and the line that it printed within a minute"
    if version('ipywidgets')<'8': pytest.skip('the app needs ipywidgets 8, and says so')
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


def status(url):
    try: return urlopen(url, timeout=30).status
    except HTTPError as e: return e.code


def own_address():
    "By which other machines reach this one, if they do"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try: s.connect(('192.0.2.1', 9)) # sends nothing
        except OSError: return '127.0.0.1'
        return s.getsockname()[0]


def test_refuses_models(tmp_path):
    refused(call('mlc_app', tmp_path), str(tmp_path), 'config.json and model.safetensors')


def test_any_port(): assert 1024<free_port()<=65535


NOT_SERVED = ['Ask%20the%20model.ipynb', 'config.json', 'voila/files/Ask%20the%20model.ipynb',
    'voila/files/x.png', 'voila/tree', 'voila/api/contents']

def test_serves_its_page_only(trained_folder, tmp_path):
    "It prints its address once it answers there; no code shown, no other host asked, no other file served"
    port = free_port()
    with running(trained_folder, '--port', port, TMPDIR=str(tmp_path)) as (p,line):
        assert line==f'http://127.0.0.1:{port}'
        html = urlopen(line, timeout=60).read().decode()
        assert 'Ask the model' in html
        hidden = 'mlc_course.ui.app import',str(trained_folder),'cdn','googleapis','unpkg','require.min.js'
        assert not [o for o in hidden if o in html]
        for o in {'127.0.0.2',own_address()}-{'127.0.0.1'}:
            with pytest.raises(OSError): socket.create_connection((o, port), 2)
        answers = {o: status(f'{line}/{o}') for o in NOT_SERVED}
        assert set(answers.values())<={403,404}, answers
        kernels = psutil.Process(p.pid).children(recursive=True)
        assert kernels
        assert list(tmp_path.glob('mlc_app_*'))
        p.terminate()
        assert p.wait(40)==0
        assert p.stderr.read()==''
    gone,alive = psutil.wait_procs(kernels, timeout=5)
    assert not alive
    assert not list(tmp_path.glob('mlc_app_*'))
    with pytest.raises(OSError): socket.create_connection(('127.0.0.1', port), 2)


def test_warns_of_other_addresses(trained_folder):
    with running(trained_folder, '--ip', '127.0.0.2') as (p,line):
        assert line.startswith('http://127.0.0.2:')
        assert status(line)==200
        p.send_signal(2) # Ctrl-C
        assert p.wait(40)==0
        warned = p.stderr.read()
        assert warned.count('\n')==1
        assert 'everybody who reaches 127.0.0.2' in warned


@pytest.mark.parametrize('error,lines', [(WebSocketClosedError(), 0), (ValueError('the model is gone'), 1)])
def test_reports_all_but_closed_tabs(caplog, error, lines):
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(report_unless_closed)
    loop.call_exception_handler(dict(message='Task exception was never retrieved', exception=error))
    loop.close()
    assert len(caplog.records)==lines


# --- behind a proxy

PREFIX = '/user/me/proxy/8866'

def asked(url, path, host):
    "What a proxy gets that passes on the visitor's `Host`: status and text"
    c = http.client.HTTPConnection(url[7:], timeout=60)
    c.request('GET', path, headers=dict(Host=host))
    res = c.getresponse()
    return res.status,res.read().decode(errors='replace')


def test_behind_a_proxy(trained_folder):
    "Whether it takes the prefix off or leaves it: the page, all that it loads, its socket and its end"
    async def visit(url):
        visitor = await Visitor().open(url)
        assert await visitor.find('FileUploadModel')
        return await visitor.leave(visitor.cookie)
    with running(trained_folder, '--base-url', PREFIX) as (p,line):
        url,path = line[:-len(PREFIX)-1],line[-len(PREFIX)-1:]
        assert path==f'{PREFIX}/'
        for there,taken in (PREFIX,''),('',PREFIX):
            code,html = asked(url, f'{there}/', 'hub.example')
            assert code==200
            assert f'data-base-url="{PREFIX}/voila/"' in html
            assert f'"baseUrl": "{PREFIX}/"' in html
            links = re.findall(r'(?:src|href)="(/[^"]*)"', html)
            assert len(links)>2
            assert all(o.startswith(f'{PREFIX}/voila/') for o in links)
            for o in links: assert asked(url, o.removeprefix(taken), 'hub.example')[0]==200, o
        for o in 'Ask%20the%20model.ipynb','voila/tree','voila/files/x.png','api/contents':
            assert asked(url, f'{PREFIX}/{o}', 'hub.example')[0] in (403,404)
        for o in url+PREFIX,url: assert alone(visit(o))==204


def test_one_host(trained_folder):
    "Named with its host, the page is there for no other"
    with running(trained_folder, '--base-url', f'https://hub.example{PREFIX}/') as (p,line):
        url = line[:-len(PREFIX)-1]
        answers = {o: asked(url, f'{PREFIX}/', o)[0] for o in ('hub.example','evil.example','127.0.0.1')}
        assert answers=={'hub.example': 200, 'evil.example': 403, '127.0.0.1': 200}


@pytest.mark.parametrize('base_url', ['/a?b', 'ftp://hub.org/a', '/a b', '//hub.org/a', '/a/{port}'])
def test_refuses_base_urls(trained_folder, base_url, capsys):
    with pytest.raises(SystemExit) as e: mlc_app(trained_folder, base_url=base_url)
    assert e.value.code==2
    said = capsys.readouterr().err
    assert said.count('\n')==1
    assert base_url in said


def test_not_in_a_notebook(trained_folder, capsys):
    "Beside a running event loop, and in a thread: one line that says where to start it"
    async def cell(): mlc_app(trained_folder)
    def thread(): ThreadPoolExecutor(1).submit(mlc_app, trained_folder).result()
    for start in lambda: alone(cell()), thread:
        with pytest.raises(SystemExit): start()
        said = capsys.readouterr().err
        assert said.count('\n')==1
        assert 'start mlc_app MODEL in a terminal' in said


# --- visitors who mean harm, and many of them

PROTOCOL = 'v1.kernel.websocket.jupyter.org'

class Visitor:
    "What the script of the page does, and what somebody else's script could do"
    async def open(self, url):
        self.url,res = url,await AsyncHTTPClient().fetch(HTTPRequest(f'{url}/', request_timeout=120))
        self.cookie = re.search('_xsrf=([^;]*)', res.headers['Set-Cookie'])[1]
        self.kernel = re.search('"kernelId": "([^"]+)"', res.body.decode())[1]
        self.address = f'{url.replace("http", "ws")}/api/kernels/{self.kernel}/channels'
        self.ws = await websocket_connect(self.address, subprotocols=[PROTOCOL])
        return self

    async def send(self, kind, content, buffers=(), channel='shell'):
        head = dict(msg_id=uuid.uuid4().hex, msg_type=kind, username='', session='s', version='5.3',
            date='2026-01-01T00:00:00Z')
        parts = [json.dumps(o).encode() for o in (head, {}, {}, content)]
        await self.ws.write_message(wire.serialize_msg_to_ws_v1([*parts, *buffers], channel), binary=True)

    async def wait(self, kind, ok=lambda o: True, secs=60):
        async def look():
            while (m := await self.ws.read_message()) is not None:
                head,_,_,content = map(json.loads, wire.deserialize_msg_from_ws_v1(m)[1][:4])
                if head['msg_type']!=kind: continue
                if ok(content): return content
            raise EOFError
        return await asyncio.wait_for(look(), secs)

    async def find(self, model):
        "The widget of this kind"
        await self.send('comm_info_request', {})
        known = await self.wait('comm_info_reply')
        for o in known['comms']: await self.tell(o, method='request_state')
        def is_model(o): return o['data'].get('state', {}).get('_model_name')==model
        return (await self.wait('comm_msg', is_model))['comm_id']

    async def tell(self, widget, buffers=(), **data):
        await self.send('comm_msg', dict(comm_id=widget, data=data), buffers)

    async def upload(self, widget, name, data):
        "`data` are the bytes of a file, or what a visitor writes in their place"
        state = dict(name=name, type='image/jpeg', size=9, last_modified=0)
        buffers,paths = [data],[['value',0,'content']]
        if not isinstance(data, bytes):
            buffers,paths = [],[]
            state['content'] = data
        await self.tell(widget, buffers, method='update', state=dict(value=[state]), buffer_paths=paths)

    async def answer(self, name):
        def value(o): return str(o['data'].get('state', {}).get('value', ''))
        return value(await self.wait('comm_msg', lambda o: name in value(o)))

    async def leave(self, token=None):
        query = '' if token is None else f'?_xsrf={token}'
        request = HTTPRequest(f'{self.url}/voila/api/shutdown/{self.kernel}{query}', method='POST',
            body=b'', headers=dict(Cookie=f'mlc_app_xsrf={self.cookie}'))
        return (await AsyncHTTPClient().fetch(request, raise_error=False)).code


def megabytes(p):
    "Of the server and its kernels, and how many these are"
    server = psutil.Process(p.pid)
    kernels = server.children(recursive=True)
    return sum(o.memory_info().rss for o in [server, *kernels])//2**20,len(kernels)


def hostile_files(folder):
    "Name to bytes"
    img = draw_portrait('pug', 100, 300)[0]
    img.save(folder/'good.jpg')
    img.convert('CMYK').save(folder/'inks.jpg')
    good = (folder/'good.jpg').read_bytes()
    files = dict(good=good, inks=(folder/'inks.jpg').read_bytes(), half=good[:len(good)//2],
        text=b'a letter', page=b'<html>', eps=b'%!PS-Adobe-3.0 EPSF-3.0\n')
    for name in 'bomb_30000x30000.png','gray16.png','animated.webp','text.heic':
        file = SHARED/'data/hostile'/name
        if file.exists(): files[name] = file.read_bytes()
    return files


WHY = {'half': 'damaged', 'text': 'no_picture', 'page': 'no_picture', 'eps': 'no_picture',
    'bomb_30000x30000.png': 'too_large', 'text.heic': 'no_picture'}

async def upload_ten(visitor, who, files):
    "Names that climb, and what the app says to each"
    widget = await visitor.find('FileUploadModel')
    sent = {}
    for i in range(10):
        kind,data = files[i%len(files)]
        sent[f'../../../etc/{who}{i}-{kind}'] = data
    for name,data in sent.items(): await visitor.upload(widget, name, data)
    return [(name,await visitor.answer(name)) for name in sent]


def calmed(p, before):
    "Megabytes and kernels, once they are no more than `before` and a little, or after 20 seconds"
    for _ in range(100):
        after = megabytes(p)
        if after[1]<=before[1] and after[0]<before[0]*1.15: break
        time.sleep(.2)
    return after


def test_twenty_uploads(trained_folder, tmp_path, says):
    "At once from two tabs, with climbing names and files that are none: all are answered, memory comes back"
    files = [*hostile_files(tmp_path).items()]
    async def visit(url, p):
        visitors = await asyncio.gather(*(Visitor().open(url) for _ in range(2)))
        said = await asyncio.gather(*(upload_ten(v, k, files) for k,v in enumerate(visitors)))
        busy = megabytes(p)
        assert [await v.leave(v.cookie) for v in visitors]==[204,204]
        return sum(said, []),busy
    with running(trained_folder) as (p,url):
        urlopen(url, timeout=60).read() # one tab that stays
        while megabytes(p)[1]<2: time.sleep(.2)
        time.sleep(3)
        before = megabytes(p)
        said,busy = alone(visit(url, p))
        after = calmed(p, before)
        assert after[1]<=before[1], (before,busy,after)
        assert after[0]<before[0]*1.15, (before,busy,after)
        assert status(url)==200
    assert len(said)==20
    for name,answer in said:
        why = WHY.get(name.split('-', 1)[1])
        if why: assert fault(why) in answer, name
        else: assert 'role="alert"' not in answer, name
    says(f'app: 20 uploads answered; server and kernels {before[0]} MB before, '
        f'{busy[0]} during, {after[0]} after')


KINDS = ['complete_request', 'inspect_request', 'history_request', 'is_complete_request', 'debug_request',
    'usage_request']
# each would have to be refused, not counted up to
ODD_MESSAGES = [(10**17).to_bytes(8, 'little')*2, b'', b'x', '{"header":{"msg_type":"comm_msg"}}']
ODD_HEADERS = [{}, {'Sec-WebSocket-Protocol':PROTOCOL, 'Origin':'http://evil.example'},
    {'Sec-WebSocket-Protocol':PROTOCOL, 'Origin':'http://evil.example', 'Host':'evil.example'}]

async def try_everything(url, mark, model):
    "Code in every kind of message, paths in place of bytes, odd messages, the name of another site"
    visitor = await Visitor().open(url)
    call = f'open({str(mark)!r}, "w")'
    code = dict(code=call, user_expressions=dict(a=call), silent=False, store_history=False,
        allow_stdin=False)
    for channel in 'shell','control','stdin','iopub':
        await visitor.send('execute_request', code, channel=channel)
    for kind in KINDS:
        await visitor.send(kind, dict(code='import os; os.', cursor_pos=3, command='evaluate', arguments={}))
    widget = await visitor.find('FileUploadModel')
    for no_bytes in '/etc/passwd',str(model/'config.json'),10**12,None:
        await visitor.upload(widget, 'path.jpg', no_bytes)
    await visitor.upload(widget, '/etc/passwd', b'text')
    assert fault('no_picture') in await visitor.answer('/etc/passwd')
    for message in ODD_MESSAGES:
        ws = await websocket_connect(visitor.address, subprotocols=[PROTOCOL])
        await ws.write_message(message, binary=isinstance(message, bytes))
        while await asyncio.wait_for(ws.read_message(), 30) is not None: pass # it is closed
    for head in ODD_HEADERS:
        request = HTTPRequest(visitor.address, headers=head)
        with pytest.raises(HTTPClientError, match='403'): await websocket_connect(request)
    assert await visitor.leave()==403 # another site cannot end it: it does not know the cookie
    assert await visitor.leave('wrong')==403
    assert await visitor.leave(visitor.cookie)==204


def test_visitors_run_no_code(trained_folder, tmp_path):
    "Nothing that a visitor sends runs, names a file of the server, or stops it"
    mark = tmp_path/'mark'
    with running(trained_folder) as (p,url):
        alone(try_everything(url, mark, trained_folder))
        assert status(url)==200
        assert megabytes(p)[0]<4000
    assert not mark.exists()


FOLDERS = ['/voila/files/', '/voila/static/', '/voila/templates/', '/voila/templates/lab/static/',
    '/voila/labextensions/', '/voila/api/themes/', '/static/', '/']
PASSWD = ['../../../../../../../etc/passwd', '%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd',
    '..%2f..%2f..%2fetc%2fpasswd', '%2fetc%2fpasswd']
OTHERS = ['/api/contents', '/api/kernels', '/api/sessions', '/api/terminals', '/login', '/logout',
    '/metrics', '/voila/templates/mlc_app/conf.json', '/voila/templates/x']

def test_addresses(trained_folder):
    "No address reaches another file, a list of kernels, another template, or the page under another name"
    paths = [folder+file for folder in FOLDERS for file in PASSWD]+OTHERS
    with running(trained_folder) as (p,url):
        def ask(path, method='GET', **head):
            c = http.client.HTTPConnection(url[7:], timeout=60)
            c.request(method, path, headers=head)
            return c.getresponse().status
        answers = {o: ask(o) for o in paths}
        assert set(answers.values())<={403,404}, answers
        answers = {o: ask('/api/kernels', o) for o in ('POST','PUT','DELETE')}
        assert set(answers.values())<={403,404,405}, answers
        assert ask('/', Host='evil.example')==403
        assert ask('/', Host='evil.example:80', Origin='http://evil.example')==403
        html = urlopen(f'{url}/?template=lab&theme=dark', timeout=60).read().decode()
        assert '<h1>Ask the model</h1>' in html
        assert 'theme-light' in html
        p.terminate()
        p.wait(40)
        assert 'Traceback' not in p.stderr.read()


def test_too_many_tabs(trained_folder):
    "The second tab is told to wait, and gets in when the first has left"
    async def visit(url):
        visitor = await Visitor().open(url)
        for _ in range(3):
            code = status(url)
            if code==503: break
        assert code==503
        with pytest.raises(HTTPError) as e: urlopen(url, timeout=60)
        assert 'Too many people' in e.value.read().decode()
        assert await visitor.leave(visitor.cookie)==204
    with running(trained_folder, '--tabs', 1) as (p,url):
        alone(visit(url))
        assert megabytes(p)[1]<=2
        for _ in range(50):
            if status(url)==200: break
            time.sleep(.2)
        else: pytest.fail('the page stays closed')
