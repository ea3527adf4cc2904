"The ONNX file of a classifier gives PyTorch's answers, whatever its score rule; whole or not at all"
import json, os, sys
from copy import deepcopy
import numpy as np
import pytest, torch
WHY = 'onnx, onnxscript or onnxruntime is not installed: these tests need the extra `dev`'
onnx = pytest.importorskip('onnx', reason=WHY)
pytest.importorskip('onnxscript', reason=WHY)
ort = pytest.importorskip('onnxruntime', reason=WHY)
from PIL import Image
from conftest import ROOT, names, tree, untrained
from mlc_course import classifier
from mlc_course.classifier import Classifier
from mlc_course.draw.scenes import draw_portrait
from mlc_course.engine import onnx_file
from mlc_course.engine.core import InputError
from mlc_course.engine.labelling import raw_outputs
from mlc_course.engine.model_file import as_config
from mlc_course.engine.networks import build_model
from mlc_course.engine.onnx_file import onnx_opset
from mlc_course.engine.pictures import picture_tensor

SIZE = 64


VOCAB = 'cat','dog','größer_猫' # labels that need more than ASCII


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    "Seven pictures of the model's size, so that nothing is squeezed: noise, black, white"
    path, draw = tmp_path_factory.mktemp('pictures'), np.random.default_rng(0)
    xs = draw.integers(0, 256, (7,SIZE,SIZE,3), dtype=np.uint8)
    xs[0], xs[1] = 0, 255
    files = [path/f'{i}.png' for i in range(len(xs))]
    for o,f in zip(xs, files): Image.fromarray(o).save(f)
    return files, xs.transpose(0,3,1,2)


def run(file, xs): return ort.InferenceSession(file).run(['logits','score'], {'pictures': xs})


def check(clf, file, pictures):
    "Answers equal to `raw_outputs`, for batches of 1 and 5"
    files, xs = pictures
    want = raw_outputs(clf, files)[:2]
    for bs in 1, 5:
        outs = [run(file, xs[i:i+bs]) for i in range(0, len(xs), bs)]
        for got,o in zip((np.concatenate(o) for o in zip(*outs)), want):
            assert got.shape==o.shape
            assert np.isfinite(got).all()
            assert abs(got-o.numpy()).max()<1e-4


@pytest.fixture(scope='module')
def clf(): return untrained('page_cnn', VOCAB)


@pytest.fixture(scope='module')
def file(clf, tmp_path_factory): return clf.to_onnx(tmp_path_factory.mktemp('onnx')/'a.onnx')


def test_default(clf, file, pictures): check(clf, file, pictures)


@pytest.mark.parametrize('rule,n_refs,k,thresh,prior', [
    ('knn', 3, 20, -3., None),
    ('joint_energy', 20, 5, -3., (.9,.08,0.)),
    ('max_logit', 1, 1, -np.inf, (.5,.3,.2))])
def test_rules(tmp_path, pictures, rule, n_refs, k, thresh, prior):
    "The other rules; fewer references than neighbours; no threshold of the score; labels of other frequency"
    clf = untrained('page_cnn', VOCAB, rule, n_refs, k=k, thresh=thresh, prior=prior)
    file = clf.to_onnx(tmp_path/'a.onnx')
    check(clf, file, pictures)
    assert json.loads(onnx.load(file).metadata_props[0].value)['score']==clf.decision.to_dict()['score']


@pytest.mark.parametrize('arch', ['efficientnet_lite2', 'squeezenet1_0', 'timm/resnet10t'])
def test_other_bodies(tmp_path, pictures, arch):
    "With their own mean and spread"
    clf = untrained(arch, VOCAB)
    clf.model = build_model(arch, len(VOCAB), weights='DEFAULT' if 'lite' in arch else None).eval()
    check(clf, clf.to_onnx(tmp_path/'a.onnx'), pictures)


def test_extreme_answers(tmp_path, pictures):
    "Logits as low as -200, and features so weak that `+ 1e-12` in a graph is no `+ 0`"
    clf = untrained('page_cnn', VOCAB)
    norm = [o for o in clf.model[0].modules() if isinstance(o, torch.nn.BatchNorm2d)][-1]
    with torch.no_grad():
        clf.model[1][-1].bias.copy_(torch.tensor([-40.,-200.,-30.]))
        norm.weight.mul_(1e-6)
        maps = clf.model[0](torch.randn(8, 3, SIZE, SIZE))
    assert 0<maps.max()<1e-5
    check(clf, clf.to_onnx(tmp_path/'a.onnx'), pictures)


def test_file(clf, file):
    "Valid, of the stated version, and all in one: what decides is in it, nothing of this machine is"
    model, data = onnx.load(file), file.read_bytes()
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import]==[('', onnx_opset)]
    text = {o.key: o.value for o in model.metadata_props}
    assert list(text)==['mlc_course']
    meta, config = json.loads(text['mlc_course']), as_config(clf)
    assert meta=={k: config[k] for k in meta}
    assert {'vocab','size','score','thresholds'}<=set(meta)
    here = os.getcwd(), os.path.dirname(classifier.__file__), sys.prefix, 'stack_trace'
    assert not [o for o in here if o.encode() in data]
    session = ort.InferenceSession(file)
    pictures, = session.get_inputs()
    assert (pictures.name, pictures.type, pictures.shape)==('pictures', 'tensor(uint8)', ['bs',3,SIZE,SIZE])
    assert [(o.name, o.shape) for o in session.get_outputs()]==[('logits', ['bs',3]), ('score', ['bs'])]


def test_loaded(tmp_path, clf, file, capfd, recwarn, caplog):
    "A saved and loaded classifier writes the same file over one of ours, stays as it is, and is silent"
    again, dest = Classifier.load(clf.save(tmp_path/'model')), tmp_path/'deep/er/a.onnx'
    dest.parent.mkdir(parents=True)
    dest.write_bytes(file.read_bytes()[:-1]+b' ')
    before, params = deepcopy(again.model.state_dict()), list(again.model.parameters())
    again.model.train()
    assert again.to_onnx(str(dest))==dest
    assert dest.read_bytes()==file.read_bytes()
    assert again.model.training
    assert all(a is b for a,b in zip(again.model.parameters(), params))
    assert all(torch.equal(o, before[k]) for k,o in again.model.state_dict().items())
    assert not ''.join(capfd.readouterr())
    assert not recwarn.list
    assert not [o for o in caplog.records if o.levelno>=30] # a warning
    umask = os.umask(0)
    os.umask(umask)
    assert dest.stat().st_mode & 0o777==0o666 & ~umask
    assert names(dest.parent)==['a.onnx']


def refused(clf, dest, *words):
    "One line that holds `words`"
    with pytest.raises(InputError) as e: clf.to_onnx(dest)
    said = str(e.value)
    assert '\n' not in said
    assert len(said)<400
    assert all(o in said for o in words), said


def test_bad_places(tmp_path, clf, file, monkeypatch):
    monkeypatch.setattr(onnx_file, 'onnx_bytes', lambda clf: b'new')
    (tmp_path/'folder').mkdir()
    (tmp_path/'notes.onnx').write_text('mine')
    (tmp_path/'empty.onnx').touch()
    other = onnx.load(file)
    del other.metadata_props[:]
    (tmp_path/'other.onnx').write_bytes(other.SerializeToString())
    os.mkfifo(tmp_path/'pipe.onnx')
    before = tree(tmp_path)
    for o in 'folder', 'notes.onnx', 'empty.onnx', 'other.onnx', 'pipe.onnx', 'notes.onnx/a.onnx':
        refused(clf, tmp_path/o, o)
    for o in tmp_path/f'{"x"*260}.onnx', '/proc/a.onnx': refused(clf, o, str(o))
    assert tree(tmp_path)==before


def test_nothing_left_behind(tmp_path, clf, file, monkeypatch):
    "The disk is full, or the exporter gives up: the old file stays, and nothing beside it"
    dest = tmp_path/'a.onnx'
    dest.write_bytes(file.read_bytes())
    def full(fd): raise OSError(28, 'No space left on device')
    with monkeypatch.context() as m:
        m.setattr(onnx_file, 'onnx_bytes', lambda clf: b'new')
        m.setattr(os, 'fsync', full)
        refused(clf, dest, 'a.onnx', 'No space left on device')
    with monkeypatch.context() as m:
        m.setattr(torch.onnx, 'export', lambda *args, **kwargs: 1/0)
        refused(clf, dest, 'page_cnn')
    assert names(tmp_path)==['a.onnx']
    assert dest.read_bytes()==file.read_bytes()


def test_model_of_the_playground(tmp_path):
    "What the page runs is what its ONNX file says"
    clf = Classifier.load(ROOT/'nbs'/'playground'/'model')
    files = [tmp_path/f'{name}.png' for name in ('Siamese','pug','donkey','car')]
    for f in files: draw_portrait(f.stem, 'onnx', 96)[0].save(f)
    session = ort.InferenceSession(clf.to_onnx(tmp_path/'page.onnx'))
    got = session.run(None, dict(pictures=np.stack([picture_tensor(f, 96) for f in files])))
    for a,b in zip(got, raw_outputs(clf, files)): np.testing.assert_allclose(a, b.numpy(), atol=1e-4)
