"What cannot end well is said before a photo is read, and what was learned is never lost"
import re, signal, subprocess, time
from pathlib import Path
import numpy as np, pytest, torch
from fastcore.basics import noop
from conftest import BIN, call, config_of, names, python, refused
from mlc_course import classifier
from mlc_course.classifier import Classifier
from mlc_course.engine.core import InputError
from mlc_course.engine.model_file import check_dest
from mlc_course.engine.networks import build_model, check_size
from mlc_course.engine.options import Options
from mlc_course.ui.cli import saved

OF_NUMPY = dict(size=np.int64(32), epochs=np.int32(1), seed=np.int64(3), keep=np.float32(.9),
    min_images=np.int64(1))
PLAIN = dict(size=32, epochs=1, seed=3, keep=.9, min_images=1)


# --- options

def test_numbers_of_numpy(pets, tmp_path):
    "They train, and the model is saved; its keep rate is the decimal number that was meant"
    clf = Classifier.train(pets, 'small_cnn', **OF_NUMPY, say=noop)
    assert Options('small_cnn', **OF_NUMPY)==Options('small_cnn', **PLAIN)
    config = config_of(clf.save(tmp_path/'m'))
    assert (config['size'], config['keep'], config['training']['seed'])==(32, .9, 3)
    for i in range(1, 101):
        a,b = (clf.decision.at(o(i/100)) for o in (np.float32,float))
        assert a==b
    clf.with_keep(np.float32(.97)).save(tmp_path/'careful')
    assert Classifier.load(tmp_path/'careful').decision.keep==.97


@pytest.mark.parametrize('value', [224., np.float64(224), np.float16(224), torch.tensor(224), np.uint8(224)])
def test_whole_numbers(value):
    size = Options('small_cnn', size=value).size
    assert (size, type(size))==(224, int)


WRONG = dict(
    epochs=[1.5,np.float32(.5),np.nan,np.inf,True,np.bool_(True),'3',[3],-1,1e30],
    size=[31,(64,64),np.array([64,64])],
    seed=[-1,2**32,.5],
    keep=[np.bool_(True),True,'.9',0,1.1,np.nan,1e-9,[.9,.8],None,'x'], min_images=[2.5,-1],
    device=['gpu',3.5,np.float32(1)], arch=[None,3,'',b'small_cnn',['resnet18']])

@pytest.mark.parametrize('name', WRONG)
def test_wrong_options(name):
    "Named at once: the folder does not even exist"
    for value in WRONG[name]:
        if name=='keep' and value is None: continue # settled by the pictures
        with pytest.raises(InputError, match=name) as e:
            Classifier.train('nowhere', **{name: value}, say=noop)
        assert '\n' not in str(e.value)


# --- a size that does not fit

def test_pictures_too_small(pets, monkeypatch, tmp_path):
    "The network and the smallest size are named, before a photo is read"
    monkeypatch.setattr(classifier, 'fetch_weights', lambda arch: 'no network here')
    (tmp_path/'p').mkdir()
    for o in 'Siamese_1','Siamese_2','pug_1','pug_2': (tmp_path/f'p/{o}.jpg').write_text('no picture')
    with pytest.raises(InputError, match='size 32 does not fit arch alexnet: use 63 or more'):
        Classifier.train(tmp_path/'p', 'alexnet', size=32, epochs=1, say=noop)


@pytest.mark.parametrize('arch', ['squeezenet1_1', 'resnet18', 'mobilenet_v3_small', 'small_cnn'])
def test_smallest_size(arch): check_size(build_model(arch, 2).eval(), arch, 32)


def test_size_of_any_picture():
    "A network for one size only says to leave the option out"
    class Fixed(torch.nn.Sequential):
        def forward(self, x):
            if x.shape[-1]!=224: raise AssertionError('wrong height')
            return super().forward(x)
    model = torch.nn.Sequential(Fixed(torch.nn.Conv2d(3, 4, 3)), torch.nn.Flatten())
    check_size(model, 'small_cnn', 224)
    with pytest.raises(InputError, match='use 224 or more'): check_size(model, 'small_cnn', 64)
    with pytest.raises(InputError, match='leave it out'): check_size(model, 'small_cnn', 300)


# --- nothing to learn from

def test_no_epochs_without_weights(pets, tmp_path, monkeypatch):
    said_last = 'note: it has learned nothing, and its answers are chance: small_cnn has no'
    res = call('mlc_train', pets, '--out', tmp_path/'m', '--arch', 'small_cnn', '--epochs', 0, '--size', 32)
    assert res.returncode==0
    assert said_last in res.stdout.splitlines()[-2]
    said = []
    monkeypatch.setattr(classifier, 'fetch_weights', lambda arch: 'no network here')
    Classifier.train(pets, epochs=0, size=32, say=said.append)
    assert 'efficientnet_lite2 has no pretrained weights here' in said[-1]


# --- a place for the model

@pytest.mark.parametrize('dest', ['m'*249, 'a/'+'m'*249, 'm'*256, 'm'*256+'/a', '\N{CAT}'*62], ids=len)
def test_names_too_long(pets, tmp_path, dest):
    "Found out before training, and nothing is left behind by trying"
    with pytest.raises(InputError, match=r'too long\): name another folder') as e: check_dest(tmp_path/dest)
    assert dest in str(e.value)
    assert names(tmp_path)==[]


def test_longest_name(trained, tmp_path):
    dest = tmp_path/'a'/('m'*240)
    assert check_dest(dest)==dest
    trained.save(dest)
    assert names(tmp_path/'a')==[dest.name]


def test_room(tmp_path):
    with pytest.raises(InputError, match=f'{tmp_path}/m: a model of 1000000000000 MB does not fit'):
        check_dest(tmp_path/'m', 10**18)


FULL = '''import resource, sys
from mlc_course import Classifier
model, dest = sys.argv[1:]
clf = Classifier.load(model)
most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most[1]))
try: clf.save(dest)
except ValueError as e: print(e)
resource.setrlimit(resource.RLIMIT_FSIZE, most)
clf.save(dest)'''

def test_no_room_while_saving(trained_folder, tmp_path):
    "The message has the path, nothing half written stays, and the model can be saved again"
    said = python(FULL, trained_folder, tmp_path/'m', check=True).stdout
    assert said.count('\n')==1
    assert f'{tmp_path}/m cannot be written (File too large)' in said
    assert names(tmp_path)==['m']
    assert names(tmp_path/'m')==['config.json','model.safetensors']


def test_place_lost_while_training(trained, tmp_path, monkeypatch):
    "The model goes to a temporary folder, which is named"
    (tmp_path/'tmp').mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path/'tmp'))
    (tmp_path/'photos').write_text('a file now')
    with pytest.raises(InputError, match='is a file: name another folder. The model is in') as e:
        saved(trained, tmp_path/'photos/m')
    kept, = (tmp_path/'tmp').iterdir()
    assert str(kept) in str(e.value)
    assert Classifier.load(kept).vocab==trained.vocab
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path/'photos'))
    with pytest.raises((InputError,OSError)) as e: saved(trained, tmp_path/'photos/m')
    assert 'photos/m' in str(e.value)


# --- Ctrl-C

def has_begun(pid):
    "Does Python itself answer to Ctrl-C? Before that, and while it ends, the signal kills it silently"
    caught, = re.findall(r'SigCgt:\s*(\w+)', Path(f'/proc/{pid}/status').read_text())
    return int(caught, 16)>>(signal.SIGINT-1) & 1


def interrupted(secs, cmd, *args):
    "Stderr and exit code of a command that is interrupted a while after it has begun"
    pipes = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    def heeds(): signal.signal(signal.SIGINT, signal.SIG_DFL) # also where these tests run in the background
    p = subprocess.Popen([BIN/cmd, *map(str, args)], preexec_fn=heeds, **pipes)
    try:
        while p.poll() is None and not has_begun(p.pid): time.sleep(.005)
        time.sleep(secs)
        p.send_signal(signal.SIGINT)
        return p.communicate(timeout=60)[1],p.returncode
    finally: p.kill()


@pytest.mark.parametrize('secs', [.2,.5,1.2])
def test_ctrl_c_at_once(secs, trained_folder, pets, tmp_path):
    "One line at the end and 130, however early, once Python itself has begun"
    m = trained_folder
    for cmd,*args in (('mlc_train', pets, '--out', tmp_path/'m'), ('mlc_predict', m, *[pets]*20),
            ('mlc_evaluate', m, pets), ('mlc_app', m), ('mlc_notebooks', tmp_path/'n')):
        said,code = interrupted(secs, cmd, *args)
        if secs<.3 and '<frozen site>' in said: continue # Python itself was not ready
        if code==-signal.SIGINT: # all was done, and Python itself was ending
            assert cmd!='mlc_notebooks' or len(names(tmp_path/'n'))>13
            assert 'Traceback' not in said
        elif code: # what it had begun to say before may stand above
            assert code==130 and said.endswith(f'{cmd}: interrupted, nothing was saved\n'), said
            assert 'Traceback' not in said
        if cmd=='mlc_train' and code==130: assert not (tmp_path/'m').exists()
    assert set(names(tmp_path))<={'m','n'} # nothing half-written; `m` where training was quicker


SWALLOWED = '''import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[0] = 'mlc_x'
from mlc_course.ui.cli import one_line_errors
with one_line_errors('mlc_x'):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
    except KeyboardInterrupt: pass
'''
LOADING = SWALLOWED+"    raise ImportError('initialization failed')"
HEEDLESS = SWALLOWED+'''    try: time.sleep(50)
    finally:
        time.sleep(.5)
        print('tidied')'''

def test_ctrl_c_while_a_library_is_loaded():
    "A module in C may turn it into an error of its own"
    res = python(LOADING)
    assert (res.returncode, res.stderr)==(130, 'mlc_x: interrupted, nothing was saved\n')


def test_ctrl_c_that_a_library_swallows():
    "It comes again, so that nobody waits for ever, but never while something is tidied up"
    start = time.monotonic()
    res = python(HEEDLESS)
    assert (res.returncode, res.stdout)==(130, 'tidied\n')
    assert res.stderr=='mlc_x: interrupted, nothing was saved\n'
    assert time.monotonic()-start<20


@pytest.mark.parametrize('cmd', ['mlc_train', 'mlc_predict', 'mlc_evaluate', 'mlc_app', 'mlc_discover',
    'mlc_notebooks'])
def test_version(cmd):
    res = call(cmd, '--version')
    assert (res.returncode, res.stderr)==(0, '')
    assert res.stdout.startswith('mlc_course 0.')


def test_import_installs_no_handler():
    "A program of somebody else's keeps its own Ctrl-C, and its arguments"
    code = '''import signal, sys
sys.argv[1:] = ['--version']
before = signal.getsignal(signal.SIGINT)
import mlc_course.ui.cli, mlc_course.ui.app
print(signal.getsignal(signal.SIGINT)==before)'''
    assert python(code, check=True).stdout=='True\n'
