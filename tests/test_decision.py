"Thresholds, keep rates and figures: the awkward cases that no page has room for"
import math
from dataclasses import replace
import pytest, torch
from conftest import untrained
from mlc_course.engine.decision import Decision, is_name, pick_threshs
from mlc_course.engine.evaluation import FIGURES, measure, measure_validation
from mlc_course.unknown import apply_score


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
        first, second = map(tuple, torch.rand(2, 4, generator=gen).sort(0).values.tolist())
        decision = Decision(tuple('abcd'), .95, {}, thresh=0., threshs=first, second_threshs=second)
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


def test_kept_holds_on_validation():
    "What a keep rate asks for is what training for it would have chosen, and it keeps at least that share"
    gen = torch.Generator().manual_seed(0)
    targets = torch.eye(2).repeat(60, 1)
    targets[90:] = 0
    logits = torch.randn(120, 2, generator=gen)+4*targets-2
    knn = torch.randn(120, generator=gen)+targets.sum(1)
    views = dict(max_logit=logits.amax(1), joint_energy=logits.exp().log1p().sum(1), knn=knn)
    fit = Decision.fit(['a','b'], .95, logits, {k: views for k in (1,3,5,10,20)}, targets)
    score = apply_score(views, fit.rule)
    trained = fit.given(logits, score)
    by_table = replace(fit, keep=None)
    assert (by_table.at(.95).given(logits, score)==trained).all()
    for i in range(1, 101):
        answered = by_table.at(i/100).given(logits, score)[:90].any(1)
        assert answered.float().mean()>=i/100-1e-6, i


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
