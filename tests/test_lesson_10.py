"Edges of chapter 10: splits, weights and losses by hand, widened layers, and what its stored tables hold"
import math
import pandas as pd, pytest, torch
from torch import nn, tensor
from torchvision.models import resnet18, squeezenet1_0
from torchvision.ops import sigmoid_focal_loss

from conftest import ROOT
from mlc_course import rare
from mlc_course.deeper import channels
from mlc_course.loss import bce_with_logits
from mlc_course.rare import *

RESULTS = ROOT/'nbs/results'


@pytest.fixture
def batch():
    gen = torch.Generator().manual_seed(0)
    return torch.randn(8, 5, generator=gen)*5, (torch.rand(8, 5, generator=gen)<.3).float()


def close(a, b, eps=1e-6): return torch.allclose(torch.as_tensor(a), torch.as_tensor(b), rtol=0, atol=eps)


# --- splits

def test_two_halves():
    two = tensor([[1],[1],[0],[0]])
    for seed in range(5):
        part = stratified_split(two, (.5,.5), seed)
        assert part.tolist().count(0)==2
        assert two[part==0].sum()==1


def test_six_by_hand():
    "Each half has one picture with the rare label and two with the common one, whatever the lots"
    six = tensor([[1,0],[1,1],[0,1],[0,1],[0,1],[0,0]])
    for seed in range(20):
        part = stratified_split(six, (.5,.5), seed)
        for half in (0,1): assert six[part==half].sum(0).tolist()==[1,2]
        assert part.sum()==3


def test_long_tail_is_kept():
    "Each label is shared out evenly, the rarest of them too, and a seed gives the same split again"
    gen = torch.Generator().manual_seed(0)
    t = (torch.rand(3000, 28, generator=gen) < torch.logspace(-2.6,-.4,28)).float()
    part = stratified_split(t, (.6,.2,.2))
    assert (stratified_split(t, (.6,.2,.2))==part).all()
    n = torch.stack([t[part==j].sum(0) for j in range(3)])
    assert (n>0).all()
    assert (n-tensor([.6,.2,.2])[:,None]*t.sum(0)).abs().max()<3


def test_shares_must_sum_to_one():
    with pytest.raises(ValueError, match='sum to 1'): stratified_split(torch.ones(4, 2), (.6,.6))


# --- weights and losses

def test_weights_of_labels_always_or_never_there():
    t = tensor([[1.,1,0],[0,1,0],[0,1,0],[0,1,0]])
    assert pos_weights(t).tolist()==[3,1,1]
    assert close(pos_weights(t, .5), pos_weights(t).sqrt())
    with pytest.raises(ValueError, match='0 or 1'): pos_weights(t*float('nan'))


@pytest.mark.parametrize('alpha,gamma', [(.25,2.), (.6,1.)])
def test_focal_is_torchvisions(batch, alpha, gamma):
    theirs = sigmoid_focal_loss(*batch, alpha=alpha, gamma=gamma, reduction='mean')
    assert close(focal_loss(*batch, alpha, gamma), theirs)


def test_losses_without_fading_are_bce(batch):
    assert close(focal_loss(*batch, None, 0.), bce_with_logits(*batch))
    assert close(asymmetric_loss(*batch, 0., 0., 0.), bce_with_logits(*batch), 1e-5)
    assert close(asymmetric_loss(*batch, 2., 2., 0.), focal_loss(*batch, None, 2.), 1e-5)


def test_losses_by_hand():
    assert close(focal_loss(tensor([[0.]]), tensor([[1.]]), None), math.log(2)/4)   # (1/2)^2
    assert asymmetric_loss(tensor([[-4.]]), tensor([[0.]]))==0                      # 0.018 is below the clip
    cost = asymmetric_loss(tensor([[.8]]).logit(), tensor([[0.]]))                  # a wrong yes
    assert close(cost, -.75**4*math.log(.25), 1e-5)


@pytest.mark.parametrize('loss', [focal_loss,asymmetric_loss])
def test_losses_refuse_other_shapes(loss, batch):
    with pytest.raises(ValueError, match=r'\(5,\)'): loss(batch[0], batch[1][0])


# --- a row for each label

def test_label_table():
    probs,targets = tensor([[.9,.1],[.8,.2],[.1,.1]]),tensor([[1.,0.],[0.,0.],[0.,0.]])
    table = label_table(probs, targets, ['a','b'])
    assert table.loc['a'].round(3).tolist()==[1,.333,1,.5,1,.667]
    assert math.isnan(table.loc['b','ap'])      # never there, never named
    with pytest.raises(ValueError, match='3 labels'): label_table(probs, targets, 'abc')


# --- wider first layers

def test_widen_conv_has_moved_and_stays(): assert rare.widen_conv is channels.widen_conv


@pytest.mark.parametrize('find_net', [resnet18,squeezenet1_0])
def test_widened_layers(find_net):
    net = find_net(weights=None)
    conv = net.conv1 if hasattr(net, 'conv1') else net.features[0]
    grey = torch.rand(2, 1, 64, 64)
    for n_in in (1,2,3,4,7):
        wide = rare.widen_conv(conv, n_in)
        assert close(wide(grey.expand(-1,n_in,-1,-1)), conv(grey.expand(-1,3,-1,-1)), 1e-4)
    assert (rare.widen_conv(conv, 3).weight==conv.weight).all()
    wide = rare.widen_conv(conv, 4)
    assert close(wide.weight[:,3], wide.weight[:,:3].mean(1))
    assert (wide.stride,wide.bias is None)==(conv.stride,conv.bias is None)
    with pytest.raises(ValueError, match='groups'): rare.widen_conv(nn.Conv2d(4, 4, 3, groups=4), 4)


def test_widened_network_answers_as_before():
    net,grey = resnet18(weights=None).eval(),torch.rand(2, 1, 64, 64)
    before = net(grey.expand(-1,3,-1,-1))
    net.conv1 = rare.widen_conv(net.conv1, 4)
    assert close(net(grey.expand(-1,4,-1,-1)), before, 1e-4)


# --- stored tables

def test_budgets_are_equal():
    "Each has at least three learning rates with three seeds, and the best on validation cells was taken"
    lrs = pd.read_csv(RESULTS/'10_lr.csv')
    runs = pd.read_csv(RESULTS/'10_contenders.csv')
    assert (lrs.groupby(['contender','lr']).seed.nunique()==3).all()
    assert (lrs.groupby('contender').lr.nunique()>=3).all()
    assert lrs.contender.nunique()==runs.contender.nunique()==9
    valid = lrs.groupby(['contender','lr']).valid.mean().unstack()
    chosen = runs.groupby('contender').lr.first()
    assert (valid.idxmax(axis=1)==chosen).all()


def test_every_count_has_three_seeds():
    examples = pd.read_csv(RESULTS/'10_examples.csv')
    assert (examples.groupby(['label','n']).seed.nunique()==3).all()
    assert sorted(examples.n.unique())==[4,8,16,32,64,128,256]
    assert (examples.groupby('label').pictures.nunique()==1).all()
    worth = pd.read_csv(RESULTS/'10_worth.csv')
    assert (set(worth.label),set(worth.n))==({'mitochondria'},{16})
    assert (worth.groupby('contender').seed.nunique()==3).all()
    assert worth.contender.nunique()==9


def test_longer_runs():
    "As many seeds for each; those of six epochs are the runs of the comparison"
    longer = pd.read_csv(RESULTS/'10_longer.csv')
    assert (longer.groupby(['contender','epochs']).seed.nunique()==3).all()
    assert sorted(longer.epochs.unique())==[6,18]
    runs = pd.read_csv(RESULTS/'10_contenders.csv').set_index(['contender','seed']).mAP
    six = longer[longer.epochs==6].set_index(['contender','seed']).mAP
    assert (six-runs[six.index]).abs().max()<1e-4
    for name in ('worth_longer','nucleoli'):
        table = pd.read_csv(RESULTS/f'10_{name}.csv')
        assert (table.groupby(['contender','n']).seed.nunique()==3).all() and (table.epochs==18).all()
