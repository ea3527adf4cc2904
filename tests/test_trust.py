"Thresholds and calibration against outside references: torchmetrics, MAPIE, and the definitions written out"
import math
import numpy as np, pytest, torch
from mlc_course.trust import (fit_temperature, reliability, ece, risk_coverage, missed_rate, crc_thresh,
                              conformal_thresh, resplit)
from mlc_course.unknown import aurc

ALPHAS = .05, .1, .2


def answers(seed, n=400, c=6, no_label=True, decimals=None, dtype=torch.float64):
    "Probabilities of a fair network and its targets; with or without pictures that have no label"
    gen = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, c, generator=gen, dtype=torch.float64)*2 - 1
    targets = torch.bernoulli(logits.sigmoid(), generator=gen)
    if not no_label: targets[targets.sum(1)==0, 0] = 1
    probs = logits.sigmoid()
    if decimals is not None: probs = probs.round(decimals=decimals)
    return probs.to(dtype), targets


def brute_force(probs, targets, alpha, candidates):
    "Theorem 1 of arXiv:2208.02814 picture by picture, in plain Python: the largest candidate that keeps the promise"
    n, best = len(probs), None
    for t in sorted(candidates):
        missed = 0.
        for p,y in zip(probs.tolist(), targets.tolist()):
            mine = [o for o,yes in zip(p, y) if yes]
            if mine: missed += sum(o<=t for o in mine)/len(mine)
        if (missed+1)/(n+1) <= alpha + 1e-12: best = t
    return best


# --- the conformal threshold for missed labels

@pytest.mark.parametrize('alpha', (*ALPHAS, .5))
@pytest.mark.parametrize('decimals', (None, 2))
def test_crc_is_brute_force(alpha, decimals):
    "Also with pictures without labels, and with equal scores"
    probs,targets = answers(0, n=80, decimals=decimals, dtype=torch.float32)
    assert (targets.sum(1)==0).any()
    scores = sorted({-1., *probs.flatten().tolist()})
    slow = brute_force(probs, targets, alpha, scores)
    fast = crc_thresh(probs, targets, alpha)
    after = [o for o in scores if o>slow]
    assert slow <= fast and (not after or fast < after[0])                       # the same labels are given
    if after: assert fast == np.nextafter(np.float32(after[0]), np.float32(-1))  # and no larger float32 will do
    assert missed_rate(probs, targets, fast).tolist() == missed_rate(probs, targets, slow).tolist()


@pytest.mark.parametrize('alpha', (*ALPHAS, .5))
def test_crc_on_a_grid_is_brute_force(alpha):
    probs,targets = answers(1, n=80, decimals=2)
    grid = np.arange(0, 1, .01)
    assert abs(crc_thresh(probs, targets, alpha, grid=grid) - brute_force(probs, targets, alpha, grid)) < 1e-6


@pytest.mark.parametrize('alpha', ALPHAS)
@pytest.mark.parametrize('seed', range(3))
def test_crc_is_mapie(alpha, seed):
    "The same threshold on MAPIE's own grid and on a fine one; it has no exact mode"
    controller = pytest.importorskip('mapie.risk_control', reason='MAPIE is not installed').MultiLabelClassificationController
    probs,targets = answers(seed, n=150, no_label=False)
    for grid in np.arange(0, 1, .01), np.linspace(0, 1, 401)[:-1]:
        theirs = controller(lambda x: x, risk='recall', method='crc', target_level=1-alpha, predict_params=grid)
        theirs.calibrate(probs.numpy(), targets.numpy().astype(int))
        ours = crc_thresh(probs, targets, alpha, grid=grid)
        assert abs(ours - theirs.best_predict_param.item()) < 1e-6
        exact = crc_thresh(probs, targets, alpha)
        assert ours <= exact + 1e-6 and exact-ours < grid[1]+1e-6                # the grid's next one is too high


def test_mapie_refuses_pictures_without_labels():
    "Which is why the comparison leaves them out; ours counts them as calibration pictures that miss nothing"
    controller = pytest.importorskip('mapie.risk_control', reason='MAPIE is not installed').MultiLabelClassificationController
    probs,targets = answers(0)
    theirs = controller(lambda x: x, risk='recall', method='crc', target_level=.9)
    with pytest.raises(ValueError, match='at least one label'): theirs.calibrate(probs.numpy(), targets.numpy().astype(int))
    has = targets.sum(1)>0
    assert crc_thresh(probs, targets, .1) > crc_thresh(probs[has], targets[has], .1)


@pytest.mark.parametrize('dtype', (torch.float32, torch.float64))
def test_crc_holds_in_float32(dtype):
    "A threshold from either precision keeps its promise when answers are computed in float32"
    for seed in range(20):
        probs,targets = answers(seed, n=50, dtype=dtype)
        t = crc_thresh(probs, targets, .1)
        assert t == np.float32(t)
        for p in probs,probs.float(): assert (missed_rate(p, targets, t).sum()+1)/51 <= .1+1e-6


def test_crc_is_monotone_and_counts_exactly():
    probs,targets = answers(3)
    ts = [crc_thresh(probs, targets, a) for a in (.01,.05,.1,.3,.6,.9)]
    assert ts==sorted(ts)
    ones = torch.ones(99, 1)                                # alpha*(n+1) = 10: nine may be missed, although floats say 9.999..
    assert crc_thresh(torch.arange(1, 100)[:,None]/100, ones, 1-.9) == np.nextafter(np.float32(.1), np.float32(0))


@pytest.mark.parametrize('alpha', (0, 1, -.1, 1.5, math.nan))
def test_alpha_outside(alpha):
    for f in (lambda: crc_thresh(*answers(0), alpha), lambda: conformal_thresh(torch.rand(9), alpha)):
        with pytest.raises(ValueError, match='alpha='): f()


@pytest.mark.parametrize('alpha,n', ((.1,9), (.05,19), (.2,4), (.01,99), (1/3,2)))
def test_crc_needs_enough_pictures(alpha, n):
    "At 1/(n+1) == alpha nothing may be missed; one picture less cannot promise anything, and the message says how many can"
    probs,targets = torch.full((n,1), .5), torch.ones(n, 1)
    assert crc_thresh(probs, targets, alpha) < .5
    with pytest.raises(ValueError, match=f'at least {n}$'): crc_thresh(probs[1:], targets[1:], alpha) if n>1 else None


# --- the conformal threshold for unanswered pictures

@pytest.mark.parametrize('n', range(1, 40))
def test_conformal_exact(n):
    "Each of n+1 pictures once as the new one: exactly floor(alpha*(n+1)) of them go unanswered"
    s = torch.randn(n+1, generator=torch.Generator().manual_seed(n))
    for percent in range(1, 100):
        k = percent*(n+1)//100                              # in whole numbers, without any rounding
        for alpha in percent/100, 1-(100-percent)/100:      # written in two ways that differ in the last bit
            t = conformal_thresh(s[1:], alpha)
            assert t == (s[1:].sort().values[k-1].item() if k else -math.inf)
        if percent%10==5:
            silent = sum(bool(s[i] < conformal_thresh(torch.cat([s[:i], s[i+1:]]), percent/100)) for i in range(n+1))
            assert silent==k


def test_conformal_edges():
    assert conformal_thresh([2,2,2,2,2], .5)==2             # equal scores are all answered
    assert conformal_thresh([1.], 1e-9)==-math.inf
    assert conformal_thresh([1,2,3], 1-1e-12)==3
    assert conformal_thresh([-math.inf,1,math.inf], .25)==-math.inf
    assert conformal_thresh(np.array([1.,2.,3.]), .5)==2
    with pytest.raises(ValueError, match='empty'): conformal_thresh([], .1)
    with pytest.raises(ValueError, match='NaN'): conformal_thresh([1,math.nan], .1)


# --- both promises, over resplits

@pytest.mark.parametrize('alpha', ALPHAS)
def test_promises_hold_over_resplits(alpha):
    "Mean over 1000 deals at most alpha plus its standard error, and not far below"
    probs,targets = answers(5, n=600)
    score = probs.amax(1)
    def missed(cal, test): return missed_rate(probs[test], targets[test], crc_thresh(probs[cal], targets[cal], alpha)).mean()
    def silent(cal, test): return (score[test] < conformal_thresh(score[cal], alpha)).double().mean()
    for risk in missed,silent:
        r = resplit(risk, 600, 290, n_times=1000)
        assert alpha-.01 < r.mean() <= alpha + r.std()/len(r)**.5


def test_resplit():
    seen = []
    r = resplit(lambda cal, test: seen.append((cal, test)) or len(seen), 10, 4, n_times=6, seed=3)
    assert r.tolist()==[1,2,3,4,5,6]
    for cal,test in seen: assert len(cal)==4 and sorted([*cal.tolist(), *test.tolist()])==list(range(10))
    assert len({tuple(cal.tolist()) for cal,_ in seen})==6
    for n_cal in 0,10,11:
        with pytest.raises(ValueError, match='both sides'): resplit(lambda *_: 0, 10, n_cal)


# --- calibration

@pytest.mark.parametrize('dtype,decimals', ((torch.float64,None), (torch.float64,1), (torch.float32,None), (torch.float32,2)))
@pytest.mark.parametrize('n_bins', (1, 10, 15))
def test_ece_is_torchmetrics(dtype, decimals, n_bins):
    "Per label, to 1e-6; scores on the edges of bins and at exactly 0 and 1 included"
    tm = pytest.importorskip('torchmetrics.functional.classification', reason='torchmetrics is not installed')
    probs,targets = answers(7, decimals=decimals, dtype=dtype)
    probs[:20],probs[20:30] = 1,0
    theirs = [tm.binary_calibration_error(p, t, n_bins=n_bins, norm='l1') for p,t in zip(probs.T.contiguous(), targets.T.int())]
    assert ece(probs, targets, n_bins).shape==(6,)
    assert (ece(probs, targets, n_bins) - torch.stack(theirs)).abs().max() < 1e-6


def test_reliability_adds_up():
    probs,targets = answers(8)
    p,t,n = reliability(probs, targets, n_bins=7)
    assert p.shape==t.shape==n.shape==(6,7)
    assert (n.sum(1)==len(probs)).all()
    assert torch.allclose((t.nan_to_num()*n).sum(1), targets.sum(0).float())
    assert torch.allclose((p.nan_to_num()*n).sum(1), probs.sum(0).float(), rtol=1e-4)
    i = (probs[:,2]>=3/7) & (probs[:,2]<4/7)
    assert n[2,3]==i.sum() and abs(p[2,3]-probs[i,2].mean())<1e-6 and abs(t[2,3]-targets[i,2].mean())<1e-6


def test_temperature_is_the_minimum():
    "Against a general optimiser, label by label"
    from scipy.optimize import minimize_scalar
    gen = torch.Generator().manual_seed(9)
    z = torch.randn(300, 5, generator=gen).double()*2
    y = torch.bernoulli((z/torch.tensor([.5,1,2,4,8])).sigmoid(), generator=gen)
    ours = fit_temperature(z, y)
    def loss(log_t, j): return torch.nn.functional.binary_cross_entropy_with_logits(z[:,j]/math.exp(log_t), y[:,j]).item()
    theirs = [math.exp(minimize_scalar(loss, bounds=(math.log(.05), math.log(20)), args=(j,), method='bounded',
                                       options=dict(xatol=1e-9)).x) for j in range(5)]
    assert ours.dtype==torch.float32 and torch.allclose(ours, torch.tensor(theirs), rtol=1e-3)


def test_temperature_edges():
    z = torch.tensor([[3.,3.,0.,-2.],[1.,1.,0.,2.]])
    assert fit_temperature(z, torch.tensor([[1,0,1,1],[1,0,0,0]])).tolist() == pytest.approx([1,1,1,20])
    assert fit_temperature(z[:,3:], torch.tensor([[0],[1]])).tolist() == pytest.approx([.05])
    assert torch.isfinite(fit_temperature(torch.tensor([[1e4],[-1e4],[1e4]]), torch.tensor([[1],[0],[0]]))).all()


# --- risk and coverage

def test_risk_coverage_is_aurc():
    gen = torch.Generator().manual_seed(10)
    for decimals in 0,1,3:
        score,correct = torch.randn(157, generator=gen).round(decimals=decimals), torch.rand(157, generator=gen)<.6
        coverage,risk = risk_coverage(score, correct)
        assert coverage[-1]==1 and abs(risk.double().mean().item() - aurc(score, correct))<1e-6
        assert abs(risk[-1] - (~correct).float().mean())<1e-6
        for c in .25,.5:                                    # where no tie is cut, counting is enough
            t = score.quantile(1-c)
            taken = score>=t
            assert abs(risk[taken.sum()-1] - (~correct[taken]).float().mean())<1e-6


def test_risk_coverage_of_ties_is_the_mean_over_orders():
    from itertools import permutations
    correct = torch.tensor([1,0,0,1,1])
    each = [risk_coverage(torch.tensor([5.,*o,-1.]), correct)[1] for o in permutations((1.,2.,3.))]
    assert torch.allclose(torch.stack(each).mean(0), risk_coverage([5,2,2,2,-1], correct)[1])


@pytest.mark.parametrize('bad', ('shape','nan','empty','two'))
def test_bad_tables(bad):
    "One clear line from each function that takes probabilities and targets"
    probs,targets = answers(0, n=30)
    if bad=='shape': targets = targets[:-1]
    if bad=='nan': probs[0,0] = math.nan
    if bad=='empty': probs,targets = probs[:0],targets[:0]
    if bad=='two': targets[0,0] = 2
    for f in (fit_temperature, reliability, ece, lambda p,t: missed_rate(p, t, .5), lambda p,t: crc_thresh(p, t, .1)):
        with pytest.raises(ValueError) as e: f(probs, targets)
        assert '\n' not in str(e.value)


def test_logits_are_refused():
    logits,targets = answers(0)[0].logit(),answers(0)[1]
    for f in (reliability, ece, lambda p,t: crc_thresh(p, t, .1)):
        with pytest.raises(ValueError, match=r'\[0,1\]'): f(logits, targets)


def test_imports_are_light():
    import subprocess, sys
    code = "import sys, mlc_course.trust; sys.exit(bool({'fastai','pandas','matplotlib'} & set(sys.modules)))"
    subprocess.run([sys.executable, '-c', code], check=True)
