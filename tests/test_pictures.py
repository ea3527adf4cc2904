"Reading pictures: as people see them, whatever the file holds; what cannot be read is named"
import numpy as np
import pytest
from PIL import Image
from conftest import HOSTILE
from messages import fault
from mlc_course.draw.scenes import draw_portrait
from mlc_course.engine.core import InputError, one_line
from mlc_course.engine.pictures import open_picture, picture_files, picture_tensor

# Besides HOSTILE, what shared/data/hostile/README.md says of its files
READABLE = ['one_pixel.jpg', 'one_pixel.png', 'thin_1x4000.jpg', 'wide_4000x1.jpg', 'cmyk.jpg', 'gray.jpg',
    'gray16.png', 'rgba_transparent.png', 'palette.gif', 'palette_transparent.png', 'animated.gif',
    'animated.webp', 'bad_exif.jpg', 'png_inside.jpg', 'gif_inside.jpg', 'trailing_garbage.jpg',
    'progressive.jpg', 'picture.tiff', 'picture.bmp', 'UPPER.JPG', 'no_extension',
    'a cat with spaces, ünïcødé 猫 & 50% (copy).jpg', 'exif_upright_reference.png']


def pixels(img): return np.asarray(img.resize((8,8), Image.Resampling.BOX)).astype(int)


# --- the files of others

@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_refused(shared, name):
    with pytest.raises(InputError) as e: open_picture(shared/'data/hostile'/name)
    assert name+fault(HOSTILE[name]) in str(e.value)
    assert '\n' not in str(e.value)
    assert len(str(e.value))<400


@pytest.mark.parametrize('name', READABLE)
def test_hostile_read(shared, name):
    assert open_picture(shared/'data/hostile'/name).mode=='RGB'
    assert picture_tensor(shared/'data/hostile'/name, 64).shape==(3,64,64)


def test_hostile_hidden(shared):
    assert '._progressive.jpg' not in {o.name for o in picture_files(shared/'data/hostile')}
    with pytest.raises(InputError): open_picture(shared/'data/hostile/._progressive.jpg')


# --- our own

TURN = Image.Transpose
BACK = {2: TURN.FLIP_LEFT_RIGHT, 3: TURN.ROTATE_180, 4: TURN.FLIP_TOP_BOTTOM, 5: TURN.TRANSPOSE,
    6: TURN.ROTATE_90, 7: TURN.TRANSVERSE, 8: TURN.ROTATE_270}


def save_turned(img, turn, file):
    "With its orientation in the EXIF block, so that people see it upright"
    exif = Image.Exif()
    exif[0x112] = turn
    turned = img.transpose(BACK[turn]) if turn in BACK else img
    turned.save(file, exif=exif)


@pytest.mark.parametrize('turn', range(1, 9))
def test_exif_turns(tmp_path, turn):
    img = draw_portrait('beagle', 0, 64)[0]
    save_turned(img, turn, tmp_path/'x.png')
    assert (pixels(open_picture(tmp_path/'x.png'))==pixels(img)).all()


@pytest.mark.parametrize('name,kind,unit', [
    ('a.png', np.uint16, 1),
    ('b.tiff', np.float32, 1),
    ('c.tiff', np.float32, 65535)])
def test_deep_grey(tmp_path, name, kind, unit):
    a = np.linspace(0, 65535, 64*64).reshape(64, 64)
    Image.fromarray((a/unit).astype(kind)).save(tmp_path/name)
    got = np.asarray(open_picture(tmp_path/name))[...,0]
    assert abs(got-a/257).max()<=1


def test_transparent(tmp_path):
    a = np.full((8,8,4), (255,0,255,0), np.uint8)
    a[4:] = 10,20,30,255
    Image.fromarray(a).save(tmp_path/'a.png')
    Image.fromarray(a).convert('LA').save(tmp_path/'b.png')
    rgb = np.asarray(open_picture(tmp_path/'a.png'))
    assert (rgb[:4]==255).all()
    assert (rgb[4:]==(10,20,30)).all()
    assert (np.asarray(open_picture(tmp_path/'b.png'))[:4]==255).all()


@pytest.mark.parametrize('share', [.5, .01])
def test_half_a_file(tmp_path, share):
    img = draw_portrait('beagle', 0, 64)[0]
    img.save(tmp_path/'whole.jpg')
    data = (tmp_path/'whole.jpg').read_bytes()
    (tmp_path/'half.jpg').write_bytes(data[:int(share*len(data))])
    with pytest.raises(InputError, match='half.jpg'): open_picture(tmp_path/'half.jpg')


def test_draft_is_large_enough(tmp_path):
    draw_portrait('beagle', 0, 96)[0].resize((2400,1800)).save(tmp_path/'x.jpg')
    w,h = open_picture(tmp_path/'x.jpg', 224).size
    assert 448<=min(w,h)<1800
    assert abs(w/h-4/3)<0.02


NOISE = np.random.default_rng(0).integers(0, 256, (1300,1100,4), np.uint8)


@pytest.mark.parametrize('name,pixels', [
    ('rgba.png', NOISE),
    ('grey16.png', NOISE[...,0].astype(np.uint16)*257),
    ('p.gif', NOISE[...,0])])
def test_large_pictures_look_alike(tmp_path, monkeypatch, name, pixels):
    "Reduced by bands, a picture is what it would be at once"
    Image.fromarray(pixels).save(tmp_path/name)
    whole = open_picture(tmp_path/name)
    monkeypatch.setattr('mlc_course.engine.pictures.big_picture', 1000)
    small = open_picture(tmp_path/name, 100)
    assert small.size==(220,260)
    assert abs(np.asarray(whole.reduce(5)).astype(int)-np.asarray(small)).max()<=2


@pytest.mark.parametrize('text,shown', [
    ('a\nb\x1b[0m \x85', r'a\nb\x1b[0m \x85'),
    ('猫 \u202f\udcff', '猫 \u202f\\udcff')])
def test_one_line(text, shown):
    assert one_line(text)==shown
    assert str(InputError(text))==shown
