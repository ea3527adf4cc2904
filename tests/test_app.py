"The app, as a shell meets it: one line of error, its address, nothing but its page, and nothing left behind"
import asyncio, os, select, socket, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
import psutil, pytest
from tornado.websocket import WebSocketClosedError
from mlc_course.app import _unless_closed, free_port, mlc_app
from mlc_course.classifier import Classifier
from mlc_course.photos import InputError
from mlc_course.scenes import draw_portrait

APP = Path(sys.executable).with_name('mlc_app')


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
        code = "import sys, mlc_course.app; sys.exit(bool({'torch','fastai','voila','tornado','matplotlib'} & set(sys.modules)))"
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
        assert 'Ask the model' in html and 'mlc_course.app import' not in html and str(model) not in html
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
