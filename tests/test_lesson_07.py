"Edges of chapter 07: silence, the cut, what a threshold in the loss does not do, and where scores come from"
import math
import pytest, torch
from fastai.losses import BCEWithLogitsLossFlat
from torch import tensor

import mlc_course.engine.known_score as known_score
import mlc_course.unknown as unknown
from mlc_course.unknown import auroc, fpr_at_tpr, is_silent, keep_thresh, knn_score, silence_table


# --- silence

def test_silent_if_no_label_is_above():
    assert is_silent([[.2,.3],[.2,.6],[.7,.9]]).tolist()==[True,False,False]


def test_one_threshold_a_label(): assert is_silent([[.2,.6]], tensor([.1,.7])).tolist()==[False]


def test_above_not_at(): assert is_silent([[.5]]).tolist()==[True]


def test_no_number_no_label(): assert is_silent([[float('nan')]]).tolist()==[True]


def test_silence_needs_a_table():
    with pytest.raises(ValueError, match=r'\(3,\)'): is_silent(torch.zeros(3))
    with pytest.raises(ValueError, match='3'): is_silent(torch.zeros(2,3), torch.zeros(2))


def test_table_says_what_is_silent_says():
    gen = torch.Generator().manual_seed(0)
    known,other = torch.rand(40, 3, generator=gen),torch.rand(30, 3, generator=gen)
    targets = (torch.rand(40, 3, generator=gen)>.5).float()
    for row in silence_table(known, targets, dict(other=other)):
        assert row['answered']==pytest.approx(1-is_silent(known, row['thresh']).float().mean().item())
        assert row['silent other']==pytest.approx(is_silent(other, row['thresh']).float().mean().item())


# --- a threshold in the loss

@pytest.mark.parametrize('thresh', (.05,.95))
def test_threshold_in_the_loss_trains_nothing(thresh):
    gen = torch.Generator().manual_seed(0)
    logits,targets = torch.randn(20, 4, generator=gen),(torch.rand(20, 4, generator=gen)>.7).float()
    def slope(loss):
        z = logits.clone().requires_grad_()
        return torch.autograd.grad(loss(z, targets), z)[0]
    assert torch.equal(slope(BCEWithLogitsLossFlat()), slope(BCEWithLogitsLossFlat(thresh=thresh)))


# --- the cut

def test_cut_by_hand():
    assert keep_thresh(torch.arange(1, 20))==1
    assert keep_thresh(torch.arange(1, 20), keep=.9)==2 # two gaps of 20 are below


def test_too_few_pictures_for_a_cut():
    assert keep_thresh(torch.arange(1, 19))==-math.inf
    assert keep_thresh(torch.arange(1, 20), keep=1)==-math.inf


def test_keep_is_a_share():
    with pytest.raises(ValueError, match='keep=0'): keep_thresh(torch.arange(3), 0)


# --- the formulas that the chapter writes in a line are those of the package

def test_pairs_won_are_the_auroc():
    gen = torch.Generator().manual_seed(0)
    k,u = [torch.randn(n, generator=gen).round(decimals=1) for n in (50,40)]
    wins = (k[:,None]>u)+(k[:,None]==u)/2
    assert auroc(k, u)==pytest.approx(wins.mean().item(), abs=1e-6)


def test_silent_where_known_are_answered():
    known,other = tensor([4.,3,2,1]),tensor([2.5,1.5,.5,0])
    assert 1-fpr_at_tpr(known, other, .75)==.75 # the threshold is 2


def test_neighbours_in_two_lines():
    gen = torch.Generator().manual_seed(0)
    x,refs = torch.rand(20, 8, generator=gen),torch.rand(30, 8, generator=gen)
    unit,unit_refs = [torch.nn.functional.normalize(o) for o in (x,refs)]
    by_hand = (unit @ unit_refs.T).topk(10).values.mean(1)
    torch.testing.assert_close(knn_score(x, refs, 10), by_hand)


@pytest.mark.parametrize('name', known_score.__all__)
def test_other_modules_import_from_unknown(name):
    assert name in unknown.__all__
    assert getattr(unknown, name) is getattr(known_score, name)
