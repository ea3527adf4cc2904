"Scores, metrics and the decision of chapter 07 against outside references, and against their definitions written out"
import math
import pytest, torch
from torch import tensor
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from mlc_course.unknown import (is_silent, silence_table, max_logit, max_prob, joint_energy, energy, auroc, fpr_at_tpr, aupr, aurc, knn_score,
                                score_parts, fit_score, apply_score, keep_thresh, decide, fit_decision)

SEEDS = range(5)
close = lambda a, b, eps=1e-6: abs(a-b) <= eps


@pytest.fixture
def ood():
    "pytorch-ood, a reference written by others"
    return pytest.importorskip('pytorch_ood', reason='pytorch-ood is not installed: the references of the tests need the extra `dev`')


def scores(seed, n_known=237, n_unknown=151, decimals=1):
    "Known and unknown scores that overlap; with `decimals` many of them tie, also across the two"
    gen = torch.Generator().manual_seed(seed)
    a,b = torch.randn(n_known, generator=gen).double()+1, torch.randn(n_unknown, generator=gen).double()
    return (a,b) if decimals is None else (a.round(decimals=decimals),b.round(decimals=decimals))


def draws(seed, n=200, c=5, scale=4.):
    "Logits and 0/1 targets, some rows without a label"
    gen = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, c, generator=gen)*scale - 1
    targets = torch.bernoulli((logits/2).sigmoid(), generator=gen)
    targets[::4] = 0
    return logits,targets


# --- metrics of scores

@pytest.mark.parametrize('decimals', (None, 1, 0))
@pytest.mark.parametrize('seed', SEEDS)
def test_auroc_and_aupr_are_sklearns(seed, decimals):
    known,unknown = scores(seed, decimals=decimals)
    if decimals is not None: assert len(torch.cat([known,unknown]).unique()) < 100
    both,is_known = torch.cat([known,unknown]), [1]*len(known)+[0]*len(unknown)
    is_unknown = [1-o for o in is_known]
    assert close(auroc(known, unknown), roc_auc_score(y_true=is_known, y_score=both))
    assert close(aupr(known, unknown), average_precision_score(y_true=is_known, y_score=both))
    assert close(aupr(-unknown, -known), average_precision_score(y_true=is_unknown, y_score=-both))   # the other way round
    assert close(auroc(known, unknown), auroc(-unknown, -known))


@pytest.mark.parametrize('seed', SEEDS)
def test_auroc_counts_pairs(seed):
    known,unknown = scores(seed, 23, 17, decimals=0)
    wins = sum((a>b) + (a==b)/2 for a in known.tolist() for b in unknown.tolist())
    assert close(auroc(known, unknown), wins/(23*17))


def slow_fpr(known, unknown, tpr):
    "Every score is tried as a cut; the highest that keeps `tpr` of the known lets in so many"
    known,unknown = known.tolist(),unknown.tolist()
    cut = max(t for t in known+unknown if sum(o>=t for o in known)/len(known) >= tpr)
    return sum(o>=cut for o in unknown)/len(unknown)


@pytest.mark.parametrize('decimals', (None, 1, 0))
@pytest.mark.parametrize('n_known', (237, 200, 20, 1))
@pytest.mark.parametrize('seed', SEEDS)
def test_fpr_is_brute_force(seed, n_known, decimals):
    known,unknown = scores(seed, n_known, decimals=decimals)
    for tpr in (.95, .8, .05, 1): assert close(fpr_at_tpr(known, unknown, tpr), slow_fpr(known, unknown, tpr))


@pytest.mark.parametrize('decimals', (None, 1, 0))
@pytest.mark.parametrize('n_known', (237, 200, 20))
@pytest.mark.parametrize('seed', SEEDS)
def test_fpr_and_auroc_are_pytorch_oods(ood, seed, n_known, decimals):
    "There, labels below 0 are the positive class and score high; our positive class are the known pictures"
    from pytorch_ood.metrics import functional as ref
    known,unknown = scores(seed, n_known, decimals=decimals)
    both,labels = torch.cat([known,unknown]), tensor([-1]*len(known)+[0]*len(unknown))
    for tpr in (.95, .8): assert close(fpr_at_tpr(known, unknown, tpr), ref.fpr_at_tpr(both, labels, tpr=tpr).item())
    assert close(auroc(known, unknown), ref.auroc(both, labels).item())
    from pytorch_ood.metrics import OODMetrics   # scores of unknown pictures being positive: the same with all signs turned
    other = OODMetrics()
    other.update(-both, tensor([0]*len(known)+[-1]*len(unknown)))
    res = {k:float(v) for k,v in other.compute().items()}
    assert close(res['AUROC'], auroc(known, unknown))
    assert close(next(v for k,v in res.items() if 'TPR' in k), fpr_at_tpr(-unknown, -known))


def slow_aurc(score, correct):
    "Expected risk at each coverage, items of equal score in random order"
    score,wrong,risks = score.tolist(),[1-float(o) for o in correct],[]
    for n in range(1, len(score)+1):
        cut = sorted(score, reverse=True)[n-1]
        above = [w for s,w in zip(score, wrong) if s>cut]
        at = [w for s,w in zip(score, wrong) if s==cut]
        risks.append((sum(above) + (n-len(above))*sum(at)/len(at))/n)
    return sum(risks)/len(risks)


@pytest.mark.parametrize('decimals', (None, 1, 0))
@pytest.mark.parametrize('seed', SEEDS)
def test_aurc_is_brute_force(seed, decimals):
    score = scores(seed, 120, decimals=decimals)[0]
    correct = torch.rand(120, generator=torch.Generator().manual_seed(seed)) < .8
    assert close(aurc(score, correct), slow_aurc(score, correct))


@pytest.mark.parametrize('f', (auroc, fpr_at_tpr, aupr))
def test_metrics_refuse_what_cannot_be_ranked(f):
    with pytest.raises(ValueError, match='empty'): f([], [1.])
    with pytest.raises(ValueError, match='empty'): f([1.], [])
    with pytest.raises(ValueError, match='NaN'): f([1.,math.nan], [0.])
    assert 0 <= f([1.,-math.inf], [0.,math.inf]) <= 1    # infinite scores do rank


# --- scores

@pytest.mark.parametrize('seed', SEEDS)
def test_softmax_scores_are_pytorch_oods(ood, seed):
    from pytorch_ood.detector import EnergyBased, MaxSoftmax
    logits = draws(seed)[0].double()
    torch.testing.assert_close(energy(logits), -EnergyBased.score(logits), atol=1e-6, rtol=0)
    torch.testing.assert_close(max_prob(logits.softmax(1)), -MaxSoftmax.score(logits), atol=1e-6, rtol=0)


@pytest.mark.parametrize('seed', SEEDS)
def test_joint_energy_sums_over_label_sets(seed):
    "log of the sum over all 2**n sets of labels of exp(sum of the set's logits): not the energy of a softmax"
    logits = draws(seed, n=20)[0].double()
    sets = torch.cartesian_prod(*[tensor([0.,1.])]*logits.shape[1]).double()          # (2**n, n)
    torch.testing.assert_close(joint_energy(logits), (logits@sets.T).logsumexp(1), atol=1e-9, rtol=0)
    assert not torch.allclose(joint_energy(logits), energy(logits))
    assert (joint_energy(logits) >= max_logit(logits).clamp_min(0)).all()


@pytest.mark.parametrize('chunk', (4096, 64, 7, 1))
@pytest.mark.parametrize('k', (1, 5, 80))
def test_knn_is_sklearns(k, chunk):
    gen = torch.Generator().manual_seed(k)
    feats,refs = [torch.rand(n, 32, generator=gen).double()**3 for n in (101, 80)]
    feats[3] = refs[5]*7                                                              # the same direction at another length
    near = NearestNeighbors(n_neighbors=k, metric='cosine', algorithm='brute').fit(refs.numpy()).kneighbors(feats.numpy())[0]
    score = knn_score(feats, refs, k, chunk)
    assert score.shape==(101,)
    torch.testing.assert_close(score, 1-tensor(near).mean(1), atol=1e-6, rtol=0)
    if k==1: assert close(score[3].item(), 1)


def test_knn_edges():
    feats = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(knn_score(feats, feats[:3], k=10), knn_score(feats, feats[:3], k=3))   # all there are
    assert knn_score(torch.zeros(1, 4), feats).tolist()==[0]                                          # no direction: like nothing
    assert knn_score(feats[:0], feats).shape==(0,)


@pytest.mark.parametrize('f', (max_logit, max_prob, joint_energy, energy))
def test_scores_want_rows(f):
    assert f(torch.rand(4, 3)).shape==(4,)
    with pytest.raises(ValueError, match=r'\(3,\)'): f(torch.rand(3))


def test_silence():
    probs = draws(0)[0].sigmoid()
    assert is_silent(probs, .7).tolist()==[max(o)<=.7 for o in probs.tolist()]
    row, = silence_table(probs, torch.zeros_like(probs), {'x': probs}, [.7])
    assert close(row['silent x'], 1-row['answered']) and close(row['right'], row['silent x'])


# --- which score

def some_parts(seed, energy_gap, knn_gap, n=60):
    gen = torch.Generator().manual_seed(seed)
    known = torch.arange(2*n) < n
    part = lambda gap: torch.randn(2*n, generator=gen) + gap*known
    return dict(max_logit=part(0), joint_energy=part(energy_gap), knn=part(knn_gap)),known


@pytest.mark.parametrize('seed', SEEDS)
def test_fit_score_takes_both_unless_one_is_clearly_better(seed):
    assert fit_score(*some_parts(seed, 2., 2.))['name']=='joint_energy+knn'
    assert fit_score(*some_parts(seed, 5., -5.))['name']=='joint_energy'
    assert fit_score(*some_parts(seed, -5., 5.))['name']=='knn'
    parts,known = some_parts(seed, 5., 0.)
    assert fit_score(parts, torch.ones_like(known))['name']=='knn'                    # nothing to compare with
    with pytest.raises(ValueError, match='no validation item has a label'): fit_score(parts, torch.zeros_like(known))


@pytest.mark.parametrize('seed', SEEDS)
def test_apply_score_is_in_units_of_the_known(seed):
    parts,known = some_parts(seed, 2., 2.)
    rule = fit_score(parts, known)
    score = apply_score(parts, rule)
    byhand = sum((parts[k]-parts[k][known].mean())/parts[k][known].std(correction=0) for k in ('joint_energy','knn'))
    torch.testing.assert_close(score, byhand, atol=1e-4, rtol=0)
    assert close(score[known].mean().item(), 0, 1e-4)


def test_scores_stay_finite():
    "Logits so low that every softplus is 0; and a score that is the same for every known item"
    parts = score_parts(torch.full((4,3), -300.), torch.rand(4, 8), torch.rand(5, 8))
    parts['knn'] = torch.ones(4)
    assert apply_score(parts, fit_score(parts, tensor([True,True,False,False]))).isfinite().all()


# --- the decision

@pytest.mark.parametrize('n,keep,cut', [(19,.95,1), (18,.95,None), (20,.95,1), (39,.95,2), (9,.9,1), (99,.9,10), (99,.99,1), (98,.99,None),
                                        (1,.5,1), (1,.6,None), (50,1,None)])
def test_keep_thresh_by_hand(n, keep, cut):
    "The scores are 1 to n, so the threshold is its own rank"
    assert keep_thresh(torch.randperm(n)+1, keep)==(-math.inf if cut is None else cut)


def test_keep_thresh_refuses():
    for keep in (0, -1, 1.01, math.nan):
        with pytest.raises(ValueError, match='keep='): keep_thresh([1.], keep)
    with pytest.raises(ValueError, match='empty'): keep_thresh([])


@pytest.mark.parametrize('n', (10, 37, 100))
@pytest.mark.parametrize('keep', (.95, .8, .5))
def test_keep_thresh_keeps_what_it_promises(n, keep):
    "Validation and new pictures are exchangeable: on average over many draws at least `keep` of the new ones pass"
    gen,kept = torch.Generator().manual_seed(0),[]
    for _ in range(2000):
        s = torch.randn(n+1, generator=gen).round(decimals=1)      # with ties
        kept.append(s[n].item() >= keep_thresh(s[:n], keep))
    assert sum(kept)/2000 >= keep - 3*math.sqrt(keep*(1-keep)/2000)


@pytest.mark.parametrize('seed', SEEDS)
def test_silent_iff_score_or_every_label_fails(seed):
    logits,targets = draws(seed)
    score = torch.randn(len(logits), generator=torch.Generator().manual_seed(seed))
    threshs,further = tensor([.1,.3,.5,.05,.2]),tensor([.5,.4,.6,.5,.9])
    given = decide(logits, score, .2, threshs, further)
    assert given.dtype==torch.bool and given.shape==logits.shape
    for row,l,s in zip(given.tolist(), logits.sigmoid().tolist(), score.tolist()):
        passes = [p>t for p,t in zip(l, threshs.tolist())]
        assert any(row)==(s>=torch.tensor(.2).item() and any(passes))
        if any(row): assert all(p or not r for p,r in zip(passes, row))                # no label below its own threshold
        if any(row): assert sum(not p>f for p,f,r in zip(l, further.tolist(), row) if r)<=1   # but one, all are above `further`


@pytest.mark.parametrize('keep', (.95, .8))
def test_fit_decision_answers_what_it_promises(keep):
    "Over many draws, at least `keep` of new known pictures get an answer"
    answered = []
    for seed in range(200):
        gen = torch.Generator().manual_seed(seed)
        logits = torch.randn(200, 4, generator=gen)*1.5
        score = logits.amax(1) + torch.randn(200, generator=gen)
        targets = torch.zeros(200, 4).scatter(1, logits.argmax(1, keepdim=True), 1)
        targets[80:100] = 0                                                             # no-label validation pictures
        fit = fit_decision(logits[:100], score[:100], targets[:100], keep=keep)
        answered.append(decide(logits[100:], score[100:], *fit).any(1).float().mean())
    answered = torch.stack(answered)
    assert answered.mean() >= keep - .01 and answered.mean() < keep + .04


@pytest.mark.parametrize('seed', SEEDS)
def test_fit_decision_edges(seed):
    logits,targets = draws(seed, n=60, scale=1.)
    score = logits.amax(1)
    targets[:,4] = 0                                                # a label that is never present
    known = targets.any(1)
    thresh,threshs,further = fit_decision(logits, score, targets)
    assert threshs.shape==further.shape==(5,) and (threshs<=further).all() and (further==.5).all()
    assert (decide(logits, score, thresh, threshs, further)[known].any(1).float().mean() >= .93)
    thresh,threshs,_ = fit_decision(logits, score, targets, keep=1)
    assert thresh==-math.inf                                        # all of them: no cut at all
    few = known.nonzero()[:3,0]
    assert fit_decision(logits[few], score[few], targets[few])[0]==score[few].min()     # three pictures promise nothing: all three are kept
    assert fit_decision(logits[few], score[few], targets[few], keep=1)[0]==-math.inf
    one = fit_decision(logits[few[:1]], score[few[:1]], targets[few[:1]])
    assert decide(logits[few[:1]], score[few[:1]], *one).any()
    own = torch.full((5,), .7)
    assert (fit_decision(logits, score, targets, own)[2]==own).all()
    with pytest.raises(ValueError, match='nothing to keep'): fit_decision(logits, score, targets*0)
