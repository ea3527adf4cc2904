"Edges of chapter 08: calibration, thresholds that promise something, deals, and how few heads are luck"
import math
import pytest, torch
from torch import tensor
from torchmetrics.functional.classification import binary_calibration_error

from mlc_course.engine.promise import rcps_thresh
from mlc_course.trust import *
from mlc_course.ui.show_deals import show_hist

FOUR = tensor([[.9,.1], [.2,.7], [.6,.3], [.1,.4]]), tensor([[1,0], [0,1], [1,1], [0,0]])


def random_answers(n=60, c=4, seed=2):
    "With ties, and pictures without labels"
    gen = torch.Generator().manual_seed(seed)
    return torch.rand(n, c, generator=gen).round(decimals=2), (torch.rand(n, c, generator=gen)<.3).float()


# --- calibration

def test_two_groups_by_hand():
    said, true = tensor([.1,.2,.3,.7,.8,.9])[:,None], tensor([0.,1,0,1,1,0])[:,None]
    p, t, n = reliability(said, true, n_bins=2)
    assert p.shape==(1,2)
    assert torch.allclose(torch.stack([p,t]), tensor([[[.2,.8]],[[1/3,2/3]]]))
    assert n.tolist()==[[3,3]]
    assert ece(said, true, 2).item()==pytest.approx(2/15, abs=1e-6)


def test_edges_of_groups():
    "0.5 opens the third of four, 1 is in the last, and what was not said is nan, not 0"
    p, _, n = reliability(tensor([[.0],[.5],[1.]]), tensor([[0],[1],[1]]), n_bins=4)
    assert n.tolist()==[[1,0,1,1]]
    assert (p.isnan()==(n==0)).all()


def test_ece_is_that_of_torchmetrics():
    probs, targets = random_answers(500)
    columns = zip(probs.T.contiguous(), targets.T.int())
    theirs = [binary_calibration_error(p, t, n_bins=15, norm='l1') for p,t in columns]
    assert torch.allclose(ece(probs, targets), torch.stack(theirs), atol=1e-6)


def test_certain_is_a_group_of_its_own():
    "Said yes twice, right once"
    assert ece(tensor([[1.],[1.],[0.]]), tensor([[1],[0],[0]])).item()==pytest.approx(1/3, abs=1e-6)
    with pytest.raises(ValueError, match=r'\(6, 1\)'): ece(torch.rand(6, 1), torch.ones(3, 1))


@pytest.mark.parametrize('fn', [reliability, ece])
def test_calibration_refuses(fn):
    with pytest.raises(ValueError, match='apply the sigmoid'): fn(tensor([[2.]]), tensor([[1]]))
    with pytest.raises(ValueError, match='n_bins=0'): fn(FOUR[0], FOUR[1], 0)


# --- temperature

def test_temperature_by_hand():
    "Three of four pictures with logit 2 are positive: 3/4 has the logit log 3"
    found = fit_temperature(torch.full((4,1), 2.), tensor([[1],[1],[1],[0]]))
    assert found.item()==pytest.approx(2/math.log(3), abs=1e-5)


def test_temperature_edges():
    "No choice: 1. Ranked perfectly, or upside down: a bound. Thrice as sure: thrice the temperature"
    assert fit_temperature(torch.randn(5,2), tensor([[0,1]]*5)).tolist()==[1,1]
    two = tensor([[-1.],[1.]])
    assert fit_temperature(two, tensor([[0],[1]])).item()==pytest.approx(.05, abs=1e-6)
    assert fit_temperature(two, tensor([[1],[0]]), bounds=(.1,5.)).item()==pytest.approx(5, abs=1e-4)
    gen = torch.Generator().manual_seed(2)
    logits = torch.randn(300, 4, generator=gen)*2
    targets = torch.bernoulli((logits/1.5).sigmoid(), generator=gen)
    assert torch.allclose(fit_temperature(logits*3, targets), 3*fit_temperature(logits, targets), atol=1e-4)
    with pytest.raises(ValueError, match='infinite'): fit_temperature(two*math.inf, tensor([[0],[1]]))
    with pytest.raises(ValueError, match='lowest first'):
        fit_temperature(two, tensor([[0],[1]]), bounds=(2.,1.))


# --- labels missed

@pytest.mark.parametrize('thresh,missed', [(.5, [0,0,.5,0]), (.7, [0,1,1,0]), (0, [0,0,0,0])])
def test_missed_rate(thresh, missed):
    "0.7 is not above 0.7; who names everything misses nothing"
    assert missed_rate(*FOUR, thresh).tolist()==missed


def test_missed_rate_by_label():
    assert missed_rate(*FOUR, tensor([.8,.2])).tolist()==[0,0,.5,0]
    with pytest.raises(ValueError, match=r'\(4, 1\)'): missed_rate(FOUR[0], FOUR[1][:,:1], .5)


def test_crc_is_just_below():
    thresh = crc_thresh(*FOUR, alpha=.4)
    assert thresh==pytest.approx(.7, abs=1e-6)
    assert tensor([.7])>thresh
    assert crc_thresh(*FOUR, alpha=.4, grid=[.1,.65,.69,.8])==pytest.approx(.69, abs=1e-6)


def test_crc_edges():
    "Equal scores are lost together; nothing to miss; nothing may be missed; 19 pictures are just enough"
    tied, ones = tensor([[.6],[.6],[.8]]), torch.ones(3, 1)
    assert crc_thresh(tied, ones, .5)==pytest.approx(.6, abs=1e-6)
    assert crc_thresh(tied, 0*ones, .5)==1
    assert crc_thresh(tensor([[0.],[.5]]), torch.ones(2, 1), 1/3)<0
    assert crc_thresh(torch.full((19,1), .5), torch.ones(19,1), .05)<.5


@pytest.mark.parametrize('kwargs,words', [(dict(alpha=.05), 'at least 19'), (dict(alpha=1.), 'alpha=1.0'),
    (dict(alpha=.4, grid=[.8,.9]), 'add lower')])
def test_crc_refuses(kwargs, words):
    with pytest.raises(ValueError, match=words): crc_thresh(*FOUR, **kwargs)


@pytest.mark.parametrize('scale,word', [(4, r'\[0,1\]'), (math.nan, 'nan')])
def test_crc_refuses_what_is_no_probability(scale, word):
    with pytest.raises(ValueError, match=word): crc_thresh(FOUR[0]*scale, FOUR[1], .4)


@pytest.mark.parametrize('alpha', (.05,.1,.2,.5))
def test_crc_by_brute_force(alpha):
    "The theorem's condition at every score: the same labels are lost"
    probs, targets = random_answers()
    n = len(probs)
    def holds(t): return n/(n+1)*missed_rate(probs, targets, t).double().mean() + 1/(n+1) <= alpha
    slow = max(t for t in [-1, *probs.flatten().unique().tolist()] if holds(t))
    exact = crc_thresh(probs, targets, alpha)
    assert exact>=slow
    assert ((probs>exact) & (targets>0)).equal((probs>slow) & (targets>0))


# --- deals

def test_resplit():
    "3, and with the others all 10; seeded; each item equally often"
    def counts(cal, test): return 100*len(cal) + len({*cal.tolist(), *test.tolist()})
    def first(cal, test): return cal[0]
    assert resplit(counts, 10, 3, n_times=5).tolist()==[310]*5
    assert resplit(first, 10, 3, 20).equal(resplit(first, 10, 3, 20))
    assert not resplit(first, 10, 3, 20).equal(resplit(first, 10, 3, 20, seed=1))
    assert abs(resplit(first, 10, 3, 2000).mean()-4.5)<.25
    with pytest.raises(ValueError, match='n_cal=10'): resplit(first, 10, 10)
    with pytest.raises(ValueError, match='n_times=0'): resplit(first, 10, 3, 0)


# --- silence

@pytest.mark.parametrize('scores,alpha,thresh', [
    (torch.arange(9, 0, -1), .2, 2), (torch.arange(1, 100), 1-.9, 10), (torch.arange(1, 10), .05, -math.inf),
    (torch.arange(1, 20), .05, 1), ([3,3,3,3], .5, 3), ([1,2], .9999999999999, 2)])
def test_conformal_thresh(scores, alpha, thresh):
    "Not 9, although 1-.9 is below .1; 9 pictures can't promise 0.05, 19 can; ties are all answered"
    assert conformal_thresh(scores, alpha)==thresh


def test_a_score_finds_itself_again():
    s = tensor([.1,.2,.3])
    assert (s>=conformal_thresh(s, .5)).sum()==2


@pytest.mark.parametrize('scores,alpha,word', [([], .1, 'empty'), ([1,math.nan], .1, 'NaN'),
    ([1,2], 0, 'alpha=0')])
def test_conformal_refuses(scores, alpha, word):
    with pytest.raises(ValueError, match=word): conformal_thresh(scores, alpha)


@pytest.mark.parametrize('alpha,n_silent', [(.05,0), (.1,1), (.25,2), (.3,3), (.99,9)])
def test_each_is_the_new_one_once(alpha, n_silent):
    "No luck needed: exactly `k` of ten go unanswered"
    ten = torch.randn(10, generator=torch.Generator().manual_seed(3))
    def is_silent(i): return ten[i]<conformal_thresh(torch.cat([ten[:i], ten[i+1:]]), alpha)
    assert sum(map(bool, map(is_silent, range(10))))==n_silent


# --- so few that it is luck

@pytest.mark.parametrize('most,n,share', [(0,10,.3), (3,10,.3), (9,10,.3), (20,429,.05), (300,20_000,.02)])
def test_chance_of_few(most, n, share):
    scipy = pytest.importorskip('scipy.stats')
    assert chance_of_few(most, n, share)==pytest.approx(scipy.binom.cdf(most, n, share), rel=1e-6, abs=1e-12)


def test_all_of_them(): assert chance_of_few(10, 10, .3)==pytest.approx(1)


def test_the_law_is_beta():
    "The share below the `k`-th lowest of `n` is more than `alpha` as often as fewer than `k` lie below it"
    scipy = pytest.importorskip('scipy.stats')
    for n,alpha in (429,.05), (100,.1), (39,.2):
        k = math.floor(alpha*(n+1))
        assert chance_of_few(k-1, n, alpha)==pytest.approx(scipy.beta(k, n+1-k).sf(alpha), rel=1e-6)


def test_rcps_needs_enough():
    ones = torch.ones(38, 1)
    assert rcps_thresh(ones*.5, ones, .1)<.5
    with pytest.raises(ValueError, match='at least 38$'): rcps_thresh(ones[1:], ones[1:], .1)
    with pytest.raises(ValueError, match='delta=0'): rcps_thresh(ones, ones, .1, 0)


def test_rcps_is_stricter():
    probs, targets = random_answers(500)
    found = [rcps_thresh(probs, targets, .2, delta) for delta in (.01,.05,.2)]
    assert found==sorted(found)
    assert found[-1]<=crc_thresh(probs, targets, .2)


# --- their figure

def test_hist():
    "Bins hold whole steps, and each line has its name"
    ax = show_hist([.1,.1,.2,.4], {'promised': .3}, step=.1, law=lambda x: x)
    widths = {round(p.get_width(), 6) for p in ax.patches}
    assert widths=={.1}
    assert [o.get_text() for o in ax.get_legend().get_texts()]==['promised','by the law']
