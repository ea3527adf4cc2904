"Files that are broken, odd or meant to harm: every command gives each the right answer or one clear line"
import json, os, resource, shutil, struct, subprocess, sys, zlib
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from mlc_course.classifier import Classifier
from mlc_course.engine.photos import BadPictures, InputError, gather_photos, one_line, open_picture
from mlc_course.draw.scenes import draw_portrait

BIN = Path(sys.executable).parent
TRAIN = ['--arch','small_cnn', '--size',32, '--epochs',1]
SHUT = {'zero_byte.jpg':'is empty', 'truncated_half.jpg':'is damaged', 'truncated_half.png':'is damaged', 'truncated_header.jpg':'is damaged',
    'text.jpg':'is no picture', 'error_page.jpg':'is no picture', 'text.heic':'HEIC needs', 'bad_crc_ihdr.png':'is no picture', 'bad_crc_idat.png':'is damaged',
    'bomb_30000x30000.png':'million pixels', 'bomb_12000x12000.png':'million pixels'} # what the README of the folder calls a clear error
PEAK = 'import resource,subprocess,sys; r = subprocess.run(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(r.returncode)'


def call(cmd, *args, text=True, **env):
    "The command's result, with its largest memory, torch and all, as `gb`"
    res = subprocess.run([sys.executable, '-c', PEAK, BIN/cmd, *map(str, args)], capture_output=True, text=text, env={**os.environ, **env}, timeout=300)
    *err,kb = res.stderr.splitlines()
    res.stderr,res.gb = err,int(kb)/1e6
    assert not any(o.startswith('Traceback') for o in map(str, err)), err
    return res


def rows_of(res): return {Path(o['path']).name:o for o in map(json.loads, res.stdout.splitlines())}


@pytest.fixture(scope='module')
def pets(tmp_path_factory):
    path = tmp_path_factory.mktemp('pets')
    for name in 'Siamese','pug':
        for i in range(15): draw_portrait(name, i, 48)[0].save(path/f'{name}_{i}.jpg')
    return path


@pytest.fixture(scope='module')
def model(pets, tmp_path_factory):
    return Classifier.train(pets, 'small_cnn', size=48, epochs=2, say=lambda o: None).save(tmp_path_factory.mktemp('model')/'m')


def png(side, color, depth, fill=0, extra=b''):
    "A PNG of one colour, packed to next to nothing"
    def chunk(kind, data): return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))
    row,pack = b'\0'+bytes([fill])*({0:1, 2:3, 4:2, 6:4}[color]*depth*side//8),zlib.compressobj(1)
    data = b''.join([*(pack.compress(row) for _ in range(side)), pack.flush()])
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, depth, color, 0, 0, 0))+extra+chunk(b'IDAT', data)+chunk(b'IEND', b'')


@pytest.fixture(scope='module')
def hostile(tmp_path_factory):
    "A folder of our own: file name to None if it holds the same cat as `cat.png`, to a word of its error, or to '' for another picture"
    path,cat = tmp_path_factory.mktemp('hostile'),draw_portrait('Siamese', 100, 128)[0]
    cat.save(path/'cat.png')
    cat.save(path/'whole.jpg')
    whole = (path/'whole.jpg').read_bytes()
    bad = {'empty.jpg':(b'','is empty'), 'half.jpg':(whole[:len(whole)//2],'is damaged'), 'head.jpg':(whole[:12],'is damaged'),
        'text.jpg':(b'a letter to my cat','is no picture'), 'page.jpg':(b'<html>404','is no picture'), 'real.heic':(b'hello','HEIC needs'),
        'bomb.png':(png(15_000, 0, 8),'million pixels'),
        'program.jpg':(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n','is no picture')} # Pillow hands it to Ghostscript
    for name,(data,_) in bad.items(): (path/name).write_bytes(data)
    back = [Image.Transpose[o] for o in 'FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_90 TRANSVERSE ROTATE_270'.split()]
    for i in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = i
        (cat.transpose(back[i-2]) if i>1 else cat).save(path/f'turn_{i}.png', exif=exif)
    (path/'CAPITALS.PNG').write_bytes((path/'cat.png').read_bytes())
    (path/'no cat, 50% ünïcødé 猫 & (copy).png').write_bytes((path/'cat.png').read_bytes())
    (path/'in truth a png.jpg').write_bytes((path/'cat.png').read_bytes())
    (path/'._cat.png').write_bytes(b'\0\5\26\7')
    (path/'folder.jpg').mkdir()
    same = ['cat.png','CAPITALS.PNG','no cat, 50% ünïcødé 猫 & (copy).png','in truth a png.jpg',*(f'turn_{i}.png' for i in range(1, 9))]
    return path,{**dict.fromkeys(same), 'whole.jpg':'', **{k:why for k,(_,why) in bad.items()}}


# --- pictures

def test_own_folder(hostile, model):
    path,want = hostile
    res = call('mlc_predict', model, path, '--json')
    rows = rows_of(res)
    assert (res.returncode,len(res.stderr)) == (1,1) and set(rows)==set(want) and res.gb<1.5
    for name,why in want.items():
        if why: assert why in rows[name]['error'] and name in rows[name]['error'], rows[name]
        elif why is None: assert rows[name]['probs']==rows['cat.png']['probs'], name
    lines = call('mlc_predict', model, path).stdout.splitlines()
    assert len(lines)==len(want)


def test_shared_folder(shared, model, says):
    "All files of the folder beside the checkout, found by a scan"
    host = shared/'data/hostile'
    res = call('mlc_predict', model, host, '--json')
    rows = rows_of(res)
    assert (res.returncode,len(res.stderr))==(1,1) and res.gb<1.5
    assert {k for k,o in rows.items() if 'error' in o}==set(SHUT) and all(SHUT[k] in rows[k]['error'] for k in SHUT)
    files = {o.name for o in host.iterdir() if o.is_file() and o.suffix.lower() not in ('','.csv','.md')}-{'._progressive.jpg'}
    assert set(rows)==files
    turns = [rows[f'exif_orientation_{i}.jpg'] for i in range(1, 9)]
    assert len({str(o['labels']) for o in turns})==1
    assert max(abs(a['probs'][k]-b['probs'][k]) for a in turns for b in turns for k in a['probs'])<.02 # each was compressed anew
    says(f'hostile folder: {len(rows)} lines, {len(SHUT)} errors, peak {res.gb:.2f} GB')


def test_shared_folder_named(shared, model):
    "What a scan leaves out, named directly"
    host = shared/'data/hostile'
    odd = ['no_extension','a cat with spaces, ünïcødé 猫 & 50% (copy).jpg','._progressive.jpg','folder.jpg','README.md','empty.csv','not_there.jpg']
    res = call('mlc_predict', model, *(host/o for o in odd), '--json')
    rows = rows_of(res)
    assert res.returncode==1 and list(rows)==odd
    why = dict(zip(odd, [None,None,'is no picture','folder','is no picture','is empty','does not exist']))
    for k,o in rows.items(): assert ('labels' in o) if why[k] is None else why[k] in o['error'], o


@pytest.mark.parametrize('color,depth', [(6,8), (6,16), (0,16)], ids=['transparent','transparent deep','deep grey'])
def test_largest_picture_fits(model, tmp_path, color, depth):
    "88 million pixels are let in, and must not take more memory than was promised; once they took 2.2 GB"
    (tmp_path/'large.png').write_bytes(png(9_400, color, depth))
    res = call('mlc_predict', model, tmp_path/'large.png')
    assert res.returncode==0 and res.gb<1.5, res.gb


def test_large_pictures_look_alike(tmp_path, monkeypatch):
    "Reduced by bands, a picture is what it would be at once"
    a = np.random.default_rng(0).integers(0, 256, (1300, 1100, 4), np.uint8)
    for name,img in {'rgba.png':Image.fromarray(a), 'grey16.png':Image.fromarray(a[...,0].astype(np.uint16)*257), 'p.gif':Image.fromarray(a[...,0])}.items():
        img.save(tmp_path/name)
        whole = open_picture(tmp_path/name)
        monkeypatch.setattr('mlc_course.engine.photos._big', 1000)
        small = open_picture(tmp_path/name, 100)
        monkeypatch.undo()
        assert small.size==(220,260), small.size
        assert np.abs(np.asarray(whole.reduce(5)).astype(int)-np.asarray(small)).max()<=2, name


# --- names and kinds of files

@pytest.fixture
def odd(tmp_path, pets):
    "Names that steer a terminal or are no text, and things that are no files; file name to whether it can be read"
    path,data = tmp_path/'odd',(pets/'pug_1.jpg').read_bytes()
    path.mkdir()
    names = [b'two\nlines.jpg', b'red\x1b[31m\x1b]0;title\x07.jpg', b'back\r.jpg', 'gpj.exe\u202e.jpg'.encode(), '\u2028.jpg'.encode(), '猫 \U0001f431 é.jpg'.encode()]
    if sys.platform=='linux': names.append(b'no text \xff\xfe.jpg')
    for i,o in enumerate(names): Path(os.fsdecode(os.fsencode(path)+b'/'+o)).write_bytes(data[:400] if i%2 else data)
    (path/'loop.jpg').symlink_to('loop.jpg')
    (path/'gone.jpg').symlink_to('nowhere.jpg')
    (path/'me').symlink_to('.')
    os.mkfifo(path/'pipe.jpg')
    return path,len(names)


@pytest.mark.parametrize('env', [dict(), dict(LC_ALL='C'), dict(PYTHONIOENCODING='ascii'), dict(PYTHONIOENCODING='latin-1'),
    dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')], ids=str)
def test_odd_names(odd, model, env):
    "One line a file, whatever stdout can show; the path in the JSON is that of the file"
    path,n = odd
    res = call('mlc_predict', model, path, text=False, **env)
    lines = res.stdout.decode('latin-1' if env.get('PYTHONIOENCODING')=='latin-1' else 'utf-8').split('\n')[:-1]
    assert res.returncode==1 and len(lines)==n and len(res.stderr)==1
    assert not any(ord(c)<32 or c in '\x7f\u2028\u202e' for o in lines for c in o)
    res = call('mlc_predict', model, path, '--json', text=False, **env)
    rows = [json.loads(o) for o in res.stdout.split(b'\n')[:-1]]
    assert len(rows)==n and all(Path(os.fsencode(o['path']).decode(errors='surrogateescape')).exists() for o in rows)
    assert sum('error' in o for o in rows)==n//2


def test_no_files(odd, model):
    "A pipe, devices, loops and endless names get a line each, and stop nothing"
    path,_ = odd
    items = [path/'pipe.jpg', path/'loop.jpg', path/'gone.jpg', '/dev/zero', '/dev/null', 'x'*5000, 'a\0b']
    why = ['device','does not exist','does not exist','device','device','cannot be read','does not exist']
    clf = Classifier.load(model)
    for o,want in zip(clf.predict(items), why): assert want in o['error'], o
    assert 'labels' in clf.predict([*items, next(path.glob('two*'))])[-1]


def test_vanishes(model, pets, tmp_path, monkeypatch):
    "Between the scan and the reading"
    shutil.copytree(pets, tmp_path/'p')
    clf,real = Classifier.load(model),Path.is_file
    def is_file(p):
        res = real(p)
        if p.name=='pug_3.jpg' and res: p.unlink()
        return res
    monkeypatch.setattr(Path, 'is_file', is_file)
    rows = clf.predict(tmp_path/'p')
    assert len(rows)==30 and ['does not exist' in o['error'] for o in rows if 'error' in o]==[True]


def test_locked(model, pets):
    "Without the right to read, as another user than root"
    from tempfile import TemporaryDirectory
    code = '''import os,sys
import PIL.Image, mlc_course.classifier
PIL.Image.init()
clf = mlc_course.classifier.Classifier.load(sys.argv[1])
clf.predict(sys.argv[3])
if not os.getuid(): os.setuid(65534)
for o in clf.predict(sys.argv[2]): print(o['path'], o.get('error', 'read'))'''
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        tmp.chmod(0o755)
        (tmp/'in').mkdir()
        for o in 'a.jpg','b.jpg','in/c.jpg': shutil.copy(pets/'pug_1.jpg', tmp/o)
        for o in 'b.jpg','in': (tmp/o).chmod(0)
        res = subprocess.run([sys.executable, '-c', code, model, tmp, pets/'pug_1.jpg'], capture_output=True, text=True)
        (tmp/'in').chmod(0o700)
    lines = res.stdout.replace(f'{tmp}/', '').splitlines()
    assert lines[0]=='a.jpg read' and [o.split(' (Perm')[0] for o in lines[1:]]==['b.jpg b.jpg cannot be read', 'in in cannot be read'], res


def test_one_line():
    assert one_line('a\nb\x1b[0m \x85 猫 \u202f\udcff')=='a\\nb\\x1b[0m \\x85 猫 \u202f\\udcff'
    assert str(InputError('a\nb'))=='a\\nb'


# --- training and measuring

@pytest.fixture(params=['names','folders','table'])
def mixed(request, tmp_path, pets):
    "Labelled pictures in each layout, 5 of 35 broken, one of 7 without label too; what is broken, and how"
    root,cut = tmp_path/'data',(pets/'pug_1.jpg').read_bytes()[:600]
    names = {'half_1.jpg':(cut,'is damaged'), 'text_2.jpg':(b'hello','is no picture'), 'none_3.jpg':(b'','is empty'), 'HEIC_4.heic':(b'x','HEIC needs'),
        'bomb_5.png':(png(15_000, 0, 8),'million pixels')}
    where = {}
    for label in 'Siamese','pug':
        sub = root/label if request.param=='folders' else root
        sub.mkdir(parents=True, exist_ok=True)
        for o in pets.glob(f'{label}_*'): shutil.copy(o, sub)
        for i,(name,(data,why)) in enumerate(names.items()):
            if i%2==(label=='pug'):
                (sub/f'{label}_9{i}{Path(name).suffix}').write_bytes(data)
                where[f'{label}_9{i}{Path(name).suffix}'] = why
    (tmp_path/'unknown').mkdir()
    for i in range(6): draw_portrait('car', i, 48)[0].save(tmp_path/f'unknown/{i}.jpg')
    (tmp_path/'unknown/half.jpg').write_bytes(cut)
    where['half.jpg'] = 'is damaged'
    if request.param!='table': return root,tmp_path/'unknown',where
    rows = [f'data/{o.name},{o.name.split("_")[0]},{i%5==0}' for i,o in enumerate(sorted(root.iterdir()))]
    (tmp_path/'t.csv').write_text('\n'.join(['fname,labels,is_valid', *rows]))
    return tmp_path/'t.csv',tmp_path/'unknown',where


def listed(err, where, cmd=''):
    "Each bad picture has one line with its reason, after which one counts them"
    assert len(err)==len(where)+1, err
    for k,why in where.items(): assert [why in o for o in err if f'{k} ' in o and o.startswith(cmd)]==[True], (k,err)
    assert f'{len(where)} of 42 pictures' in err[-1] or f'{len(where)} of ' in err[-1]


def test_train(mixed, tmp_path):
    path,unknown,where = mixed
    res = call('mlc_train', path, '--unknown', unknown, '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==2 and '--skip-bad' in res.stderr[-1] and not (tmp_path/'m').exists()
    listed(res.stderr, where, 'mlc_train: ')
    res = call('mlc_train', path, '--unknown', unknown, '--out', tmp_path/'m', *TRAIN, '--skip-bad')
    assert res.returncode==0 and res.gb<1.5
    listed(res.stderr, where)
    cfg = json.loads((tmp_path/'m/config.json').read_text())
    t = cfg['training']
    assert (t['n_train']+t['n_valid'],t['n_unlabelled'],t['n_left_out'])==(36,6,6) and cfg['vocab']==['Siamese','pug']


def test_evaluate(mixed, model):
    path,unknown,where = mixed
    if path.suffix=='.csv': # only its is_valid rows are read
        bad = {r.split(',')[0].split('/')[1] for r in path.read_text().splitlines() if r.endswith('True')} & set(where)
        where = {k:o for k,o in where.items() if k in bad or k=='half.jpg'}
    res = call('mlc_evaluate', model, path, '--unknown', unknown, '--json')
    assert res.returncode==2 and res.stdout=='' and '--skip-bad' in res.stderr[-1]
    listed(res.stderr, where, 'mlc_evaluate: ')
    res = call('mlc_evaluate', model, path, '--unknown', unknown, '--json', '--skip-bad')
    got = json.loads(res.stdout)
    listed(res.stderr, where)
    assert res.returncode==0 and got['n_unknown']==6 and got['n_known']==(30 if path.suffix!='.csv' else 7-(len(where)-1))
    assert f'{got["n_known"]} labelled photos' in call('mlc_evaluate', model, path, '--skip-bad').stdout


def test_as_if_never_there(pets, tmp_path):
    "With bad pictures left out the model is that of the good ones alone, weights and all"
    shutil.copytree(pets, tmp_path/'p')
    for i in range(90, 95): (tmp_path/f'p/pug_{i}.jpg').write_text('hello')
    a,b = (Classifier.train(o, 'small_cnn', size=32, epochs=1, skip_bad=True, say=lambda o: None) for o in (pets, tmp_path/'p'))
    assert all((x==y).all() for x,y in zip(a.model.state_dict().values(), b.model.state_dict().values()))
    assert a.config['thresholds']==b.config['thresholds'] and a.config['kept']==b.config['kept']


def test_label_without_good_picture(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'p')
    for i in range(3): (tmp_path/f'p/Bengal_{i}.jpg').write_text('hello')
    args = '--out', tmp_path/'m', *TRAIN, '--skip-bad'
    res = call('mlc_train', tmp_path/'p', *args)
    assert res.returncode==2 and 'no picture of Bengal can be read' in res.stderr[-1] and not (tmp_path/'m').exists()
    (tmp_path/'u').mkdir()
    (tmp_path/'u/1.jpg').write_text('hello')
    (tmp_path/'u/2.jpg').write_text('hello')
    res = call('mlc_train', pets, *args, '--unknown', tmp_path/'u')
    assert res.returncode==2 and 'u: none of its pictures can be read' in res.stderr[-1]


def test_missing_rows(pets, tmp_path, model, capsys):
    "An error with row and name, each; with --skip-bad left out like any bad picture; a contradiction stays an error"
    for o in pets.iterdir(): shutil.copy(o, tmp_path)
    rows = [f'{o.name},{o.name.split("_")[0]},{o.stem[-1]=="4"}' for o in sorted(pets.iterdir())]
    def table(*more):
        (tmp_path/'t.csv').write_text('\n'.join(['fname,labels,is_valid', *rows, *more]))
        return tmp_path/'t.csv'
    both = 'gone_1.jpg,pug,False','gone_2.jpg,pug,True'
    res = call('mlc_train', table(*both), '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==2 and 'row 32 (gone_1.jpg)' in res.stderr[0] and 'row 33 (gone_2.jpg)' in res.stderr[1] and len(res.stderr)==3
    with pytest.raises(FileNotFoundError, match='row 32'): gather_photos(table(both[0]))
    clf = Classifier.train(table(*both), 'small_cnn', size=32, epochs=0, skip_bad=True, say=lambda o: None)
    assert clf.config['training']['n_left_out']==2 and 'gone_2.jpg does not exist' in capsys.readouterr().err
    assert Classifier.load(model).evaluate(table(*both), skip_bad=True)['n_known']==4
    with pytest.raises(InputError, match='contradicts'): Classifier.train(table(*both, 'gone_1.jpg,Siamese,False'), 'small_cnn', skip_bad=True)
    rows = [o for o in rows if o.endswith('False')]
    with pytest.raises(InputError, match='none of its is_valid'): Classifier.train(table(both[1]), 'small_cnn', skip_bad=True, say=lambda o: None)
    with pytest.raises(InputError, match='none of its pictures'): Classifier.load(model).evaluate(table(both[1]), skip_bad=True)


TABLES = dict(empty='is empty', header_only='no rows', no_labels_column='labels', missing_file='row 4 (not_there.jpg)', unknown_label='dgo',
    split_leak='contradicts row', contradiction='contradicts row', outside_path='outside the folder', duplicate_row=None, empty_labels=None, bom_crlf=None)

@pytest.mark.parametrize('name', TABLES)
def test_tables(shared, name, tmp_path):
    "As the folder's README asks, training and measuring"
    table,why = shared/f'data/hostile/{name}.csv',TABLES[name]
    res = call('mlc_train', table, '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==(2 if why else 0) and (tmp_path/'m').exists()==(why is None)
    if why: assert len(res.stderr)==1 and why in res.stderr[0] and name in res.stderr[0], res.stderr
    if name=='duplicate_row': assert 'counted once' in res.stdout
    if name=='unknown_label': assert 'cat dog' in res.stderr[0]
    if why: Classifier.train(shared/'data/hostile/bom_crlf.csv', 'small_cnn', size=32, epochs=0, say=lambda o: None).save(tmp_path/'m')
    res = call('mlc_evaluate', tmp_path/'m', table)
    assert res.returncode==(2 if why else 0), res
    if why: assert len(res.stderr)==1 and (why in res.stderr[0]), res.stderr


def test_bad_pictures_of_a_pretrained_run(pets, tmp_path, monkeypatch, capsys):
    "By turns and with fixed validation alike, all bad pictures are told at once"
    import torch
    from torchvision.models import squeezenet1_0
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path/'checkpoints').mkdir()
    torch.save(squeezenet1_0().state_dict(), tmp_path/'checkpoints/squeezenet1_0-b66bff10.pth')
    shutil.copytree(pets, tmp_path/'p')
    for i in range(90, 95): (tmp_path/f'p/pug_{i}.jpg').write_text('hello')
    for epochs in 0,1:
        with pytest.raises(BadPictures) as e: Classifier.train(tmp_path/'p', size=64, epochs=epochs, say=lambda o: None)
        assert len(e.value.errors)==5
        clf = Classifier.train(tmp_path/'p', size=64, epochs=epochs, skip_bad=True, say=lambda o: None)
        t = clf.config['training']
        assert (t['n_train']+t['n_valid'],t['n_left_out'],t['pretrained'])==(30,5,True)
        assert capsys.readouterr().err.count('\n')==6
