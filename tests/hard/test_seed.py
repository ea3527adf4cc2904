"""The same seed gives the same model on the same machine, byte for byte: in another process,
whatever chance it used before and however its threads are timed"""
import os, subprocess, sys
import pytest

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
for arch,epochs in ('small_cnn',1), ('squeezenet1_0',0), ('squeezenet1_0',1):
    clf = Classifier.train(photos, arch, strangers, epochs=epochs, size=64, seed=3, device='cpu', say=noop)
    clf.save(f'{out}/{arch}_{epochs}')
'''


@pytest.fixture(scope='module')
def setting(tmp_path_factory):
    "Photos, strangers, and a folder of torch with a pretrained SqueezeNet, whose weights are random here"
    import torch
    from torchvision import models
    from mlc_course.draw.scenes import draw_portrait
    path = tmp_path_factory.mktemp('seed')
    for name in 'Siamese','pug','samoyed','car':
        folder = path/('strangers' if name=='car' else 'photos')
        folder.mkdir(exist_ok=True)
        for i in range(8): draw_portrait(name, i, 64)[0].save(folder/f'{name}_{i}.jpg')
    (path/'hub/checkpoints').mkdir(parents=True)
    torch.manual_seed(0)
    name = models.get_model_weights('squeezenet1_0').DEFAULT.url.split('/')[-1]
    torch.save(models.squeezenet1_0(weights=None).state_dict(), path/'hub/checkpoints'/name)
    return path


def models_of(path, name, threads, disturb):
    "Bytes of the weights of three models, trained in a process of their own"
    env = dict(os.environ, TORCH_HOME=str(path), OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads),
        PYTHONHASHSEED='5' if disturb else '0')
    disturbed = 'yes' if disturb else 'no'
    args = [sys.executable, '-c', CODE, path/'photos', path/'strangers', path/name, disturbed]
    out = subprocess.run(list(map(str, args)), env=env, capture_output=True, text=True)
    assert not out.returncode, out.stderr[-2000:]
    def data(model): return (model/'model.safetensors').read_bytes()+(model/'config.json').read_bytes()
    return {o.name: data(o) for o in sorted((path/name).iterdir())}


def test_same_seed(setting, says):
    found = {(n,d): models_of(setting, f'{n}_{d}', n, d) for n in (1,2) for d in (False,True)}
    for n in 1, 2:
        for k,o in found[n,False].items():
            assert o==found[n,True][k], f'{k} differs between two processes of {n} threads'
    with_two = found[2,True]
    both = [f'{k} {"equal" if o==with_two[k] else "not equal"}' for k,o in found[1,True].items()]
    says('same seed, two processes: equal byte for byte with 1 thread and with 2; '
        f'1 thread beside 2: {", ".join(both)}')
