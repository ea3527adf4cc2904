"Plots and diagrams take what lessons have, and say in words what a reader can't see"
from xml.etree import ElementTree
import numpy as np, pandas as pd, pytest, torch
from IPython.core.formatters import DisplayFormatter
from matplotlib import pyplot as plt
from PIL import Image

from mlc_course.draw.datasets import drawn_pets
from mlc_course.engine.core import InputError
from mlc_course.ui import diagrams
from mlc_course.ui.diagrams import field_stack, filter_over_channels, pipeline, stride_steps
from mlc_course.ui.alt import alt_text
from mlc_course.ui.show import color_of, curve, dressed, canvas, font_size, grey, heat_table
from mlc_course.ui.show import number_grid, pixels, sharp, show_bars, show_images, show_maps

RED = np.zeros((4,6,3), np.uint8)
RED[...,0] = 255


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close('all')


@pytest.fixture
def file(tmp_path):
    Image.fromarray(RED).save(tmp_path/'red.png')
    return tmp_path/'red.png'


@pytest.mark.parametrize('img', [Image.fromarray(RED), RED, torch.tensor(RED).permute(2,0,1)/255])
def test_pixels(img):
    x = pixels(img)
    assert x.shape==(4,6,3)
    assert np.allclose(x/x.max(), RED/255)


def test_pixels_of_file(file):
    assert np.array_equal(pixels(file), RED)
    assert np.array_equal(pixels(str(file)), RED)


@pytest.mark.parametrize('group,name', [('scenes/test','500003.jpg'), ('portraits/images','pug_2.jpg')])
def test_sharp(group, name, tmp_path):
    "What is drawn anew is what lies on the disk, but for JPEG; the folder does not count"
    root = drawn_pets(64, 2, 1, 1, 3, path=tmp_path)
    small = pixels(root/group/name).astype(float)
    again = np.array(sharp(name, 64))
    assert abs(small-again).mean()<8
    assert abs(small-np.array(sharp('500001.jpg', 64))).mean()>20
    assert sharp(root/group/name).size==(320,320)


def test_no_picture(tmp_path):
    with pytest.raises(InputError, match='none.png'): pixels(tmp_path/'none.png')


@pytest.mark.parametrize('shape', [(4,6), (1,4,6), (4,6,1)])
def test_grey_pixels(shape):
    x = pixels(torch.full(shape, 1.5))
    assert x.shape==(4,6,3)
    assert (x==1).all() # cut off, without a warning


@pytest.mark.parametrize('right,want',
    [(None,'cat'), ([True],'✓ cat'), ([False],'✗ cat'), (torch.tensor([False]),'✗ cat')])
def test_right(right, want):
    ax, = show_images([RED], ['cat'], right)
    assert ax.get_title()==want


def test_rows():
    assert len(show_images([RED]*7, n_cols=3))==9


def test_dollars():
    "A label with dollars is no formula"
    names = ['$5','a$b$']
    ax = heat_table(torch.eye(2), names, names)
    show_bars(dict.fromkeys(names, .5))
    curve([0,1], {name: [0,1] for name in names}, title='$x$')
    ax.figure.canvas.draw()
    assert ax.get_yticklabels()[0].get_text()==r'\$5'


def test_long_title():
    ax, = canvas(size=(2,2))
    dressed(ax, 'Nothing of this long title may run out of its narrow axes')
    ax.figure.canvas.draw()
    box = ax.title.get_window_extent()
    assert box.x0>=0
    assert box.x1<=ax.figure.bbox.width
    assert ax.title.get_fontsize()==font_size


@pytest.mark.parametrize('low,cmap', [(0,'inferno'), (-1,'PuOr_r')])
def test_maps_on_one_scale(low, cmap):
    axs = show_maps(torch.linspace(low, 2, 32).view(2,4,4))
    images = [ax.images[0] for ax in axs]
    assert images[0].get_clim()==images[1].get_clim()
    assert images[0].get_cmap().name==cmap


def test_nothing_to_see():
    number_grid(torch.zeros(2,2)).figure.canvas.draw()
    show_maps(torch.zeros(2,3,3))[0].figure.canvas.draw()


def test_group_of_bars():
    df = pd.DataFrame(dict(a=[.1,.2], b=[.3,.4]), ['cat','chance'])
    ax = show_bars(df, lines=.5)
    assert [o.get_text() for o in ax.get_legend().get_texts()]==['a','b']
    assert [o.get_text().strip() for o in ax.texts]==['0.10','0.20','0.30','0.40']


def test_unknown_is_grey():
    assert color_of('chance')==grey
    assert color_of(5)==grey


DIAGRAMS = [pipeline(), pipeline(asks_known=True), pipeline('logits', {'maps': 'a < b & c'}),
    stride_steps(5, 5, 3),
    filter_over_channels(1, 5), filter_over_channels(4), field_stack([(7,2),(3,2),(3,1)]),
    field_stack([(1,1)])]


@pytest.mark.parametrize('svg', DIAGRAMS)
def test_diagrams(svg):
    "Well-formed, named, and nothing starts outside of the paper"
    root = ElementTree.fromstring(svg.data)
    assert root.get('aria-label')
    width,height = float(root.get('width')),float(root.get('height'))
    for o in root.iter('{http://www.w3.org/2000/svg}text'):
        assert float(o.get('y'))<=height
        assert 0<=float(o.get('x'))<=width


def test_pipeline_marks_one_station():
    "The frame lies behind its station, so that it hides nothing, and changes nothing else"
    plain,here = pipeline().data,pipeline('weights').data
    assert here.count('you are here')==1
    assert here.replace(diagrams._here, '')==plain


def test_filter_too_large():
    with pytest.raises(ValueError, match='5 does not fit into 4'): stride_steps(4, 5)


def test_words_of_figures():
    "What is written on a figure is what its alt says, scales of colours left out"
    pictures = show_images([RED]*2, [['cat','dog'],[]], title='Two of many')[0].figure
    assert alt_text(pictures)=='2 pictures: Two of many: cat, dog; nothing'
    table = heat_table(pd.DataFrame([[.5,1]], ['a cat'], ['cat','dog']), title='The logits').figure
    assert alt_text(table)=='Table: The logits (rows: a cat; columns: cat, dog)'
    lines = curve([0,1], dict(cat=[0,1], dog=[1,0]), xlabel='logit', title='Up and down').figure
    assert alt_text(lines)=='Chart: Up and down (across: logit; lines: cat, dog)'
    maps = show_maps(torch.rand(2, 4, 4), ['before','after'])[0].figure
    assert alt_text(maps)=='2 pictures: before; after'
    assert alt_text(show_images([RED])[0].figure)==''


def test_words_go_into_the_notebook():
    data,_ = DisplayFormatter().format(show_images([RED], ['a cat'])[0].figure)
    assert data['text/plain']=='Picture: a cat'
