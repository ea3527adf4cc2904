"""Every pass moves what it feeds: on a GPU, a model learns, says and explains what it does on the CPU.

Where there is no GPU, one is posed: tensors that have been moved there stay in the CPU's memory and are
computed by it, but they name a GPU as their device, and an operation that mixes them with others fails as it
does on a GPU."""
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import fastai.torch_core # it replaces `Tensor.as_subclass`, which `posed_gpu` replaces again
import pytest
import torch
from fastcore.basics import noop
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from mlc_course import cam
from mlc_course.classifier import Classifier
from mlc_course.engine.labelling import answer_labelled, raw_outputs
from mlc_course.engine.networks import RootPool, build_model
from mlc_course.engine.options import find_device
from mlc_course.engine.pictures import normalise, picture_tensor
from mlc_course.engine.training import body_pass, cross_fit, fit_head, train_scratch

GPU = torch.device('cuda', 0)
aten = torch.ops.aten


# --- a GPU is posed

class Posed(Tensor):
    "Numbers in the CPU's memory that say they are on a GPU"
    @staticmethod
    def __new__(cls, inner):
        return Tensor._make_wrapper_subclass(cls, inner.size(), strides=inner.stride(),
            storage_offset=inner.storage_offset(), dtype=inner.dtype, requires_grad=inner.requires_grad)

    def __init__(self, inner): self.inner = inner
    def __repr__(self, *, tensor_contents=None): return f'Posed({self.inner})'
    def __tensor_flatten__(self): return ['inner'], None # with the next, `module.to` exchanges parameters

    @staticmethod
    def __tensor_unflatten__(inner, meta, size, stride): return Posed(inner['inner'])

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None): return compute(func, args, kwargs or {})


def unwrap(o): return o.inner if isinstance(o, Posed) else o


def wrap(o): return Posed(o) if isinstance(o, Tensor) and not isinstance(o, Posed) else o


MOVES = aten._to_copy, aten.copy_
# whose indices may be elsewhere
INDEXING = aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_


def check_devices(func, args, kwargs):
    "As on a GPU: all tensors are there, or none but those that hold one number"
    if func.overloadpacket in MOVES: return
    by_index = func.overloadpacket in INDEXING and isinstance(args[0], Posed)
    involved = [args[0], args[2:]] if by_index else [args, kwargs]
    tensors = [o for o in tree_leaves(involved) if isinstance(o, Tensor)]
    n_posed = sum(isinstance(o, Posed) for o in tensors)
    elsewhere = [o for o in tensors if not isinstance(o, Posed) and o.dim()]
    if n_posed and elsewhere: raise RuntimeError(f'Expected all tensors to be on the same device: {func}')


def is_gpu(device): return device is not None and torch.device(device).type=='cuda'


def compute(func, args, kwargs):
    "What an operation gives, computed on the CPU"
    check_devices(func, args, kwargs)
    device = kwargs.get('device')
    if func.overloadpacket is aten.copy_: on_gpu = isinstance(args[0], Posed)
    elif device is not None: on_gpu = is_gpu(device)
    else: on_gpu = any(isinstance(o, Posed) for o in tree_leaves([args, kwargs]))
    if is_gpu(device): kwargs = dict(kwargs, device=torch.device('cpu'))
    out = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
    if not on_gpu: return out
    return return_and_correct_aliasing(func, args, kwargs, tree_map(wrap, out))


def moved(x, device):
    if device is None or is_gpu(device)==isinstance(x, Posed): return x
    return aten._to_copy.default(x, device=GPU if is_gpu(device) else device)


class Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None): return compute(func, args, kwargs or {})


class Calls(TorchFunctionMode):
    "`cpu`, `to`, `numpy`, and whatever makes a tensor on a device that it names"
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is Tensor.cpu: return moved(args[0], torch.device('cpu'))
        if func is Tensor.numpy and isinstance(args[0], Posed): raise TypeError('numpy cannot read a GPU')
        if func is torch._C._nn._parse_to: return func(*args, **kwargs)
        if func is Tensor.to: return self.to(*args, **kwargs)
        if not is_gpu(kwargs.get('device')): return func(*args, **kwargs)
        return moved(func(*args, **dict(kwargs, device='cpu')), GPU)

    def to(self, x, *args, **kwargs):
        device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        res = moved(x, device)
        if dtype is None and memory_format is None: return res
        return Tensor.to(res, dtype or res.dtype, memory_format=memory_format or torch.preserve_format)


submit, as_subclass = ThreadPoolExecutor.submit, Tensor.as_subclass


def submit_posed(pool, fn, *args, **kwargs):
    "A mode holds for one thread, so each takes it along"
    def posed(*args, **kwargs):
        with Operations(), Calls(): return fn(*args, **kwargs)
    return submit(pool, posed, *args, **kwargs)


def same_class(x, cls): return x if isinstance(x, Posed) else as_subclass(x, cls)


@contextmanager
def posed_gpu():
    "Inside, there is a GPU"
    with ExitStack() as stack:
        for name,value in dict(_lazy_init=None, is_available=True, device_count=1, current_device=0).items():
            stack.enter_context(patch.object(torch.cuda, name, lambda *args, value=value: value))
        stack.enter_context(patch.object(ThreadPoolExecutor, 'submit', submit_posed))
        stack.enter_context(patch.object(Tensor, 'as_subclass', same_class))
        stack.enter_context(Operations())
        stack.enter_context(Calls())
        yield


# --- what has to work there

def test_the_posed_gpu_is_strict():
    "It computes, and refuses what a GPU refuses"
    net, x = nn.Linear(3, 2), torch.ones(4, 3)
    want = net(x)
    with posed_gpu():
        net = net.to('cuda:0')
        assert net.weight.device==GPU
        torch.testing.assert_close(net(x.to(GPU)).cpu(), want)
        net(x.to(GPU)).sum().backward()
        assert net.weight.grad.device==GPU
        with pytest.raises(RuntimeError, match='same device'): net(x)
        with pytest.raises(RuntimeError, match='same device'): torch.cat([x, x.to(GPU)])
        there = torch.zeros(4, dtype=torch.long, device=GPU)
        with pytest.raises(RuntimeError, match='same device'): x[there]
        with pytest.raises(TypeError, match='numpy'): net(x.to(GPU)).detach().numpy()


WAYS = {
    'from scratch': dict(arch='small_cnn', epochs=2),
    'head only': dict(epochs=0),
    'fine-tuned': dict(epochs=1)}


def numbers(model): return [unwrap(o) for o in model.state_dict().values()]


@pytest.mark.parametrize('way', WAYS)
def test_train_and_ask(pets, strangers, tmp_path, way):
    "The same model and the same answers, whether trained and asked on the CPU or on a GPU"
    options = dict(WAYS[way], unknown=strangers, size=64, say=noop)
    cpu = Classifier.train(pets, device='cpu', **options)
    with posed_gpu():
        gpu = Classifier.train(pets, **options) # without a word it takes the GPU
        assert (gpu.device, gpu.refs.device, gpu.model[1][-1].weight.device)==(GPU, GPU, GPU)
        assert gpu.predict(pets, exact=True)==cpu.predict(pets, exact=True)
        assert gpu.evaluate(pets, strangers)==cpu.evaluate(pets, strangers)
        assert gpu.with_keep(.5).predict(pets, exact=True)==cpu.with_keep(.5).predict(pets, exact=True)
        gpu.save(tmp_path/'gpu')
        again = Classifier.load(tmp_path/'gpu', 'cuda')
        assert again.device==GPU
        assert again.predict(pets)==gpu.predict(pets)
        on_cpu = Classifier.load(tmp_path/'gpu', 'cpu')
        assert on_cpu.device.type=='cpu'
        assert on_cpu.predict(pets, exact=True)==cpu.predict(pets, exact=True)
    assert (gpu.decision, gpu.config['metrics'])==(cpu.decision, cpu.config['metrics'])
    for a,b in zip(numbers(gpu.model), numbers(cpu.model), strict=True): assert a.equal(b)


def test_cross_fit():
    "The heads of all folds are solved there, and come back"
    gen = torch.Generator().manual_seed(0)
    targets = nn.functional.one_hot(torch.arange(40)%2).float()
    feats, folds = torch.randn(40, 6, generator=gen)+targets.repeat(1, 3), torch.arange(40)%5
    want = cross_fit(feats, targets, folds)
    with posed_gpu():
        got = cross_fit(feats, targets, folds, GPU)
        head = fit_head(nn.Linear(6, 2, device=GPU), feats, targets)
        assert head.weight.device==GPU
    torch.testing.assert_close(got, want)


def test_body_pass_and_scratch(pets):
    "Whatever they hand out lies on the CPU"
    files = sorted(pets.iterdir())
    with posed_gpu():
        body = build_model('efficientnet_lite2', 2, weights='DEFAULT')[0].to(GPU)
        scratch = build_model('small_cnn', 2).to(GPU, memory_format=torch.channels_last)
        maps, feats = body_pass(body, files, 64, 'looking', mirror=True)
        assert not isinstance(maps, Posed)
        assert not isinstance(feats, Posed)
        targets = torch.eye(2).repeat(12, 1)
        parts = (files[:20],files[20:]), (targets[:20],targets[20:])
        for o in train_scratch(scratch, *parts, 32, 1, noop): assert not isinstance(o, Posed)


def test_explain(pets):
    "Maps of a model on a GPU, by both ways of chapter 06, are those of the CPU"
    torch.manual_seed(0)
    model = build_model('small_cnn', 2).eval()
    xb = normalise(torch.stack([picture_tensor(o, 64) for o in sorted(pets.iterdir())[:3]]))
    want = cam.cam(model, xb).detach(), cam.grad_cam(model, xb, [1]).detach()
    with posed_gpu():
        model = model.to(GPU)
        got = cam.cam(model, xb.to(GPU)).detach(), cam.grad_cam(model, xb.to(GPU), [1]).detach()
        for a,b in zip(got, want): torch.testing.assert_close(a.cpu(), b)


def test_answers_come_back(pets, strangers):
    "Explorers, tables and figures get their numbers on the CPU"
    with posed_gpu():
        clf = Classifier.train(pets, 'small_cnn', strangers, epochs=1, size=32, say=noop)
        for o in raw_outputs(clf, sorted(pets.iterdir()))[:2]: assert not isinstance(o, Posed)
        for o in answer_labelled(clf, pets, strangers): assert not isinstance(o, Posed)
        assert isinstance(RootPool()(clf.model[0](torch.ones(1, 3, 64, 64, device=GPU))), Posed)


# --- which one

def test_number_of_the_gpu(monkeypatch):
    "`cuda` is the one that this process has taken, by its number, which its threads would not know"
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 1)
    for o in 'cuda', None, 'cuda:1': assert find_device(o)==torch.device('cuda', 1)
    assert find_device('cuda:0')==torch.device('cuda', 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU here, only the posed one')
def test_on_a_real_gpu(pets, strangers, tmp_path):
    options = dict(arch='small_cnn', unknown=strangers, epochs=2, size=64, say=noop)
    cpu, gpu = (Classifier.train(pets, device=o, **options) for o in ('cpu', 'cuda'))
    assert gpu.device.type=='cuda'
    assert abs(gpu.evaluate(pets, strangers)['map']-cpu.evaluate(pets, strangers)['map'])<.3
    there = Classifier.load(cpu.save(tmp_path/'m'), 'cuda')
    for a,b in zip(there.predict(pets), cpu.predict(pets, exact=True), strict=True):
        assert a['score']==pytest.approx(b['score'], abs=.05)
