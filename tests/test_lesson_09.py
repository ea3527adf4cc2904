"Edges of chapter 09: counts from tables, heads that count, their loss, maps of density, and their scores"
import math
import pandas as pd, pytest, torch
from torch import tensor
from torch.nn import functional as F

from mlc_course.counting import *
from mlc_course.draw.animals import breeds
from mlc_course.draw.herds import draw_herds, herd_names
from mlc_course.sigmoid import small_cnn

TINY = pd.DataFrame(dict(fname=['a','a','c','a'], label=['pug','pug','pug','beagle']))


# --- counts from a table

def test_empty_pictures_have_rows():
    "`b` is empty, `c` is not asked for"
    assert count_targets(TINY, ['a','b'], ['beagle','pug']).tolist()==[[1,2],[0,0]]
    assert count_targets(TINY, [], ['pug','beagle']).shape==(0,2)


def test_only_asked_pictures_need_known_names():
    assert count_targets(TINY, ['c'], ['pug']).tolist()==[[1]]
    with pytest.raises(ValueError, match=r"\['pug'\] are not in"): count_targets(TINY, ['a'], ['beagle'])


# --- heads

def net(pool='sum'):
    body = small_cnn(8, (4,8), (2,4))[0]
    return PresenceAndCount(body, 8, 3, pool).eval()


def test_two_heads():
    "The map adds up to the count; an average has no map"
    x = torch.randn(2, 3, 64, 64)
    logits, counts, maps = net()(x)
    assert (logits.shape,counts.shape,maps.shape)==((2,3),(2,3),(2,3,8,8))
    assert torch.allclose(maps.sum((2,3)), counts)
    assert maps.min()>0
    assert net('avg')(x)[2] is None


@pytest.mark.parametrize('pool,bias,n_cells', [('sum',-5.,4), ('avg',-1.,1)])
def test_where_counts_start(pool, bias, n_cells):
    "Features of 0 leave the bias of each cell"
    counts = CountHead(3, 2, pool)(torch.zeros(1, 3, 2, 2))[0]
    assert counts.flatten().tolist()==pytest.approx([n_cells*math.log1p(math.exp(bias))]*2, rel=1e-5)


def test_other_pools_are_refused():
    with pytest.raises(ValueError, match="pool='max'"): CountHead(3, 2, 'max')


# --- loss

OUT,T,N = (torch.zeros(1, 2),tensor([[1.,2.]]),None), tensor([[1.,0.]]), tensor([[1.,3.]])


def test_loss_by_hand():
    assert joint_loss(OUT, T, N, weight=0).item()==pytest.approx(math.log(2))
    assert joint_loss(OUT, T, N, weight=1).item()==pytest.approx(math.log(2) + (1 + 2-3*math.log(2))/2)
    torchs = F.poisson_nll_loss(OUT[1], N, log_input=False, eps=0)
    assert joint_loss(OUT, T, N, weight=.5).item()==pytest.approx(math.log(2) + .5*torchs.item())


def test_loss_of_maps():
    "Each cell is a count; right as a whole, and only then, it has no gradient"
    m = torch.rand(1, 2, 3, 3)
    maps = m.clone().requires_grad_(True)
    loss = joint_loss((OUT[0],maps.sum((2,3)),maps), T, N, 1., density=m)
    assert loss.item()==pytest.approx(math.log(2) + ((m-m*m.log()).sum()/2).item(), rel=1e-5)
    loss.backward()
    assert maps.grad.abs().max()<1e-6


def test_loss_refuses():
    with pytest.raises(ValueError, match=r'\(1, 2\) and true \(1, 3\)'): joint_loss(OUT, T, torch.ones(1, 3))
    with pytest.raises(ValueError, match='pool'): joint_loss(OUT, T, N, density=torch.ones(1, 2, 3, 3))


# --- density

def test_bells():
    "The centre (4, 4) lies on a corner of four cells: column 1, row 1"
    one = density_maps([(0,0,8,8)], ['b'], ['a','b'], (16,32), (8,4))
    assert one.shape==(2,8,4)
    assert torch.allclose(one[1,:2,:2], one[1].max().expand(2, 2), atol=1e-5)
    assert one[0].sum()==0
    assert one[1].sum().item()==pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize('box', [(-20,0,4,8), (60,60,70,64), (5,5,5,5)])
def test_each_object_adds_one(box):
    "Also one that the frame cuts off, and a click"
    assert density_maps([box]*3, ['a']*3, ['a'], (64,64), (8,8)).sum().item()==pytest.approx(3, abs=1e-4)


def test_density_edges():
    assert density_maps([], [], ['a'], (8,8), (2,2)).equal(torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match='1 boxes but 2 labels'):
        density_maps([(0,0,1,1)], ['a','a'], ['a'], (8,8), (2,2))
    with pytest.raises(ValueError, match=r"\['b'\] are not in"):
        density_maps([(0,0,1,1)], ['b'], ['a'], (8,8), (2,2))


# --- scores

P,C = tensor([[1.4,0.],[2.6,9.]]), tensor([[1.,0.],[2.,5.]])


def test_mae_by_hand():
    "(.4+.6)/2 and (0+4)/2"
    assert torch.allclose(count_mae(P, C), tensor([.5,2.]))
    assert count_mae(C, C).tolist()==[0,0]


def test_confusion_by_hand():
    "9 goes to the last column"
    assert count_confusion(P, C).nonzero().tolist()==[[0,0],[1,1],[2,3],[5,5]]
    assert count_confusion(P, C, most=1).tolist()==[[1,0],[0,3]]


@pytest.mark.parametrize('f', [count_mae, count_confusion])
def test_scores_refuse(f):
    with pytest.raises(ValueError, match=r'\(2, 2\) and counts \(2, 1\)'): f(P, C[:,:1])


# --- scenes

def test_herds():
    "Each scene has the animals of its seed, and at most five of a breed"
    x, objects = draw_herds(12, 32)
    assert (x.shape,x.dtype)==((12,3,32,32), torch.uint8)
    counts = count_targets(objects, range(12), breeds)
    assert [sorted(herd_names(i)) for i in range(12)]==[
        sorted(b for b,n in zip(breeds, row) for _ in range(int(n))) for row in counts]
    every = [herd_names(i) for i in range(2000)]
    assert {len(o) for o in every}==set(range(7))
    assert {o.count(b) for o in every for b in breeds}==set(range(6))
