"Reading pictures: as people see them, whatever the file holds; what cannot be read is named"
import os, struct, zlib
import numpy as np
import pytest
from PIL import Image, ImageFile
from conftest import HOSTILE, python
from messages import fault, line
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


def png16(a):
    "A PNG of 16 bits, which Pillow cannot write: grey and alpha, RGB or RGBA"
    def number(n): return struct.pack('>I', n)
    def chunk(kind, data): return number(len(data))+kind+data+number(zlib.crc32(kind+data))
    h,w,n = a.shape
    head = struct.pack('>IIBBBBB', w, h, 16, {2: 4, 3: 2, 4: 6}[n], 0, 0, 0)
    rows = b''.join(b'\0'+row.astype('>u2').tobytes() for row in a)
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', head)+chunk(b'IDAT', zlib.compress(rows))+chunk(b'IEND', b'')


def tiff16(a, order='<', planes=1):
    "An RGB TIFF of 16 bits"
    h,w,_ = a.shape
    data = (a if planes==1 else a.transpose(2,0,1)).astype(order+'u2').tobytes()
    bits = 8+2+12*10+4 # where the bits of the three colours are written
    n = len(data)//(3 if planes==2 else 1)
    fields = [(256,3,w), (257,3,h), (258,3,bits), (259,3,1), (262,3,2), (273,4,bits+6), (277,3,3), (278,3,h),
        (279,4,n), (284,3,planes)]
    out = (b'II*\0' if order=='<' else b'MM\0*')+struct.pack(order+'IH', 8, len(fields))
    for tag,kind,value in fields:
        count = 3 if tag==258 else 1
        body = struct.pack(order+'I', value) if kind==4 or count>1 else struct.pack(order+'HH', value, 0)
        out += struct.pack(order+'HHI', tag, kind, count)+body
    return out+bytes(4)+struct.pack(order+'HHH', 16, 16, 16)+data


BITS = 8,10,11,12,14,16


def noise(bits, n):
    a = np.random.default_rng(0).integers(0, 2**bits, (50,70,n)).astype(np.uint16)
    a[0,0] = 2**bits-1
    if n in (2,4): a[...,-1] = 65535 # opaque
    return a


@pytest.mark.parametrize('name', ['a.png','a.tif','a.pgm'])
@pytest.mark.parametrize('bits', BITS)
def test_grey_of_few_bits(tmp_path, name, bits):
    "12 bits in 16 are no night; the rule: white has all bits that the brightest pixel needs"
    a = noise(bits, 1)[...,0]
    Image.fromarray(a).save(tmp_path/name)
    got = np.asarray(open_picture(tmp_path/name))[...,0]
    assert abs(got-a*(255/(2**bits-1))).max()<=1


WRITERS = [(png16,2), (png16,3), (png16,4), (tiff16,3), (lambda a: tiff16(a, '>'),3)]


@pytest.mark.parametrize('write,n', WRITERS)
@pytest.mark.parametrize('bits', BITS)
def test_colours_of_few_bits(write, n, bits):
    "Pillow drops the lower byte of each"
    a = noise(bits, n)
    got = np.asarray(open_picture(write(a))).astype(int)
    want = a[...,:1] if n==2 else a[...,:3]
    assert abs(got-want*(255/(2**bits-1))).max()<=1


def test_deep_colours_see_through():
    "How opaque a pixel is says nothing about how many bits its colours have"
    a = noise(12, 4)
    a[:25,:,3] = 0
    got = np.asarray(open_picture(png16(a))).astype(int)
    assert (got[:25]==255).all()
    assert abs(got[25:]-a[25:,:,:3]*(255/4095)).max()<=1


def test_dark_16_bits(tmp_path):
    "A tie, decided so: what uses few of its bits is brightened, and black stays black"
    for value,want in (0,0), (200,200), (5000,156), (40000,156), (65535,255):
        Image.fromarray(np.full((9,9), value, np.uint16)).save(tmp_path/'a.png')
        assert np.asarray(open_picture(tmp_path/'a.png')).max()==want


def test_colours_in_planes():
    "Pillow makes noise of 16 bits in planes, without a word"
    with pytest.raises(InputError) as e: open_picture(tiff16(noise(16, 3), planes=2))
    assert str(e.value)==line('planes', 'picture 1')


def test_negative_x_ray(tmp_path):
    "A TIFF may say that 0 is white; Pillow minds that of 8 bits only"
    a = noise(12, 1)[...,0]
    Image.fromarray(a).save(tmp_path/'a.tif', tiffinfo={262: 0})
    got = np.asarray(open_picture(tmp_path/'a.tif'))[...,0]
    assert abs(255-got-a*(255/4095)).max()<=1


@pytest.fixture
def heif(): return pytest.importorskip('pillow_heif')


@pytest.mark.parametrize('name', ['a.heic','a.jpg','A.HEIF'])
def test_heic(heif, tmp_path, name):
    "By its first bytes, without anybody's register_heif_opener()"
    img = draw_portrait('beagle', 0, 96)[0]
    heif.from_pillow(img).save(tmp_path/'x.heic', quality=95)
    (tmp_path/'x.heic').rename(tmp_path/name)
    assert abs(pixels(open_picture(tmp_path/name))-pixels(img)).max()<6
    assert picture_files(tmp_path)==[tmp_path/name]
    data = (tmp_path/name).read_bytes()
    assert abs(pixels(open_picture(data))-pixels(img)).max()<6
    (tmp_path/name).write_bytes(data[:len(data)//2])
    with pytest.raises(InputError, match='is damaged'): open_picture(tmp_path/name)


def test_heic_is_upright(heif, tmp_path):
    "As phones write them: turned by the file, and by the EXIF block besides"
    img = draw_portrait('beagle', 0, 96)[0].resize((96,64))
    exif = Image.Exif()
    exif[0x112] = 6
    stored = heif.from_pillow(img.transpose(Image.Transpose.ROTATE_90))
    stored.info['exif'] = exif.tobytes()
    stored.save(tmp_path/'x.heic', quality=95)
    got = open_picture(tmp_path/'x.heic')
    assert got.size==img.size
    assert abs(pixels(got)-pixels(img)).max()<8


def test_large_heic(heif, tmp_path, monkeypatch):
    heif.from_pillow(Image.new('L', (80,80))).save(tmp_path/'x.heic')
    monkeypatch.setattr('mlc_course.engine.pictures.max_pixels', 6000)
    with pytest.raises(InputError, match='x.heic has more than'): open_picture(tmp_path/'x.heic')


FURTHER = [('a.mpo','MPO'), ('a.pjpeg','JPEG'), ('a.pjp','JPEG'), ('a.apng','PNG')]


@pytest.mark.parametrize('name,kind', FURTHER)
def test_further_endings(tmp_path, name, kind):
    img = draw_portrait('beagle', 0, 64)[0]
    more = dict(save_all=True, append_images=[img.rotate(90)]) if name in ('a.mpo','a.apng') else {}
    img.save(tmp_path/name, kind, **more)
    assert picture_files(tmp_path)==[tmp_path/name]
    assert abs(pixels(open_picture(tmp_path/name))-pixels(img)).max()<8


def with_size(data, w, h):
    "A JPEG whose header claims another size"
    at = next(i for i in range(len(data)) if data[i:i+2] in (b'\xff\xc0', b'\xff\xc2'))
    return data[:at+5]+struct.pack('>HH', h, w)+data[at+9:]


def test_phone_picture(tmp_path):
    "108 million pixels, decoded at an eighth; as stored they are refused"
    img = draw_portrait('beagle', 0, 96)[0]
    img.resize((12_000,9_000), Image.Resampling.NEAREST).save(tmp_path/'x.jpg', quality=30)
    small = open_picture(tmp_path/'x.jpg', 224)
    assert small.size==(1500,1125)
    assert abs(pixels(small)-pixels(img)).max()<12
    with pytest.raises(InputError) as e: open_picture(tmp_path/'x.jpg')
    assert str(e.value)==line('too_large', tmp_path/'x.jpg')


PEAK = '''import re, sys
from mlc_course.engine.pictures import open_picture
w,h = open_picture(sys.argv[1], 224).size
print(w, h, re.search('VmHWM: *(.*) kB', open('/proc/self/status').read())[1])'''


@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='does not tell its peak of memory')
@pytest.mark.parametrize('more,gb', [(dict(subsampling=0), .7), (dict(progressive=True), 1.5)], ids=str)
def test_phone_pictures_fit(tmp_path, more, gb):
    "200 million pixels by their header: what is missing is filled up, and takes what the whole would"
    draw_portrait('beagle', 0, 96)[0].save(tmp_path/'x.jpg', **more)
    (tmp_path/'x.jpg').write_bytes(with_size((tmp_path/'x.jpg').read_bytes(), 16_320, 12_240))
    w,h,kb = map(int, python(PEAK, tmp_path/'x.jpg').stdout.split())
    assert (w,h)==(2040,1530)
    assert kb<gb*1e6


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_jpeg_bombs(tmp_path):
    "Header only: refused before anything is unpacked"
    img = draw_portrait('beagle', 0, 96)[0]
    img.save(tmp_path/'a.jpg')
    img.save(tmp_path/'b.jpg', progressive=True, subsampling=0)
    plain,slow = ((tmp_path/o).read_bytes() for o in ('a.jpg','b.jpg'))
    def said(data, size):
        with pytest.raises(InputError) as e: open_picture(data, size)
        return str(e.value)
    assert said(with_size(plain, 20_000, 20_000), 224)==line('too_large_jpeg', 'picture 1')
    # of a size that it cannot be made smaller for
    assert said(with_size(plain, 60_000, 4_000), 2_000)==line('too_large', 'picture 1')
    assert said(with_size(slow, 15_000, 14_000), 224)==line('slow_jpeg', 'picture 1', '1.3')
    # all colours in one scan: never held as a whole
    img.save(tmp_path/'c.jpg', subsampling=0)
    whole = (tmp_path/'c.jpg').read_bytes()
    assert open_picture(with_size(whole, 15_000, 14_000), 224).size==(1875,1750)
    one_by_one = whole[:whole.index(b'\xff\xda')+2]+b'\0\x08\1\1\0\0\x3f\0'+bytes(99)
    assert said(with_size(one_by_one, 15_000, 14_000), 224)==line('slow_jpeg', 'picture 1', '1.3')


@pytest.mark.parametrize('theirs', [None, 100, 10**12])
def test_pillows_switches(tmp_path, monkeypatch, theirs):
    "What another library has set counts neither for nor against a picture, and stays"
    img = draw_portrait('beagle', 0, 128)[0]
    img.save(tmp_path/'x.png')
    img.save(tmp_path/'x.jpg')
    (tmp_path/'half.jpg').write_bytes((tmp_path/'x.jpg').read_bytes()[:2000])
    Image.new('1', (9_500,9_500)).save(tmp_path/'bomb.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', theirs)
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)
    assert (pixels(open_picture(tmp_path/'x.png'))==pixels(img)).all()
    with pytest.raises(InputError, match='is damaged'): open_picture(tmp_path/'half.jpg')
    with pytest.raises(InputError, match='89 million'): open_picture(tmp_path/'bomb.png')
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)==(theirs, True)


def test_transparent(tmp_path):
    a = np.full((8,8,4), (255,0,255,0), np.uint8)
    a[4:] = 10,20,30,255
    Image.fromarray(a).save(tmp_path/'a.png')
    Image.fromarray(a).convert('LA').save(tmp_path/'b.png')
    rgb = np.asarray(open_picture(tmp_path/'a.png'))
    assert (rgb[:4]==255).all()
    assert (rgb[4:]==(10,20,30)).all()
    assert (np.asarray(open_picture(tmp_path/'b.png'))[:4]==255).all()
    Image.new('RGBA', (4,4), (0,0,0,128)).save(tmp_path/'half.png') # half of a black, on white
    assert abs(int(np.asarray(open_picture(tmp_path/'half.png'))[0,0,0])-127)<=1


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
