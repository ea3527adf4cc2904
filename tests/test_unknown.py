"""Scores and the decision of chapter 07 against pytorch-ood, and the promises that they make on average.
The rest is in test_properties.py"""
import math
import pytest, torch
from torch import tensor
from mlc_course.unknown import (apply_score, auroc, energy, fit_score, fpr_at_tpr, joint_energy, keep_thresh,
                                max_logit, max_prob, score_parts)

SEEDS = range(5)


@pytest.fixture
def ood():
    "pytorch-ood, a reference written by others"
    return pytest.importorskip('pytorch_ood', reason='not installed: it comes with the extra `dev`')


def scores(seed, n_known=237, n_unknown=151, decimals=1):
    "Known and unknown scores that overlap; with `decimals` many of them tie, also across the two"
    gen = torch.Generator().manual_seed(seed)
    a = torch.randn(n_known, generator=gen).double()+1
    b = torch.randn(n_unknown, generator=gen).double()
    return (a,b) if decimals is None else (a.round(decimals=decimals),b.round(decimals=decimals))


def draws(seed, n=200, c=5, scale=4.):
    "Logits and 0/1 targets, some rows without a label"
    gen = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, c, generator=gen)*scale - 1
    targets = torch.bernoulli((logits/2).sigmoid(), generator=gen)
    targets[::4] = 0
    return logits,targets


# --- outside references

@pytest.mark.parametrize('decimals', (None, 1, 0))
@pytest.mark.parametrize('n_known', (237, 200, 20))
@pytest.mark.parametrize('seed', SEEDS)
def test_fpr_and_auroc_are_pytorch_oods(ood, seed, n_known, decimals):
    "There, labels below 0 are the positive class and score high; our positive class are the known pictures"
    from pytorch_ood.metrics import OODMetrics, functional as ref
    known,unknown = scores(seed, n_known, decimals=decimals)
    both,labels = torch.cat([known,unknown]), tensor([-1]*len(known)+[0]*len(unknown))
    for tpr in (.95, .8):
        theirs = ref.fpr_at_tpr(both, labels, tpr=tpr).item()
        assert fpr_at_tpr(known, unknown, tpr)==pytest.approx(theirs, abs=1e-6)
    assert auroc(known, unknown)==pytest.approx(ref.auroc(both, labels).item(), abs=1e-6)
    other = OODMetrics()    # here unknown pictures are positive: the same with all signs turned
    other.update(-both, tensor([0]*len(known)+[-1]*len(unknown)))
    res = {k:float(v) for k,v in other.compute().items()}
    fpr = next(v for k,v in res.items() if 'TPR' in k)
    assert res['AUROC']==pytest.approx(auroc(known, unknown), abs=1e-6)
    assert fpr==pytest.approx(fpr_at_tpr(-unknown, -known), abs=1e-6)


@pytest.mark.parametrize('seed', SEEDS)
def test_softmax_scores_are_pytorch_oods(ood, seed):
    from pytorch_ood.detector import EnergyBased, MaxSoftmax
    logits = draws(seed)[0].double()
    torch.testing.assert_close(energy(logits), -EnergyBased.score(logits), atol=1e-6, rtol=0)
    torch.testing.assert_close(max_prob(logits.softmax(1)), -MaxSoftmax.score(logits), atol=1e-6, rtol=0)


@pytest.mark.parametrize('seed', SEEDS)
def test_joint_energy_sums_over_label_sets(seed):
    "log of the sum over all 2**n sets of labels of exp(sum of its logits): not the energy of a softmax"
    logits = draws(seed, n=20)[0].double()
    sets = torch.cartesian_prod(*[tensor([0.,1.])]*logits.shape[1]).double()          # (2**n, n)
    torch.testing.assert_close(joint_energy(logits), (logits@sets.T).logsumexp(1), atol=1e-9, rtol=0)
    assert not torch.allclose(joint_energy(logits), energy(logits))
    assert (joint_energy(logits) >= max_logit(logits).clamp_min(0)).all()


# --- which score

def some_parts(seed, energy_gap, knn_gap, n=60):
    gen = torch.Generator().manual_seed(seed)
    known = torch.arange(2*n) < n
    def part(gap): return torch.randn(2*n, generator=gen) + gap*known
    return dict(max_logit=part(0), joint_energy=part(energy_gap), knn=part(knn_gap)),known


CHOICES = [(2.,2.,'joint_energy+knn'), (5.,-5.,'joint_energy'), (-5.,5.,'knn')]


@pytest.mark.parametrize('energy_gap,knn_gap,name', CHOICES)
@pytest.mark.parametrize('seed', SEEDS)
def test_fit_score_takes_both_unless_one_is_clearly_better(seed, energy_gap, knn_gap, name):
    assert fit_score(*some_parts(seed, energy_gap, knn_gap))['name']==name


def test_scores_stay_finite():
    "Logits so low that every softplus is 0; and a score that is the same for every known item"
    parts = score_parts(torch.full((4,3), -300.), torch.rand(4, 8), torch.rand(5, 8))
    parts['knn'] = torch.ones(4)
    assert apply_score(parts, fit_score(parts, tensor([True,True,False,False]))).isfinite().all()


# --- promises, on average over many draws

@pytest.mark.parametrize('n', (10, 37, 100))
@pytest.mark.parametrize('keep', (.95, .8, .5))
def test_keep_thresh_keeps_what_it_promises(n, keep):
    "Validation and new pictures are exchangeable: at least `keep` of the new ones pass"
    gen,kept = torch.Generator().manual_seed(0),[]
    for _ in range(2000):
        s = torch.randn(n+1, generator=gen).round(decimals=1)      # with ties
        kept.append(s[n].item() >= keep_thresh(s[:n], keep))
    assert sum(kept)/2000 >= keep - 3*math.sqrt(keep*(1-keep)/2000)
