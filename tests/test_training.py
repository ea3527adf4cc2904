"Training: the same seed, pretrained weights or none, all that may stop it, and what it says"
import math, shutil
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest, torch
from fastcore.basics import noop
from torchvision.models import SqueezeNet1_0_Weights
from conftest import draw
from mlc_course.classifier import Classifier, fitted_classifier
from mlc_course.engine.core import BadPictures, InputError
from mlc_course.engine import training
from mlc_course.engine.networks import ARCHS, build_model
from mlc_course.engine.options import Options
from mlc_course.engine.photos import gather_photos
from mlc_course.engine.pictures import normalise
from mlc_course.engine.training import Fitted, Parts


def state(clf): return clf.model.state_dict()


def same_weights(a, b): return all(torch.equal(v, state(b)[k]) for k,v in state(a).items())


def lines_of(*args, **options):
    "A trained classifier, and the lines that training said"
    said = []
    return Classifier.train(*args, size=64, say=said.append, **options),said


# --- seeds and options

@pytest.fixture(scope='module')
def seeded(pets):
    "Three small networks, of seeds 1, 1 and 2"
    return [Classifier.train(pets, 'small_cnn', seed=o, epochs=1, size=32, say=noop) for o in (1,1,2)]


def test_same_seed_same_model(seeded):
    a,b,_ = seeded
    assert same_weights(a, b)
    assert (a.config, a.decision)==(b.config, b.decision)


def test_other_seed_other_model(seeded): assert not same_weights(seeded[0], seeded[2])


def test_numbers_of_numpy():
    "They are taken, as plain ones"
    options = Options('small_cnn', np.int64(32), np.int32(1), np.uint8(3), np.float64(.9), torch.tensor(0))
    values = options.size, options.epochs, options.seed, options.keep, options.min_images
    assert values==(32,1,3,.9,0)
    assert [type(o) for o in values]==[int,int,int,float,int]


def test_numbers_of_numpy_are_saved(pets, tmp_path):
    options = dict(epochs=np.int64(0), size=np.int64(32), keep=np.float32(.5))
    clf = Classifier.train(pets, 'small_cnn', **options, say=noop)
    assert Classifier.load(clf.save(tmp_path/'m')).decision==clf.decision


# --- pretrained weights

def test_no_weights_at_hand(pets, tmp_path, monkeypatch):
    "Rubbish under their name is told before training from scratch starts"
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    name = Path(SqueezeNet1_0_Weights.DEFAULT.url).name
    (tmp_path/'hub/checkpoints').mkdir(parents=True)
    (tmp_path/'hub/checkpoints'/name).write_bytes(b'rubbish')
    clf,said = lines_of(pets, arch='squeezenet1_0', epochs=1)
    assert not clf.config['training']['pretrained']
    assert clf.config['weights'] is None
    at = [i for i,o in enumerate(said) if name in o and 'from scratch' in o]
    first = [i for i,o in enumerate(said) if o.startswith('epoch 1')]
    assert at[0]<first[0]


@pytest.fixture(scope='module')
def by_turns(pets, strangers):
    "Few pictures and a frozen body: all train, all validate; with the lines said"
    return lines_of(pets, unknown=strangers)


def test_by_turns(by_turns):
    clf,said = by_turns
    facts,figures = clf.config['training'],clf.config['metrics']
    want = dict(pretrained=True, by_turns=True, epochs=0, n_train=36, n_valid=0, n_unlabelled=12)
    assert {k: facts[k] for k in want}==want
    assert (figures['n_known'], figures['n_unknown'])==(24, 12)
    assert figures['answered']>.9
    assert (clf.refs.shape, clf.refs.dtype)==((24,1280), torch.int8)
    for words in 'pretrained', 'by turns, in 5 parts': assert any(words in o for o in said)


def test_by_turns_saved(by_turns, pets, tmp_path):
    "The file brings the references back"
    clf,_ = by_turns
    again = Classifier.load(clf.save(tmp_path/'m'))
    assert (again.refs==clf.refs).all()
    assert again.predict(pets)==clf.predict(pets)


def test_score_can_silence(by_turns, pets):
    clf,_ = by_turns
    assert all(o['score']>=clf.decision.thresh for o in clf.predict(pets) if o['known'])
    strict = Classifier(clf.model, replace(clf.decision, thresh=1e6), clf.refs, clf.config)
    assert not any(o['known'] for o in strict.predict(pets))


def test_no_unlabelled_picture_is_told(pets, by_turns):
    _,said = lines_of(pets)
    assert any('teaches silence' in o for o in said)
    assert not any('teaches silence' in o for o in by_turns[1])


def test_keep(pets):
    "More is kept, more is answered; keep=1 answers every validation picture"
    clfs = [Classifier.train(pets, size=64, keep=o, say=noop) for o in (.5,.8,1.)]
    shares = [o.config['metrics']['answered'] for o in clfs]
    assert shares==sorted(shares)
    assert .5<=shares[0]<.8
    assert shares[2]==1
    assert clfs[2].decision.thresh==-math.inf


# --- pictures

def test_rare_labels(pets, tmp_path):
    "A samoyed counts as a picture without label"
    shutil.copytree(pets, tmp_path/'p')
    draw(tmp_path/'p', ['samoyed'], 5)
    clf,said = lines_of(tmp_path/'p', arch='small_cnn', epochs=1, min_images=6)
    assert (clf.vocab, clf.config['rare'])==(['Siamese','pug'], ['samoyed'])
    assert clf.config['training']['n_unlabelled']==5
    assert any('1 labels with fewer than 6 pictures' in o and '5 pictures' in o for o in said)
    assert clf.evaluate(tmp_path/'p')['n_known']==29
    assert len(gather_photos(tmp_path/'p', min_images=5).vocab)==3


@pytest.fixture
def with_bad(pets, tmp_path):
    "A copy of `pets` with five pictures that are none"
    shutil.copytree(pets, tmp_path/'p')
    for i in range(90, 95): (tmp_path/f'p/pug_{i}.jpg').write_text('hello')
    return tmp_path/'p'


WAYS = {
    'from scratch': dict(arch='small_cnn', epochs=1, size=32),
    'by turns': dict(epochs=0, size=64),
    'fine-tuned': dict(epochs=1, size=64)}


@pytest.mark.parametrize('way', WAYS)
def test_bad_pictures_stop_training(with_bad, way):
    "All are told at once, also those that would validate"
    with pytest.raises(BadPictures) as e: Classifier.train(with_bad, say=noop, **WAYS[way])
    assert sorted(o.name for o in e.value.errors)==[f'pug_{i}.jpg' for i in range(90, 95)]
    assert e.value.n==29


@pytest.mark.parametrize('way', WAYS)
def test_as_if_never_there(with_bad, pets, capsys, way):
    "With bad pictures left out the model is that of the good ones alone, weights and all"
    options = dict(WAYS[way], skip_bad=True, say=noop)
    a,b = (Classifier.train(o, **options) for o in (pets, with_bad))
    assert same_weights(a, b)
    assert a.decision==b.decision
    assert b.config['training']==a.config['training'] | dict(n_left_out=5)
    assert capsys.readouterr().err.count('\n')==6


# --- losses, mirror images, promises

SCRATCH = dict(arch='small_cnn', size=32, epochs=4, say=noop)


@pytest.fixture(scope='module')
def usual(pets): return Classifier.train(pets, **SCRATCH)


def brier(logits, targets): return (logits.sigmoid()-targets).square().mean()


@pytest.mark.parametrize('loss', ['focal','asymmetric', brier, lambda z,t: brier(z, t)])
def test_loss_trains(pets, usual, loss):
    "From scratch: another loss, another network, and the model says by which"
    clf = Classifier.train(pets, loss=loss, **SCRATCH)
    assert not same_weights(clf, usual)
    assert clf.config['training']['loss']==(loss if isinstance(loss, str) else loss.__name__)
    assert usual.config['training']['loss']=='bce'


@pytest.mark.parametrize('loss', ['bce','focal'])
def test_loss_is_what_falls(pets, loss):
    "What training prints is the loss that was asked for: focal loss charges far less at the start"
    said = []
    Classifier.train(pets, loss=loss, **dict(SCRATCH, say=said.append))
    line = next(o for o in said if o.startswith('epoch 1'))
    first = float(line.split('training loss ')[1].split(',')[0])
    assert (first>.4)==(loss=='bce')


def test_loss_of_fine_tuning(pets, tmp_path):
    a,b = (Classifier.train(pets, size=64, epochs=1, loss=o, say=noop) for o in ('bce','asymmetric'))
    assert not same_weights(a, b)
    assert Classifier.load(b.save(tmp_path/'m')).config['training']['loss']=='asymmetric'


def a_row(logits, targets): return (logits-targets).mean(1)


def nothing(logits, targets): return torch.zeros(())


@pytest.mark.parametrize('options,words', [
    (dict(loss='focal'), 'add --epochs'), (dict(loss=brier, epochs=0), 'brier .*add --epochs'),
    (dict(arch='small_cnn', loss='focal', epochs=0), 'add --epochs'),
    (dict(loss='hinge'), 'bce, focal, asymmetric'), (dict(loss=None), 'None is not known'),
    (dict(loss=a_row, epochs=1), r'a_row .*\(2,\)'),
    (dict(loss=nothing, epochs=1), 'nothing cannot be trained'),
    (dict(loss=lambda z: z, epochs=1), 'cannot be trained with'),
    (dict(max_missed=0), 'no share'), (dict(max_missed=.1, keep=.9), 'exclude each other'),
    (dict(max_missed=.2), 'needs 40 .*there are 24'),
    (dict(max_missed=.2, epochs=1), 'there are 5')])
def test_refused_before_or_without_training(pets, options, words):
    with pytest.raises(InputError, match=words):
        Classifier.train(pets, say=noop, **dict(dict(size=64), **options))


def test_mirror_images_can_be_left_out(pets, monkeypatch):
    "From scratch, half of what the network is shown is mirrored, or nothing"
    shown = {}
    def train_loop(model, inputs, *_):
        as_they_are = inputs.train(range(19)) if not shown else shown['as they are']
        shown.setdefault('as they are', as_they_are)
        xs = [inputs.train(range(19)) for _ in range(20)]
        return torch.stack([(x!=as_they_are).flatten(1).any(1) for x in xs]).float().mean().item()
    def share(augment):
        "Of pictures that are shown in another way than without mirror images"
        res = []
        monkeypatch.setattr(training, 'train_loop', lambda *args: res.append(train_loop(*args)))
        Classifier.train(pets, augment=augment, **SCRATCH)
        return res[0]
    assert share(False)==0
    assert .4<share(True)<.6


def test_fine_tuning_without_mirror_images(pets, monkeypatch):
    "No mirror image is looked at, so the first pass takes half as long"
    seen = []
    def counted(xb, stats):
        seen.append(len(xb))
        return normalise(xb, stats)
    monkeypatch.setattr(training, 'normalise', counted)
    n = {}
    for augment in True, False:
        seen.clear()
        Classifier.train(pets, size=64, epochs=1, augment=augment, say=noop)
        n[augment] = sum(seen)
    assert n=={True: 2*19+5, False: 19+5}


def test_max_missed_is_said(tmp_path):
    photos = draw(tmp_path/'p', ['Siamese','pug'], 24, 40)
    clf,said = lines_of(photos, max_missed=.3)
    line, = [o for o in said if o.startswith('promise')]
    assert 'at most 0.3 are missed' in line
    assert clf.decision.max_missed==.3
    assert Classifier.load(clf.save(tmp_path/'m')).decision.max_missed==.3


def test_fitted_classifier(pets):
    "A network that was trained by other means becomes a whole classifier"
    torch.manual_seed(0)
    targets = torch.eye(2).repeat_interleave(12, 0)
    fitted = Fitted(torch.randn(24, 192), torch.randn(24, 192), torch.randn(24, 2)+4*targets-2)
    facts = ARCHS['small_cnn'].facts(False)
    config = dict(arch='small_cnn', size=32, **facts, rare=[], training=dict(seed=0))
    parts,said = Parts(targets, targets),[]
    model,vocab = build_model('small_cnn', 2),['Siamese','pug']
    clf = fitted_classifier(model, fitted, parts, vocab, .9, config, say=said.append)
    assert (clf.vocab, clf.decision.keep, len(clf.refs))==(vocab, .9, 24)
    assert clf.config['metrics']['n_known']==24
    assert said[-1].startswith('validation: ')
    assert len(clf.predict(pets))==24
