"""The same seed gives the same model on the same machine, byte for byte: in another process,
whatever chance it used before and however its threads are timed"""
import os
import pytest
from conftest import draw, python, tree

CODE = '''
import random, sys, time
photos, strangers, out, disturb = sys.argv[1:]
from fastcore.basics import noop
from mlc_course import Classifier
from mlc_course.engine import pictures
import numpy as np, torch
if disturb=='yes':
    for seed in random.seed, np.random.seed, torch.manual_seed: seed(12345)
    read, late = pictures.picture_tensor, random.Random(7)
    def slow(*args, **kwargs):
        time.sleep(late.random()/100)
        return read(*args, **kwargs)
    pictures.picture_tensor = slow
for arch,epochs in ('small_cnn',1), ('efficientnet_lite2',0), ('efficientnet_lite2',1):
    clf = Classifier.train(photos, arch, strangers, epochs=epochs, size=64, seed=3, device='cpu', say=noop)
    clf.save(f'{out}/{arch}_{epochs}')
'''


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    "A folder with photos and strangers"
    path = tmp_path_factory.mktemp('seed')
    draw(path/'photos', ['Siamese','pug','samoyed'], 8, 64)
    draw(path/'strangers', ['car'], 8, 64)
    return path


def models_of(path, threads, disturb):
    "Checksums of three models, trained in a process of their own"
    env = dict(os.environ, PYTHONHASHSEED='5' if disturb else '0',
        OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    disturbed, out = 'yes' if disturb else 'no', path/f'{threads}_{disturb}'
    res = python(CODE, path/'photos', path/'strangers', out, disturbed, env=env)
    assert not res.returncode, res.stderr[-2000:]
    return {o.name: tree(o) for o in sorted(out.iterdir())}


def test_same_seed(path, says):
    found = {(n,d): models_of(path, n, d) for n in (1,2) for d in (False,True)}
    for n in 1, 2:
        for k,o in found[n,False].items():
            assert o==found[n,True][k], f'{k} differs between two processes of {n} threads'
    with_two = found[2,True]
    both = [f'{k} {"equal" if o==with_two[k] else "not equal"}' for k,o in found[1,True].items()]
    says('same seed, two processes: equal byte for byte with 1 thread and with 2; '
        f'1 thread beside 2: {", ".join(both)}')
