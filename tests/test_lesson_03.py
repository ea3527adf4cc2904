"What chapter 03 says of its loss, where the chapter has no room: types, shapes, and what follows from it"
import math
import pytest, torch
from torch import tensor
from torch.nn import functional as F

from mlc_course.loss import bce_naive, bce_with_logits


def test_no_broadcasting():
    with pytest.raises(ValueError, match=r'\(2, 1\)'): bce_naive(torch.zeros(2,2), torch.zeros(2,1))
    with pytest.raises(ValueError, match=r'\(5,\)'): bce_with_logits(torch.zeros(8,5), torch.zeros(5))


def test_far_out():
    far = tensor([[1e32]])
    assert bce_with_logits(far, torch.ones(1,1))==0
    assert bce_with_logits(tensor([[100.]]), torch.zeros(1,1))==100
    assert bce_with_logits(tensor([[-100.]]), torch.ones(1,1), pos_weight=9.)==900
    assert bce_with_logits(tensor([[100.]]), torch.zeros(1,1), pos_weight=9.)==100 # a "no" costs what it did
    # 9 times the cost of a "yes" would be infinite, but none is asked for
    for z in tensor([[-20000.]]).half(),tensor([[-1e38]]):
        assert bce_with_logits(z, torch.zeros(1,1), pos_weight=9.)==0


def test_slope_at_zero():
    for t,slope in (0.,.5),(1.,-.5):
        z = torch.zeros(1, 1, requires_grad=True)
        assert torch.autograd.grad(bce_with_logits(z, tensor([[t]])), z)[0]==slope


def test_weights_by_class_and_type():
    "As PyTorch has them: one weight a class, whole and boolean targets, targets between 0 and 1"
    torch.manual_seed(0)
    z,t,w = torch.randn(6,3)*9,torch.rand(6,3),tensor([1.,4.,.5])
    def reference(t): return F.binary_cross_entropy_with_logits(z, t.float(), pos_weight=w)
    for targets in t,t>.5,(t>.5).long():
        torch.testing.assert_close(bce_with_logits(z, targets, w), reference(targets))


def test_types_of_fastai():
    "A Learner hands over two tensor types that can't be multiplied"
    from fastai.vision.all import BCEWithLogitsLossFlat, TensorImage, TensorMultiCategory
    z,t = torch.randn(8,5)*30,torch.randint(0, 2, (8,5)).float()
    xb,yb = TensorImage(z),TensorMultiCategory(t)
    with pytest.raises(TypeError, match='TensorMultiCategory'): xb*yb
    torch.testing.assert_close(float(bce_with_logits(xb, yb)), float(BCEWithLogitsLossFlat()(xb, yb)))


def train(x, y, lr, steps=100):
    "One linear layer from zero"
    w = torch.zeros(x.shape[1], y.shape[1], requires_grad=True)
    for _ in range(steps): w.data -= lr*torch.autograd.grad(bce_with_logits(x@w, y), w)[0]
    return w.detach()


def test_separate_questions():
    "Three labels learned together are three logistic regressions; the mean divides each slope by 3"
    torch.manual_seed(0)
    x = torch.randn(200, 4)
    y = (x @ torch.randn(4, 3) + torch.randn(200, 3) > 0).float()
    apart = [train(x, y[:,[i]], lr=1.) for i in range(3)]
    torch.testing.assert_close(train(x, y, lr=3.), torch.cat(apart, 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize('share', [.01,.1,.5])
@pytest.mark.parametrize('w', [1.,3.,7.,81.])
def test_weights_multiply_odds(share, w):
    "The best constant answer has no slope where its odds are `w` times those of the share"
    odds = w*share/(1-share)
    z = torch.full((1000,), math.log(odds), dtype=torch.double, requires_grad=True)
    t = (torch.arange(1000) < 1000*share).double()
    slope, = torch.autograd.grad(bce_with_logits(z, t, pos_weight=w), z)
    assert abs(slope.sum()) < 1e-12
    assert (odds>1)==(share>1/(1+w)) # a threshold of 0.5, and the one without weights


def test_cross_entropy_and_both():
    "At 50/50 categorical cross-entropy is content with both labels and with half of each; BCE goes on"
    z = torch.zeros(1, 2, requires_grad=True)
    for t in tensor([[1.,1.]]),tensor([[.5,.5]]):
        assert (torch.autograd.grad(F.cross_entropy(z, t), z)[0]==0).all()
    both, = torch.autograd.grad(bce_with_logits(z, torch.ones(1,2)), z)
    assert (both==-.25).all()


def test_nothing_but_ignored():
    "PyTorch's index for `ignore this item` is no way to say `nothing` either"
    assert F.cross_entropy(torch.zeros(1,3), tensor([-100])).isnan()


def test_one_spoiled_coin():
    "One `nan` reaches the body's weights in the first step, and every weight in the second"
    torch.manual_seed(0)
    body,head = torch.nn.Linear(4, 5),torch.nn.Linear(5, 3)
    x,y = torch.rand(6, 4),torch.ones(6, 3)
    with torch.no_grad(): head.bias[0] = 40
    params = [*body.parameters(), *head.parameters()]
    opt = torch.optim.SGD(params, lr=.1)
    def step():
        opt.zero_grad()
        bce_naive(head(body(x)), y).backward()
        opt.step()
    step()
    assert body.weight.isnan().all() and head.weight[0].isnan().all() and head.weight[1:].isfinite().all()
    step()
    assert all(o.isnan().all() for o in params)
