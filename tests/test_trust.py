"""Thresholds and temperatures against MAPIE and a general optimiser, and the promises of chapter 08 over
many deals. The rest is in test_properties.py"""
import math
import numpy as np, pytest, torch
from mlc_course.engine.promise import rcps_thresh
from mlc_course.trust import (chance_of_few, conformal_thresh, crc_thresh, fit_temperature, missed_rate,
    resplit)

ALPHAS = .05, .1, .2


def answers(seed, n=400, c=6, no_label=True, dtype=torch.float64):
    "Probabilities of a fair network and its targets; with or without pictures that have no label"
    gen = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, c, generator=gen, dtype=torch.float64)*2 - 1
    targets = torch.bernoulli(logits.sigmoid(), generator=gen)
    if not no_label: targets[targets.sum(1)==0, 0] = 1
    return logits.sigmoid().to(dtype), targets


# --- outside references

@pytest.fixture
def controller():
    "MAPIE's conformal risk control"
    mapie = pytest.importorskip('mapie.risk_control', reason='not installed: it comes with the extra `dev`')
    return mapie.MultiLabelClassificationController


@pytest.mark.parametrize('grid', (np.arange(0, 1, .01), np.linspace(0, 1, 401)[:-1]), ids=('its own','fine'))
@pytest.mark.parametrize('alpha', ALPHAS)
@pytest.mark.parametrize('seed', range(3))
def test_crc_is_mapie(controller, seed, alpha, grid):
    "The same threshold on MAPIE's own grid and on a fine one; it has no exact mode"
    probs,targets = answers(seed, n=150, no_label=False)
    theirs = controller(lambda x: x, risk='recall', method='crc', target_level=1-alpha, predict_params=grid)
    theirs.calibrate(probs.numpy(), targets.numpy().astype(int))
    ours = crc_thresh(probs, targets, alpha, grid=grid)
    assert abs(ours - theirs.best_predict_param.item()) < 1e-6
    exact = crc_thresh(probs, targets, alpha)
    assert -1e-6 <= exact-ours < grid[1]+1e-6                # the grid's next one is too high


def test_mapie_refuses_pictures_without_labels(controller):
    "Which is why the comparison leaves them out; ours counts them as calibration pictures that miss nothing"
    probs,targets = answers(0)
    theirs = controller(lambda x: x, risk='recall', method='crc', target_level=.9)
    with pytest.raises(ValueError, match='at least one label'):
        theirs.calibrate(probs.numpy(), targets.numpy().astype(int))
    has = targets.sum(1)>0
    assert crc_thresh(probs, targets, .1) > crc_thresh(probs[has], targets[has], .1)


@pytest.mark.parametrize('seed', range(3))
def test_luck_is_that_of_mapie(controller, seed):
    "Its p-value is the smaller of Bentkus and Hoeffding: on a grid, both allow nearly the same thresholds"
    methods = pytest.importorskip('mapie.risk_control.methods', reason='moved')
    probs,targets = answers(seed, no_label=False)
    n,grid = len(probs),np.arange(0, 1, .005)
    missed = np.array([missed_rate(probs, targets, t).mean().item() for t in grid])
    theirs = methods.compute_hoeffding_bentkus_p_value(missed, n, .1)[:,0]
    ours = np.array([math.e*chance_of_few(math.ceil(n*m), n, .1) for m in missed])
    assert (theirs<=ours+1e-9).all()
    allowed = grid[theirs<=.05].max()
    assert 0<=allowed-grid[ours<=.05].max()<.011
    assert -1e-6<=rcps_thresh(probs, targets, .1)-grid[ours<=.05].max()<.005


@pytest.mark.parametrize('bound', ('hoeffding','bernstein'))
def test_bounds_of_mapie(controller, bound):
    "Ours gives less away than Hoeffding, which is checked by hand, and Bernstein"
    probs,targets = answers(0, n=500, no_label=False)
    grid = np.arange(0, 1, .01)
    theirs = controller(lambda x: x, risk='recall', method='rcps', rcps_bound=bound, target_level=.9,
        confidence_level=.95, predict_params=grid)
    theirs.calibrate(probs.numpy(), targets.numpy().astype(int))
    found,ours = theirs.best_predict_param.item(),rcps_thresh(probs, targets, .1)
    assert found<ours
    if bound!='hoeffding': return
    slack = math.sqrt(math.log(1/.05)/(2*len(probs)))
    by_hand = [t for t in grid if missed_rate(probs, targets, t).mean()+slack<.1]
    assert found==pytest.approx(max(by_hand))


def test_temperature_is_the_minimum():
    "Against a general optimiser, label by label"
    from scipy.optimize import minimize_scalar
    gen = torch.Generator().manual_seed(9)
    z = torch.randn(300, 5, generator=gen).double()*2
    y = torch.bernoulli((z/torch.tensor([.5,1,2,4,8])).sigmoid(), generator=gen)
    ours = fit_temperature(z, y)
    def loss(log_t, j):
        return torch.nn.functional.binary_cross_entropy_with_logits(z[:,j]/math.exp(log_t), y[:,j]).item()
    def best(j):
        bounds = math.log(.05), math.log(20)
        return minimize_scalar(loss, bounds=bounds, args=(j,), method='bounded', options=dict(xatol=1e-9)).x
    theirs = torch.tensor([math.exp(best(j)) for j in range(5)])
    assert ours.dtype==torch.float32
    assert torch.allclose(ours, theirs, rtol=1e-3)


# --- the promises

def test_rcps_holds_for_most_deals():
    "Of 300 deals, one in twenty may break it, and hardly one does"
    probs,targets = answers(5, n=2000)
    def missed(cal, test):
        return missed_rate(probs[test], targets[test], rcps_thresh(probs[cal], targets[cal], .1)).mean()
    r = resplit(missed, 2000, 300, n_times=300)
    assert (r>.1).float().mean()<=.05
    assert r.mean()>.04


@pytest.mark.parametrize('dtype', (torch.float32, torch.float64))
@pytest.mark.parametrize('seed', range(20))
def test_crc_holds_in_float32(seed, dtype):
    "A threshold from either precision keeps its promise when answers are computed in float32"
    probs,targets = answers(seed, n=50, dtype=dtype)
    t = crc_thresh(probs, targets, .1)
    for p in probs,probs.float(): assert (missed_rate(p, targets, t).sum()+1)/51 <= .1+1e-6


def test_crc_counts_exactly():
    "alpha*(n+1) = 10, so nine may be missed, although floats say 9.999.."
    probs,ones = torch.arange(1, 100)[:,None]/100, torch.ones(99, 1)
    assert crc_thresh(probs, ones, 1-.9)==np.nextafter(np.float32(.1), np.float32(0))


@pytest.mark.parametrize('alpha,n', ((.1,9), (.05,19), (.2,4), (.01,99), (1/3,2)))
def test_crc_needs_enough_pictures(alpha, n):
    "At 1/(n+1) == alpha nothing may be missed; one picture less cannot promise, and the message says so"
    probs,targets = torch.full((n,1), .5), torch.ones(n, 1)
    assert crc_thresh(probs, targets, alpha) < .5
    with pytest.raises(ValueError, match=f'at least {n}$'): crc_thresh(probs[1:], targets[1:], alpha)


@pytest.mark.parametrize('alpha', ALPHAS)
@pytest.mark.parametrize('promise', ('missed', 'silent'))
def test_promises_hold_over_resplits(promise, alpha):
    "Mean over 1000 deals at most alpha plus its standard error, and not far below"
    probs,targets = answers(5, n=600)
    score = probs.amax(1)
    def missed(cal, test):
        return missed_rate(probs[test], targets[test], crc_thresh(probs[cal], targets[cal], alpha)).mean()
    def silent(cal, test): return (score[test] < conformal_thresh(score[cal], alpha)).double().mean()
    r = resplit(dict(missed=missed, silent=silent)[promise], 600, 290, n_times=1000)
    assert alpha-.01 < r.mean() <= alpha + r.std()/len(r)**.5
