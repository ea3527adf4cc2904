"Edges of chapter 06: the middles of what cells see, and maps laid over pictures"
import numpy as np, pandas as pd, pytest, torch
from PIL import Image
from torch.nn import functional as F

from conftest import ROOT
from mlc_course.cam import peaks, pointing_game, show_maps, spread_maps
from mlc_course.convolution import gradient_field
from mlc_course.engine.fields import cell_middles, route_counter
from mlc_course.engine.networks import build_model, lite_body, page_cnn
from mlc_course.sigmoid import small_cnn
from mlc_course.ui import report_mistakes
from mlc_course.ui.explorers_answers import explore_where


def mass_middle(field):
    "Across, in pixels from the left edge"
    across = field.sum(0)
    return (across @ (torch.arange(len(across))+.5).to(across)/across.sum()).item()


def routes(body, size, i):
    "What reaches cell `i, i`, by how many routes"
    faint = torch.full((1,1,size,size), 1e-200, dtype=torch.float64) # no ReLU6 cuts it off
    return gradient_field(route_counter(body), faint, i, i)


# --- middles

@pytest.mark.parametrize('body,size,cell', [
    (small_cnn(2, (4,)*5, (2,2,2,1,1))[0], 96, 5), # as in the chapter
    (page_cnn(2)[0], 96, 6),                       # the playground's
    (small_cnn(2, (4,)*5)[0], 512, 8),             # as `small_cnn` comes: 32 pixels a cell
    (small_cnn(2, (4,)*3, (2,1,2))[0], 64, 7),
    (lite_body((8,)*5), 1284, 20),                 # even and odd sides as of 260 pixels
    (lite_body((8,)*5), 1248, 19),                 # all even, as of 224
    (build_model('squeezenet1_0', 2)[0][0][:1], 99, 23)]) # no padding
def test_middles_are_the_gradients_centre_of_mass(body, size, cell):
    counted = mass_middle(routes(body, size, cell))
    assert cell_middles(body, size)[cell].item()==pytest.approx(counted, abs=1e-3)


def test_middles_of_a_trained_gradient():
    "Real weights, random pictures: half a cell off would be 4 pixels"
    torch.manual_seed(0)
    body = small_cnn(2, (16,32,64,96,128), (2,2,2,1,1))[0].eval()
    x = torch.randn(50, 3, 96, 96)
    for cell in 4,6,7:
        found = mass_middle(gradient_field(body, x, cell, cell))
        assert abs(found-cell_middles(body, 96)[cell].item()) < 1


@pytest.mark.parametrize('size,moved', [(260,1.5), (224,15.5)])
def test_tiles_of_lite2_move_as_a_whole(size, moved):
    "Half a cell where all sides are even, hardly where the package takes its pictures"
    body = lite_body((8,)*5)
    middles = cell_middles(body, size)
    n = len(middles)
    assert torch.allclose(middles, moved+(torch.arange(n)+.5)*size/n, atol=1e-3)


@pytest.mark.parametrize('arch,moved', [('resnet18',-15.5), ('squeezenet1_0',1.5), ('densenet121',-1.5),
    ('timm/tf_efficientnet_lite2',15.5)])
def test_other_networks(arch, moved):
    "Theirs by the arithmetic of their layers, on pictures of 224 pixels"
    body = build_model(arch, 2)[0]
    middles = cell_middles(body, 224)
    n = len(middles)
    assert torch.allclose(middles, moved+(torch.arange(n)+.5)*224/n, atol=1e-3)


def test_unknown_layers_keep_the_tiles():
    "A step that no module makes can't be followed; the network stays in the mode that it was in"
    class Halved(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        def forward(self, x): return F.avg_pool2d(self.conv(x), 2)
    body = Halved().train()
    assert torch.equal(cell_middles(body, 8), torch.tensor([1.,3,5,7]))
    assert body.training


# --- maps over pictures

def test_tiles_are_pytorchs_bilinear():
    maps = torch.randn(3, 4, 7)
    want = F.interpolate(maps[None], (33,50), mode='bilinear')[0]
    assert torch.allclose(spread_maps(maps, (33,50)), want, atol=1e-5)
    assert torch.equal(spread_maps(torch.ones(1,1,1), (2,3)), torch.ones(1,2,3))


def test_a_cell_lies_at_its_middle():
    "Peaks and painted maps agree with the middles that they are given"
    maps = torch.zeros(1, 12, 12)
    maps[0,3,6] = 1
    middles = cell_middles(small_cnn(2, (4,)*5, (2,2,2,1,1))[0], 96)/96
    assert torch.allclose(peaks(maps[None], middles)[0,0]*96, torch.tensor([48.5,24.5]))
    big = spread_maps(maps, (96,96), middles)[0]
    assert divmod(big.argmax().item(), 96)==(24,48)
    tile = spread_maps(maps, (96,96))[0]
    assert divmod(tile.argmax().item(), 96) in [(27,51),(28,52),(27,52),(28,51)]


def test_report_and_explorer_use_them():
    votes = torch.zeros(4, 4)
    votes[1,2] = 2
    img = Image.new('RGB', (64,64), 'grey')
    moved = torch.tensor([.01,.26,.51,.76])
    painted = [np.asarray(report_mistakes.with_map(img, votes, o)).astype(int)[:,68:] for o in (moved,None)]
    amount = [np.abs(o-128).sum(2) for o in painted]
    rows = [(o.sum(1) @ np.arange(64)/o.sum()) for o in amount]
    assert 2 < rows[1]-rows[0] < 20 # further up
    explorer = explore_where(np.zeros((64,64,3)), votes[None], ['cat'], middles=moved)
    assert '50% from the left and 25% from the top' in explorer.text.value


def test_scale_threshold_and_title():
    args = np.zeros((8,8,3), np.uint8), torch.rand(2,2,2), torch.tensor([.9,.1]), ['a','b']
    axs = show_maps(*args, thresh=0, title='seen')
    assert [len(ax.texts) for ax in axs]==[0,0]
    assert axs[0].figure.get_suptitle()=='seen'
    assert axs[0].images[1].get_clim()==axs[1].images[1].get_clim()
    with pytest.raises(ValueError, match='1 maps'): show_maps(args[0], args[1][:1], *args[2:])


def test_boxes_in_any_order():
    "The index of the table is nobody's business"
    where = dict(x1=[0,.5,0], y1=0., x2=[.5,1,1], y2=1.)
    boxes = pd.DataFrame(dict(item=[1,0,1], label=['a','a','b'], **where), index=[7,7,3])
    points = torch.tensor([[[.7,.5],[.1,.1]], [[.7,.5],[.1,.1]]])
    game = pointing_game(points, boxes, ['a','b'])
    assert game[['item','label','hit']].values.tolist()==[[0,'a',True],[1,'a',False],[1,'b',True]]
    assert np.allclose(game.chance, [.5,.5,1])


# --- photos

def test_stored_table():
    "Every pair once, from 987 photos and 20 labels; a chance is an area"
    voc = pd.read_csv(ROOT/'nbs/results/06_voc.csv', dtype={'photo': str})
    assert not voc.duplicated(['photo','label']).any()
    assert (voc.photo.nunique(),voc.label.nunique())==(987,20)
    assert set(voc['map'])==set(voc.package)==set(voc.centre)=={0,1}
    assert voc.chance.between(0, 1).all() and voc['random head'].between(0, 1).all()
    assert (voc.reach>=voc['map']).all() # the map can only point at middles of cells
    assert (voc.groupby('photo').wrong.nunique()==1).all()
