"Inside somebody else's program: forks, inference mode, half precision, other defaults, no stderr"
import io, os, sys
import pytest, torch
from fastcore.basics import noop
from conftest import BIN, call, json_rows, python, untrained
from mlc_course.classifier import Classifier
from mlc_course.engine.core import progress, tell_bad, InputError
from mlc_course.engine.surroundings import plain_torch


class Default:
    "A default type, as a context"
    def __init__(self, dtype): self.dtype = dtype
    def __enter__(self): torch.set_default_dtype(self.dtype)
    def __exit__(self, *_): torch.set_default_dtype(torch.float32)


class Device:
    "A default device, as a program sets it"
    def __enter__(self): torch.set_default_device('meta')
    def __exit__(self, *_): torch.set_default_device(None)


MOODS = dict(
    inference=torch.inference_mode,
    no_grad=torch.no_grad,
    autocast=lambda: torch.autocast('cpu', torch.bfloat16),
    float64=lambda: Default(torch.float64),
    bfloat16=lambda: Default(torch.bfloat16),
    device=Device,
    device_context=lambda: torch.device('meta'))
moods = pytest.mark.parametrize('mood', MOODS)


@moods
def test_answers(trained, trained_folder, pets, tmp_path, mood):
    "Loading, predicting, evaluating, saving: to the last digit as without"
    want = trained.predict(pets),trained.evaluate(pets)
    with MOODS[mood]():
        clf = Classifier.load(trained_folder)
        got = clf.predict(pets),clf.evaluate(pets)
        clf.with_keep(.5).save(tmp_path/'m')
    assert got==want
    assert clf.predict(pets)==want[0] # also where the mood is gone
    assert Classifier.load(tmp_path/'m').predict(pets)==trained.with_keep(.5).predict(pets)


@pytest.mark.parametrize('mood', ['inference','no_grad','autocast','float64','device'])
def test_training(pets, strangers, mood):
    def train(): return Classifier.train(pets, 'small_cnn', strangers, size=32, epochs=1, say=noop)
    want = train()
    with MOODS[mood](): got = train()
    assert got.predict(pets)==want.predict(pets)
    assert got.decision==want.decision


def test_settings_come_back(trained, pets):
    "After an exception, too"
    with MOODS['float64'](), MOODS['device'](), torch.inference_mode():
        with pytest.raises(InputError): Classifier.load('nowhere')
        trained.predict(pets)
        assert torch.get_default_dtype()==torch.float64
        assert torch.get_default_device().type=='meta'
        assert torch.is_inference_mode_enabled()


# --- forks

FORK = '''import multiprocessing, sys, torch
from mlc_course.classifier import Classifier
torch.set_num_threads(4)
def work(todo):
    clf,folder,photos = todo
    if clf is None: clf = Classifier.load(folder)
    return clf.predict(photos, exact=True)[0]['labels'],clf.evaluate(photos)['exact_match']
def train(photos):
    clf = Classifier.train(photos, 'small_cnn', size=48, epochs=1, say=lambda o: None)
    return clf.predict(photos)[0]['labels']
if __name__=='__main__':
    folder,photos,what = sys.argv[1:]
    clf = Classifier.load(folder)
    x = torch.randn(2000, 1000)
    (x@x.T).exp().sum() # large enough for all threads of this process
    want = train(photos) if what=='train' else clf.predict(photos, exact=True)[0]['labels']
    with multiprocessing.get_context('fork').Pool(2) as pool:
        if what=='train': print(pool.map_async(train, [photos]*2).get(90))
        else: print(pool.map_async(work, [(clf,folder,photos),(None,folder,photos)]).get(60))
    print(want)
'''


@pytest.fixture(scope='module')
def wide(tmp_path_factory):
    "A model with references enough for several threads of OpenMP"
    return untrained(vocab=('Siamese','pug'), n_refs=2000).save(tmp_path_factory.mktemp('wide')/'m')


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='this system does not fork')
@pytest.mark.parametrize('what', ['ask','train'])
def test_forked_child(wide, pets, what):
    "gunicorn --preload, multiprocessing: loaded or trained before the fork, asked or trained after it"
    res = python(FORK, wide, pets, what, timeout=120, env=os.environ|dict(OMP_NUM_THREADS='4'))
    assert res.returncode==0, res.stderr[-500:]
    in_children,want = res.stdout.splitlines()
    assert in_children.count(want)==2


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='this system does not fork')
def test_fork_while_others_are_inside(trained_folder, pets):
    "What another thread holds is not held in the child"
    code = '''import os, sys, torch
from mlc_course.classifier import Classifier
from mlc_course.engine import pictures, surroundings
clf = Classifier.load(sys.argv[1])
pictures._one_given.acquire()
pictures._one_big.acquire()
surroundings.strict_pillow.lock.acquire()
surroundings.strict_pillow.theirs = surroundings.strict_pillow.read()
surroundings.strict_pillow.n = 1
if not os.fork():
    from PIL import Image
    print(len(clf.predict([sys.argv[2], Image.open(sys.argv[2])])), surroundings.strict_pillow.n, flush=True)
    os._exit(0)
print('child', os.waitstatus_to_exitcode(os.wait()[1]))'''
    res = python(code, trained_folder, pets/'pug_1.jpg', timeout=60)
    assert res.stdout.splitlines()==['2 0','child 0'], res


# --- streams

class Log:
    "Takes text, and is nothing else"
    def write(self, text): pass

class Broken(Log):
    def write(self, text): raise OSError(9, 'Bad file descriptor')
    def isatty(self): return True

def closed():
    res = io.StringIO()
    res.close()
    return res


@pytest.mark.parametrize('stream', [None, Log(), Broken(), closed()], ids=['none','log','broken','closed'])
def test_no_stderr(trained, pets, monkeypatch, stream, capsys):
    "pythonw, a windowed program, a service: answers without a progress line"
    want = trained.predict(pets)
    monkeypatch.setattr(sys, 'stderr', stream)
    assert trained.predict(pets)==want
    Classifier.train(pets, 'small_cnn', size=32, epochs=0, say=noop)
    progress(iter([1,1]), 2, 'work', every=-1)
    tell_bad({'a.jpg': InputError('a.jpg is bad')}, 2)
    assert capsys.readouterr().out=='' # stdout is for answers


@pytest.mark.skipif(os.name!='posix', reason='needs a POSIX shell')
@pytest.mark.parametrize('closing,n', [('2>&-', 24), ('<&- >&- 2>&-', 0)])
def test_closed_streams(trained_folder, pets, closing, n):
    line = f'"{BIN}/mlc_predict" "{trained_folder}" "{pets}" --json {closing}'
    res = call('/bin/sh', '-c', line)
    assert res.returncode==0, res
    assert 'Traceback' not in res.stderr
    assert len(json_rows(res))==n


def test_borrowing_is_nested():
    with plain_torch():
        with plain_torch(): pass
        assert torch.get_default_dtype()==torch.float32
    with MOODS['float64']():
        with plain_torch(): assert torch.zeros(1).dtype==torch.float32
        assert torch.zeros(1).dtype==torch.float64
