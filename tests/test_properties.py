"""Properties of every exported function of seven modules, on drawn inputs: against an independent reference,
or an invariant that a reader relies on. NaN is refused or comes out as NaN, never as a number or a label.
The draws are the same in every run"""
import importlib, inspect, json, math
from dataclasses import replace
from fractions import Fraction
import numpy as np, pandas as pd, pytest, torch
import torch.nn.functional as F
from scipy import stats
from sklearn import metrics as skm
from sklearn.neighbors import NearestNeighbors
from torch import nn, tensor
from torchmetrics.functional.classification import binary_calibration_error
from torchvision.ops import sigmoid_focal_loss
hypothesis = pytest.importorskip('hypothesis', reason='not installed: it comes with the extra `dev`')
from hypothesis import assume, given, settings, strategies as st
from mlc_course.convolution import *
from mlc_course.counting import *
from mlc_course.data import decode_labels, encode_labels
from mlc_course.engine.decision import Decision, pick_threshs, _margins as margins
from mlc_course.engine.evaluation import measure
from mlc_course.engine.fields import *
from mlc_course.loss import *
from mlc_course.metrics import *
from mlc_course.rare import *
from mlc_course.sigmoid import *
from mlc_course.trust import *
from mlc_course.unknown import *

settings.register_profile('course', derandomize=True, deadline=None, max_examples=40, database=None)
settings.load_profile('course')
MODULES = ('convolution', 'loss', 'metrics', 'deeper.fast_metrics', 'unknown', 'trust', 'rare',
    'engine.fields', 'engine.known_score')
COVERED = {}
nan, inf = math.nan, math.inf
seeds = st.integers(0, 10**6)
shares = st.sampled_from([.01,.05,.1,.25,.5,.75,.9,.95,.99])


def covers(*fns):
    "Notes that the test under it is one of these functions' own, for `test_every_export_is_covered`"
    def note(test):
        for f in fns: COVERED.setdefault((f.__module__, f.__name__), []).append(test)
        return test
    return note


def refuses(f, *args, match=None, **kw):
    "A `ValueError` of one line"
    with pytest.raises(ValueError, match=match) as e: f(*args, **kw)
    assert '\n' not in str(e.value)
    assert len(str(e.value))<240


def same(a, b, eps=1e-6):
    "Equal numbers, NaN and shape included"
    a,b = (torch.as_tensor(np.asarray(o), dtype=torch.double) for o in (a, b))
    torch.testing.assert_close(a, b, rtol=eps, atol=eps, equal_nan=True)


def rand(seed, *shape, dtype=torch.double):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double).to(dtype)


def with_(x, value, at=0):
    "A copy of `x` with one number replaced"
    x = x.clone()
    x.view(-1)[at] = value
    return x


@st.composite
def tables(draw, logits=False, dtypes=(torch.float,torch.double), n_min=1, scale=3.):
    "Scores and 0/1 targets, from one item and one label on; ties, extremes, labels never or always there"
    n,c,seed = draw(st.integers(n_min, 30)),draw(st.integers(1, 5)),draw(seeds)
    z = rand(seed, n, c)*scale
    decimals = draw(st.sampled_from([None,1,0]))
    if draw(st.booleans()): z[0,0] = draw(st.sampled_from([-90.,-30.,0.,30.,90.]))
    p = z if logits else z.sigmoid()
    if decimals is not None: p = p.round(decimals=decimals)
    t = (rand(seed+1, n, c) > draw(st.sampled_from([-.5,.5,1.5]))).double()
    kind = draw(st.sampled_from(['mixed','mixed','zeros','ones','one label without']))
    t = {'zeros': t*0, 'ones': t*0+1}.get(kind, t)
    if kind=='one label without': t[:,0] = 0
    return p.to(draw(st.sampled_from(dtypes))),t


@st.composite
def two_scores(draw):
    "Scores of known and unknown items, rounded so that many tie; infinite ones among them"
    n,m,seed = draw(st.integers(1, 40)),draw(st.integers(1, 40)),draw(seeds)
    a,b = (rand(seed, n)+1).round(decimals=draw(st.integers(0, 2))),rand(seed+1, m).round(decimals=1)
    if draw(st.booleans()): a[0] = draw(st.sampled_from([inf,-inf]))
    if draw(st.booleans()): b[0] = draw(st.sampled_from([inf,-inf]))
    return a,b


# --- loss, and the losses of rare

@covers(bce_naive)
@given(tables(logits=True, scale=2.))
def test_bce_naive(zt):
    z,t = zt[0].double().clamp(-15, 15),zt[1]
    same(bce_naive(z, t), F.binary_cross_entropy_with_logits(z, t))
    assert bce_naive(with_(z, nan), t).isnan()
    assert bce_naive(z[:0], t[:0]).isnan()
    refuses(bce_naive, z, t[:,:0], match='do not fit')


@covers(bce_with_logits)
@given(tables(logits=True), st.sampled_from([None,.3,7.]), st.booleans())
def test_bce_with_logits(zt, weight, soft):
    "torch's own, its gradient too, also far out, with soft targets and weights of labels"
    z,t = zt[0].double()*30,zt[1]*(.9 if soft else 1)
    w = None if weight is None else torch.full((z.shape[1],), weight).double()
    a,b = z.clone().requires_grad_(),z.clone().requires_grad_()
    ours,theirs = bce_with_logits(a, t, w),F.binary_cross_entropy_with_logits(b, t, pos_weight=w)
    same(ours.detach(), theirs.detach())
    same(torch.autograd.grad(ours, a)[0], torch.autograd.grad(theirs, b)[0])
    half = bce_with_logits(zt[0].half(), t.half(), weight)
    assert half.dtype==torch.half
    assert abs(half.double()-bce_with_logits(zt[0].double(), t, weight)) <= 2e-2*(1+half.double())
    for bad in (inf,-inf):                                  # the limit, or NaN; never another number
        z[0,0] = bad
        wrong = t[0,0]<1 if bad>0 else t[0,0]>0
        res = bce_with_logits(z, t, w)
        limit = inf if wrong else bce_with_logits(z.clamp(-1e9, 1e9), t, w)
        assert res.isnan() or res==limit
    assert bce_with_logits(with_(z, nan), t, w).isnan()
    assert bce_with_logits(z[:0], t[:0]).isnan()
    refuses(bce_with_logits, z, t[:-1], match='do not fit')


@covers(pos_weights)
@given(tables(), st.sampled_from([0.,.5,1.]))
def test_pos_weights(pt, power):
    t = pt[1]
    want = [(sum(1-o for o in col)/sum(col))**power if 0<sum(col)<len(col) else 1 for col in t.T.tolist()]
    for o in (t, t.half(), t.int(), t.bool()): same(pos_weights(o, power), want)
    if power==1:
        w,n = pos_weights(t),t.sum(0)
        mixed = (n>0)&(n<len(t))
        same((w*n)[mixed], (len(t)-n)[mixed], 1e-5)         # both sides weigh the same
    refuses(pos_weights, with_(t, nan), match='0 or 1')
    refuses(pos_weights, t[0], match='n_items')
    many = tensor([[1.]]*5001+[[0.]]*2)                     # too many for 16 bits to count
    assert pos_weights(many, 1).item()==pos_weights(many.half(), 1).item()


NAN_IN = [(tensor([[nan]]),tensor([[1.]])), (tensor([[1.]]),tensor([[nan]]))]


@covers(focal_loss)
@given(tables(logits=True), st.sampled_from([None,.25,.9]), st.sampled_from([0.,1.,2.,5.]))
def test_focal_loss(zt, alpha, gamma):
    z,t = zt[0].double(),zt[1]
    a,b = z.clone().requires_grad_(),z.clone().requires_grad_()
    ours = focal_loss(a, t, alpha, gamma)
    want = sigmoid_focal_loss(b, t, alpha=-1 if alpha is None else alpha, gamma=gamma, reduction='mean')
    same(torch.autograd.grad(ours, a)[0], torch.autograd.grad(want, b)[0])
    ours,want = ours.detach(),want.detach()
    same(ours, want)
    same(focal_loss(z, t, None, 0.), F.binary_cross_entropy_with_logits(z, t))
    assert focal_loss(z, t, alpha, gamma+1) <= focal_loss(z, t, alpha, gamma) + 1e-12       # easy terms fade
    assert abs(focal_loss(z.half(), t.half(), alpha, gamma).double()-want) <= 2e-2*(1+want)
    assert focal_loss(*NAN_IN[0], alpha, gamma).isnan()
    for o in (nan,.9): refuses(focal_loss, z, with_(t, o), alpha, gamma, match='0 or 1')
    for sign in (1,-1):
        far = tensor([[sign*inf]])
        right,wrong = (focal_loss(far, tensor([[float(yes)]]), alpha, gamma) for yes in (sign>0, sign<0))
        assert right==0 or right.isnan()
        assert wrong==inf or wrong.isnan()
    refuses(focal_loss, z, t[:-1], match='do not fit')


gammas, clips = st.sampled_from([0.,1.,4.]), st.sampled_from([0.,.05,.2])

@covers(asymmetric_loss)
@given(tables(logits=True), gammas, st.sampled_from([0.,1.]), clips)
def test_asymmetric_loss(zt, gamma_neg, gamma_pos, clip):
    "Equations 4 to 7 of the paper, number by number"
    z,t = zt[0].double().clamp(-30, 30),zt[1]
    how = gamma_neg, gamma_pos, clip
    def one(x, yes):
        p = 1/(1+math.exp(-x))
        if yes: return -math.log(p)*(1-p)**gamma_pos
        q = max(p-clip, 0)
        cost = -math.log1p(-q) if clip else math.log1p(math.exp(x))
        return cost*q**gamma_neg
    want = np.mean([one(x, yes) for x,yes in zip(z.flatten().tolist(), t.flatten().tolist())])
    same(asymmetric_loss(z, t, *how), want, 1e-5)
    same(asymmetric_loss(z, t, 0, 0, 0), F.binary_cross_entropy_with_logits(z, t), 1e-5)
    assert abs(asymmetric_loss(z.half(), t.half(), *how).double()-want) <= 3e-2*(1+want)
    for a,b in NAN_IN: assert asymmetric_loss(a, b, *how).isnan()
    refuses(asymmetric_loss, z, t[:-1], match='do not fit')


# --- metrics

def counts(p, t, threshs):
    "True positives, predicted, true: label by label in plain Python"
    rows = list(zip(p.tolist(), t.tolist()))
    def of(j, th):
        said = [a[j]>th for a,_ in rows]
        true = [b[j]==1 for _,b in rows]
        return sum(x and y for x,y in zip(said, true)), sum(said), sum(true)
    return [of(j, th) for j,th in enumerate(threshs)]


def share(a, b): return a/b if b else nan


def some_threshs(p, kind):
    "The same for all, one a label, or one that equals scores; with the plain list of what is meant"
    if kind=='one': return .5,[.5]*p.shape[1]
    t = torch.linspace(.1, .9, p.shape[1], dtype=p.dtype) if kind=='each' else p[-1].clone()
    return t,t.tolist()

kinds = st.sampled_from(['one','each','at scores'])


@covers(as_table, above)
@given(tables(dtypes=(torch.float,torch.double,torch.half,torch.bfloat16)), kinds)
def test_tables_and_answers(pt, kind):
    "Plain floats of at least 32 bits that hold the same numbers; and exactly what lies above a threshold"
    p,t = pt
    probs,targets = as_table(p.tolist() if kind=='one' else p, t)
    assert probs.dtype in (torch.float,torch.double)
    assert targets.dtype==torch.bool
    same(probs, p.double())
    same(targets, t)
    thresh,plain = some_threshs(probs, kind)
    want = [[a>th for a,th in zip(row, plain)] for row in probs.tolist()]
    if kind=='one': want = (probs>.5).tolist()
    assert above(probs, thresh).tolist()==want


@covers(accuracy_multi, exact_match)
@given(tables(), kinds)
def test_shares_of_right_answers(pt, kind):
    p,t = pt
    thresh,plain = some_threshs(p, kind)
    right = [[(a>th)==bool(b) for a,b,th in zip(x, y, plain)] for x,y in zip(p.tolist(), t.tolist())]
    same(accuracy_multi(p, t, thresh), np.mean(right))
    same(exact_match(p, t, thresh), np.mean([all(o) for o in right]))
    assert exact_match(p, t, thresh) <= accuracy_multi(p, t, thresh) + 1e-6
    same(accuracy_multi(p, 1-t, thresh), 1-np.mean(right))
    said = p>.5
    for o in (said, said.int(), said.half()):               # answers, not scores
        assert accuracy_multi(o, t)==accuracy_multi(said.float(), t)


@covers(precision_recall_f1, macro_f1)
@given(tables(), kinds)
def test_precision_recall_f1(pt, kind):
    p,t = pt
    thresh,plain = some_threshs(p, kind)
    def shares_of(tp, said, true): return share(tp, said), share(tp, true), share(2*tp, said+true)
    want = [shares_of(*o) for o in counts(p, t, plain)]
    same(precision_recall_f1(p, t, thresh), np.array(want))
    f1s = [o[2] for o in want if not math.isnan(o[2])]
    same(macro_f1(p, t, thresh), np.mean(f1s) if f1s else nan)
    said = (p > torch.as_tensor(thresh, dtype=p.dtype)).numpy()
    theirs = skm.precision_recall_fscore_support(
        y_true=t.numpy()[:,0], y_pred=said[:,0], labels=[1], zero_division=np.nan)
    same(precision_recall_f1(p, t, thresh)[0], np.stack(theirs[:3])[:,0])


@covers(average_precision, mean_ap)
@given(tables(dtypes=(torch.float,torch.double,torch.half,torch.bfloat16)), seeds)
def test_average_precision(pt, seed):
    p,t = pt
    wide = p.double()
    def theirs(scores, hits):
        return skm.average_precision_score(y_true=hits, y_score=scores) if hits.sum() else nan
    want = [theirs(a, b) for a,b in zip(wide.T.numpy(), t.T.numpy())]
    res = average_precision(p, t)
    same(res, want)
    same(mean_ap(p, t), np.nanmean(want) if not np.isnan(want).all() else nan)
    order = torch.randperm(len(p), generator=torch.Generator().manual_seed(seed))
    same(average_precision(p[order], t[order]), res)                 # the order of the items says nothing
    same(average_precision(wide*8-5, t), res)                        # nor the scale of the scores
    whole = (wide*100).long() + 2**24                                # too large for float32
    same(average_precision(whole, t), average_precision(whole-2**24, t))
    chance = t.mean(0)
    same(average_precision(torch.zeros_like(p), t), torch.where(chance>0, chance, nan))
    low = wide.clone()
    low[wide==wide.amin(0)] = -inf
    low[wide==wide.amax(0)] = inf
    if (wide.amin(0)<wide.amax(0)).all(): same(average_precision(low, t), res)  # infinite scores rank


@covers(f1_by_thresh)
@given(tables())
def test_f1_by_thresh(pt):
    p,t = pt
    threshs = torch.cat([p[:,0], tensor([-1.,.5,2.,-inf,inf], dtype=p.dtype)])
    res = f1_by_thresh(p, t, threshs)
    assert res.shape==(len(threshs), p.shape[1])
    for th,row in zip(threshs.tolist(), res):
        same(row, [2*tp/(said+true) if said+true else 0 for tp,said,true in counts(p, t, [th]*p.shape[1])])
    assert f1_by_thresh(p, t, threshs[:0]).shape==(0, p.shape[1])
    refuses(f1_by_thresh, p, t, tensor([.5,nan]), match='nan')
    refuses(f1_by_thresh, p, t, .5, match='n_threshs')


@covers(best_threshs)
@given(tables(dtypes=(torch.float,torch.double,torch.half)), st.sampled_from([None,40,4e9]), st.booleans())
def test_best_threshs(pt, spread, infinite):
    "No threshold does better, by trying below, between and above all scores; of equals it is the highest"
    p,t = pt
    if spread: p = (p.half() if spread<99 else p.float())*spread - spread/2
    if infinite:
        p[-1] = inf
        p[0] = -inf
    with np.errstate(invalid='ignore'): best = best_threshs(p, t, default=.25)
    wide = p.float() if p.dtype==torch.half else p
    assert best.shape==(p.shape[1],)
    assert best.dtype==wide.dtype
    assert not best.isnan().any()
    for s,y,th in zip(wide.T, t.T, best):
        if not y.any():
            assert th==.25
            continue
        own = s.unique().double().clamp(-1e10, 1e10)
        every = torch.cat([tensor([-inf]), own-4e-6, own+4e-6]).to(torch.double)
        def f1(cut):
            said = s.double()>cut
            return Fraction(2*int((said & y.bool()).sum()), int(said.sum()+y.sum()))
        tried = {cut: f1(cut) for cut in every.tolist()}
        assert f1(th.double())==max(tried.values())
        n_given = (s.double()>th.double()).sum()
        higher = [v for cut,v in tried.items() if (s.double()>cut).sum() < n_given]
        assert all(v < f1(th.double()) for v in higher) or not any(tried.values())
    four = tensor([[.9],[.8],[.7],[.4]]),tensor([[1],[0],[0],[1]])
    same(best_threshs(*four), [.85])                         # one of one, or two of four: 2/3 either way


@covers(label_table)
@given(tables(), kinds)
def test_label_table(pt, kind):
    p,t = pt
    thresh,plain = some_threshs(p, kind)
    vocab = [f'label {j}' for j in range(p.shape[1])]
    table = label_table(p, t, vocab, thresh)
    assert list(table.index)==vocab
    for j,(tp,said,true) in enumerate(counts(p, t, plain)):
        row = table.iloc[j]
        assert row.n==true
        same([row.chance, row.precision, row.recall], [true/len(p), share(tp, said), share(tp, true)])
        same(row.ap, skm.average_precision_score(y_true=t[:,j], y_score=p[:,j]) if true else nan)
    same(table.f1.mean(), macro_f1(p, t, thresh), 1e-5)      # its means are the metrics
    same(table.ap.mean(), mean_ap(p, t), 1e-5)
    refuses(label_table, p, t, vocab+['more'], match='labels')


METRICS = [accuracy_multi, exact_match, precision_recall_f1, macro_f1, average_precision, mean_ap,
           best_threshs, f1_by_thresh, label_table, ece, reliability, fit_temperature, missed_rate,
           crc_thresh, as_table]
MORE_ARGS = {f1_by_thresh: [[.5]], missed_rate: [.5], crc_thresh: [.9]} # beside probabilities and targets


@pytest.mark.parametrize('f', METRICS)
@given(tables(), seeds)
def test_tables_that_say_nothing_are_refused(f, pt, seed):
    "One clear line for NaN, no items, no labels, other shapes, and targets that are no 0 or 1"
    p,t = pt
    at = seed%p.numel()
    def call(p, t):
        more = [range(p.shape[-1])] if f is label_table else MORE_ARGS.get(f, [])
        return f(p, t, *more)
    refuses(call, with_(p, nan, at), t, match='nan')
    for o in (nan,.5,2.,-1.): refuses(call, p, with_(t, o, at), match='0 or 1')
    for a,b in ((p[:0],t[:0]), (p[:,:0],t[:,:0])): refuses(call, a, b, match='Nothing to measure')
    for a,b in ((p,t[:-1]), (p,t[:,:-1]), (p[0],t[0]), (p,t.flatten())): refuses(call, a, b, match='must be')


@pytest.mark.parametrize('f', (accuracy_multi, exact_match, precision_recall_f1, macro_f1, missed_rate))
@given(tables())
def test_thresholds_that_do_not_fit_are_refused(f, pt):
    p,t = pt
    refuses(f, p, t, nan, match='nan')
    refuses(f, p, t, torch.full((p.shape[1],), nan), match='nan')
    refuses(f, p, t, torch.full((p.shape[1]+1,), .5), match='thresh')


# --- unknown

@covers(is_silent)
@given(tables(dtypes=(torch.float,torch.double,torch.half)), kinds)
def test_is_silent(pt, kind):
    p,_ = pt
    thresh,plain = some_threshs(p, kind)
    res = is_silent(p, thresh)
    assert res.dtype==torch.bool
    assert res.tolist()==[all(not a>th for a,th in zip(row, plain)) for row in p.tolist()]
    assert is_silent(torch.full_like(p, nan), thresh).all()      # a NaN is no label
    assert is_silent(p, nan).all()
    assert is_silent(p[:0], thresh).shape==(0,)
    refuses(is_silent, p[0], match='n_items')
    refuses(is_silent, p, torch.full((p.shape[1]+1,), .5), match='fit')


@covers(silence_table)
@given(tables(), shares)
def test_silence_table(pt, thresh):
    p,t = pt
    row, = silence_table(p, t, {'a': p, 'b': 0*p}, [thresh])
    right = [all((a>thresh)==bool(b) for a,b in zip(x, y)) for x,y in zip(p.tolist(), t.tolist())]
    same(row['right'], np.mean(right))
    same(row['answered'], np.mean([max(x)>thresh for x in p.tolist()]))
    same([row['silent a'], row['silent b']], [1-row['answered'], 1])
    bad = with_(p, nan)
    refuses(silence_table, bad, t, {}, match='nan')
    refuses(silence_table, p, t, {'a': bad}, match='a are nan')
    refuses(silence_table, p, t, {'a': p[:0]}, match='none')
    refuses(silence_table, p, t[:-1], {}, match='do not fit')


@covers(max_logit, max_prob, joint_energy, energy)
@given(tables(logits=True), seeds)
def test_scores_of_items(zt, seed):
    z = zt[0].double()
    rows = z.tolist()
    same(max_logit(z), [max(o) for o in rows])
    same(max_prob(z.sigmoid()), [1/(1+math.exp(-max(o))) for o in rows])
    same(joint_energy(z), [sum(max(x, 0)+math.log1p(math.exp(-abs(x))) for x in o) for o in rows])
    same(energy(z), [max(o)+math.log(sum(math.exp(x-max(o)) for x in o)) for o in rows])
    cols = torch.randperm(z.shape[1], generator=torch.Generator().manual_seed(seed))
    for f in (max_logit, max_prob, joint_energy, energy):
        same(f(z[:,cols]), f(z))                                     # labels have no order
        assert (f(z.clamp_max(20)+1) > f(z.clamp_max(20))).all()     # more evidence, more known
        assert f(z[:0]).shape==(0,)
        assert f(z.half()).isfinite().all()
        bad = f(with_(z, nan))                                       # NaN stays NaN, and in its row
        assert bad[0].isnan()
        assert (bad[1:]==f(z)[1:]).all()
        assert f(with_(z, inf))[0]==inf
        low = z.clone()
        low[0] = -inf
        assert f(low)[0] in (-inf,0)
        refuses(f, z[0], match='n_items')
        refuses(f, z[:,:0], match='n_items')


@covers(auroc)
@given(two_scores())
def test_auroc(ab):
    "The share of pairs, counted one by one, in fractions"
    a,b = ab
    wins = sum(Fraction(int(x>y)) + Fraction(int(x==y), 2) for x in a.tolist() for y in b.tolist())
    same(auroc(a, b), float(wins/(len(a)*len(b))))
    same(auroc(a, b)+auroc(b, a), 1)
    same(auroc(a.clamp(-9, 9).exp(), b.clamp(-9, 9).exp()), auroc(a, b))
    assume(a.isfinite().all() and b.isfinite().all())
    known = [1]*len(a)+[0]*len(b)
    same(auroc(a.half(), b.half()), skm.roc_auc_score(y_true=known, y_score=torch.cat([a,b]).half().numpy()))
    same(auroc(a.float(), b.float()), stats.mannwhitneyu(a.float(), b.float()).statistic/(len(a)*len(b)))


@covers(fpr_at_tpr)
@given(two_scores(), shares)
def test_fpr_at_tpr(ab, tpr):
    a,b = ab
    fpr = fpr_at_tpr(a, b, tpr)
    def kept(cut): return Fraction(sum(x>=cut for x in a.tolist()), len(a))
    cut = max(c for c in a.tolist() if kept(c) >= Fraction(str(tpr)))
    same(fpr, sum(y>=cut for y in b.tolist())/len(b))
    assert fpr <= fpr_at_tpr(a, b, 1)
    assert fpr_at_tpr(a, a, 1)==1
    for o in (0,nan,1.01): refuses(fpr_at_tpr, a, b, o, match='tpr')


@covers(silent_at)
@given(two_scores(), shares)
def test_silent_at(ab, answered):
    "What the highest threshold that so many known ones reach refuses; to answer all is the dearest"
    a,b = ab
    same(silent_at(a, b, answered), 1-fpr_at_tpr(a, b, answered))
    assert silent_at(a, b, answered) >= silent_at(a, b, 1)
    assert silent_at(a, a, answered)<=1-answered+1e-9


@covers(aupr)
@given(two_scores())
def test_aupr(ab):
    a,b = (o.clamp(-9, 9) for o in ab)
    both,known = torch.cat([a,b]).numpy(),np.array([1]*len(a)+[0]*len(b))
    same(aupr(a, b), skm.average_precision_score(y_true=known, y_score=both))
    same(aupr(-b, -a), skm.average_precision_score(y_true=1-known, y_score=-both))   # the other way round
    same(aupr(*ab), aupr(a, b))                                   # infinite scores rank like large ones
    same(aupr(a+100, b), 1)


@pytest.mark.parametrize('f', (auroc, fpr_at_tpr, aupr))
def test_rankings_of_nothing_are_refused(f):
    for a,b in (([],[1.]), ([1.],[])): refuses(f, a, b, match='empty')
    for a,b in (([nan,1.],[1.]), ([1.],[nan])): refuses(f, a, b, match='NaN')
    refuses(f, [[1.,2.],[3.,4.]], [1.], match='n_items')
    assert f([[1.],[2.]], [[3.]])==f([1.,2.], [3.])


few = st.integers(1, 15)


@covers(knn_score, nearest, directions)
@given(st.integers(0, 12), st.integers(1, 12), st.integers(1, 6), few, few, seeds)
def test_knn_score(n, n_refs, n_feat, k, chunk, seed):
    feats,refs = rand(seed, n, n_feat),rand(seed+1, n_refs, n_feat)
    res = knn_score(feats, refs, k, chunk)
    assert res.shape==(n,)
    same(nearest(feats, directions(refs), k), res)                   # the kernel, in one piece
    if n:
        near = NearestNeighbors(n_neighbors=min(k, n_refs), metric='cosine', algorithm='brute')
        same(res, 1-near.fit(refs.numpy()).kneighbors(feats.numpy())[0].mean(1))
    for scaled in (feats*1e-3, feats*1e3): same(knn_score(scaled, refs, k, 1), res)   # contrast says nothing
    near_0,refs_0 = feats.clamp(-3, 3),refs.clamp(-3, 3)             # in 16 bits, too long for a length
    half = knn_score(near_0.half()*2e4, refs_0.half()*2e4, k)
    same(half, knn_score(near_0, refs_0, k), 1e-2)
    for bad in (nan,inf,-inf):
        if n:
            odd = knn_score(with_(feats, bad), refs, k, chunk)
            assert odd[0].isnan()
            same(odd[1:], res[1:])
        refuses(knn_score, feats, with_(refs, bad, -1), k, match='not finite')
    refuses(knn_score, feats, refs, 0, match='k=0')
    refuses(knn_score, feats, refs, k, 0, match='chunk=0')
    refuses(knn_score, feats, refs[:0], match='at least one')
    refuses(knn_score, feats, rand(0, 3, n_feat+1), match='do not fit')


@covers(directions)
@given(st.integers(1, 9), st.integers(1, 6), seeds)
def test_directions(n, n_feat, seed):
    x = rand(seed, n, n_feat)
    unit = directions(x)
    same(unit.norm(dim=1), np.ones(n))
    same(unit*x.norm(dim=1, keepdim=True), x)
    assert directions(x.half()).dtype==torch.float
    same(directions(x*0), x*0)                                       # no direction
    assert directions(with_(x, inf))[0].isnan().all()


@covers(half_prior, log_energy)
@given(tables(logits=True), seeds)
def test_half_prior(zt, seed):
    "Half of the log odds; labels that are as frequent keep their order"
    z = zt[0].double()
    prior = rand(seed, z.shape[1]).sigmoid()
    half = half_prior(prior)
    same(half, [math.log(p/(1-p))/2 for p in prior.tolist()])
    same(half_prior(1-prior), -half)
    assert half_prior(tensor([0.,1.,1e-9,nan]))[:3].isfinite().all()
    assert half_prior(tensor([nan])).isnan().all()
    same(log_energy(z, prior), np.log(np.logaddexp(0, (z-half).numpy()).sum(1)))
    same(log_energy(z, prior*0+.5), log_energy(z))
    balanced = prior*0 + 1/max(2, z.shape[1])
    assert ((z-half_prior(balanced)).gather(1, z.argsort(1)).diff(dim=1)>=0).all()
    one = z[:,:1]
    assert (log_energy(one, balanced[:1])[one[:,0].argsort()].diff()>-1e-12).all()
    cols = torch.randperm(z.shape[1], generator=torch.Generator().manual_seed(seed))
    same(log_energy(z[:,cols], prior[cols]), log_energy(z, prior))   # each label takes its own
    rarer = prior.clone()
    rarer[0] *= .5
    near = z.clamp(-20, 20) # the same logit says more of a rare label
    assert (log_energy(near, rarer) > log_energy(near, prior)).all()


@covers(score_parts, log_energy)
@given(tables(logits=True), st.integers(1, 6), seeds)
def test_score_parts(zt, k, seed):
    z = zt[0].double()
    feats,refs = rand(seed, len(z), 4),rand(seed+1, 5, 4)
    prior = rand(seed+2, z.shape[1]).sigmoid()
    parts = score_parts(z, feats, refs, k, prior)
    assert list(parts)==list(SCORES)
    same(parts['max_logit'], z.numpy().max(1))
    same(parts['knn'], knn_score(feats, refs, k))
    same(parts['joint_energy'], log_energy(z, prior))
    same(score_parts(z, feats, refs, k)['joint_energy'], log_energy(z))
    same(log_energy(z).exp(), np.logaddexp(0, z.numpy()).sum(1))
    for p in (None, prior):
        assert all(o.isfinite().all() for o in score_parts(z*0-1e4, feats, refs, k, p).values())
    bad = score_parts(with_(z, nan), feats, refs, k)
    assert bad['joint_energy'][0].isnan()
    assert bad['max_logit'][0].isnan()
    refuses(score_parts, z, feats[:-1], refs, match='do not fit')


@st.composite
def parts_of(draw):
    n,seed = draw(st.integers(2, 40)),draw(seeds)
    known = rand(seed, n)>0
    known[0] = True
    if draw(st.booleans()): known[-1] = False
    def part(i):
        unit,gap = draw(st.sampled_from([.01,1.,50.])),draw(st.sampled_from([0,2]))
        return rand(seed+i, n)*unit + gap*known
    return {k: part(i) for i,k in enumerate(('max_logit','joint_energy','knn'), 1)},known


@covers(fit_score, apply_score)
@given(parts_of())
def test_fit_score(pk):
    parts,known = pk
    rule = fit_score(parts, known)
    assert rule['name'] in ('joint_energy+knn', *SCORES)
    names,res = rule['name'].split('+'),apply_score(parts, rule)
    for o in names:
        x = parts[o][known].numpy()
        same([rule['mean'][o], rule['std'][o]], [np.mean(x), max(np.std(x), 1e-6)])
    same(res, sum((parts[o]-rule['mean'][o])/rule['std'][o] for o in names))
    assert abs(res[known].mean())<1e-6
    for name in ('joint_energy+knn', *SCORES):               # asked for by name: no choice
        named = fit_score(parts, known, name)
        assert named['name']==name
        if name==rule['name']: assert named==rule
    if known.all(): assert rule['name']=='joint_energy+knn'  # nothing to compare with
    else:                                                    # none is better by more than a standard error
        q = auroc(res[known], res[~known])
        for o in parts.values():
            best = auroc(o[known], o[~known])
            assert q >= best - math.sqrt(best*(1-best)/min(known.sum(), (~known).sum())) - 1e-9
    moved = {k: v*3-7 for k,v in parts.items()}
    if min(rule['std'].values())>1e-5:                       # units do not matter
        same(apply_score(moved, fit_score(moved, known)), res, 1e-4)
    refuses(fit_score, {**parts, 'knn': with_(parts['knn'], nan, -1)}, known, match='not finite')
    for o in (known.int(), known.double(), known.to(torch.uint8)): assert fit_score(parts, o)==rule
    refuses(fit_score, moved, known.double()*.5, match='known are not 0 or 1')
    refuses(fit_score, moved, known & False, match='no unit')
    refuses(fit_score, moved, torch.ones(len(known)+1)>0, match='do not fit')
    refuses(fit_score, parts, known, 'energy', match='no scores .*energy')


@covers(keep_thresh, conformal_thresh)
@given(two_scores(), st.integers(1, 99))
def test_kept_known_items(ab, percent):
    "Every one of the items as the new one: no more than the promised share falls below, in whole numbers"
    s = ab[0].tolist()
    lose = (100-percent)/100
    n_cut = (100-percent)*(len(s)+1)//100
    want = sorted(s)[min(n_cut, len(s))-1] if n_cut else -inf
    assert keep_thresh(s, percent/100)==conformal_thresh(s, lose)==want
    if len(s)>1:
        silent = sum(o < conformal_thresh(s[:i]+s[i+1:], lose) for i,o in enumerate(s))
        assert 100*silent <= (100-percent)*len(s)
    for f in (keep_thresh, conformal_thresh):
        for bad in (0,-1,1.01,nan): refuses(f, s, bad, match='not')
        refuses(f, [], .5, match='empty')
        refuses(f, s+[nan], .5, match='NaN')
    refuses(conformal_thresh, s, 1, match='not')


@covers(decide)
@given(tables(logits=True), seeds, st.floats(-1, 1))
def test_decide(zt, seed, thresh):
    "The rule in words, item by item; and no label where a number is missing"
    z = zt[0].double()
    score,marks = rand(seed, len(z)),rand(seed+1, z.shape[1]).sigmoid()
    given_ = decide(z, score, thresh, marks)
    for row,zs,s in zip(given_.tolist(), z.tolist(), score.tolist()):
        likeliest = max(range(len(zs)), key=lambda j: zs[j])         # of equals the first
        above = [j for j,x in enumerate(zs) if 1/(1+math.exp(-x))>marks[j]]
        assert [j for j,o in enumerate(row) if o]==(sorted({likeliest, *above}) if s>=thresh else [])
    assert (given_.any(1)==(score>=thresh)).all()    # an answer is the score's business alone
    for a,b in ((with_(z, nan),score), (z,with_(score, nan))):
        res = decide(a, b, thresh, marks)
        assert not res[0].any()
        assert (res[1:]==given_[1:]).all()
    assert not decide(z, score, nan, marks).any()
    assert (decide(z-inf, score, -inf, marks).sum(1)==1).all()       # nothing is likely: the likeliest alone
    assert decide(z, score*0, 0., marks).any(1).all()                # at the threshold it passes
    assert (decide(z, score, -inf, marks*0+1).sum(1)==1).all()
    assert decide(z[:0], score[:0], thresh, marks).shape==(0, z.shape[1])
    sure = z.clone()
    sure[:,0] = inf
    assert decide(sure, score, -inf, marks)[:,0].all()
    assert decide(z.half(), score, -inf, marks.half()).dtype==torch.bool
    for s in (score[1:], score[:,None]): refuses(decide, z, s, thresh, marks, match='must be')
    refuses(decide, z, score, thresh, marks[1:], match='must be')
    refuses(decide, z, score, thresh, torch.cat([marks,marks]), match='must be')


def half_that_sets(known):
    "Positions of the known pictures that set the cut, as `Decision.fit` draws them"
    at = known.nonzero()[:,0]
    if len(at)<40: return at
    return at[torch.randperm(len(at), generator=torch.Generator().manual_seed(0))[len(at)//2:]]


@settings(max_examples=60)
@given(st.integers(1, 100), st.integers(1, 6), seeds, shares, st.sampled_from(['joint_energy+knn','knn']))
def test_fit_of_a_decision(n, c, seed, keep, name):
    "Of the pictures that set the cut at least the share is answered, and no more than the next that passes"
    z = rand(seed, n, c, dtype=torch.float)*3
    t = (rand(seed+1, n, c)>.5).float()
    parts = dict(knn=rand(seed+2, n).round(decimals=1), joint_energy=log_energy(z), max_logit=z.amax(1))
    known = t.bool().any(1)
    fit = Decision.fit([f'l{j}' for j in range(c)], keep, z, parts, t, name, t.mean(0))
    assert (fit.keep, len(fit.threshs))==(keep, c)
    if not known.any():
        assert fit.thresh==-inf
        assert fit.keep_table is None
        return
    assert fit.rule['name']==name
    score = apply_score(parts, fit.rule)
    answered = fit.given(z, score).any(1)
    assert (answered==(score>=fit.thresh)).all()
    own = half_that_sets(known)
    n_cut = math.floor((1-keep)*(len(own)+1) + 1e-9)                 # of a new picture it promises `keep`
    assert (~answered[own]).sum() <= max(0, n_cut-1)
    assert (score[own]<=fit.thresh).sum() >= max(1, n_cut)           # no higher cut would do
    for i,thresh in enumerate(fit.keep_table, 1):
        assert replace(fit, keep=None).at(i/100).thresh==thresh
        assert (score[own]>=thresh).sum() >= i/100*len(own)-1e-6
    assert list(fit.keep_table)==sorted(fit.keep_table, reverse=True)
    assert Decision.from_dict(json.loads(json.dumps(fit.to_dict())))==fit


@settings(max_examples=60)
@given(st.integers(1, 40), seeds, st.sampled_from([2.,6.,15.]), st.sampled_from([-inf,-1.,0.]))
def test_what_is_no_close_call_stays(c, seed, scale, thresh):
    "Logits and score moved by nearly as much as the margins: the labels are the same"
    z,score = rand(seed, 200, c, dtype=torch.float)*scale,rand(seed+1, 200, dtype=torch.float)*2
    marks = tuple((rand(seed+2, c)*2).sigmoid().clamp(.01, .99).tolist())
    decision = Decision(tuple(map(str, range(c))), .95, {}, thresh=thresh, threshs=marks)
    close = decision.is_close_call(z, score)
    before = decision.given(z, score)
    off_logit,off_score = (.999*o for o in margins)
    first = F.one_hot(z.argmax(1), c)
    moves = [torch.ones_like(z), 1-2*first, 2*first-1]
    moves += [rand(seed+i, 200, c, dtype=torch.float).sign() for i in range(3, 9)]
    moves += [rand(seed+i, 200, c, dtype=torch.float).clamp(-1, 1) for i in range(9, 12)]
    for move in moves:
        for sign in (1,-1):
            for off in (-off_score, 0, off_score):
                after = decision.given(z+sign*off_logit*move, score+off)
                assert ((after==before).all(1) | close).all()
    if scale==15 and c<4: assert not close.all()
    assert decision.is_close_call(with_(z, nan), score)[0]
    assert not decision.is_close_call(z, score*0+thresh-1).any() if thresh>-inf else True


def plain_risks(score, correct):
    "Expected share of wrong answers among the n surest, items of equal score in random order"
    s,wrong = score.tolist(),[1-float(o) for o in correct]
    def at(n):
        cut = sorted(s, reverse=True)[n-1]
        over = [w for x,w in zip(s, wrong) if x>cut]
        level = [w for x,w in zip(s, wrong) if x==cut]
        return (sum(over) + (n-len(over))*sum(level)/len(level))/n
    return [at(n) for n in range(1, len(s)+1)]


@covers(aurc, risk_coverage)
@given(two_scores(), seeds)
def test_risk_and_coverage(ab, seed):
    score,correct = ab[0],rand(seed, len(ab[0]))>0
    risks = plain_risks(score, correct)
    coverage,risk = risk_coverage(score, correct)
    same(coverage, np.arange(1, len(score)+1)/len(score))
    same(risk, risks)
    same(aurc(score, correct), np.mean(risks))
    assert aurc(score, correct*0+1)==0
    assert aurc(score, correct*0)==1
    assert aurc(correct.float(), correct) <= aurc(score, correct) + 1e-9   # who knows the truth ranks best
    for f in (aurc, risk_coverage):
        refuses(f, score, correct[1:], match='answers')
        refuses(f, score[:0], correct[:0], match='empty')
        refuses(f, score*nan, correct, match='NaN')
        refuses(f, score, with_(correct.double(), 2.), match='0 or 1')
        refuses(f, score, correct*nan, match='0 or 1')


# --- trust

@covers(reliability, ece)
@given(tables(dtypes=(torch.float,torch.double,torch.half)), st.integers(1, 12))
def test_calibration(pt, n_bins):
    "torchmetrics for the mean gap; the bins counted with numpy"
    p,t = pt
    wide = p.float() if p.dtype==torch.half else p
    edges = torch.linspace(0, 1, n_bins+1, dtype=wide.dtype)
    says,true,n = reliability(p, t, n_bins)
    for j in range(p.shape[1]):
        col,y = wide[:,j].contiguous(),t[:,j]
        same(ece(p, t, n_bins)[j], binary_calibration_error(col, y.int(), n_bins=n_bins, norm='l1'), 1e-5)
        i = np.minimum(np.searchsorted(edges.numpy(), col.numpy(), side='right')-1, n_bins-1)
        for b in range(n_bins):
            at = i==b
            assert n[j,b]==at.sum()
            same([says[j,b], true[j,b]], [col[at].mean(), y[at].mean()] if at.any() else [nan,nan])
    for f in (reliability, ece):
        refuses(f, p, t, 0, match='one bin')
        refuses(f, p+2, t, match='sigmoid')
        refuses(f, p-inf, t, match='sigmoid')


@covers(fit_temperature)
@given(tables(logits=True, n_min=2))
def test_fit_temperature(zt):
    "No other temperature within the bounds has a lower loss"
    z,t = zt[0].double().clone(),zt[1]
    best = fit_temperature(z, t)
    def loss(temp): return F.binary_cross_entropy_with_logits(z/temp, t, reduction='none').mean(0)
    assert best.shape==(z.shape[1],)
    assert (best>=.05-1e-6).all()
    assert (best<=20+1e-4).all()
    can = t.any(0) & ~t.bool().all(0)
    assert (best[~can]==1).all()
    for other in torch.logspace(math.log10(.05), math.log10(20), 30).tolist():
        assert (loss(best.double())[can] <= loss(other)[can] + 1e-6).all()
    near = fit_temperature(z.float(), t)
    assert (loss(near.double()) <= loss(best.double())+1e-5).all()
    refuses(fit_temperature, with_(z, inf), t, match='infinite')
    refuses(fit_temperature, zt[0], t, bounds=(2,1), match='bounds')


def missed(row, true, thresh):
    "Share of one item's labels that are not given"
    n_lost = sum(not p>thresh for p,y in zip(row, true) if y)
    return Fraction(n_lost, int(sum(true)) or 1)


@covers(missed_rate)
@given(tables(), kinds)
def test_missed_rate(pt, kind):
    p,t = pt
    thresh,plain = some_threshs(p, kind)
    def lost(x, y): return sum(not a>th for a,b,th in zip(x, y, plain) if b)/max(sum(y), 1)
    same(missed_rate(p, t, thresh), [lost(x, y) for x,y in zip(p.tolist(), t.tolist())])
    assert (missed_rate(p, t, inf)==t.any(1)).all()
    assert not missed_rate(p, t, -1).any()


@covers(crc_thresh)
@given(tables(dtypes=(torch.float,torch.double,torch.half)), st.integers(1, 99))
def test_crc_thresh(pt, percent):
    "The promise in fractions: kept at the threshold, broken at the next score; on a grid, the largest kept"
    p,t = pt
    rows,n = list(zip(p.tolist(), t.tolist())),len(p)
    def kept(thresh):
        n_missed = sum(missed(x, y, thresh) for x,y in rows)
        return (n_missed+1)/Fraction(n+1) <= Fraction(percent, 100)
    if percent*(n+1)<100: return refuses(crc_thresh, p, t, percent/100, match='too few')
    thresh = crc_thresh(p, t, percent/100)
    assert kept(thresh)
    assert thresh==np.float32(thresh)
    higher = [s for s in p.flatten().tolist() if s>thresh]
    if thresh<1: assert not kept(min(higher))
    else: assert kept(1.)
    grid = tensor([-1.,0.,.25,.5,.75,1.])
    assert crc_thresh(p, t, percent/100, grid=grid)==max(g for g in grid.tolist() if kept(g))
    if not kept(.999): refuses(crc_thresh, p, t, percent/100, grid=[.999], match='add lower')
    for a in (0,1,nan): refuses(crc_thresh, p, t, a, match='alpha')
    refuses(crc_thresh, p+2, t, .5, match='sigmoid')
    refuses(crc_thresh, p-inf, t, .5, match='sigmoid')


@covers(resplit)
@given(st.integers(2, 30), st.integers(1, 29), st.integers(1, 8), seeds)
def test_resplit(n, n_cal, n_times, seed):
    if n_cal>=n: return refuses(resplit, lambda *_: 0, n, n_cal, match='both sides')
    deals = []
    def risk(cal, test):
        assert len(cal)==n_cal
        assert sorted(cal.tolist()+test.tolist())==list(range(n))
        deals.append(tuple(cal.tolist()))
        return cal.double().mean()
    res = resplit(risk, n, n_cal, n_times, seed)
    assert res.shape==(n_times,)
    assert len(deals)==n_times
    same(res, [np.mean(o) for o in deals])
    assert (resplit(risk, n, n_cal, n_times, seed)==res).all()
    assert deals[:n_times]==deals[n_times:]
    refuses(resplit, risk, n, n_cal, 0, match='deal')
    assert resplit(lambda *_: nan, n, n_cal, 1).isnan().all()


@covers(chance_of_few)
@given(st.integers(-1, 30), st.integers(0, 25), st.integers(1, 99))
def test_chance_of_few(most, n, percent):
    "Counted in fractions"
    share = Fraction(percent, 100)
    each = [math.comb(n, i)*share**i*(1-share)**(n-i) for i in range(n+1)]
    same(chance_of_few(most, n, percent/100), float(sum(each[:most+1])), 1e-9)
    for o in (0,1,nan): refuses(chance_of_few, most, n, o, match='share')


# --- rare

@covers(stratified_split)
@given(tables(), st.sampled_from([(.5,.5), (.7,.2,.1), (.9,.1), (1.,)]), seeds)
def test_stratified_split(pt, part_shares, seed):
    "Each item in one part, the parts as large as asked, the first label that is dealt out as even as can be"
    t = pt[1]
    part = stratified_split(t, part_shares, seed)
    assert part.shape==(len(t),)
    assert (stratified_split(t, part_shares, seed)==part).all()
    n_parts = torch.bincount(part, minlength=len(part_shares))
    assert len(n_parts)==len(part_shares)
    n = t.sum(0)
    if n.any():
        rarest = torch.where(n>0, n, inf).argmin()
        for j,o in enumerate(part_shares): assert abs(t[part==j,rarest].sum()-o*n[rarest])<=1
    else:
        for j,o in enumerate(part_shares): assert abs(n_parts[j]-o*len(t))<=1
    for o in (t.int(), t.bool(), t.to(torch.uint8)):
        assert (stratified_split(o, part_shares, seed)==part).all()
    for o in (nan,-1.,.3): refuses(stratified_split, with_(t, o), part_shares, match='0 or 1')
    refuses(stratified_split, t, (.5,.6), match='sum to 1')
    refuses(stratified_split, t[:0], part_shares, match='no items')
    refuses(stratified_split, t[0], part_shares, match='n_items')


@covers(widen_conv)
@given(st.integers(1, 4), st.integers(1, 6), st.booleans(), seeds)
def test_widen_conv(n, n_in, bias, seed):
    "On a picture of equal channels it answers as before; the channels there were are scaled alike"
    conv = nn.Conv2d(n, 3, 3, stride=2, padding=1, bias=bias).double()
    grey = rand(seed, 2, 1, 7, 7)
    wide = widen_conv(conv, n_in).double()
    same(wide(grey.expand(-1, n_in, -1, -1)).detach(), conv(grey.expand(-1, n, -1, -1)).detach(), 1e-5)
    if n_in>=n: same(wide.weight[:,:n].detach()*n_in/n, conv.weight.detach(), 1e-5)
    refuses(widen_conv, conv, 0, match='at least one channel')
    refuses(widen_conv, nn.Conv2d(4, 4, 3, groups=2), n_in, match='groups')


# --- convolution and fields

sizes, filters = st.integers(1, 12), st.integers(1, 4)
strides, paddings = st.integers(1, 3), st.integers(0, 2)


@covers(conv2d_by_hand, conv_out_size)
@given(sizes, sizes, filters, strides, paddings, st.integers(1, 3), seeds)
def test_convolution(h, w, ks, stride, padding, channels, seed):
    x,f = rand(seed, channels, h, w),rand(seed+1, channels, ks, ks)
    args = ks, stride, padding
    how = dict(stride=stride, padding=padding)
    if ks>min(h, w)+2*padding:
        refuses(conv_out_size, min(h, w), *args, match='fit')
        return refuses(conv2d_by_hand, x, f, **how, match='fit')
    res = conv2d_by_hand(x, f, **how)
    same(res, F.conv2d(x[None], f[None], **how)[0,0])
    assert tuple(res.shape)==(conv_out_size(h, *args), conv_out_size(w, *args))
    same(conv2d_by_hand(2*x, f, **how), 2*res)
    x = with_(x, nan)                                      # a broken pixel spoils where it is seen, no more
    seen = F.conv2d(x.isnan().double()[None], torch.ones_like(f)[None], **how)[0,0]>0
    assert (conv2d_by_hand(x, f, **how).isnan()==seen).all()
    assert conv2d_by_hand(x.half(), f.half(), **how).dtype==torch.half
    for a,b in ((x[0],f), (x,f[:,:,:-1]), (x,torch.cat([f,f]))):
        refuses(conv2d_by_hand, a, b, match='channels')
    refuses(conv2d_by_hand, x, f, 0, padding, match='stride')
    for bad in ((0,1,0), (1,0,0), (1,1,-1)): refuses(conv_out_size, h, *bad, match='at least')


layer_lists = st.lists(st.tuples(st.sampled_from([1,2,3,5]), st.integers(1, 2)), max_size=4)


def layer(k, s, pool):
    "A pooling, or a convolution with what comes after it"
    if pool: return nn.AvgPool2d(k, s)
    return nn.Sequential(nn.Conv2d(1, 1, k, s), nn.BatchNorm2d(1), nn.ReLU())


@covers(receptive_field, longest_path, gradient_field, route_counter, field_width)
@given(layer_lists, st.lists(st.booleans(), min_size=4, max_size=4), seeds)
def test_receptive_fields(layers, pools, seed):
    "Arithmetic, the traced network, the gradient and the routes, counted by polynomials, agree on pixels"
    body = nn.Sequential(*[layer(k, s, pool) for (k,s),pool in zip(layers, pools)])
    assert longest_path(body)==layers
    routes,jump = np.ones(1),1
    for k,s in layers:                                     # each layer: a box of k ones, `jump` pixels apart
        box = np.zeros((k-1)*jump+1)
        box[::jump] = 1
        routes,jump = np.convolve(routes, box),jump*s
    field = len(routes)
    assert receptive_field(layers)==(field, jump)
    size = field + jump
    res = gradient_field(route_counter(body), torch.zeros(1, 1, size, size).double(), 1, 0)
    want = np.zeros((size,size))
    want[jump:jump+field,:field] = np.outer(routes, routes)
    weights = math.prod(float(k)**-2 for (k,_),pool in zip(layers, pools) if pool)
    counted = res/weights if not torch.allclose(res.max(), tensor(want.max())) else res
    same(counted, want)
    inside = field_width(tensor(np.outer(routes, routes)), field//2, field//2, 1.)
    assert inside in (field, field+1)                          # an even field has no middle pixel
    refuses(receptive_field, [(0,1)], match='ks=0')
    refuses(receptive_field, [(1,0)], match='stride=0')


@covers(cell_middles)
@given(st.lists(st.sampled_from([1,2]), min_size=1, max_size=4), st.integers(33, 70), st.booleans())
def test_cell_middles(strides, size, trains):
    "As far apart as the tiles, inside the picture; the network is left as it was"
    body = small_cnn(2, (4,)*len(strides), strides)[0].train(trains)
    middles = cell_middles(body, size)
    n = body(torch.zeros(2,3,size,size)).shape[-1]
    assert middles.shape==(n,)
    assert torch.allclose(middles.diff(), torch.full((n-1,), size/n), atol=1e-3)
    assert 0<=middles.min() and middles.max()<=size
    assert body.training==trains


@covers(longest_path, receptive_field)
@given(layer_lists, layer_lists)
def test_longest_of_two_paths(a, b):
    def path(layers): return nn.Sequential(*[nn.Conv2d(1, 1, k, s, dilation=2) for k,s in layers])
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b = path(a),path(b)
        def forward(self, x): return self.a(x)[...,:1,:1] + self.b(x)[...,:1,:1]
    spread = [[((k-1)*2+1, s) for k,s in o] for o in (a, b)]
    assert receptive_field(longest_path(Two()))==max(map(receptive_field, spread))


@covers(gradient_field)
@given(st.integers(1, 3), st.integers(1, 3), seeds)
def test_gradient_field(bs, channels, seed):
    "A linear layer's gradient is its weights, whatever the picture; the picture keeps no gradient"
    conv,x = nn.Conv2d(channels, 2, 3, padding=1).double(),rand(seed, bs, channels, 7, 7)
    want = torch.zeros(7, 7).double()
    want[2:5,3:6] = conv.weight.sum(0).abs().sum(0).detach()
    same(gradient_field(conv, x, 3, 4), want)
    assert x.grad is None
    assert not x.requires_grad
    assert gradient_field(nn.Sequential(conv, nn.Tanh()), x*nan, 3, 4).isnan().any()       # NaN in, NaN out


@covers(field_width)
@given(sizes, sizes, seeds, shares)
def test_field_width(h, w, seed, share):
    field,row,col = rand(seed, h, w).abs(),seed%h,seed%w
    side = field_width(field, row, col, share)
    def held(side):
        def inside(y, x): return max(abs(y-row), abs(x-col))<=side//2
        return sum(field[y,x].item() for y in range(h) for x in range(w) if inside(y, x))
    assert side%2==1
    assert held(side) >= share*held(99)*(1-1e-5)
    assert side==1 or held(side-2) < share*held(99)
    assert field_width(field*1e-3, row, col, share)==side
    assert field_width(field*0, row, col, share)==1
    for bad in (nan,inf,-1.): refuses(field_width, with_(field, bad), row, col, share, match='finite')
    refuses(field_width, field, h, col, share, match='outside')
    refuses(field_width, field, row, -1, share, match='outside')
    for s in (0,nan,1.1): refuses(field_width, field, row, col, s, match='share')


# --- tables of any kind

SCORES_OF_ITEMS = (max_logit, max_prob, joint_energy, energy, log_energy, softmax_by_hand, sigmoid_by_hand,
    directions)


def calls(seed):
    "A call of every function that takes scores, targets or logits: its tables, and what else it needs"
    n,c = 12,3
    z,feats,refs = rand(seed, n, c)*2,rand(seed+1, n, 4),rand(seed+2, 5, 4)
    t,counts = (rand(seed+3, n, c)>0).double(),rand(seed+4, n, c).abs().round()
    t[0],t[1] = 1,0
    p,prior,known = z.sigmoid(),t.mean(0),t.any(1).double()
    parts = score_parts(z, feats, refs)
    rule,vocab = fit_score(parts, known),['cat','dog','fox']
    losses = bce_naive, bce_with_logits, focal_loss, asymmetric_loss
    res = [(f, dict(logits=z, targets=t), {}) for f in losses]
    res += [(f, {('probs' if f is max_prob else 'x' if f is directions else 'logits'): z}, {})
        for f in SCORES_OF_ITEMS]
    res += [(f, dict(probs=p, targets=t), dict(vocab=vocab) if f is label_table else {}) for f in
        (*set(METRICS)-set(MORE_ARGS)-{fit_temperature}, pick_threshs)]
    return res + [
        (bce_with_logits, dict(logits=z, targets=t, pos_weight=prior+1), {}),
        (fit_temperature, dict(logits=z, targets=t), {}),
        (f1_by_thresh, dict(probs=p, targets=t, threshs=prior), {}),
        (missed_rate, dict(probs=p, targets=t, thresh=prior), {}),
        (exact_match, dict(probs=p, targets=t, thresh=prior), {}),
        (crc_thresh, dict(probs=p, targets=t, grid=p[:,0]), dict(alpha=.9)),
        (above, dict(probs=p, thresh=prior), {}),
        (labels_above, dict(probs=p, thresh=prior), dict(vocab=vocab)),
        (decode_labels, dict(targets=t), dict(vocab=vocab)),
        (is_silent, dict(probs=p, thresh=prior), {}),
        (silence_table, dict(probs=p, targets=t, unknown=dict(a=p)), {}),
        (auroc, dict(known=p[:,0], unknown=p[:5,1]), {}),
        (fpr_at_tpr, dict(known=p[:,0], unknown=p[:5,1]), {}),
        (silent_at, dict(known=p[:,0], unknown=p[:5,1]), {}),
        (aupr, dict(positive=p[:,0], negative=p[:5,1]), {}),
        (nearest, dict(feats=feats, unit_refs=directions(refs)), dict(k=2)),
        (knn_score, dict(feats=feats, refs=refs), {}),
        (half_prior, dict(prior=prior), {}),
        (log_energy, dict(logits=z, prior=prior), {}),
        (score_parts, dict(logits=z, feats=feats, refs=refs, prior=prior), {}),
        (apply_score, dict(parts=parts), dict(rule=rule)),
        (fit_score, dict(parts=parts, known=known), {}),
        (keep_thresh, dict(scores=p[:,0]), {}),
        (conformal_thresh, dict(scores=p[:,0]), dict(alpha=.3)),
        (decide, dict(logits=z, score=feats[:,0], threshs=prior), dict(thresh=.1)),
        (risk_coverage, dict(score=p[:,0], correct=known), {}),
        (aurc, dict(score=p[:,0], correct=known), {}),
        (joint_loss, dict(targets=t, counts=counts), dict(outputs=(z, p, None))),
        (count_mae, dict(preds=p*3, counts=counts), {}),
        (count_confusion, dict(preds=p*3, counts=counts), {}),
        (stratified_split, dict(targets=t), dict(shares=(.5,.5))),
        (pos_weights, dict(targets=t), {}),
        (measure, dict(logits=z, score=feats[:,0], given=t, targets=t.flip(1), unknown_score=refs[:,0],
            unknown_given=t[:5]), {})]


def frame(x):
    "As pandas has it, with names of rows that are no positions"
    names = [f'{i}.jpg' for i in range(len(x))]
    return (pd.DataFrame if x.ndim==2 else pd.Series)(x.numpy(), index=names)


def read_only(x):
    res = np.asfortranarray(x.numpy())[:]
    res.setflags(write=False)
    return res


GIVEN = dict(array=lambda x: x.numpy(), list=lambda x: x.tolist(), pandas=frame,
    rows=list, objects=lambda x: x.numpy().astype(object), big_endian=lambda x: x.numpy().astype('>f8'),
    read_only=read_only, backwards=lambda x: x.flip(0).numpy()[::-1])


def each(tables, f):
    "`f` of every table, also of those in a dict"
    return {k: each(x, f) if isinstance(x, dict) else f(x) for k,x in tables.items()}


def flat(res):
    "All numbers of a result, in order"
    if isinstance(res, pd.DataFrame): res = res.to_dict('list')
    if isinstance(res, dict): res = list(res.values())
    if isinstance(res, (list,tuple)): return [o for part in res for o in flat(part)]
    return res.double().flatten().tolist() if isinstance(res, torch.Tensor) else [res]


CALLED = {f for f,_,_ in calls(0)}
NO_TABLES = (widen_conv, resplit, chance_of_few, count_targets, density_maps, small_cnn, CountHead,
    PresenceAndCount,
    MultiLabelHead)


@pytest.mark.parametrize('module', ['loss','metrics','unknown','trust','rare','counting','sigmoid'])
def test_every_function_with_tables_is_called(module):
    m = importlib.import_module(f'mlc_course.{module}')
    names = {o for o in m.__all__ if callable(getattr(m, o)) and getattr(m, o) not in CALLED and
        getattr(m, o) not in NO_TABLES}
    assert not names


@pytest.mark.parametrize('kind', GIVEN)
@settings(max_examples=3)
@given(seed=seeds)
def test_tables_of_any_kind(kind, seed):
    "Arrays, lists and pandas tables say what tensors say, whatever the names of their rows"
    for f,tables,more in calls(seed):
        want,got = flat(f(**tables, **more)),flat(f(**each(tables, GIVEN[kind]), **more))
        assert len(want)==len(got)
        for a,b in zip(want, got):
            if isinstance(a, str) or a is None: assert a==b, f
            else: assert a==pytest.approx(b, rel=1e-5, abs=1e-6, nan_ok=True), f


def first_of(tables, x):
    "The same tables, the first of them replaced"
    name = next(iter(tables))
    return {**tables, name: dict(a=x) if isinstance(tables[name], dict) else x}


@pytest.mark.parametrize('bad', [
    [['cat'],['dog']], pd.DataFrame(dict(fname=['a.jpg','b.jpg'], cat=[1,0])), [[1.,None],[0.,1.]],
    pd.Series([1,None,True], dtype=object), [[1.],[1.,0.]], {'cat'}, 'cat',
    np.ma.masked_array([1.,2.], [True,False]), np.array(['2026-01-01'], 'datetime64[D]'),
    np.array([1j]), [tensor([1.]),tensor([1.,2.])], np.array([b'1']),
    torch.eye(2).to_sparse()], ids=lambda o: str(o)[:30])
def test_what_holds_no_numbers_is_refused(bad):
    "Text, gaps and ragged rows: one line, which names the argument, in every function"
    for f,tables,more in calls(0): refuses(f, **first_of(tables, bad), **more, match='must be numbers')


def test_tables_in_another_order_are_refused():
    "Two tables of the same pictures whose rows do not meet, and two of the same labels"
    for f,tables,more in calls(0):
        if f in (auroc, fpr_at_tpr, aupr, pick_threshs): continue
        named = {k: frame(x) for k,x in tables.items() if not isinstance(x, dict) and x.ndim==2}
        if len(named)<2 or 'refs' in named: continue
        last = list(named)[-1]
        for other,match in ((named[last].iloc[::-1],'rows'), (named[last].iloc[:,::-1],'columns')):
            if len(named[last])!=len(next(iter(named.values()))): continue
            refuses(f, **{**tables, **named, last: other}, **more, match=f'same {match} in another order')


@pytest.mark.parametrize('dtype', [torch.bool, torch.uint8, torch.int8, torch.int64, torch.float16])
def test_targets_of_any_type(dtype):
    "A byte that wraps around, or a truth that cannot be subtracted, is a 0 or a 1 all the same"
    z,t = rand(0, 6, 3, dtype=torch.float),(rand(1, 6, 3)>0).float()
    for f in (bce_naive, bce_with_logits, focal_loss, asymmetric_loss):
        res = f(z, t.to(dtype))
        same(res, f(z, t))
        assert res.dtype==torch.float
    same(joint_loss((z, z.exp(), None), t.to(dtype), t), joint_loss((z, z.exp(), None), t, t))
    same(count_mae(t.to(dtype), (1-t).to(dtype)), [1,1,1])
    same(count_confusion(t.to(dtype), t.to(dtype), 1), [[int((t==0).sum()),0],[0,int(t.sum())]])
    given_ = t.to(dtype)
    assert measure(z, z[:,0], given_, t, z[:,1], given_)==measure(z, z[:,0], t>0, t, z[:,1], t>0)
    same(pick_threshs(z.sigmoid(), t.to(dtype)), pick_threshs(z.sigmoid(), t))


def test_counts_that_are_none_are_refused():
    "NaN is not 0, and more than any number goes to the last column"
    preds,counts = tensor([[1.,2.]]),tensor([[1.,2.]])
    refuses(count_confusion, with_(preds, nan), counts, match='1 of 2 predicted counts are nan')
    for o in (nan,-1.): refuses(count_confusion, preds, with_(counts, o), match='nan or negative')
    assert count_confusion(with_(preds, inf), counts, 2).tolist()==[[0,0,0],[0,0,1],[0,0,1]]
    assert count_confusion(with_(preds, -.4), counts, 2)[1].tolist()==[1,0,0]


def test_a_name_that_stands_twice_is_refused():
    refuses(encode_labels, [['cat']], ['cat','dog','cat'], match='twice')


# --- all of them

def exports(module):
    "What a module defines; what it only passes on is asked where it comes from"
    m = importlib.import_module(module)
    def is_own(o): return callable(o) and getattr(o, '__module__', module)==module
    return [(module,name) for name in m.__all__ if is_own(getattr(m, name))]

EXPORTS = [o for m in MODULES for o in exports(f'mlc_course.{m}')]


@pytest.mark.parametrize('module,name', EXPORTS)
def test_every_export_is_covered(module, name):
    "Each function in `__all__` has a property test that calls it by name; a new one fails until it has"
    tests = COVERED.get((module, name), [])
    assert tests, f'{module}.{name} has no property test'
    for test in tests:
        assert hasattr(test, 'hypothesis'), f'{test.__name__} draws nothing'
        source = inspect.getsource(test.hypothesis.inner_test)
        assert f'{name}(' in source or f'{name},' in source.split('def ', 1)[1]
