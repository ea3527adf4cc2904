"""Properties of every exported function of five modules, on drawn inputs: against an independent reference, or an invariant that a
reader relies on. NaN is refused or comes out as NaN, never as a number or a label. The draws are the same in every run"""
import importlib, inspect, math
from fractions import Fraction
import numpy as np, pytest, torch
import torch.nn.functional as F
from scipy import stats
from sklearn import metrics as skm
from sklearn.neighbors import NearestNeighbors
from torch import nn, tensor
from torchmetrics.functional.classification import binary_calibration_error
from torchvision.ops import sigmoid_focal_loss
hypothesis = pytest.importorskip('hypothesis', reason='hypothesis is not installed: property tests need the extra `dev`')
from hypothesis import assume, given, settings, strategies as st
from mlc_course.convolution import *
from mlc_course.loss import *
from mlc_course.metrics import *
from mlc_course.trust import *
from mlc_course.unknown import *

settings.register_profile('course', derandomize=True, deadline=None, max_examples=40, database=None)
settings.load_profile('course')
MODULES = 'convolution', 'loss', 'metrics', 'unknown', 'trust'
COVERED = {}
nan, inf = math.nan, math.inf
seeds = st.integers(0, 10**6)
shares = st.sampled_from([.01,.05,.1,.25,.5,.75,.9,.95,.99])


def covers(*fns):
    "Notes that the test under it is one of these functions' own; `test_every_export_is_covered` reads the notes"
    def note(test):
        for f in fns: COVERED.setdefault((f.__module__, f.__name__), []).append(test)
        return test
    return note


def refuses(f, *args, match=None, **kw):
    "A `ValueError` of one line"
    with pytest.raises(ValueError, match=match) as e: f(*args, **kw)
    assert '\n' not in str(e.value) and len(str(e.value))<200


def same(a, b, eps=1e-6):
    "Equal numbers, NaN and shape included"
    a,b = (torch.as_tensor(np.asarray(o), dtype=torch.double) for o in (a, b))
    torch.testing.assert_close(a, b, rtol=eps, atol=eps, equal_nan=True)


def rand(seed, *shape, dtype=torch.double):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double).to(dtype)


@st.composite
def tables(draw, logits=False, dtypes=(torch.float,torch.double), n_min=1, scale=3.):
    "Scores and 0/1 targets, from one item and one label on; ties, extremes, labels that are never or always there"
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


# --- loss

@covers(bce_naive)
@given(tables(logits=True, scale=2.))
def test_bce_naive(zt):
    z,t = zt[0].double().clamp(-15, 15),zt[1]
    same(bce_naive(z, t), F.binary_cross_entropy_with_logits(z, t))
    z[0,0] = nan
    assert bce_naive(z, t).isnan() and bce_naive(z[:0], t[:0]).isnan()
    refuses(bce_naive, z, t[:,:0], match='shape')


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
    assert half.dtype==torch.half and abs(half.double()-bce_with_logits(zt[0].double(), t, weight)) <= 2e-2*(1+half.double())
    for bad in (inf,-inf):                                  # the limit, or NaN; never another number
        z[0,0] = bad
        wrong,res = (t[0,0]<1 if bad>0 else t[0,0]>0),bce_with_logits(z, t, w)
        assert res.isnan() or res==(inf if wrong else bce_with_logits(z.clamp(-1e9, 1e9), t, w))
    z[0,0] = nan
    assert bce_with_logits(z, t, w).isnan()
    assert bce_with_logits(z[:0], t[:0]).isnan()
    refuses(bce_with_logits, z, t[:-1], match='shape')


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
    t[0,0] = nan
    refuses(pos_weights, t, match='0 or 1'); refuses(pos_weights, t[0], match='n_items')
    assert pos_weights(tensor([[1.]]*5001+[[0.]]*2), 1).item()==pos_weights(tensor([[1.]]*5001+[[0.]]*2).half(), 1).item()


@covers(focal_loss)
@given(tables(logits=True), st.sampled_from([None,.25,.9]), st.sampled_from([0.,1.,2.,5.]))
def test_focal_loss(zt, alpha, gamma):
    z,t = zt[0].double(),zt[1]
    want = sigmoid_focal_loss(z, t, alpha=-1 if alpha is None else alpha, gamma=gamma, reduction='mean')
    same(focal_loss(z, t, alpha, gamma), want)
    if alpha is None and gamma==0: same(focal_loss(z, t, alpha, gamma), F.binary_cross_entropy_with_logits(z, t))
    assert focal_loss(z, t, alpha, gamma+1) <= focal_loss(z, t, alpha, gamma) + 1e-12       # easy terms fade
    assert abs(focal_loss(z.half(), t.half(), alpha, gamma).double()-want) <= 2e-2*(1+want)
    for a,b in ((tensor([[nan]]), tensor([[1.]])), (tensor([[1.]]), tensor([[nan]]))): assert focal_loss(a, b, alpha, gamma).isnan()
    for sign in (1,-1):
        right,wrong = (focal_loss(tensor([[sign*inf]]), tensor([[float(yes)]]), alpha, gamma) for yes in (sign>0, sign<0))
        assert (right==0 or right.isnan()) and (wrong==inf or wrong.isnan())
    refuses(focal_loss, z, t[:-1], match='shape')


@covers(asymmetric_loss)
@given(tables(logits=True), st.sampled_from([0.,1.,4.]), st.sampled_from([0.,1.]), st.sampled_from([0.,.05,.2]))
def test_asymmetric_loss(zt, gamma_neg, gamma_pos, clip):
    "Equations 4 to 7 of the paper, number by number"
    z,t = zt[0].double().clamp(-30, 30),zt[1]
    def one(x, yes):
        p = 1/(1+math.exp(-x))
        q = max(p-clip, 0)
        return -math.log(p)*(1-p)**gamma_pos if yes else (-math.log1p(-q) if clip else math.log1p(math.exp(x)))*q**gamma_neg
    want = np.mean([one(x, yes) for x,yes in zip(z.flatten().tolist(), t.flatten().tolist())])
    same(asymmetric_loss(z, t, gamma_neg, gamma_pos, clip), want, 1e-5)
    if not (gamma_neg or gamma_pos or clip): same(asymmetric_loss(z, t, 0, 0, 0), F.binary_cross_entropy_with_logits(z, t), 1e-5)
    assert abs(asymmetric_loss(z.half(), t.half(), gamma_neg, gamma_pos, clip).double()-want) <= 3e-2*(1+want)
    for a,b in ((tensor([[nan]]), tensor([[1.]])), (tensor([[1.]]), tensor([[nan]]))):
        assert asymmetric_loss(a, b, gamma_neg, gamma_pos, clip).isnan()
    refuses(asymmetric_loss, z, t[:-1], match='shape')


# --- metrics

def counts(p, t, threshs):
    "True positives, predicted, true: label by label in plain Python"
    rows = list(zip(p.tolist(), t.tolist()))
    return [(sum(a[j]>th and b[j]==1 for a,b in rows), sum(a[j]>th for a,_ in rows), sum(b[j]==1 for _,b in rows))
            for j,th in enumerate(threshs)]


def some_threshs(p, kind):
    "The same for all, one a label, or one that equals scores; with the plain list of what is meant"
    if kind=='one': return .5,[.5]*p.shape[1]
    t = torch.linspace(.1, .9, p.shape[1], dtype=p.dtype) if kind=='each' else p[-1].clone()
    return t,t.tolist()

kinds = st.sampled_from(['one','each','at scores'])


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
    for o in (said, said.int(), said.half()): assert accuracy_multi(o, t)==accuracy_multi(said.float(), t)   # answers, not scores


@covers(precision_recall_f1, macro_f1)
@given(tables(), kinds)
def test_precision_recall_f1(pt, kind):
    p,t = pt
    thresh,plain = some_threshs(p, kind)
    def share(a, b): return a/b if b else nan
    want = np.array([(share(tp, said), share(tp, true), share(2*tp, said+true)) for tp,said,true in counts(p, t, plain)])
    same(precision_recall_f1(p, t, thresh), want)
    same(macro_f1(p, t, thresh), want[:,2][~np.isnan(want[:,2])].mean() if not np.isnan(want[:,2]).all() else nan)
    said = (p > torch.as_tensor(thresh, dtype=p.dtype)).numpy()
    theirs = skm.precision_recall_fscore_support(y_true=t.numpy()[:,0], y_pred=said[:,0], labels=[1], zero_division=np.nan)
    same(precision_recall_f1(p, t, thresh)[0], np.stack(theirs[:3])[:,0])


@covers(average_precision, mean_ap)
@given(tables(dtypes=(torch.float,torch.double,torch.half,torch.bfloat16)), seeds)
def test_average_precision(pt, seed):
    p,t = pt
    wide = p.double()
    want = [skm.average_precision_score(y_true=b, y_score=a) if b.sum() else nan for a,b in zip(wide.T.numpy(), t.T.numpy())]
    res = average_precision(p, t)
    same(res, want)
    same(mean_ap(p, t), np.nanmean(want) if not np.isnan(want).all() else nan)
    order = torch.randperm(len(p), generator=torch.Generator().manual_seed(seed))
    same(average_precision(p[order], t[order]), res)                            # the order of the items says nothing
    same(average_precision(wide*8-5, t), res)                                   # nor the scale of the scores
    whole = (wide*100).long() + 2**24                                           # too large for float32
    same(average_precision(whole, t), average_precision(whole-2**24, t))
    chance = t.mean(0)
    same(average_precision(torch.zeros_like(p), t), torch.where(chance>0, chance, nan))
    low = wide.clone(); low[wide==wide.amin(0)] = -inf; low[wide==wide.amax(0)] = inf
    if (wide.amin(0)<wide.amax(0)).all(): same(average_precision(low, t), res)  # infinite scores rank


@covers(f1_by_thresh)
@given(tables())
def test_f1_by_thresh(pt):
    p,t = pt
    threshs = torch.cat([p[:,0], tensor([-1.,.5,2.], dtype=p.dtype), tensor([-inf,inf], dtype=p.dtype)])
    res = f1_by_thresh(p, t, threshs)
    assert res.shape==(len(threshs), p.shape[1])
    for th,row in zip(threshs.tolist(), res):
        same(row, [2*tp/(said+true) if said+true else 0 for tp,said,true in counts(p, t, [th]*p.shape[1])])
    assert f1_by_thresh(p, t, threshs[:0]).shape==(0, p.shape[1])
    refuses(f1_by_thresh, p, t, tensor([.5,nan]), match='nan')
    refuses(f1_by_thresh, p, t, .5, match='list')


@covers(best_threshs)
@given(tables(dtypes=(torch.float,torch.double,torch.half)), st.sampled_from([None,40,4e9]), st.booleans())
def test_best_threshs(pt, spread, infinite):
    "No threshold at all does better, by trying one below, between and above all scores; of equals it is the highest"
    p,t = pt
    if spread: p = (p.half() if spread<99 else p.float())*spread - spread/2
    if infinite: p[-1] = inf; p[0] = -inf
    with np.errstate(invalid='ignore'): best = best_threshs(p, t, default=.25)
    wide = p.float() if p.dtype==torch.half else p
    assert best.shape==(p.shape[1],) and best.dtype==wide.dtype and not best.isnan().any()
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
        higher = [v for cut,v in tried.items() if (s.double()>cut).sum() < (s.double()>th.double()).sum()]
        assert all(v < f1(th.double()) for v in higher) or not any(tried.values())
    same(best_threshs(tensor([[.9],[.8],[.7],[.4]]), tensor([[1],[0],[0],[1]])), [.85])     # one of one, or two of four: 2/3


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
        same([row.chance, row.precision, row.recall], [true/len(p), tp/said if said else nan, tp/true if true else nan])
        same(row.ap, skm.average_precision_score(y_true=t[:,j], y_score=p[:,j]) if true else nan)
    refuses(label_table, p, t, vocab+['more'], match='labels')


metric_calls = dict(accuracy_multi=accuracy_multi, exact_match=exact_match, precision_recall_f1=precision_recall_f1, macro_f1=macro_f1,
    average_precision=average_precision, mean_ap=mean_ap, best_threshs=best_threshs, ece=ece, reliability=reliability,
    fit_temperature=fit_temperature, f1_by_thresh=lambda p,t: f1_by_thresh(p, t, [.5]), missed_rate=lambda p,t: missed_rate(p, t, .5),
    crc_thresh=lambda p,t: crc_thresh(p, t, .9), label_table=lambda p,t: label_table(p, t, range(p.shape[-1])))


@pytest.mark.parametrize('name', metric_calls)
@given(tables(), seeds)
def test_tables_that_say_nothing_are_refused(name, pt, seed):
    "One clear line for NaN, no items, no labels, other shapes, and targets that are no 0 or 1"
    (p,t),f = pt,metric_calls[name]
    i,j = seed%p.shape[0],seed%p.shape[1]
    bad = p.clone(); bad[i,j] = nan
    refuses(f, bad, t, match='nan')
    for o in (nan,.5,2.,-1.):
        bad = t.clone(); bad[i,j] = o
        refuses(f, p, bad, match='0 or 1')
    for a,b in ((p[:0],t[:0]), (p[:,:0],t[:,:0]), (p,t[:-1]), (p,t[:,:-1]), (p[0],t[0]), (p,t.flatten())): refuses(f, a, b)


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
    assert res.tolist()==[all(not a>th for a,th in zip(row, plain)) for row in p.tolist()] and res.dtype==torch.bool
    assert is_silent(torch.full_like(p, nan), thresh).all() and is_silent(p, nan).all()      # a NaN is no label
    assert is_silent(p[:0], thresh).shape==(0,)
    refuses(is_silent, p[0], match='n_items'); refuses(is_silent, p, torch.full((p.shape[1]+1,), .5), match='fit')


@covers(silence_table)
@given(tables(), shares)
def test_silence_table(pt, thresh):
    p,t = pt
    row, = silence_table(p, t, {'a': p, 'b': 0*p}, [thresh])
    same(row['right'], np.mean([all((a>thresh)==bool(b) for a,b in zip(x, y)) for x,y in zip(p.tolist(), t.tolist())]))
    same(row['answered'], np.mean([max(x)>thresh for x in p.tolist()]))
    same([row['silent a'], row['silent b']], [1-row['answered'], 1])
    bad = p.clone(); bad[0,0] = nan
    refuses(silence_table, bad, t, {}, match='nan'); refuses(silence_table, p, t, {'a': bad}, match='a are nan')
    refuses(silence_table, p, t, {'a': p[:0]}, match='none'); refuses(silence_table, p, t[:-1], {}, match='shape')


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
        same(f(z[:,cols]), f(z))                                                # labels have no order
        assert (f(z.clamp_max(20)+1) > f(z.clamp_max(20))).all()                # more evidence, more known
        assert f(z[:0]).shape==(0,) and f(z.half()).isfinite().all()
        bad = z.clone(); bad[0,0] = nan
        assert f(bad)[0].isnan() and (f(bad)[1:]==f(z)[1:]).all()               # NaN stays NaN, and in its row
        bad[0,0] = inf
        assert f(bad)[0]==inf
        bad[0] = -inf
        assert f(bad)[0] in (-inf,0)
        refuses(f, z[0], match='n_items'); refuses(f, z[:,:0], match='n_items')


@covers(auroc)
@given(two_scores())
def test_auroc(ab):
    "The share of pairs, counted one by one, in fractions"
    a,b = ab
    wins = sum(Fraction(int(x>y)) + Fraction(int(x==y), 2) for x in a.tolist() for y in b.tolist())
    same(auroc(a, b), float(wins/(len(a)*len(b))))
    same(auroc(a, b)+auroc(b, a), 1)
    same(auroc(a.clamp(-9, 9).exp(), b.clamp(-9, 9).exp()), auroc(a, b))
    if a.isfinite().all() and b.isfinite().all():
        same(auroc(a.half(), b.half()), skm.roc_auc_score(y_true=[1]*len(a)+[0]*len(b), y_score=torch.cat([a,b]).half().numpy()))
        same(auroc(a.float(), b.float()), stats.mannwhitneyu(a.float(), b.float()).statistic/(len(a)*len(b)))


@covers(fpr_at_tpr)
@given(two_scores(), shares)
def test_fpr_at_tpr(ab, tpr):
    a,b = ab
    fpr = fpr_at_tpr(a, b, tpr)
    cut = max(c for c in a.tolist() if Fraction(sum(x>=c for x in a.tolist()), len(a)) >= Fraction(str(tpr)))
    same(fpr, sum(y>=cut for y in b.tolist())/len(b))
    assert fpr <= fpr_at_tpr(a, b, 1) and fpr_at_tpr(a, a, 1)==1
    for o in (0,nan,1.01): refuses(fpr_at_tpr, a, b, o, match='tpr')


@covers(aupr)
@given(two_scores())
def test_aupr(ab):
    a,b = (o.clamp(-9, 9) for o in ab)
    same(aupr(a, b), skm.average_precision_score(y_true=[1]*len(a)+[0]*len(b), y_score=torch.cat([a,b]).numpy()))
    same(aupr(*ab), aupr(a, b))                                                 # infinite scores rank like very large ones
    same(aupr(a+100, b), 1)


@pytest.mark.parametrize('f', (auroc, fpr_at_tpr, aupr))
def test_rankings_of_nothing_are_refused(f):
    for a,b in (([],[1.]), ([1.],[])): refuses(f, a, b, match='empty')
    for a,b in (([nan,1.],[1.]), ([1.],[nan])): refuses(f, a, b, match='NaN')


@covers(knn_score)
@given(st.integers(0, 12), st.integers(1, 12), st.integers(1, 6), st.integers(1, 15), st.integers(1, 15), seeds)
def test_knn_score(n, n_refs, n_feat, k, chunk, seed):
    feats,refs = rand(seed, n, n_feat),rand(seed+1, n_refs, n_feat)
    res = knn_score(feats, refs, k, chunk)
    assert res.shape==(n,)
    if n:
        near = NearestNeighbors(n_neighbors=min(k, n_refs), metric='cosine', algorithm='brute').fit(refs.numpy())
        same(res, 1-near.kneighbors(feats.numpy())[0].mean(1))
    for scaled in (feats*1e-3, feats*1e3): same(knn_score(scaled, refs, k, 1), res)            # contrast says nothing
    half = knn_score(feats.clamp(-3, 3).half()*2e4, refs.clamp(-3, 3).half()*2e4, k)           # whose length may exceed 65504
    assert (half-knn_score(feats.clamp(-3, 3), refs.clamp(-3, 3), k)).abs().max()<1e-2 if n else len(half)==0
    for bad in (nan,inf,-inf):
        if n:
            odd = feats.clone(); odd[0,0] = bad
            assert knn_score(odd, refs, k, chunk)[0].isnan() and (knn_score(odd, refs, k, chunk)[1:]-res[1:]).abs().sum()<1e-6
        odd = refs.clone(); odd[-1,-1] = bad
        refuses(knn_score, feats, odd, k, match='not finite')
    refuses(knn_score, feats, refs, 0, match='k=0'); refuses(knn_score, feats, refs, k, 0, match='chunk=0')
    refuses(knn_score, feats, refs[:0], match='at least one'); refuses(knn_score, feats, rand(0, 3, n_feat+1), match='rows of one length')


@covers(score_parts)
@given(tables(logits=True), st.integers(1, 6), seeds)
def test_score_parts(zt, k, seed):
    z = zt[0].double()
    feats,refs = rand(seed, len(z), 4),rand(seed+1, 5, 4)
    parts = score_parts(z, feats, refs, k)
    same(parts['max_logit'], z.numpy().max(1)); same(parts['knn'], knn_score(feats, refs, k))
    same(parts['joint_energy'].exp(), np.logaddexp(0, z.numpy()).sum(1))
    assert all(o.isfinite().all() for o in score_parts(z*0-1e4, feats, refs, k).values())
    z[0,0] = nan
    assert score_parts(z, feats, refs, k)['joint_energy'][0].isnan() and score_parts(z, feats, refs, k)['max_logit'][0].isnan()
    refuses(score_parts, z, feats[:-1], refs, match='rows')


@st.composite
def parts_of(draw):
    n,seed = draw(st.integers(2, 40)),draw(seeds)
    known = rand(seed, n)>0
    known[0] = True
    if draw(st.booleans()): known[-1] = False
    return {k: rand(seed+i, n)*draw(st.sampled_from([.01,1.,50.])) + draw(st.sampled_from([0,2]))*known
            for i,k in enumerate(('max_logit','joint_energy','knn'), 1)},known


@covers(fit_score, apply_score)
@given(parts_of())
def test_fit_score(pk):
    parts,known = pk
    rule = fit_score(parts, known)
    assert rule['name'] in ('joint_energy+knn','knn','joint_energy','max_logit')
    names,res = rule['name'].split('+'),apply_score(parts, rule)
    for o in names: same([rule['mean'][o], rule['std'][o]], [np.mean(parts[o][known].numpy()), max(np.std(parts[o][known].numpy()), 1e-6)])
    same(res, sum((parts[o]-rule['mean'][o])/rule['std'][o] for o in names))
    assert abs(res[known].mean())<1e-6
    if not known.all():                       # no single score is better by more than a standard error
        q = auroc(res[known], res[~known])
        for o in parts.values():
            best = auroc(o[known], o[~known])
            assert q >= best - math.sqrt(best*(1-best)/min(known.sum(), (~known).sum())) - 1e-9
    moved = {k: v*3-7 for k,v in parts.items()}
    if min(rule['std'].values())>1e-5: same(apply_score(moved, fit_score(moved, known)), res, 1e-4)      # units do not matter
    parts['knn'][-1] = nan
    refuses(fit_score, parts, known, match='not finite')
    if 'knn' in names: assert apply_score(parts, rule)[-1].isnan()
    refuses(fit_score, moved, known & False, match='no unit'); refuses(fit_score, moved, torch.ones(len(known)+1)>0, match='shape')


@covers(keep_thresh, conformal_thresh)
@given(two_scores(), st.integers(1, 99))
def test_kept_known_items(ab, percent):
    "Every one of the items as the new one: no more than the promised share falls below, in whole numbers"
    s = ab[0].tolist()
    n_cut = (100-percent)*(len(s)+1)//100
    want = sorted(s)[min(n_cut, len(s))-1] if n_cut else -inf
    assert keep_thresh(s, percent/100)==conformal_thresh(s, (100-percent)/100)==want
    if len(s)>1:
        silent = sum(o < conformal_thresh(s[:i]+s[i+1:], (100-percent)/100) for i,o in enumerate(s))
        assert 100*silent <= (100-percent)*len(s)
    for f,bad in ((keep_thresh,0), (conformal_thresh,0), (keep_thresh,nan), (conformal_thresh,nan), (conformal_thresh,1)):
        refuses(f, s, bad, match='not')
    for f in (keep_thresh, conformal_thresh): refuses(f, [], .5, match='empty'); refuses(f, s+[nan], .5, match='NaN')


@covers(decide)
@given(tables(logits=True), seeds, st.floats(-1, 1))
def test_decide(zt, seed, thresh):
    "The rule in words, item by item; and no label where a number is missing"
    z = zt[0].double()
    score,low = rand(seed, len(z)),rand(seed+1, z.shape[1]).sigmoid()*.5
    high = low+.3
    given_ = decide(z, score, thresh, low, high)
    for row,zs,s in zip(given_.tolist(), z.tolist(), score.tolist()):
        p = [1/(1+math.exp(-x)) for x in zs]
        can = [j for j in range(len(p)) if p[j]>low[j]] if s>=thresh else []
        first = max(can, key=lambda j: zs[j]) if can else None
        assert [j for j,o in enumerate(row) if o]==[j for j in can if j==first or p[j]>high[j]]
    for bad in (z.clone(), score.clone()):
        bad.view(-1)[0] = nan
        res = decide(bad, score, thresh, low, high) if bad.ndim==2 else decide(z, bad, thresh, low, high)
        assert not res[0].any() and (res[1:]==given_[1:]).all()
    assert not decide(z, score, nan, low, high).any() and not decide(z-inf, score, -inf, low, high).any()
    assert decide(z[:0], score[:0], thresh, low, high).shape==(0, z.shape[1])
    sure = z.clone(); sure[:,0] = inf
    assert decide(sure, score, -inf, low, high)[:,0].all()
    assert decide(z.half(), score, -inf, low.half(), high.half()).dtype==torch.bool
    for s,a,b in ((score[1:],low,high), (score[:,None],low,high), (score,low[1:],high), (score,low,torch.cat([high,high]))):
        refuses(decide, z, s, thresh, a, b, match='must be')


@covers(fit_decision)
@given(tables(logits=True, n_min=2), seeds, shares)
def test_fit_decision(zt, seed, keep):
    "What it was fitted on is answered as promised; no threshold of a label rises"
    (z,t),score = zt,rand(seed, len(zt[0]))
    z = z.double().clamp(-60, 60)
    known = t.any(1)
    if not known.any(): return refuses(fit_decision, z, score, t, match='nothing to keep')
    thresh,threshs,further = fit_decision(z, score, t, keep=keep)
    assert (further==.5).all() and (threshs<=further).all() and threshs.shape==(z.shape[1],)
    answered = decide(z, score, thresh, threshs, further)[known].any(1)
    n_lost = math.floor((1-keep)*(known.sum().item()+1)+1e-9) + math.floor((1-keep)/5*(known.sum().item()+1)+1e-9)
    assert answered.any() and (~answered).sum() <= max(n_lost, known.sum()-1 if not n_lost else n_lost)
    for bad in (nan,inf):
        odd = z.clone(); odd[known.nonzero()[0,0],0] = bad
        refuses(fit_decision, odd, score, t, match='finite')
    odd = score.clone(); odd[known] = nan
    refuses(fit_decision, z, odd, t, match='NaN')
    refuses(fit_decision, z, score[1:], t, match='fit together'); refuses(fit_decision, z, score, t[1:], match='fit together')


def plain_risks(score, correct):
    "Expected share of wrong answers among the n surest, items of equal score in random order"
    s,wrong = score.tolist(),[1-float(o) for o in correct]
    def at(n):
        cut = sorted(s, reverse=True)[n-1]
        over,level = [w for x,w in zip(s, wrong) if x>cut],[w for x,w in zip(s, wrong) if x==cut]
        return (sum(over) + (n-len(over))*sum(level)/len(level))/n
    return [at(n) for n in range(1, len(s)+1)]


@covers(aurc, risk_coverage)
@given(two_scores(), seeds)
def test_risk_and_coverage(ab, seed):
    score,correct = ab[0],rand(seed, len(ab[0]))>0
    risks = plain_risks(score, correct)
    coverage,risk = risk_coverage(score, correct)
    same(coverage, np.arange(1, len(score)+1)/len(score)); same(risk, risks)
    same(aurc(score, correct), np.mean(risks))
    assert aurc(score, correct*0+1)==0 and aurc(score, correct*0)==1
    assert aurc(correct.float(), correct) <= aurc(score, correct) + 1e-9        # who knows which are right ranks best
    for f in (aurc, risk_coverage):
        refuses(f, score, correct[1:], match='answers'); refuses(f, score[:0], correct[:0], match='empty')
        refuses(f, score*nan, correct, match='NaN'); refuses(f, score, correct*2., match='0 or 1') if correct.any() else None
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
        same(ece(p, t, n_bins)[j], binary_calibration_error(wide[:,j].contiguous(), t[:,j].int(), n_bins=n_bins, norm='l1'), 1e-5)
        i = np.minimum(np.searchsorted(edges.numpy(), wide[:,j].numpy(), side='right')-1, n_bins-1)
        for b in range(n_bins):
            at = i==b
            assert n[j,b]==at.sum()
            same([says[j,b], true[j,b]], [wide[at,j].mean(), t[at,j].mean()] if at.any() else [nan,nan])
    for f in (reliability, ece):
        refuses(f, p, t, 0, match='one bin'); refuses(f, p+2, t, match='sigmoid'); refuses(f, p-inf, t, match='sigmoid')


@covers(fit_temperature)
@given(tables(logits=True, n_min=2))
def test_fit_temperature(zt):
    "No other temperature within the bounds has a lower loss"
    z,t = zt[0].double().clone(),zt[1]
    best = fit_temperature(z, t)
    def loss(temp): return F.binary_cross_entropy_with_logits(z/temp, t, reduction='none').mean(0)
    assert best.shape==(z.shape[1],) and (best>=.05-1e-6).all() and (best<=20+1e-4).all()
    can = t.any(0) & ~t.bool().all(0)
    assert (best[~can]==1).all()
    for other in torch.logspace(math.log10(.05), math.log10(20), 30).tolist():
        assert (loss(best.double())[can] <= loss(other)[can] + 1e-6).all()
    near = fit_temperature(z.float(), t)
    assert (loss(near.double()) <= loss(best.double())+1e-5).all()
    z[0,0] = inf
    refuses(fit_temperature, z, t, match='infinite'); refuses(fit_temperature, zt[0], t, bounds=(2,1), match='bounds')


def missed(row, true, thresh): return Fraction(sum(not p>thresh for p,y in zip(row, true) if y), int(sum(true)) or 1)


@covers(missed_rate)
@given(tables(), kinds)
def test_missed_rate(pt, kind):
    p,t = pt
    thresh,plain = some_threshs(p, kind)
    want = [sum(not a>th for a,b,th in zip(x, y, plain) if b)/max(sum(y), 1) for x,y in zip(p.tolist(), t.tolist())]
    same(missed_rate(p, t, thresh), want)
    assert (missed_rate(p, t, inf)==t.any(1)).all() and not missed_rate(p, t, -1).any()


@covers(crc_thresh)
@given(tables(dtypes=(torch.float,torch.double,torch.half)), st.integers(1, 99))
def test_crc_thresh(pt, percent):
    "The promise in fractions: kept at the threshold, broken at the next score; and on a grid, the largest that keeps it"
    p,t = pt
    rows,n = list(zip(p.tolist(), t.tolist())),len(p)
    def kept(thresh): return (sum(missed(x, y, thresh) for x,y in rows)+1)/Fraction(n+1) <= Fraction(percent, 100)
    if percent*(n+1)<100: return refuses(crc_thresh, p, t, percent/100, match='too few')
    thresh = crc_thresh(p, t, percent/100)
    assert kept(thresh) and thresh==np.float32(thresh)
    higher = [s for s in p.flatten().tolist() if s>thresh]
    if thresh<1: assert not kept(min(higher))
    else: assert kept(1.)
    grid = tensor([-1.,0.,.25,.5,.75,1.])
    assert crc_thresh(p, t, percent/100, grid=grid)==max(g for g in grid.tolist() if kept(g))
    if not kept(.999): refuses(crc_thresh, p, t, percent/100, grid=[.999], match='add lower')
    for a in (0,1,nan): refuses(crc_thresh, p, t, a, match='alpha')
    refuses(crc_thresh, p+2, t, .5, match='sigmoid'); refuses(crc_thresh, p-inf, t, .5, match='sigmoid')


@covers(resplit)
@given(st.integers(2, 30), st.integers(1, 29), st.integers(1, 8), seeds)
def test_resplit(n, n_cal, n_times, seed):
    if n_cal>=n: return refuses(resplit, lambda *_: 0, n, n_cal, match='both sides')
    deals = []
    def risk(cal, test):
        assert len(cal)==n_cal and sorted(cal.tolist()+test.tolist())==list(range(n))
        deals.append(tuple(cal.tolist()))
        return cal.double().mean()
    res = resplit(risk, n, n_cal, n_times, seed)
    assert res.shape==(n_times,) and len(deals)==n_times
    same(res, [np.mean(o) for o in deals])
    assert (resplit(risk, n, n_cal, n_times, seed)==res).all() and deals[:n_times]==deals[n_times:]
    refuses(resplit, risk, n, n_cal, 0, match='deal')
    assert resplit(lambda *_: nan, n, n_cal, 1).isnan().all()


# --- convolution

sizes, filters, strides, paddings = st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)


@covers(conv2d_by_hand, conv_out_size)
@given(sizes, sizes, filters, strides, paddings, st.integers(1, 3), seeds)
def test_convolution(h, w, ks, stride, padding, channels, seed):
    x,f = rand(seed, channels, h, w),rand(seed+1, channels, ks, ks)
    args = ks, stride, padding
    if ks>min(h, w)+2*padding:
        refuses(conv_out_size, min(h, w), *args, match='fit')
        return refuses(conv2d_by_hand, x, f, stride, padding, match='fit')
    res = conv2d_by_hand(x, f, stride, padding)
    same(res, F.conv2d(x[None], f[None], stride=stride, padding=padding)[0,0])
    assert tuple(res.shape)==(conv_out_size(h, *args), conv_out_size(w, *args))
    same(conv2d_by_hand(2*x, f, stride, padding), 2*res)
    x[0,0,0] = nan
    seen = F.conv2d(x.isnan().double()[None], torch.ones_like(f)[None], stride=stride, padding=padding)[0,0]>0
    assert (conv2d_by_hand(x, f, stride, padding).isnan()==seen).all()           # a broken pixel spoils where it is seen, no more
    assert conv2d_by_hand(x.half(), f.half(), stride, padding).dtype==torch.half
    refuses(conv2d_by_hand, x[0], f, match='channels'); refuses(conv2d_by_hand, x, f[:,:,:-1], match='channels')
    refuses(conv2d_by_hand, x, torch.cat([f,f]), match='channels'); refuses(conv2d_by_hand, x, f, 0, padding, match='stride')
    for bad in ((0,1,0), (1,0,0), (1,1,-1)): refuses(conv_out_size, h, *bad, match='at least')


layer_lists = st.lists(st.tuples(st.sampled_from([1,2,3,5]), st.integers(1, 2)), max_size=4)


@covers(receptive_field, longest_path, gradient_field, route_counter, field_width)
@given(layer_lists, st.lists(st.booleans(), min_size=4, max_size=4), seeds)
def test_receptive_fields(layers, pools, seed):
    "Arithmetic, the traced network, the gradient and the routes, counted with polynomials, agree on which pixels count"
    body = nn.Sequential(*[nn.AvgPool2d(k, s) if pool else nn.Sequential(nn.Conv2d(1, 1, k, s), nn.BatchNorm2d(1), nn.ReLU())
                           for (k,s),pool in zip(layers, pools)])
    assert longest_path(body)==layers
    routes,jump = np.ones(1),1
    for k,s in layers:                                        # each layer: a box of k ones, `jump` pixels apart
        box = np.zeros((k-1)*jump+1); box[::jump] = 1
        routes,jump = np.convolve(routes, box),jump*s
    field = len(routes)
    assert receptive_field(layers)==(field, jump)
    size = field + jump
    res = gradient_field(route_counter(body), torch.zeros(1, 1, size, size).double(), 1, 0)
    want = np.zeros((size,size)); want[jump:jump+field,:field] = np.outer(routes, routes)
    weights = math.prod(float(k)**-2 for (k,_),pool in zip(layers, pools) if pool)
    counted = res/weights if not torch.allclose(res.max(), tensor(want.max())) else res
    same(counted, want)
    inside = field_width(tensor(np.outer(routes, routes)), field//2, field//2, 1.)
    assert inside in (field, field+1)                         # an even field has no middle pixel
    refuses(receptive_field, [(0,1)], match='ks=0'); refuses(receptive_field, [(1,0)], match='stride=0')


@covers(longest_path, receptive_field)
@given(layer_lists, layer_lists)
def test_longest_of_two_paths(a, b):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a,self.b = (nn.Sequential(*[nn.Conv2d(1, 1, k, s, dilation=2) for k,s in o]) for o in (a, b))
        def forward(self, x): return self.a(x)[...,:1,:1] + self.b(x)[...,:1,:1]
    spread = [[((k-1)*2+1, s) for k,s in o] for o in (a, b)]
    assert receptive_field(longest_path(Two()))==max(map(receptive_field, spread))


@covers(gradient_field)
@given(st.integers(1, 3), st.integers(1, 3), seeds)
def test_gradient_field(bs, channels, seed):
    "A linear layer's gradient is its weights, whatever the picture; the picture keeps no gradient"
    conv,x = nn.Conv2d(channels, 2, 3, padding=1).double(),rand(seed, bs, channels, 7, 7)
    field = gradient_field(conv, x, 3, 4)
    want = torch.zeros(7, 7).double(); want[2:5,3:6] = conv.weight.sum(0).abs().sum(0).detach()
    same(field, want)
    assert x.grad is None and not x.requires_grad
    assert gradient_field(nn.Sequential(conv, nn.Tanh()), x*nan, 3, 4).isnan().any()          # NaN in, NaN out


@covers(field_width)
@given(sizes, sizes, seeds, shares)
def test_field_width(h, w, seed, share):
    field,row,col = rand(seed, h, w).abs(),seed%h,seed%w
    side = field_width(field, row, col, share)
    def held(side):
        r = side//2
        return sum(field[y,x].item() for y in range(h) for x in range(w) if max(abs(y-row), abs(x-col))<=r)
    assert side%2==1 and held(side) >= share*held(99)*(1-1e-5)
    assert side==1 or held(side-2) < share*held(99)
    assert field_width(field*1e-3, row, col, share)==side and field_width(field*0, row, col, share)==1
    for bad in (nan,inf,-1.):
        odd = field.clone(); odd[0,0] = bad
        refuses(field_width, odd, row, col, share, match='finite')
    refuses(field_width, field, h, col, share, match='outside'); refuses(field_width, field, row, -1, share, match='outside')
    for s in (0,nan,1.1): refuses(field_width, field, row, col, s, match='share')


# --- all of them

def test_every_export_is_covered():
    "Each name in `__all__` has a property test that calls it by name; a new export fails here until it has one"
    for module in MODULES:
        full = f'mlc_course.{module}'
        for name in importlib.import_module(full).__all__:
            tests = COVERED.get((full, name), [])
            assert tests, f'{full}.{name} has no property test'
            for test in tests:
                inner = getattr(getattr(test, 'hypothesis', None), 'inner_test', test)
                assert f'{name}(' in inspect.getsource(inner) or f'{name},' in inspect.getsource(inner).split('def ', 1)[1]
                assert hasattr(test, 'hypothesis'), f'{test.__name__} draws nothing'
