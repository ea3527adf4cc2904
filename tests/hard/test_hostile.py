"Files that are broken, odd or meant to harm: every command gives each the right answer or one clear line"
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from fastcore.basics import noop
from PIL import Image

from mlc_course.classifier import Classifier
from mlc_course.draw.scenes import draw_portrait
from mlc_course.engine.core import BadPictures,InputError,one_line
from mlc_course.engine.photos import gather_photos
from mlc_course.engine.pictures import open_picture

BIN = Path(sys.executable).parent
TRAIN = ['--arch','small_cnn', '--size',32, '--epochs',1]
SHUT = { # what the README of the shared folder calls a clear error
    'zero_byte.jpg':         'is empty',
    'truncated_half.jpg':    'is damaged',
    'truncated_half.png':    'is damaged',
    'truncated_header.jpg':  'is damaged',
    'text.jpg':              'is no picture',
    'error_page.jpg':        'is no picture',
    'text.heic':             'HEIC needs',
    'bad_crc_ihdr.png':      'is no picture',
    'bad_crc_idat.png':      'is damaged',
    'bomb_30000x30000.png':  'million pixels',
    'bomb_12000x12000.png':  'million pixels'}
PEAK = '''
import resource,subprocess,sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
'''


def call(cmd, *args, text=True, **env):
    "The command's result, with its largest memory, torch and all, as `gb`"
    line = [sys.executable, '-c', PEAK, BIN/cmd, *map(str, args)]
    res = subprocess.run(line, capture_output=True, text=text, env={**os.environ, **env}, timeout=300)
    *err,kb = res.stderr.splitlines()
    res.stderr = err
    res.gb = int(kb)/1e6
    assert 'Traceback' not in str(err)
    return res


def rows_of(res):
    rows = map(json.loads, res.stdout.splitlines())
    return {Path(row['path']).name: row for row in rows}


def train(path, **kwargs): return Classifier.train(path, 'small_cnn', size=32, say=noop, **kwargs)


@pytest.fixture(scope='module')
def pets(tmp_path_factory):
    path = tmp_path_factory.mktemp('pets')
    for name in 'Siamese','pug':
        for i in range(15): draw_portrait(name, i, 48)[0].save(path/f'{name}_{i}.jpg')
    return path


@pytest.fixture(scope='module')
def model(pets, tmp_path_factory):
    clf = Classifier.train(pets, 'small_cnn', size=48, epochs=2, say=noop)
    return clf.save(tmp_path_factory.mktemp('model')/'m')


def png(side, color, depth):
    "A black PNG, packed to next to nothing"
    def chunk(kind, data):
        return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))
    channels = {0:1, 2:3, 4:2, 6:4}[color]
    row = bytes(1+channels*depth*side//8)
    pack = zlib.compressobj(1)
    data = b''.join(pack.compress(row) for _ in range(side))+pack.flush()
    head = struct.pack('>IIBBBBB', side, side, depth, color, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', head)+chunk(b'IDAT', data)+chunk(b'IEND', b'')


SAME = ['cat.png','CAPITALS.PNG','no cat, 50% ünïcødé 猫 & (copy).png','in truth a png.jpg']
TURNED = 'FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_90 TRANSVERSE ROTATE_270'.split()


def save_turned(cat, path):
    "The same cat in each of the eight ways of EXIF; their names"
    for i,how in enumerate([None, *TURNED], 1):
        exif = Image.Exif()
        exif[0x112] = i
        img = cat.transpose(Image.Transpose[how]) if how else cat
        img.save(path/f'turn_{i}.png', exif=exif)
    return [f'turn_{i}.png' for i in range(1, 9)]


@pytest.fixture(scope='module')
def hostile(tmp_path_factory):
    """A folder of our own, and of each file what is wanted: None for the same cat as `cat.png`, a word
    of its error, '' for another picture"""
    path = tmp_path_factory.mktemp('hostile')
    cat = draw_portrait('Siamese', 100, 128)[0]
    cat.save(path/'cat.png')
    cat.save(path/'whole.jpg')
    whole = (path/'whole.jpg').read_bytes()
    # Pillow hands this one to Ghostscript
    program = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n'
    bad = {
        'empty.jpg':   (b'', 'is empty'),
        'half.jpg':    (whole[:len(whole)//2], 'is damaged'),
        'head.jpg':    (whole[:12], 'is damaged'),
        'text.jpg':    (b'a letter to my cat', 'is no picture'),
        'page.jpg':    (b'<html>404', 'is no picture'),
        'real.heic':   (b'hello', 'HEIC needs'),
        'bomb.png':    (png(15_000, 0, 8), 'million pixels'),
        'program.jpg': (program, 'is no picture')}
    want = {'whole.jpg': ''}
    for name,(data,why) in bad.items():
        (path/name).write_bytes(data)
        want[name] = why
    for name in SAME: (path/name).write_bytes((path/'cat.png').read_bytes())
    for name in SAME+save_turned(cat, path): want[name] = None
    (path/'._cat.png').write_bytes(b'\0\5\26\7')
    (path/'folder.jpg').mkdir()
    return path,want


# --- pictures

def test_own_folder(hostile, model):
    path,want = hostile
    res = call('mlc_predict', model, path, '--json')
    rows = rows_of(res)
    assert res.returncode==1
    assert len(res.stderr)==1
    assert res.gb<1.5
    assert set(rows)==set(want)
    for name,why in want.items():
        if why:
            assert why in rows[name]['error']
            assert name in rows[name]['error']
        elif why is None: assert rows[name]['probs']==rows['cat.png']['probs'], name
    lines = call('mlc_predict', model, path).stdout.splitlines()
    assert len(lines)==len(want)


def test_shared_folder(shared, model, says):
    "All files of the folder beside the checkout, found by a scan"
    host = shared/'data/hostile'
    res = call('mlc_predict', model, host, '--json')
    rows = rows_of(res)
    assert res.returncode==1
    assert len(res.stderr)==1
    assert res.gb<1.5
    errors = {name: row['error'] for name,row in rows.items() if 'error' in row}
    assert set(errors)==set(SHUT)
    for name,why in SHUT.items(): assert why in errors[name]
    scanned = {o.name for o in host.iterdir() if o.is_file() and o.suffix.lower() not in ('','.csv','.md')}
    assert set(rows)==scanned-{'._progressive.jpg'}
    says(f'hostile folder: {len(rows)} lines, {len(SHUT)} errors, peak {res.gb:.2f} GB')


def test_turned_pictures_look_alike(shared, model):
    "Each of the eight was compressed anew"
    host = shared/'data/hostile'
    files = [host/f'exif_orientation_{i}.jpg' for i in range(1, 9)]
    first,*others = Classifier.load(model).predict(files)
    for row in others:
        assert row['labels']==first['labels']
        assert row['probs']==pytest.approx(first['probs'], abs=.02)


NAMED = {
    'no_extension':      None,
    'a cat with spaces, ünïcødé 猫 & 50% (copy).jpg': None,
    '._progressive.jpg': 'is no picture',
    'folder.jpg':        'folder',
    'README.md':         'is no picture',
    'empty.csv':         'is empty',
    'not_there.jpg':     'does not exist'}


def test_shared_folder_named(shared, model):
    "What a scan leaves out, named directly"
    host = shared/'data/hostile'
    res = call('mlc_predict', model, *(host/o for o in NAMED), '--json')
    rows = rows_of(res)
    assert res.returncode==1
    assert list(rows)==list(NAMED)
    for name,why in NAMED.items():
        if why: assert why in rows[name]['error']
        else: assert 'labels' in rows[name]


KINDS = {'transparent': (6,8), 'transparent deep': (6,16), 'deep grey': (0,16)}


@pytest.mark.parametrize('color,depth', KINDS.values(), ids=KINDS)
def test_largest_picture_fits(model, tmp_path, color, depth):
    "88 million pixels are let in, and must not take more memory than was promised; once they took 2.2 GB"
    (tmp_path/'large.png').write_bytes(png(9_400, color, depth))
    res = call('mlc_predict', model, tmp_path/'large.png')
    assert res.returncode==0
    assert res.gb<1.5


@pytest.mark.parametrize('name', ['rgba.png','grey16.png','p.gif'])
def test_large_pictures_look_alike(tmp_path, monkeypatch, name):
    "Reduced by bands, a picture is what it would be at once"
    a = np.random.default_rng(0).integers(0, 256, (1300, 1100, 4), np.uint8)
    grey = a[...,0]
    pictures = {'rgba.png': a, 'grey16.png': grey.astype(np.uint16)*257, 'p.gif': grey}
    Image.fromarray(pictures[name]).save(tmp_path/name)
    whole = open_picture(tmp_path/name)
    monkeypatch.setattr('mlc_course.engine.pictures.big_picture', 1000)
    small = open_picture(tmp_path/name, 100)
    assert small.size==(220,260)
    difference = np.asarray(whole.reduce(5)).astype(int)-np.asarray(small)
    assert np.abs(difference).max()<=2


# --- names and kinds of files

@pytest.fixture
def odd(tmp_path, pets):
    "Names that steer a terminal or are no text, every second file cut off, and things that are no files"
    path = tmp_path/'odd'
    path.mkdir()
    names = ['two\nlines.jpg', 'red\x1b[31m\x1b]0;title\x07.jpg', 'back\r.jpg', 'gpj.exe\u202e.jpg',
        '\u2028.jpg', '猫 \U0001f431 é.jpg']
    names = list(map(str.encode, names))
    if sys.platform=='linux': names.append(b'no text \xff\xfe.jpg')
    data = (pets/'pug_1.jpg').read_bytes()
    for i,name in enumerate(names):
        file = os.fsencode(path)+b'/'+name
        Path(os.fsdecode(file)).write_bytes(data[:400] if i%2 else data)
    (path/'loop.jpg').symlink_to('loop.jpg')
    (path/'gone.jpg').symlink_to('nowhere.jpg')
    (path/'me').symlink_to('.')
    os.mkfifo(path/'pipe.jpg')
    return path,len(names)


TERMINALS = [
    dict(),
    dict(LC_ALL='C'),
    dict(PYTHONIOENCODING='ascii'),
    dict(PYTHONIOENCODING='latin-1'),
    dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')]


@pytest.mark.parametrize('env', TERMINALS, ids=str)
def test_odd_names_on_a_terminal(odd, model, env):
    "One line a file, whatever stdout can show, and nothing in it that steers"
    path,n = odd
    res = call('mlc_predict', model, path, text=False, **env)
    encoding = 'latin-1' if env.get('PYTHONIOENCODING')=='latin-1' else 'utf-8'
    said = res.stdout.decode(encoding)
    assert res.returncode==1
    assert len(res.stderr)==1
    assert said.count('\n')==n
    assert not [c for c in said if c!='\n' and (ord(c)<32 or c in '\x7f\u2028\u202e')]


@pytest.mark.parametrize('env', TERMINALS, ids=str)
def test_odd_names_in_json(odd, model, env):
    "The path is that of the file"
    path,n = odd
    res = call('mlc_predict', model, path, '--json', text=False, **env)
    rows = [json.loads(o) for o in res.stdout.split(b'\n')[:-1]]
    assert len(rows)==n
    assert sum('error' in o for o in rows)==n//2
    for row in rows:
        file = os.fsencode(row['path']).decode(errors='surrogateescape')
        assert Path(file).exists()


def test_no_files(odd, model):
    "A pipe, devices, loops and endless names get a line each, and stop nothing"
    path,_ = odd
    clf = Classifier.load(model)
    want = {
        path/'pipe.jpg': 'device',
        path/'loop.jpg': 'does not exist',
        path/'gone.jpg': 'does not exist',
        '/dev/zero':     'device',
        '/dev/null':     'device',
        'x'*5000:        'cannot be read',
        'a\0b':          'does not exist'}
    picture = next(path.glob('two*'))
    *bad,good = clf.predict([*want, picture])
    for row,why in zip(bad, want.values()): assert why in row['error']
    assert 'labels' in good


def test_vanishes(model, pets, tmp_path, monkeypatch):
    "Between the scan and the reading"
    shutil.copytree(pets, tmp_path/'p')
    clf = Classifier.load(model)
    real = Path.is_file
    def is_file(path):
        res = real(path)
        if path.name=='pug_3.jpg' and res: path.unlink()
        return res
    monkeypatch.setattr(Path, 'is_file', is_file)
    rows = clf.predict(tmp_path/'p')
    assert len(rows)==30
    errors = [o['error'] for o in rows if 'error' in o]
    assert len(errors)==1
    assert 'does not exist' in errors[0]


LOCKED = '''
import os,sys
import PIL.Image, mlc_course.classifier
PIL.Image.init()
clf = mlc_course.classifier.Classifier.load(sys.argv[1])
clf.predict(sys.argv[3])
if not os.getuid(): os.setuid(65534)
for row in clf.predict(sys.argv[2]): print(row.get('error', 'read'))
'''


def test_locked(model, pets):
    "Without the right to read, as another user than root"
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        tmp.chmod(0o755)
        (tmp/'in').mkdir()
        for name in 'a.jpg','b.jpg','in/c.jpg': shutil.copy(pets/'pug_1.jpg', tmp/name)
        for name in 'b.jpg','in': (tmp/name).chmod(0)
        line = [sys.executable, '-c', LOCKED, model, tmp, pets/'pug_1.jpg']
        res = subprocess.run(line, capture_output=True, text=True)
        (tmp/'in').chmod(0o700)
    first,second,third = res.stdout.splitlines()
    assert first=='read'
    assert second.startswith(f'{tmp}/b.jpg cannot be read (Perm')
    assert third.startswith(f'{tmp}/in cannot be read (Perm')


def test_one_line():
    assert one_line('a\nb\x1b[0m \x85 猫 \u202f\udcff')=='a\\nb\\x1b[0m \\x85 猫 \u202f\\udcff'
    assert str(InputError('a\nb'))=='a\\nb'


# --- training and measuring

BROKEN = { # `None`: cut off in the middle
    'Siamese_90.jpg':  (None, 'is damaged'),
    'pug_91.jpg':      (b'hello', 'is no picture'),
    'Siamese_92.jpg':  (b'', 'is empty'),
    'pug_93.heic':     (b'x', 'HEIC needs'),
    'Siamese_94.png':  (png(15_000, 0, 8), 'million pixels')}


@pytest.fixture(params=['names','folders','table'])
def mixed(request, tmp_path, pets):
    """Labelled pictures in each layout, 5 of 35 broken, a folder without label, one of 7 broken; of each
    broken file what its error says"""
    root,unknown = tmp_path/'data',tmp_path/'unknown'
    cut = (pets/'pug_1.jpg').read_bytes()[:600]
    where = {'half.jpg': 'is damaged'}
    def place(name):
        folder = root/name.split('_')[0] if request.param=='folders' else root
        folder.mkdir(parents=True, exist_ok=True)
        return folder/name
    for file in pets.iterdir(): shutil.copy(file, place(file.name))
    for name,(data,why) in BROKEN.items():
        place(name).write_bytes(cut if data is None else data)
        where[name] = why
    unknown.mkdir()
    for i in range(6): draw_portrait('car', i, 48)[0].save(unknown/f'{i}.jpg')
    (unknown/'half.jpg').write_bytes(cut)
    if request.param!='table': return root,unknown,where
    names = sorted(o.name for o in root.iterdir())
    rows = [f'data/{o},{o.split("_")[0]},{i%5==0}' for i,o in enumerate(names)]
    (tmp_path/'t.csv').write_text('\n'.join(['fname,labels,is_valid', *rows]))
    return tmp_path/'t.csv',unknown,where


def check_listed(err, where, cmd=''):
    "Each bad picture has one line with its reason, after which one counts them"
    *lines,last = err
    assert len(lines)==len(where)
    for name,why in where.items():
        about = [o for o in lines if f'{name} ' in o and o.startswith(cmd)]
        assert len(about)==1
        assert why in about[0]
    assert f'{len(where)} of ' in last


def test_bad_pictures_stop_training(mixed, tmp_path):
    path,unknown,where = mixed
    res = call('mlc_train', path, '--unknown', unknown, '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==2
    assert '--skip-bad' in res.stderr[-1]
    assert f'{len(where)} of 42 pictures' in res.stderr[-1]
    assert not (tmp_path/'m').exists()
    check_listed(res.stderr, where, 'mlc_train: ')


def test_train_without_bad_pictures(mixed, tmp_path):
    path,unknown,where = mixed
    res = call('mlc_train', path, '--unknown', unknown, '--out', tmp_path/'m', *TRAIN, '--skip-bad')
    assert res.returncode==0
    assert res.gb<1.5
    check_listed(res.stderr, where)
    config = json.loads((tmp_path/'m/config.json').read_text())
    training = config['training']
    assert config['vocab']==['Siamese','pug']
    assert training['n_train']+training['n_valid']==36
    assert training['n_unlabelled']==6
    assert training['n_left_out']==6


def test_evaluate(mixed, model):
    path,unknown,where = mixed
    n_known = 30
    if path.suffix=='.csv': # only its is_valid rows are read
        rows = [o for o in path.read_text().splitlines() if o.endswith('True')]
        asked = {row.split(',')[0].split('/')[1] for row in rows}
        where = {name: why for name,why in where.items() if name in asked or name=='half.jpg'}
        n_known = len(rows)-(len(where)-1)
    args = model,path,'--unknown',unknown,'--json'
    res = call('mlc_evaluate', *args)
    assert res.returncode==2
    assert res.stdout==''
    assert '--skip-bad' in res.stderr[-1]
    check_listed(res.stderr, where, 'mlc_evaluate: ')
    res = call('mlc_evaluate', *args, '--skip-bad')
    assert res.returncode==0
    check_listed(res.stderr, where)
    figures = json.loads(res.stdout)
    assert figures['n_unknown']==6
    assert figures['n_known']==n_known
    assert f'{n_known} labelled photos' in call('mlc_evaluate', model, path, '--skip-bad').stdout


def test_as_if_never_there(pets, tmp_path):
    "With bad pictures left out the model is that of the good ones alone, weights and all"
    shutil.copytree(pets, tmp_path/'p')
    for i in range(90, 95): (tmp_path/f'p/pug_{i}.jpg').write_text('hello')
    clean,skipped = (train(o, epochs=1, skip_bad=True) for o in (pets, tmp_path/'p'))
    for a,b in zip(clean.model.state_dict().values(), skipped.model.state_dict().values()): assert a.equal(b)
    assert clean.decision==skipped.decision


def test_label_without_good_picture(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'p')
    for i in range(3): (tmp_path/f'p/Bengal_{i}.jpg').write_text('hello')
    res = call('mlc_train', tmp_path/'p', '--out', tmp_path/'m', *TRAIN, '--skip-bad')
    assert res.returncode==2
    assert 'no picture of Bengal can be read' in res.stderr[-1]
    assert not (tmp_path/'m').exists()


def test_no_good_picture_without_label(pets, tmp_path):
    (tmp_path/'u').mkdir()
    for i in range(2): (tmp_path/f'u/{i}.jpg').write_text('hello')
    res = call('mlc_train', pets, '--out', tmp_path/'m', *TRAIN, '--skip-bad', '--unknown', tmp_path/'u')
    assert res.returncode==2
    assert 'u: none of its pictures can be read' in res.stderr[-1]


GONE = 'gone_1.jpg,pug,False','gone_2.jpg,pug,True'


@pytest.fixture
def table(pets, tmp_path):
    "`table(*more)`: a table of 30 pictures, every tenth for validation, and further rows"
    for o in pets.iterdir(): shutil.copy(o, tmp_path)
    def table(*more, only_train=False):
        rows = [f'{o.name},{o.name.split("_")[0]},{o.stem[-1]=="4"}' for o in sorted(pets.iterdir())]
        if only_train: rows = [o for o in rows if o.endswith('False')]
        (tmp_path/'t.csv').write_text('\n'.join(['fname,labels,is_valid', *rows, *more]))
        return tmp_path/'t.csv'
    return table


def test_missing_rows_are_named(table, tmp_path):
    res = call('mlc_train', table(*GONE), '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==2
    assert len(res.stderr)==3
    assert 'row 32 (gone_1.jpg)' in res.stderr[0]
    assert 'row 33 (gone_2.jpg)' in res.stderr[1]
    with pytest.raises(FileNotFoundError, match='row 32'): gather_photos(table(GONE[0]))


def test_missing_rows_are_skipped(table, model, capsys):
    clf = train(table(*GONE), epochs=0, skip_bad=True)
    assert clf.config['training']['n_left_out']==2
    assert 'gone_2.jpg does not exist' in capsys.readouterr().err
    assert Classifier.load(model).evaluate(table(*GONE), skip_bad=True)['n_known']==4


def test_missing_rows_that_contradict(table):
    path = table(*GONE, 'gone_1.jpg,Siamese,False')
    with pytest.raises(InputError, match='contradicts'): train(path, skip_bad=True)


def test_missing_rows_are_all_of_validation(table, model):
    path = table(GONE[1], only_train=True)
    with pytest.raises(InputError, match='none of its is_valid'): train(path, skip_bad=True)
    clf = Classifier.load(model)
    with pytest.raises(InputError, match='none of its pictures'): clf.evaluate(path, skip_bad=True)


WRONG = {
    'empty':            'is empty',
    'header_only':      'no rows',
    'no_labels_column': 'labels',
    'missing_file':     'row 4 (not_there.jpg)',
    'unknown_label':    'dgo',
    'split_leak':       'contradicts row',
    'contradiction':    'contradicts row',
    'outside_path':     'outside the folder'}


@pytest.mark.parametrize('name', WRONG)
def test_wrong_tables(shared, name, tmp_path):
    "As the folder's README asks, training and measuring"
    folder = shared/'data/hostile'
    res = call('mlc_train', folder/f'{name}.csv', '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==2
    assert len(res.stderr)==1
    assert WRONG[name] in res.stderr[0]
    assert name in res.stderr[0]
    if name=='unknown_label': assert 'cat dog' in res.stderr[0]
    assert not (tmp_path/'m').exists()
    train(folder/'bom_crlf.csv', epochs=0).save(tmp_path/'m')
    res = call('mlc_evaluate', tmp_path/'m', folder/f'{name}.csv')
    assert res.returncode==2
    assert len(res.stderr)==1
    assert WRONG[name] in res.stderr[0]


@pytest.mark.parametrize('name', ['duplicate_row','empty_labels','bom_crlf'])
def test_odd_tables(shared, name, tmp_path):
    table = shared/f'data/hostile/{name}.csv'
    res = call('mlc_train', table, '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==0
    assert ('counted once' in res.stdout)==(name=='duplicate_row')
    assert call('mlc_evaluate', tmp_path/'m', table).returncode==0


@pytest.mark.parametrize('epochs', [0,1])
def test_bad_pictures_of_a_pretrained_run(pets, tmp_path, monkeypatch, capsys, epochs):
    "By turns and with fixed validation alike, all bad pictures are told at once"
    import torch
    from torchvision.models import squeezenet1_0
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path/'checkpoints').mkdir()
    torch.save(squeezenet1_0().state_dict(), tmp_path/'checkpoints/squeezenet1_0-b66bff10.pth')
    path = shutil.copytree(pets, tmp_path/'p')
    for i in range(90, 95): (path/f'pug_{i}.jpg').write_text('hello')
    with pytest.raises(BadPictures) as e: Classifier.train(path, size=64, epochs=epochs, say=noop)
    assert len(e.value.errors)==5
    capsys.readouterr()
    clf = Classifier.train(path, size=64, epochs=epochs, skip_bad=True, say=noop)
    training = clf.config['training']
    assert training['n_train']+training['n_valid']==30
    assert training['n_left_out']==5
    assert training['pretrained']
    assert capsys.readouterr().err.count('\n')==6
