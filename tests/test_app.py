"The app, as a shell, a program and an enemy meet it: its errors, its address, its answers"
import asyncio, json, os, re, select, signal, socket, threading, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from urllib.parse import quote
import pytest
from PIL import Image
from conftest import ROOT, call, json_rows, refused
from messages import fault
from visitors import app_visit, ask, form, hostile_files, jpeg, load, megabytes, running
from mlc_course.draw.scenes import draw_portrait
from mlc_course.ui.app import free_port, mlc_app, start
from mlc_course.ui.app_guard import Limits


def alone(coroutine):
    "Its result; in a thread, for in this one Playwright's loop may be running"
    with ThreadPoolExecutor(1) as pool: return pool.submit(asyncio.run, coroutine).result()


def own_address():
    "By which other machines reach this one, if they do"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try: s.connect(('192.0.2.1', 9)) # sends nothing
        except OSError: return '127.0.0.1'
        return s.getsockname()[0]


@contextmanager
def beside(trained, **kwargs):
    "The same in a thread of this process: quicker to begin"
    app = start(trained, **kwargs)
    try: yield app.url
    finally: app.stop()


def photo(kind='pug', i=100): return jpeg(draw_portrait(kind, i, 300)[0])


@pytest.fixture(scope='module')
def app(trained_folder, tmp_path_factory):
    "A running app: its process, with its address as `url` and its temporary files in `tmp`"
    tmp = tmp_path_factory.mktemp('temporary')
    with running(trained_folder, '--rate', 0, TMPDIR=str(tmp)) as (p,url):
        p.url,p.tmp = url,tmp
        yield p
        p.terminate()
        assert p.wait(40)==0
        assert p.stderr.read()==''
    assert not list(tmp.iterdir())


# --- the command

def test_refuses_models(tmp_path):
    refused(call('mlc_app', tmp_path), str(tmp_path), 'config.json and model.safetensors')


def test_any_port(): assert 1024<free_port()<=65535


@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_begins_and_ends(trained_folder, sign):
    "It prints its address once it answers there, on no other address, and ends cleanly, its port free again"
    port = free_port()
    with running(trained_folder, '--port', port) as (p,line):
        assert line==f'http://127.0.0.1:{port}'
        assert ask(line).status==200
        for o in {'127.0.0.2',own_address()}-{'127.0.0.1'}:
            with pytest.raises(OSError): socket.create_connection((o, port), 2)
        p.send_signal(sign)
        assert p.wait(40)==0
        assert (p.stdout.read(), p.stderr.read())==('','')
    assert free_port(port)==port


def test_ends_while_it_answers(trained_folder):
    "What has been asked is answered before it ends"
    with running(trained_folder) as (p,url):
        files = [(f'{i}.jpg',photo(i=i)) for i in range(20)]
        data,kind = form(files)
        with ThreadPoolExecutor(1) as pool:
            reply = pool.submit(ask, url, '/api/predict', data, Content_Type=kind)
            while not reply.running(): pass
            ask(url, '/health')
            p.terminate()
            assert p.wait(40)==0
            assert len(reply.result().body.splitlines())==20
        assert p.stderr.read()==''


def test_warns_of_other_addresses(trained_folder):
    with running(trained_folder, '--ip', '127.0.0.2') as (p,line):
        assert line.startswith('http://127.0.0.2:')
        assert ask(line).status==200
        p.terminate()
        assert p.wait(40)==0
        warned = p.stderr.read()
        assert warned.count('\n')==1
        assert 'everybody who reaches 127.0.0.2' in warned


@pytest.mark.parametrize('base_url', ['/a?b', 'ftp://hub.org/a', '/a b', '//hub.org/a', '/a/{port}'])
def test_refuses_base_urls(trained_folder, base_url, capsys):
    with pytest.raises(SystemExit) as e: mlc_app(trained_folder, base_url=base_url)
    assert e.value.code==2
    said = capsys.readouterr().err
    assert said.count('\n')==1
    assert base_url in said


def test_not_in_a_notebook(trained_folder, capsys):
    "Beside a running event loop, and in a thread: one line that says what to do"
    async def cell(): mlc_app(trained_folder)
    def thread(): ThreadPoolExecutor(1).submit(mlc_app, trained_folder).result()
    for begin in lambda: alone(cell()), thread:
        with pytest.raises(SystemExit): begin()
        said = capsys.readouterr().err
        assert said.count('\n')==1
        assert 'mlc_course.ui.app.start(MODEL)' in said


def test_beside_a_kernel(trained):
    "It answers while the loop of the kernel runs; stopped, its port is free and no thread is left"
    n = threading.active_count()
    async def cells():
        app = start(trained)
        assert '<iframe' in app._repr_html_()
        reply = await asyncio.to_thread(ask, app.url, '/api/predict', photo())
        policy = (await asyncio.to_thread(ask, app.url)).headers['content-security-policy']
        assert 'http://localhost:*' in policy # Jupyter may show it in a frame
        app.stop()
        return app.url,reply.json['labels']
    url,labels = alone(cells())
    assert labels==trained.predict(photo())[0]['labels']
    port = int(url.rpartition(':')[2])
    assert free_port(port)==port
    assert threading.active_count()==n


def test_container():
    "What the Dockerfile and the page about servers call is there"
    helped = call('mlc_app', '--help').stdout.replace('_', '-') # older fastcore's; either is understood
    options = set(re.findall(r'--[a-z-]+', helped))
    docker = (ROOT/'Dockerfile').read_text(encoding='utf-8')
    page = (ROOT/'nbs/ui/app_server.ipynb').read_text(encoding='utf-8')
    commands = re.findall(r'mlc_app(?: model| /srv/model)([^\n]*)', docker+page)
    used = {o for line in commands for o in re.findall(r'--[a-z-]+', line)}
    assert {'--ip','--port','--base-url'}<=used<=options
    kept = set(re.findall('^!(.*)', (ROOT/'.dockerignore').read_text(encoding='utf-8'), re.M))
    assert {'mlc_course','nbs','setup.py','settings.ini','pyproject.toml','README.md','model'}<=kept


# --- what it answers

def test_answers_as_the_command(app, trained_folder, tmp_path):
    "Line by line what `mlc_predict --json` prints: one photo as it is, and several in a form"
    files = dict(zip(('cat ü.jpg','pug.jpg','text.jpg'), (photo('Siamese'),photo(),b'a letter')))
    for name,data in files.items(): (tmp_path/name).write_bytes(data)
    printed = json_rows(call('mlc_predict', trained_folder, *files, '--json', cwd=tmp_path))
    data,kind = form(files.items())
    reply = ask(app.url, '/api/predict', data, Content_Type=kind)
    together = [json.loads(o) for o in reply.body.decode().splitlines()]
    assert reply.status==200
    one_by_one = [ask(app.url, f'/api/predict?path={quote(o)}', data) for o,data in files.items()]
    assert [o.status for o in one_by_one]==[200,200,422]
    for answers in together,[o.json for o in one_by_one]:
        assert [list(o) for o in answers]==[list(o) for o in printed]
        for answer,line in zip(answers, printed):
            probs,others = answer.pop('probs', {}),dict(line)
            assert probs==pytest.approx(others.pop('probs', {}), abs=1e-5)
            assert answer.pop('score', 0)==pytest.approx(others.pop('score', 0), abs=1e-4)
            assert answer==others


def test_facts(app, trained):
    assert ask(app.url, '/health').json==dict(status='ok')
    facts = ask(app.url, '/api/model').json
    assert facts['vocab']==trained.vocab
    assert facts['keep']==trained.decision.keep
    assert facts['metrics']==trained.config['metrics']
    assert facts['arch']=='small_cnn'


def test_map(app):
    "The size of the photo, upright; a label that there is not is refused"
    wide = jpeg(draw_portrait('pug', 1, 600)[0].resize((840,300)))
    reply = ask(app.url, '/map?label=pug', wide)
    assert Image.open(BytesIO(reply.body)).size==(420,150)
    assert ask(app.url, '/map?label=donkey&path=a.jpg', wide).json==dict(path='a.jpg',
        error='donkey is no label of this model')


def test_every_keep(app, trained):
    "What the page holds of an answer is what `with_keep` says, at each place of its slider"
    from mlc_course.ui.app_page import keep_steps
    steps,seen = keep_steps(trained),set()
    for i in range(12):
        data = photo(('pug','Siamese','car')[i%3], i)
        card = ask(app.url, '/ask?path=a.jpg', data).body.decode()
        digits = re.search('data-steps="([01]+)"', card)[1]
        named = re.search('said known">([^<]*)<', card)[1]
        for step,digit in zip(steps, digits, strict=True):
            labels = trained.with_keep(step.keep).predict(data)[0]['labels']
            assert bool(labels)==(digit=='1')
            assert not labels or ' and '.join(labels)==named
        seen |= set(digits)
    assert seen=={'0','1'}


# --- who may ask

@pytest.mark.parametrize('headers', [
    dict(Host='evil.example'), dict(Host='evil.example:80', Origin='http://evil.example'), dict(Host=''),
    dict(Origin='http://evil.example'), dict(Origin='null'), dict(Sec_Fetch_Site='cross-site'),
    dict(Sec_Fetch_Site='same-site'), dict(Origin='http://127.0.0.1:1')])
def test_other_sites(app, headers):
    "A page of another site cannot ask, under its own name or under one that was made to point here"
    reply = ask(app.url, '/api/predict', photo(), **headers)
    assert reply.status==403
    assert set(reply.json)=={'path','error'}
    assert 'access-control-allow-origin' not in reply.headers


def test_own_page(app):
    host = app.url[7:]
    local = f'localhost:{host.rpartition(":")[2]}'
    for headers in dict(Origin=app.url), dict(Sec_Fetch_Site='same-origin'), dict(Host=local):
        assert ask(app.url, '/api/predict', photo(), **headers).status==200


def test_serves_its_page_only(app, trained_folder):
    "Nothing of another host in it, nothing of the machine; no other file, whatever the address"
    page = ask(app.url).body.decode()
    assert '<h1>Ask the model</h1>' in page
    links = set(re.findall(r'(?:src|href|action)="([^"]*)"', page))
    assert links=={'page.js','page.css','data:,'}
    assert not [o for o in (str(trained_folder),'http://','https://','//') if o in page]
    policy = ask(app.url).headers['content-security-policy']
    assert "default-src 'none'" in policy and 'http' not in policy and 'unsafe' not in policy
    passwd = ['../../../etc/passwd', '%2e%2e/%2e%2e/etc/passwd', '..%2f..%2fetc%2fpasswd', '/etc/passwd', '']
    paths = [f'/{folder}{o}' for folder in ('api/','static/','page.css/') for o in passwd]
    paths += ['/config.json', '/docs', '/openapi.json', '/page.js.map', '/.env', '/%00', '/nbs/app/page.js']
    replies = {o: ask(app.url, o) for o in paths}
    assert {o.status for o in replies.values()}=={404}
    assert all(set(o.json)=={'path','error'} for o in replies.values())
    for method in 'PUT','DELETE','PATCH','OPTIONS','TRACE':
        assert ask(app.url, '/api/predict', method=method).status==405


def test_token(trained, monkeypatch):
    "Without it a visitor learns nothing of the model; a program sends it, a browser gets a cookie for it"
    token = 'correct-horse'
    monkeypatch.setenv('MLC_APP_TOKEN', token)
    with beside(trained) as url:
        page = ask(url)
        assert page.status==401
        assert 'type="password"' in page.body.decode()
        assert 'pug' not in page.body.decode()
        for path,data in (('/api/model',None), ('/api/predict',photo()), ('/ask',photo()), ('/map',photo())):
            assert ask(url, path, data).status==401
            assert ask(url, path, data, Authorization='Bearer wrong-horse').status==401
        assert ask(url, '/api/model', Authorization=f'Bearer {token}').status==200
        assert ask(url, '/health').status==200
        assert ask(url, '/enter', b'token=wrong-horse').status==403
        told = ask(url, '/enter', f'token={token}'.encode())
        assert told.status==303
        cookie = told.headers['set-cookie']
        assert token not in cookie
        assert 'HttpOnly' in cookie and 'SameSite=strict' in cookie
        assert 'pug' in ask(url, Cookie=cookie.partition(';')[0]).body.decode()


@pytest.mark.parametrize('token', ['secret', '', 'correct horse\n', 'correct hörse'])
def test_weak_token(token, capsys):
    with pytest.raises(SystemExit) as e: mlc_app('nowhere', token=token)
    assert e.value.code==2
    assert 'the token can be guessed' in capsys.readouterr().err


PREFIX = '/user/me/proxy/8866'

def test_behind_a_proxy(trained):
    "Whether it takes the prefix off or leaves it: the page, all that it loads, and its answers"
    with beside(trained, base_url=PREFIX) as line:
        url,path = line[:-len(PREFIX)],f'{PREFIX}/'
        assert line.endswith(PREFIX)
        moved = ask(url, PREFIX, Host='hub.example')
        assert (moved.status, moved.headers['location'])==(307, path)
        for there in PREFIX,'':
            page = ask(url, f'{there}/', Host='hub.example').body.decode()
            for o in re.findall(r'(?:src|href)="(page[^"]*)"', page):
                assert ask(url, f'{there}/{o}', Host='hub.example').status==200
            sent = dict(Host='hub.example', Origin='https://hub.example')
            assert ask(url, f'{there}/api/predict', photo(), **sent).json['known'] in (True,False)
            assert ask(url, f'{there}/config.json', Host='hub.example').status==404


def test_one_host(trained):
    "Named with its host, the page is there for no other; a proxy may pass on its own name as origin"
    with beside(trained, base_url=f'https://hub.example{PREFIX}/') as line:
        url = line[:-len(PREFIX)]
        names = 'hub.example','evil.example','127.0.0.1'
        answers = {o: ask(url, f'{PREFIX}/', Host=o).status for o in names}
        assert answers=={'hub.example': 200, 'evil.example': 403, '127.0.0.1': 200}
        assert ask(url, f'{PREFIX}/api/predict', photo(), Origin='https://hub.example').status==200
        assert ask(url, f'{PREFIX}/api/predict', photo(), Origin='https://evil.example').status==403


# --- how much

def test_too_large(app):
    "Refused before it is read; in a form it is an answer beside the others, and too many files are none"
    big = bytes(11_000_000)
    reply = ask(app.url, '/api/predict?path=big.jpg', big)
    assert reply.status==413
    why = 'big.jpg has 11 MB, more than 10: make it smaller and try again'
    assert reply.json==dict(path='big.jpg', error=why)
    data,kind = form([('pug.jpg',photo()), ('big.jpg',big)])
    lines = ask(app.url, '/api/predict', data, Content_Type=kind).body.splitlines()
    assert [json.loads(o).get('error', '')[:18] for o in lines]==['','big.jpg has 11 MB,']
    data,kind = form([(f'{i}.jpg',b'x') for i in range(21)])
    assert ask(app.url, '/api/predict', data, Content_Type=kind).status==400
    assert not list(app.tmp.iterdir()) # nothing of them went to the disk


def test_endless_body(app):
    "A body of no announced length ends where it becomes too large, and nothing keeps it"
    with socket.create_connection(('127.0.0.1', int(app.url.rpartition(':')[2]))) as s:
        s.sendall(b'POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n')
        chunk = b'%x\r\n' % 2**20 + bytes(2**20) + b'\r\n'
        for _ in range(100):
            if select.select([s], [], [], 0)[0]: break
            s.sendall(chunk)
        assert s.recv(100).startswith(b'HTTP/1.1 413')


def test_too_fast(trained):
    "More than the rate allows is asked to wait, and told how long"
    with beside(trained, limits=Limits(per_second=2)) as url:
        replies = [ask(url, '/api/predict', photo()) for _ in range(12)]
        codes = [o.status for o in replies]
        assert codes[:4]==[200]*4
        assert 429 in codes
        last = next(o for o in replies if o.status==429)
        assert int(last.headers['retry-after'])>=1
        assert 'ask more slowly' in last.json['error']
        assert ask(url).status==200 # the page is there all the same


def test_too_many_wait(trained):
    "Beyond the places there are, a visitor hears at once that there is none"
    with beside(trained, limits=Limits(n_waiting=1, per_second=0, secs=2)) as url:
        with socket.create_connection(('127.0.0.1', int(url.rpartition(':')[2]))) as s:
            s.sendall(b'POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n1')
            while (reply := ask(url, '/api/predict', photo())).status==200: pass # not yet arrived
            assert (reply.status, reply.headers['retry-after'])==(503, '1')
            assert s.recv(100).startswith(b'HTTP/1.1 408') # it took too long, and its place is free
        assert ask(url, '/api/predict', photo()).status==200


WHY = {'half.jpg': 'damaged', 'text.jpg': 'no_picture', 'page.jpg': 'no_picture', 'eps.jpg': 'no_picture',
    'empty.jpg': 'empty', 'huge.png': 'too_large', 'random.jpg': 'no_picture'}

def test_load(app, trained, says):
    "20 at a time, a third of them hostile: none is lost, none gets another's answer, memory comes back"
    bad = hostile_files()
    good = {f'../{i}.jpg': photo(('pug','Siamese')[i%2], i) for i in range(2*len(bad))}
    files = [*good.items(), *bad.items()]
    expected = {name: trained.predict(data)[0] for name,data in files}
    visitor = lambda: app_visit(app.url)
    load(app.pid, visitor, files, 60, 20) # all threads have run once
    before = megabytes(app.pid)
    res = load(app.pid, visitor, files, 200, 20)
    assert len(res.replies)==200
    for name,answer in res.replies:
        assert answer['path']==name
        assert answer.get('labels')==expected[name].get('labels'), name
        if name in WHY: assert fault(WHY[name]) in answer['error'], name
    for _ in range(100): # it comes back a second after the last request
        if (after := megabytes(app.pid))<before*1.05: break
        time.sleep(.1)
    assert after<before*1.15, (before,res.peak,after)
    says(f'app: 200 requests, 20 at a time: {200/res.wall:.0f} a second, '
        f'99 % within {res.at(.99)*1000:.0f} ms; '
        f'{before:.0f} MB before, {res.peak:.0f} at most, {after:.0f} after')
