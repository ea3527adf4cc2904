"Thresholds, keep rates and figures: the awkward cases that no page has room for"
import math
import pytest, torch
from conftest import untrained
from mlc_course.engine.core import InputError
from mlc_course.engine.decision import Decision, is_name, pick_threshs, usual_keep
from mlc_course.engine.evaluation import FIGURES, measure, measure_validation
from mlc_course.engine.rehearsal import Rehearsal, best_rule
from mlc_course.trust import resplit
from mlc_course.unknown import apply_score, log_energy


# --- thresholds

HALF = [1.]*50+[0.]*50


@pytest.mark.parametrize('scores,targets,lo,hi', [
    ([.9]*50+[.1]*50, HALF, .48, .52), # between 0.1 and 0.9 all do: the middle
    ([.9]*50+[.8]*50, HALF, .81, .89), # never out of the range that works
    ([.3,.1], [0.,0.], .5, .5)])       # no positives: no evidence
def test_threshs(scores, targets, lo, hi):
    thresh = pick_threshs(torch.tensor(scores)[:,None], torch.tensor(targets)[:,None]).item()
    assert lo<=thresh<=hi


def test_threshs_of_nothing():
    assert pick_threshs(torch.zeros(0,3), torch.zeros(0,3)).tolist()==[0.5]*3


def test_marks_agree_with_the_rule():
    "In every picture a label is given exactly if it reaches its mark and the score passes"
    gen = torch.Generator().manual_seed(0)
    for _ in range(50):
        threshs = tuple(torch.rand(4, generator=gen).tolist())
        decision = Decision(tuple('abcd'), .95, {}, thresh=0., threshs=threshs)
        logits, score = torch.randn(40, 4, generator=gen)*3, torch.randn(40, generator=gen)
        reached = logits.sigmoid()>decision.marks(logits)
        assert (decision.given(logits, score)==reached & (score>=0)[:,None]).all()


def test_joiners_inside_a_label_are_fine(): assert is_name('می\u200cشود')


# --- keep rates

@pytest.fixture(scope='module')
def decision(): return untrained().decision


def test_bolder_answers_more(decision):
    "All that a careful model answers, a bolder one does"
    gen = torch.Generator().manual_seed(0)
    logits, score = torch.randn(200, 2, generator=gen)*2, torch.linspace(-12, 4, 200)
    n = [decision.at(i/100).given(logits, score).sum().item() for i in range(1, 101) if i!=95]
    assert n==sorted(n)
    assert n[0]<n[-1]


def test_at(decision):
    assert decision.at(.95) is decision
    assert decision.at(1).thresh==-math.inf # lets every score pass
    assert decision.at(.731).thresh==decision.at(.74).thresh
    assert decision.at(.74).at(.9).threshs==decision.at(.9).threshs


@pytest.mark.parametrize('n', (1, 3))
def test_few_pictures_promise_nothing_and_are_all_kept(n):
    "The cut is the lowest of them; a keep rate of 1 has none"
    logits, targets, parts = made_up(n)
    fit = Decision.fit('abcd', .95, logits, parts, targets)
    score = apply_score(parts, fit.rule)
    assert fit.thresh==score.min()
    assert fit.given(logits, score).any(1).all()
    assert Decision.fit('abcd', 1, logits, parts, targets).thresh==-math.inf


def made_up(n, n_unlabelled=0, seed=0, c=4):
    "Logits, targets and parts of a score: `n` pictures with a label, some with two; others without"
    gen = torch.Generator().manual_seed(seed)
    n_all = n+n_unlabelled
    targets = torch.eye(c)[torch.randint(c, (n_all,), generator=gen)]
    targets[torch.rand(n_all, generator=gen)<.2,0] = 1
    targets[n:] = 0
    logits = torch.randn(n_all, c, generator=gen)*1.5+3*targets-2
    knn = .1*torch.randn(n_all, generator=gen)+.2*targets.any(1)
    return logits, targets, dict(knn=knn, joint_energy=log_energy(logits), max_logit=logits.amax(1))


# --- the promise of `keep`

def rows(parts, who): return {name: o[who] for name,o in parts.items()}


def coverages(n, rates, times=300, name=None):
    "Shares of fresh known pictures that are answered, after the whole fit on `n` others: `(times, n_rates)`"
    res = []
    for seed in range(times):
        logits, targets, parts = made_up(n+300, 40, seed)
        fits, fresh = torch.ones(len(logits)).bool(), slice(n, n+300)
        fits[fresh] = False
        seen, known = rows(parts, fits), targets[fits].bool().any(1)
        chooses = half_that_chooses(known)
        rule = name or best_rule(Rehearsal(), rows(seen, chooses), known[chooses])
        fit = Decision.fit('abcd', rates[0], logits[fits], seen, targets[fits], rule)
        score = apply_score(parts, fit.rule)[fresh]
        answered = [fit.at(o).given(logits[fresh], score).any(1).float().mean() for o in rates]
        res.append(torch.stack(answered))
    return torch.stack(res)


def half_that_chooses(known):
    "Where the pictures are that have a say in the rule: those without label, and half of the known ones"
    at = known.nonzero()[:,0]
    order = torch.randperm(len(at), generator=torch.Generator().manual_seed(0))
    return torch.cat([at[order[:len(at)//2]], (~known).nonzero()[:,0]])


@pytest.mark.parametrize('name', [None, 'joint_energy+knn'], ids=['chosen','given'])
@pytest.mark.parametrize('n', (60, 200, 1000))
def test_keep_is_kept(n, name, says):
    "Of fresh pictures at least `keep` are answered, on average, and not many more: half of `n` set the cut"
    rates = .9, .95
    found = coverages(n, rates, name=name)
    mean, error = found.mean(0).tolist(), (found.std(0)/math.sqrt(len(found))).tolist()
    says(f'{n} pictures, rule {name or "chosen"}: asked {rates}, answered {mean[0]:.4f} and {mean[1]:.4f}')
    for keep,share,se in zip(rates, mean, error):
        assert keep-3*se <= share <= keep+1/(n/2+1)+3*se


@pytest.mark.parametrize('keep', [.9, None])
@pytest.mark.parametrize('n', (40, 41, 300))
def test_who_chooses_has_no_say_in_the_cut(n, keep):
    "And the other way round: the half that sets the cut changes neither rule nor spreads nor thresholds"
    logits, targets, parts = made_up(n, 10)
    chooses = half_that_chooses(targets.bool().any(1))[:n//2]
    sets = sorted({*range(n)}-{*chooses.tolist()})
    assert len(sets)==n-n//2
    def fit(who=(), shift=0., shuffle=False):
        "A decision after the pictures `who` have been spoilt"
        z, t, p = logits.clone(), targets.clone(), {k: o.clone() for k,o in parts.items()}
        for o in p.values(): o[who] += shift
        if len(who) and shuffle:
            z[who], t[who] = -z[who].flip(0), t[who].roll(1, 1)
            for o in p.values(): o[who] = o[who].flip(0)
        return Decision.fit('abcd', keep, z, p, t)
    usual = fit()
    for spoilt in fit(sets, 7.), fit(sets, -7.), fit(sets, 0., True):
        assert (spoilt.rule, spoilt.threshs, spoilt.keep)==(usual.rule, usual.threshs, usual.keep)
    assert fit(sets, 7.).thresh>usual.thresh
    assert fit(sets, 0., True).keep_table==usual.keep_table # the same scores in another order
    unlabelled = list(range(n, n+10))
    assert fit(unlabelled, 99.)==usual
    assert fit(chooses.tolist(), 7.).rule!=usual.rule


# --- keep rates that nobody asked for

def ordered(n, n_right, n_between):
    "Scores 0 to `n-1`, and of those between 1 and 5 per cent the first `n_right` right; all others wrong"
    right = torch.zeros(n).bool()
    at = round(n*.01)
    right[at:at+n_right] = True
    assert round(n*.05)-at==n_between
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    return torch.arange(n).float()[order], right[order]


@pytest.mark.parametrize('n,n_right,n_between,keep', [
    (1000, 40, 40, .99),    # all of those in between
    (1000, 39, 40, .99),    # 0.975, and a standard error of 0.025 below that it is 0.95
    (1000, 36, 40, .99),    # nine in ten, just so
    (1000, 35, 40, .95),
    (1000, 0, 40, .95),
    (10_000, 368, 400, .99),
    (750, 30, 30, .99),
    (725, 29, 29, .95),     # fewer than thirty say nothing
    (20, 1, 1, .95),
    (8, 0, 0, .95)])
def test_usual_keep(n, n_right, n_between, keep):
    assert usual_keep(*ordered(n, n_right, n_between))==keep


def test_keep_is_chosen():
    "By `fit` too, where none is asked for"
    logits, targets, parts = made_up(1200)
    perfect = logits+30*(2*targets-1)
    assert Decision.fit('abcd', None, perfect, parts, targets).keep==.99
    fit = Decision.fit('abcd', None, logits, parts, targets)
    assert fit.keep==.95
    assert fit==Decision.fit('abcd', .95, logits, parts, targets)
    assert Decision.fit('abcd', None, logits[:0], rows(parts, slice(0)), targets[:0]).keep==.95


# --- figures

LOGITS = torch.tensor([[9.,-9],[-9,9],[9,9],[-9,-9]])
TARGETS = torch.tensor([[1.,0],[0,1],[1,0],[0,0]])
SCORE = torch.tensor([4.,3,2,9])


def test_measure():
    unknown = torch.tensor([1.,2.5]), torch.tensor([[False,False],[True,False]])
    res = measure(LOGITS, SCORE, LOGITS>0, TARGETS, *unknown)
    assert list(res)==list(FIGURES)
    assert (res['n_known'], res['exact_match'], res['answered'])==(4, 0.75, 1)
    assert (res['n_unknown'], res['silent'])==(2, 0.5)
    assert res['answered_right']==pytest.approx(2/3, abs=1e-6) # the unlabelled picture is no known one
    assert res['auroc']==pytest.approx(5/6, abs=1e-6)          # and its score is not among the known


def test_measure_without_strangers():
    res = measure(LOGITS, SCORE, LOGITS>0, TARGETS, torch.zeros(0), torch.zeros(0,2).bool())
    assert res['silent'] is res['auroc'] is res['fpr95'] is None


def test_measure_validation():
    res = measure_validation(LOGITS, SCORE, LOGITS>0, TARGETS)
    assert (res['n_known'], res['n_unknown'], res['exact_match'], res['silent'])==(3, 1, 0.75, 1)


# --- thresholds somebody asked for

def test_asked_threshold_holds_for_the_likeliest(decision):
    "And stays after another keep rate, in a file, and beside a second wish"
    strict = decision.with_threshs(dict(cat=.7)).at(.5).with_threshs(dict(dog=.6)).at(.8)
    again = Decision.from_dict(strict.to_dict())
    assert again==strict
    assert (again.threshs, again.asked, again.thresh)==((.7,.6), ('cat','dog'), decision.at(.8).thresh)
    logits = torch.tensor([[2.,-2],[.5,-2],[-2,.3],[2.,2]]) # probabilities: 0.88, 0.62, 0.57, 0.88
    given = again.given(logits, torch.full((4,), 9.))
    assert given.tolist()==[[True,False],[False,False],[False,False],[True,True]]
    assert (given==(logits.sigmoid()>again.marks(logits))).all()


def test_close_calls_of_asked_thresholds(decision):
    "A likeliest label just at its threshold is one, and decides alike on both sides otherwise"
    strict = decision.with_threshs(dict(cat=.7))
    gen = torch.Generator().manual_seed(0)
    logits, score = torch.randn(500, 2, generator=gen)*2, torch.full((500,), 9.)
    sure = ~strict.is_close_call(logits, score)
    assert .2<sure.float().mean()<.9
    for e in -.39, .39: assert (strict.given(logits+e, score)==strict.given(logits, score))[sure].all()


def test_asked_by_numbers_of_numpy(decision):
    import numpy as np, pandas as pd
    assert decision.with_threshs(pd.Series(dict(cat=np.float32(.5)))).threshs[0]==.5
    assert decision.with_threshs({}) is decision


@pytest.mark.parametrize('asked,word', [
    (dict(fox=.5), 'fox'), (dict(cat=1.1), '1.1'), (dict(cat=math.nan), 'nan'), (dict(cat='0.5'), '0.5'),
    (dict(cat=True), 'True'), (dict(cat=None), 'None'), (.7, '0.7'), ([.7,.7], 'dict')])
def test_refused_thresholds(decision, asked, word):
    with pytest.raises(InputError, match=word): decision.with_threshs(asked)


# --- at most so many labels missed

def several(n, seed=0, c=8):
    "Pictures with one to three of eight labels, and logits that are often wrong"
    gen = torch.Generator().manual_seed(seed)
    n_labels = torch.randint(1, 4, (n,1), generator=gen)
    targets = (torch.rand(n, c, generator=gen).argsort(1).argsort(1)<n_labels).float()
    logits = 1.5*torch.randn(n, c, generator=gen)+4*targets-3
    parts = dict(joint_energy=logits.logsumexp(1), knn=torch.randn(n, generator=gen)+targets.sum(1))
    return logits, parts, targets


def missed_on(decision, logits, parts, targets):
    given = decision.given(logits, apply_score(parts, decision.rule))
    return ((targets.bool() & ~given).sum(1)/targets.sum(1)).mean().item()


@pytest.mark.parametrize('max_missed,keep', [(.1,None), (.2,.9), (.05,1.), (.3,.95)])
def test_max_missed_is_kept(max_missed, keep, says):
    "Over resplits of the same pictures the share missed is what was promised, at most, and not for nothing"
    logits, parts, targets = several(1000)
    def fitted(who, **promise):
        return Decision.fit('abcdefgh', keep, logits[who], rows(parts, who), targets[who], **promise)
    def risk(**promise):
        def of(cal, test):
            return missed_on(fitted(cal, **promise), logits[test], rows(parts, test), targets[test])
        return resplit(of, 1000, 300, 40)
    found, usual = risk(max_missed=max_missed), risk()
    mean, error = found.mean().item(), found.std().item()/math.sqrt(len(found))
    says(f'max_missed {max_missed}, keep {keep}: missed {mean:.4f}, without the promise {usual.mean():.4f}')
    assert mean<=max_missed+3*error
    if usual.mean()>max_missed: assert mean>max_missed/2 # not bought by giving every label
    else: assert mean<=usual.mean()+3*error


def test_max_missed_and_keep():
    "The promise goes with lower keep rates, comes back with higher ones, ends with thresholds set by hand"
    fit = Decision.fit('abcdefgh', .95, *several(300), max_missed=.1)
    assert fit.max_missed==fit.at(1).max_missed==fit.at(.9).at(.95).max_missed==.1
    assert fit.at(.9).max_missed is fit.with_threshs(dict(a=.01)).max_missed is None
    assert Decision.from_dict(fit.to_dict())==fit
    assert max(Decision.fit('abcdefgh', None, *several(300), max_missed=m).keep for m in (.2,.1))==.95
    assert Decision.fit('abcdefgh', None, *several(900), max_missed=.04).keep==.98


def test_max_missed_only_lowers():
    "Thresholds that miss too much go down by one step of the logit; those that keep the promise stay"
    data = several(600)
    usual = Decision.fit('abcdefgh', .95, *data)
    assert Decision.fit('abcdefgh', .95, *data, max_missed=.9).threshs==usual.threshs
    strict = Decision.fit('abcdefgh', .95, *data, max_missed=.08).threshs
    steps = torch.tensor(usual.threshs).logit()-torch.tensor(strict).logit()
    assert steps.min()>.3
    assert steps.max()-steps.min()<.01


@pytest.mark.parametrize('max_missed,keep,n,words', [
    (0, .95, 300, 'no share'), (1, .95, 300, 'no share'),
    ('0.1', .95, 300, 'no share'), (True, .95, 300, 'no share'),
    (.05, .95, 300, 'raise keep above 0.95'), (.1, .9, 300, 'exclude each other'),
    (.1, .95, 39, 'there are 39'), (.01, None, 196, 'needs 198 labelled'), (.1, .95, 0, 'there are 0')])
def test_max_missed_that_cannot_be_promised(max_missed, keep, n, words):
    with pytest.raises(InputError, match=words):
        Decision.fit('abcdefgh', keep, *several(n), max_missed=max_missed)
