"kill -9 at any moment leaves what was there before, or all of what was to come; and the next run works"
import multiprocessing, os, random, shutil, time
import pytest
from conftest import draw, names, tree
from mlc_course.engine.core import InputError

N = 30 # kills of each kind
context = multiprocessing.get_context('forkserver') # processes that start with everything imported
context.set_forkserver_preload(['mlc_course.classifier', 'mlc_course.draw.cells',
    'mlc_course.engine.training', 'torchvision.models'])


def train(photos, out):
    from fastcore.basics import noop
    from mlc_course.classifier import Classifier
    Classifier.train(photos, 'small_cnn', epochs=1, size=32, say=noop).save(out)


def save(olds, out, ready):
    "Two models take each other's place for ever"
    from mlc_course.classifier import Classifier
    models = [Classifier.load(o) for o in olds]
    ready.touch()
    while True:
        for o in models: o.save(out)


def draw_sets(path, ready=None):
    from mlc_course.draw.cells import drawn_atlas
    from mlc_course.draw.datasets import drawn_pets
    if ready: ready.touch()
    return drawn_pets(32, 2, 2, 10, 5, path=path),drawn_atlas(12, 16, path=path)


def start(fn, *args):
    res = context.Process(target=fn, args=args)
    res.start()
    return res


def kill(process, secs, ready=None):
    "Let it live for `secs` seconds, from when it is `ready`; whether it was still alive"
    while ready and not ready.exists() and process.is_alive(): time.sleep(.002)
    process.join(secs)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


def rest(folder): return [o for o in folder.iterdir() if o.name.endswith('.part')]


def age(folder, secs=4000):
    for o in [folder, *folder.rglob('*')]: os.utime(o, (time.time()-secs,)*2)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('photos'), ['Siamese','pug'], 8, 32)


@pytest.fixture(scope='module')
def models(tmp_path_factory, photos):
    "Two models, and how long the training of the first one took"
    from mlc_course.classifier import Classifier
    path = tmp_path_factory.mktemp('models')
    for _ in range(2): # the first one waits for the imports
        t0,p = time.time(),start(train, photos, path/'new')
        p.join()
        secs = time.time()-t0
    assert p.exitcode==0
    Classifier.load(path/'new').with_keep(.5).save(path/'old')
    return path/'old', path/'new', secs


def test_kill_train(photos, models, tmp_path, says):
    old,new,secs = models
    rnd, found, known = random.Random(0), [], {tree(old): 'old', tree(new): 'new'}
    for i in range(N):
        if i%2 and not (tmp_path/'m').exists(): shutil.copytree(old, tmp_path/'m')
        before = 'old' if (tmp_path/'m').exists() else None
        alive = kill(start(train, photos, tmp_path/'m'), rnd.uniform(.1, .95)*secs)
        now = known[tree(tmp_path/'m')] if (tmp_path/'m').exists() else None # KeyError: half a model
        assert now=='new' or alive and now==before
        found.append(now)
        shutil.rmtree(tmp_path/'m', ignore_errors=True)
    assert kill(start(train, photos, tmp_path/'m'), 300) is False # the next run
    assert tree(tmp_path/'m')==tree(new)
    says(f'{N} kills during training: {found.count(None)} left no model, {found.count("old")} the old one, '
        f'{found.count("new")} came too late')


def test_kill_save(models, tmp_path, says):
    from mlc_course.classifier import Classifier
    *olds,_ = models
    rnd, found, known = random.Random(1), [], {tree(o): o.name for o in olds}
    p = start(save, olds, tmp_path/'m', tmp_path/'ready')
    while not (tmp_path/'ready').exists(): time.sleep(.001)
    t0 = time.time()
    while not (tmp_path/'m').exists(): time.sleep(.001)
    secs = time.time()-t0
    kill(p, 0)
    (tmp_path/'ready').unlink()
    for i in range(N):
        ready = tmp_path/f'ready{i}'
        if i%3==0: shutil.rmtree(tmp_path/'m', ignore_errors=True)
        before = (tmp_path/'m').exists()
        assert kill(start(save, olds, tmp_path/'m', ready), rnd.uniform(0, 4)*secs, ready)
        found.append(known[tree(tmp_path/'m')] if (tmp_path/'m').exists() else None)
        assert found[-1] or not before, 'the old model is gone'
        if found[-1]: Classifier.load(tmp_path/'m')
        ready.unlink()
    left = rest(tmp_path)
    assert len(left)<=N+1
    assert {o.name for o in tmp_path.iterdir()}-{o.name for o in left}<={'m'}
    for o in left[1:]: age(o)
    (tmp_path/'.m.12345678.part').mkdir()
    (tmp_path/'.m.12345678.part/mine.txt').write_text('mine')
    age(tmp_path/'.m.12345678.part')
    Classifier.load(olds[0]).save(tmp_path/'m') # the next run works, and removes what is old and ours
    assert tree(tmp_path/'m')==tree(olds[0])
    assert {o.name for o in rest(tmp_path)}=={o.name for o in left[:1]}|{'.m.12345678.part'}
    says(f'{N} kills during saving: the model was always whole ({found.count("old")} times the one, '
        f'{found.count("new")} the other, {found.count(None)} none yet); '
        f'{len(left)} left a temporary folder')


def test_kill_data(tmp_path, says):
    start(draw_sets, tmp_path/'whole').join()
    t0,p = time.time(),start(draw_sets, tmp_path/'again')
    p.join()
    secs,want = time.time()-t0,{o.name:tree(o) for o in (tmp_path/'whole').iterdir()}
    assert p.exitcode==0
    assert len(want)==2
    assert want=={o.name: tree(o) for o in (tmp_path/'again').iterdir()}
    rnd,n_sets,n_rest = random.Random(2),[],0
    for i in range(N):
        path,ready = tmp_path/f'{i}',tmp_path/f'ready{i}'
        path.mkdir()
        kill(start(draw_sets, path, ready), rnd.uniform(0, 1)*secs, ready)
        sets = [o for o in path.iterdir() if o not in rest(path)]
        assert all(tree(o)==want[o.name] for o in sets)
        n_sets.append(len(sets))
        n_rest += len(rest(path))
        for o in rest(path): age(o)
        if i%5==0: # the next run
            draw_sets(path)
            assert {o.name:tree(o) for o in path.iterdir()}==want
        shutil.rmtree(path)
    counts = ', '.join(f'{n_sets.count(k)}' for k in range(3))
    says(f'{N} kills during the first writing of two data sets: {n_rest} left a temporary folder; '
        f'none, one or both sets were there, whole: {counts}')


def test_load_while_saving(models, tmp_path, says):
    "Who loads while another process replaces the model gets one or the other, never halves of both"
    from mlc_course.classifier import Classifier
    *olds,_ = models
    p = start(save, olds, tmp_path/'m', tmp_path/'ready')
    while not (tmp_path/'m').exists(): time.sleep(.002)
    keeps = [Classifier.load(tmp_path/'m').decision.keep for _ in range(100)]
    kill(p, 0)
    assert set(keeps)=={Classifier.load(o).decision.keep for o in olds}
    says(f'{len(keeps)} loads beside a process that saves all the time: all whole')


def test_exchange_in_two_steps(models, tmp_path, monkeypatch):
    "Where two names cannot be exchanged, the old model steps aside; what a kill left of that goes later"
    import ctypes
    from mlc_course.classifier import Classifier
    old, new, _ = models
    clf = [Classifier.load(o) for o in (old, new)]
    monkeypatch.setattr(ctypes, 'CDLL', lambda *_: None)
    for o in clf: o.save(tmp_path/'m')
    assert tree(tmp_path/'m')==tree(new)
    assert names(tmp_path)==['m']
    rename = os.rename
    def fail(a, b):
        if str(a).endswith('.part'): raise OSError(5, 'no')
        rename(a, b)
    monkeypatch.setattr(os, 'rename', fail)
    with pytest.raises(InputError, match='cannot be written'): clf[0].save(tmp_path/'m')
    assert tree(tmp_path/'m')==tree(new)
    assert names(tmp_path)==['m']
    monkeypatch.undo()
    shutil.copytree(old, tmp_path/'.m.12345678.old')
    age(tmp_path/'.m.12345678.old')
    clf[0].save(tmp_path/'m')
    assert tree(tmp_path/'m')==tree(old)
    assert names(tmp_path)==['m']
