"What a program hands over: names as they are, pictures in every form, gaps, lists on stdin"
import io, json, os, sys, zipfile
from types import SimpleNamespace
import numpy as np
import pandas as pd
import pytest, torch
from PIL import Image
from conftest import draw
from messages import line
from test_pictures import png16
from mlc_course.engine.pictures import open_picture
from mlc_course.ui.cli import mlc_predict


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path, ['pug'], 2)
    Image.open('pug_0.jpg').save('pug.png') # what is unpacked has the same pixels in all forms
    return tmp_path


# --- names

def test_path_is_the_text(blank, here):
    "Whoever joins on it finds it"
    read = ['./pug.png', 'a/../pug.png', f'..//{here.name}/pug.png']
    given = [*read, 'https://a.org//b.jpg', 'C:\\b.jpg', '~/b.jpg', 'gone//b.jpg']
    (here/'a').mkdir()
    res = blank.predict(given)
    assert [o['path'] for o in res]==given
    assert ['error' in o for o in res]==[False]*3+[True]*4
    assert res[3]['error']==line('is_address', given[3])
    assert res[6]['error']==line('missing', given[6])


def test_paths_below_a_folder(blank, here):
    "They begin with the text of the folder"
    for o in '.', './', str(here): assert blank.predict(o)[0]['path']==os.path.join(o, 'pug.png')


def test_path_likes(blank, here):
    with os.scandir(here) as entries: found = sorted(entries, key=lambda o: o.name)
    assert [o['path'] for o in blank.predict(found)]==[o.path for o in found]
    assert len(found)==3
    assert len(blank.predict(here.glob('*.jpg')))==2


@pytest.mark.parametrize('gap', ['', '  ', None, float('nan'), np.nan, np.float32('nan'), pd.NA, pd.NaT])
def test_gap(blank, here, gap):
    "Never the current folder, and it stops nothing"
    path = gap if isinstance(gap, str) else None
    assert blank.predict(gap)==[dict(path=path, error=line('no_name'))]
    first,missing,last = blank.predict(['pug.png', gap, './pug.png'])
    assert missing==dict(path=path, error=line('no_name'))
    assert first['labels']==last['labels']


def test_columns(blank, here):
    df = pd.DataFrame(dict(path=['./pug.png', None, 'gone.png']), index=[7,7,9])
    typed = [df.path.astype(o) for o in ('string','category')]
    for column in df.path, *typed, df.path.to_numpy(), pd.Index(df.path):
        res = blank.predict(column)
        assert [o['path'] for o in res]==['./pug.png', None, 'gone.png']
        assert ['labels' in o for o in res]==[True,False,False]
    assert [o['error'] for o in blank.predict(pd.Series([np.nan]*2))]==[line('no_name')]*2
    assert blank.predict([])==blank.predict(df.path[:0])==[]


# --- pictures in other forms

def forms():
    img = Image.open('pug.png')
    a = np.asarray(img)
    t = torch.tensor(a)
    first = t.permute(2,0,1)
    data = open('pug.png', 'rb').read()
    upload = SimpleNamespace(read=io.BytesIO(data).read, seek=lambda at: None)
    with zipfile.ZipFile('a.zip', 'w') as z: z.write('pug.png')
    class Foreign: # an array of another library
        ndim,shape = a.ndim,a.shape
        def __array__(self, dtype=None, copy=None): return a
    return dict(loaded=img.copy(), lazy=Image.open('pug.png'), rgba=img.convert('RGBA'), foreign=Foreign(),
        array=a, floats=a/255, float32=(a/255).astype(np.float32), int64=a.astype(int),
        first=np.asarray(first), fortran=np.asfortranarray(a), flipped=a[::-1].copy()[::-1],
        big_endian=a.astype('>u2'), alpha=np.dstack([a, a[...,:1]*0+255]),
        tensor=t, tensor_first=first, tensor_floats=first/255, needs_grad=(first/255).requires_grad_(),
        batch_of_one=first[None], bytes=data, bytearray=bytearray(data), memoryview=memoryview(data),
        stream=io.BytesIO(data), file=open('pug.png', 'rb'), upload=upload,
        zipped=zipfile.Path('a.zip')/'pug.png', in_zip=zipfile.ZipFile('a.zip').open('pug.png'),
        record=dict(bytes=data, path='x.png'))


def test_forms(blank, here):
    "The answer to a file, in whatever form it comes, alone or among others"
    want, = blank.predict('pug.png', exact=True)
    given = forms()
    res = blank.predict(list(given.values()), exact=True)
    for name,o in zip(given, res, strict=True):
        assert 'error' not in o, (name, o)
        assert o['score']==pytest.approx(want['score'], abs=1e-4), name
        assert o['labels']==want['labels']
    named = dict.fromkeys(('lazy','file','in_zip'), 'pug.png') | dict(zipped='a.zip/pug.png', record='x.png')
    assert {k: o['path'] for k,o in zip(given, res) if o['path']}==named
    for name,o in forms().items(): assert len(blank.predict(o))==1, name


def test_grey_forms(here):
    a = np.asarray(Image.open('pug.png').convert('L'))
    for o in a, a[...,None], a[None], a/255, torch.tensor(a)[None], Image.fromarray(a):
        assert (np.asarray(open_picture(o))==a[...,None]).all()
    mask = a>99
    for o in mask, torch.tensor(mask), Image.fromarray(mask):
        assert (np.asarray(open_picture(o))==255*mask[...,None]).all()
    assert abs(np.asarray(open_picture(a.astype(np.uint16)*16)).astype(int)-a[...,None]*(4080/4095)).max()<=1


def test_bfloat16():
    x = torch.linspace(0, 1, 64).view(8, 8)
    want = (x*255).round()
    for o in x.bfloat16(), x.half(), x.double():
        assert abs(np.asarray(open_picture(o))[...,0]-want.numpy()).max()<=1


def test_batches(blank, here):
    "An array with a dimension more is several pictures, in its place"
    a,b = (np.asarray(Image.open(o)) for o in ('pug_0.jpg','pug_1.jpg'))
    alone = [blank.predict(o, exact=True)[0] for o in (a, b)]
    batch = np.stack([a, b])
    for o in batch, torch.tensor(batch), torch.tensor(batch).permute(0,3,1,2)/255, [a, b], iter([a, b]):
        res = blank.predict(o, exact=True)
        assert [x['score'] for x in res]==pytest.approx([x['score'] for x in alone], abs=1e-4)
    assert len(blank.predict(['pug.png', batch, None]))==4
    assert blank.predict(batch[:0])==[]


def test_pil_is_turned_as_its_file(here):
    "A photo of a phone that was opened first, also after `convert`; what was given stays as it is"
    img = Image.open('pug.png')
    exif = Image.Exif()
    exif[0x112] = 6
    img.transpose(Image.Transpose.ROTATE_90).save('t.png', exif=exif)
    stored = Image.open('t.png')
    for o in stored, stored.convert('RGBA'): assert (np.asarray(open_picture(o))==np.asarray(img)).all()
    assert (np.asarray(stored)==np.asarray(img.transpose(Image.Transpose.ROTATE_90))).all()
    open_picture(img).paste(0, (0,0,9,9))
    assert np.asarray(img)[:9,:9].any()


def test_one_picture_given_often(blank, here):
    "By many threads at once, though not yet unpacked"
    res = blank.predict([Image.open('pug.png')]*50+[f := open('pug.png', 'rb')]*50)
    f.close()
    assert len({o['score'] for o in res})==1


def test_upload_that_is_awaited(here):
    "As FastAPI has it: read by await, with an ordinary file inside"
    class Upload:
        filename,file = 'up.jpg',open('pug.png', 'rb')
        async def read(self, n=-1): raise AssertionError
    assert (np.asarray(open_picture(Upload()))==np.asarray(Image.open('pug.png'))).all()


def test_bad_forms_stop_nothing(blank, here):
    bad = [7, np.zeros((9,9,2)), b'rubbish', io.BytesIO(), open('pug.png'), [1]]
    *errors,last = blank.predict([*bad, 'pug.png'])
    for i,o in enumerate(errors):
        assert (o['path'] or f'picture {i+1}') in o['error']
    assert 'labels' in last
    assert errors[2]['error']==line('no_picture', 'picture 3')
    assert errors[3]['error']==line('empty', 'picture 4')


def test_programs_stay_shut(tmp_path):
    "A picture that somebody opened, and that Ghostscript would unpack"
    eps = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n'
    with pytest.raises(ValueError) as e: open_picture(Image.open(io.BytesIO(eps)))
    assert str(e.value)==line('no_picture', 'picture 1')


# --- lists on stdin

@pytest.fixture
def ask(trained_folder, here, monkeypatch, capsys):
    "`ask(*names, data=b'')`: exit code of `mlc_predict`, lines on stdout, text on stderr"
    def res(*names, data=b''):
        monkeypatch.setattr(sys, 'stdin', SimpleNamespace(buffer=io.BytesIO(data)))
        try: code = mlc_predict(str(trained_folder), list(names), json=True) or 0
        except SystemExit as e: code = e.code
        out,err = capsys.readouterr()
        return code,out.splitlines(),err
    return res


NAMES = ['./pug_0.jpg', 'pug.png']


@pytest.mark.parametrize('data', [
    '\n'.join(NAMES).encode(),
    b'\xef\xbb\xbf'+'\r\n'.join(NAMES).encode()+b'\r\n\r\n',
    ('\0'.join(NAMES)+'\0').encode(),
    ('\r\n'.join(NAMES)+'\r\n').encode('utf-16')], ids=['plain','windows','print0','powershell'])
def test_lists(ask, data):
    code,out,_ = ask('-', data=data)
    assert code==0
    assert [json.loads(o)['path'] for o in out]==NAMES


@pytest.mark.parametrize('data', [b'', b'\n \r\n', b'\xef\xbb\xbf', b'\0'])
def test_empty_list(ask, data): assert ask('-', data=data)==(2, [], f'mlc_predict: {line("empty_list")}\n')


def test_empty_name(ask):
    "`mlc_predict model \"$UNSET\"`"
    code,out,_ = ask('')
    assert (code, list(map(json.loads, out)))==(2, [dict(path='', error=line('no_name'))])


def test_a_table_instead(ask, here):
    (here/'t.csv').write_text('fname,labels\npug.png,pug\n')
    code,_,err = ask('t.csv')
    assert code==2
    assert 'mlc_predict MODEL - < LIST' in err


# --- 16 bits of colour in an array

def test_deep_colours_alike(here):
    "An array and a PNG of 12 bits in 16"
    a = np.random.default_rng(0).integers(0, 4096, (20,30,3)).astype(np.uint16)
    got = np.asarray(open_picture(png16(a))).astype(int)
    assert abs(got-np.asarray(open_picture(a))).max()<=1
