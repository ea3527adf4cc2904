"The rivals of `engine.scores` against pytorch-ood, and at the edges. More stands in the notebook"
import math
import pytest, torch
from torch import nn, tensor
from torch.nn import functional as F
from mlc_course.engine.scores import (RIVALS, Known, among_themselves, balanced_energy, label_neighbours,
                                      largest_logit, local_density, mahalanobis, neighbours, plain_energy,
                                      residual, scale_energy, scale_factor)
from mlc_course.unknown import directions

SEEDS = range(3)


@pytest.fixture(scope='module')
def detector():
    "pytorch-ood, a reference written by others"
    pytest.importorskip('pytorch_ood', reason='not installed: it comes with the extra `dev`')
    import pytorch_ood.detector
    return pytorch_ood.detector


def world(seed, n=300, n_feat=80, n_classes=4):
    "Training pictures with one label each, a head, and other pictures"
    gen = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % n_classes
    centres = 2*torch.rand(n_classes, n_feat, generator=gen)
    feats = (centres[labels] + .3*torch.randn(n, n_feat, generator=gen)).clamp_min(0)
    weight,bias = torch.randn(n_classes, n_feat, generator=gen)/3, torch.randn(n_classes, generator=gen)
    known = Known(*(o.double() for o in (feats, F.one_hot(labels), weight, bias)))
    return known, 2*torch.rand(50, n_feat, generator=gen).double(), labels


def of_softmax(detector, logits):
    "JointEnergy by a softmax energy: of each logit beside a zero, as a softmax of two is a sigmoid"
    pairs = torch.stack([logits, torch.zeros_like(logits)], -1)
    return -detector.EnergyBased.score(pairs.flatten(0, 1)).view_as(logits).sum(1)


# --- outside references

@pytest.mark.parametrize('seed', SEEDS)
def test_logit_scores_are_pytorch_oods(detector, seed):
    known,x,labels = world(seed)
    z = known.logits(x)
    assert torch.equal(largest_logit(x, z, known), -detector.MaxLogit.score(z))
    assert torch.allclose(plain_energy(x, z, known).exp(), of_softmax(detector, z), rtol=1e-4)
    few = known._replace(targets=known.targets*(torch.arange(300)<100)[:,None])
    lifted = z - tensor([25/275]).log()/2
    assert torch.allclose(balanced_energy(x, z, few).exp(), of_softmax(detector, lifted), rtol=1e-4)


@pytest.mark.parametrize('p', (.5, .65, .85))
@pytest.mark.parametrize('seed', SEEDS)
def test_scale_is_pytorch_oods(detector, seed, p):
    known,x,labels = world(seed)
    maps = x[:,:,None,None]
    theirs = detector.SCALE(backbone=None, percentile=p, head=lambda o: known.logits(o[:,:,0,0]),
        detector=lambda z: -of_softmax(detector, z))
    ours = scale_energy(x, None, known, p)
    assert torch.allclose(ours.exp(), -theirs.predict_feature_maps(maps), rtol=1e-4)


@pytest.mark.parametrize('seed', SEEDS)
def test_nearest_neighbour_is_pytorch_oods(detector, seed):
    "A distance between directions there, a cosine here: `cos = 1-d**2/2`"
    known,x,labels = world(seed)
    theirs = detector.KNN(None, k=1).fit_features(known.feats, labels).predict_features(x)
    assert torch.allclose(neighbours(x, None, known, k=1).double(), 1-theirs**2/2, atol=1e-5)


@pytest.mark.parametrize('seed', SEEDS)
def test_mahalanobis_is_pytorch_oods(detector, seed):
    "Without shrinkage: half the distance there, in a covariance that is not divided by the items"
    known,x,labels = world(seed)
    theirs = detector.Mahalanobis(None).fit_features(directions(known.feats).float(), labels)
    found = theirs.predict_features(directions(x).float())
    assert torch.allclose(-mahalanobis(x, None, known, mix=0), 2*300*found, rtol=1e-2)


@pytest.mark.parametrize('seed', SEEDS)
def test_residual_is_that_of_vim(detector, seed):
    "ViM's virtual logit without the energy; the origin is its own, so it is set to ours"
    known,x,labels = world(seed)
    unit = directions(known.feats)
    vim = detector.ViM(None, d=10, w=known.weight, b=known.bias)
    vim.u = unit.mean(0).float()
    vim.fit_features(unit.float(), labels)
    energy = (directions(x)@known.weight.T+known.bias).logsumexp(1)
    theirs = (vim.predict_features(directions(x).float())+energy)/vim.alpha
    assert torch.allclose(-residual(x, None, known, n_axes=10), theirs, rtol=1e-3)


# --- edges

@pytest.mark.parametrize('name', RIVALS)
def test_known_pictures_score_above_noise(name):
    "All of them, where the labels are well apart and the head is good; and one number a picture comes out"
    from mlc_course.engine.training import fit_head
    from mlc_course.unknown import auroc
    known,x,labels = world(0)
    head = fit_head(nn.Linear(80, 4).double(), known.feats, known.targets)
    known = known._replace(weight=head.weight.detach(), bias=head.bias.detach())
    def of(feats): return RIVALS[name].score(feats, known.logits(feats), known)
    assert of(x).shape==(50,) and of(x).isfinite().all()
    assert auroc(of(world(0, n=304)[0].feats[:50]), of(x))>.8


def test_a_label_of_none_or_all_stays_finite():
    known,x,_ = world(0)
    for n in 0,300:
        some = known._replace(targets=(torch.arange(300)<n)[:,None].double().expand(-1, 4))
        assert balanced_energy(x, known.logits(x), some).isfinite().all()


def test_zeros_stay_finite():
    known,*_ = world(0)
    x = torch.zeros(1, 80).double()
    for name,o in RIVALS.items(): assert o.score(x, known.logits(x), known).isfinite().all(), name


def test_errors_are_one_clear_line():
    known,x,_ = world(0)
    for fn,words in (
        (lambda: known.logits(x[:,:3]), 'n_feat'),
        (lambda: scale_factor(x, 1), 'leaves none of 80'),
        (lambda: among_themselves(x[:1], 5), '1 references'),
        (lambda: label_neighbours(x, None, known, 100), 'no label has 102'),
        (lambda: residual(x, None, known, 80), 'n_axes=80')):
        with pytest.raises(ValueError, match=words): fn()


def test_few_references_do():
    "Neighbours are all there are"
    known,x,_ = world(0, n=8)
    for fn in neighbours, local_density: assert fn(x, None, known, k=50).isfinite().all()


def test_every_rival_tells_its_source():
    for o in RIVALS.values(): assert o.source and o.checked
