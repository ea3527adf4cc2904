"What the page of chapter 02 does not show: shapes, edges, errors"
from xml.etree import ElementTree
import pytest, torch
from matplotlib import pyplot as plt
from torch import nn, tensor

from mlc_course.engine.toys import cats_and_dogs, noise, pairs
from mlc_course.exercises.sigmoid import check_3
from mlc_course.sigmoid import MultiLabelHead, labels_above, sigmoid_by_hand, small_cnn, softmax_by_hand
from mlc_course.ui.diagrams import head_votes
from mlc_course.ui.show import show_dots, show_runs

PROBS = tensor([[.95,.07],[.09,.95],[.91,.91],[.06,.05]])


def test_head_pools_any_grid():
    "Each map is 0 but in one random cell: only its mean counts"
    torch.manual_seed(0)
    head,feats = MultiLabelHead(5, 2).eval(),torch.rand(4, 5)
    maps = torch.zeros(4, 5, 63).scatter_(2, torch.randint(63, (4,5,1)), 63*feats[...,None])
    assert torch.allclose(head(maps.view(4,5,7,9)), head[-1](feats), atol=1e-4)
    shapes = []
    for layer in head:
        maps = layer(maps.view(4,5,7,9) if not shapes else maps)
        shapes.append(tuple(maps.shape))
    assert shapes==[(4,5,1,1),(4,5),(4,5),(4,2)]


def test_dropout():
    assert MultiLabelHead(5, 2)[2].p==.1
    assert MultiLabelHead(5, 2, p=0.)[2].p==0


def test_small_cnn():
    net = small_cnn(2).eval()
    kinds = [type(o) for o in net.modules()]
    assert [kinds.count(o) for o in (nn.Conv2d,nn.BatchNorm2d,nn.ReLU,nn.Linear)]==[5,5,5,1]
    assert net[0](torch.zeros(1,3,96,96)).shape==(1,192,3,3) # 96 halved five times
    assert net(torch.zeros(4,3,48,80)).shape==(4,2)          # any size of picture
    assert small_cnn(7, widths=(8,16))(torch.zeros(2,3,32,32)).shape==(2,7)
    assert small_cnn(2, (8,16), (1,2))[0](torch.zeros(2,3,32,32)).shape==(2,16,16,16)


def test_a_stride_for_each_width():
    with pytest.raises(ValueError, match='2 widths but 1 strides'): small_cnn(2, (8,16), (2,))


def test_softmax():
    torch.manual_seed(0)
    z = torch.randn(50, 6)*40
    p = softmax_by_hand(z)
    assert torch.allclose(p, z.softmax(-1), atol=1e-6)
    assert torch.allclose(p.sum(-1), torch.ones(50))
    assert (p.amax(1)>=1/6).all() # not all pieces of a cake are smaller
    assert torch.allclose(softmax_by_hand(z+7), p, atol=1e-5) # only differences count


def test_sigmoid():
    z = torch.linspace(-200, 200, 801)
    p = sigmoid_by_hand(z)
    assert torch.allclose(p, z.sigmoid(), atol=1e-6)
    assert p.isfinite().all()
    assert sigmoid_by_hand(tensor([0.])).item()==.5
    assert torch.allclose(sigmoid_by_hand(-z), 1-p, atol=1e-6) # "no" is the mirror image of "yes"


@pytest.mark.parametrize('thresh,want', [
    (.5, [['cat'],['dog'],['cat','dog'],[]]),
    (.93, [['cat'],['dog'],[],[]]),                       # a higher bar, fewer names
    (tensor([.93,.5]), [['cat'],['dog'],['dog'],[]])])    # a bar for each class
def test_labels_above(thresh, want): assert labels_above(PROBS, ['cat','dog'], thresh)==want


def test_at_the_threshold_is_not_above_it(): assert labels_above(tensor([[.5]]), ['cat'])==[[]]


def test_a_name_for_each_column():
    with pytest.raises(ValueError, match='3 names'): labels_above(PROBS, ['cat','dog','bird'])


@pytest.mark.parametrize('bias', [[-3,-3], [90,0], [0,90]])
def test_drawn_head(bias):
    "Well-formed, inside of its paper, and its cake is whole, whoever gets all of it"
    svg = head_votes([.9,.1], [[4,0],[2,3]], bias, ['a < b','meadow'])
    root = ElementTree.fromstring(svg.data)
    width,height = float(root.get('width')),float(root.get('height'))
    for o in root.iter('{http://www.w3.org/2000/svg}text'):
        assert 0<=float(o.get('x'))<=width
        assert float(o.get('y'))<=height
    assert 'nan' not in svg.data


def test_each_vote_stands_where_its_line_begins():
    "No weight lies on the crossing of two lines, also where a pattern votes twice"
    svg = head_votes([.9,.1], [[4,0],[2,3]], [-3,-3], ['ears','meadow']).data
    xs = [float(o.get('x')) for o in ElementTree.fromstring(svg).iter() if (o.text or '').startswith('×')]
    assert sorted(xs)==[185,185,215] # two patterns, and the second vote of one


def test_a_rival_without_a_word_for_it():
    ax = show_runs({'softmax': [{'one': .5, 'none': float('nan')}], 'sigmoids': [{'one': .5, 'none': 0.}]})
    assert [o.get_text() for o in ax.texts]==['0.50',"can't",'0.50','0.00']
    plt.close('all')


def test_softmax_over_sets_may_not_be_a_sigmoid():
    assert 'without a sigmoid' in check_3(torch.sigmoid)
    assert 'without a sigmoid' in check_3(lambda z: nn.Sigmoid()(z))
    assert 'without a sigmoid' in check_3(sigmoid_by_hand)
    def shared(z):
        members = torch.cartesian_prod(*[tensor([0.,1])]*z.shape[1]).view(-1, z.shape[1])
        return (z @ members.T).softmax(1) @ members
    assert check_3(shared)=='right'


def test_dots_and_runs():
    ax = show_dots({'cat': torch.randn(5, 2), 'noise': [[0,1]]})
    assert [len(o.get_xdata()) for o in ax.lines[:2]]==[5,1]
    runs = {f'rival {i}': [{('seen','cats'): .5, ('seen','$5'): i/10}] for i in range(6)} # more than colours
    ax = show_runs(runs)
    ax.figure.canvas.draw()
    assert ax.get_yticklabels()[0].get_text()=='seen, cats'
    assert len(ax.texts)==12
    plt.close('all')


def test_pairs():
    "The sets take turns; a set of one or none stands beside nothing"
    cats,empty = torch.ones(2, 3, 4, 4),torch.zeros(3, 3, 4, 4)
    x,y = pairs({'cat': cats, 'nothing': empty}, [(),('cat',)], 6)
    assert y.flatten().tolist()==[0,1]*3
    assert x.mean((1,2,3)).tolist()==[0,.5]*3
    assert torch.equal(x, pairs({'cat': cats, 'nothing': empty}, [(),('cat',)], 6)[0])


def test_toys_are_alike_but_not_the_same():
    x,y = cats_and_dogs(8, size=16)
    assert x.shape==(8,3,16,16)
    assert y.sum(1).tolist()==[1]*8
    for kind,xs in noise(2, size=16).items():
        assert xs.shape==(2,3,16,16), kind
        assert xs.abs().max()<=1
        assert not torch.equal(xs[0], xs[1])
