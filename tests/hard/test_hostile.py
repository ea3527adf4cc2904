"Files that are broken, odd or meant to harm: every command gives each the right answer or one clear line"
import json, os, shutil, sys
from pathlib import Path
from tempfile import TemporaryDirectory
import pytest
from fastcore.basics import noop
from conftest import BIN, HOSTILE, call, config_of, draw, names, png, python
from messages import fault, line
from test_pictures import save_turned
from mlc_course.classifier import Classifier
from mlc_course.draw.scenes import draw_portrait
from mlc_course.engine.core import BadPictures, InputError, MissingError
from mlc_course.engine.photos import gather_photos

TRAIN = '--arch', 'small_cnn', '--size', 32, '--epochs', 1
PEAK = '''import resource, subprocess, sys
res = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(res.returncode)'''


def measured(cmd, *args, **kwargs):
    "The command's result, with its largest memory, torch and all, as `gb`, and the lines on stderr"
    res = call(sys.executable, '-c', PEAK, BIN/cmd, *args, **kwargs)
    *err,kb = res.stderr.splitlines()
    res.stderr,res.gb = err,int(kb)/1e6
    assert not any(o.startswith('Traceback') for o in map(str, err)), err
    return res


def rows_of(res): return {Path(o['path']).name: o for o in map(json.loads, res.stdout.splitlines())}


LETTER = b'a letter to my cat'
NAMES = ['cat.png', 'CAPITALS.PNG', 'no cat, 50% ünïcødé 猫 & (copy).png', 'in truth a png.jpg']
TURNS = [f'turn_{i}.png' for i in range(1, 9)]
BAD = { # name to bytes, or to the share of a good JPEG, and what is said of it
    'empty.jpg': (b'', 'empty'),
    'half.jpg': (.5, 'damaged'),
    'head.jpg': (.01, 'damaged'),
    'text.jpg': (LETTER, 'no_picture'),
    'page.jpg': (b'<html>404', 'no_picture'),
    'real.heic': (b'hello', 'no_picture'),
    'bomb.png': (png(15_000, 0), 'too_large'),
    # Pillow would hand it to Ghostscript
    'program.jpg': (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n',
        'no_picture')}


def bad_bytes(name, good):
    what = BAD[name][0]
    return good[:int(what*len(good))] if isinstance(what, float) else what


@pytest.fixture(scope='module')
def hostile(tmp_path_factory):
    "The same cat under twelve names, another picture, all of `BAD`, and things to pass over"
    path,cat = tmp_path_factory.mktemp('hostile'),draw_portrait('Siamese', 100, 128)[0]
    cat.save(path/'whole.jpg')
    for o in BAD: (path/o).write_bytes(bad_bytes(o, (path/'whole.jpg').read_bytes()))
    cat.save(path/NAMES[0])
    for o in NAMES[1:]: shutil.copy(path/NAMES[0], path/o)
    for i,o in enumerate(TURNS): save_turned(cat, i+1, path/o)
    (path/'._cat.png').write_bytes(b'\0\5\26\7')
    (path/'folder.jpg').mkdir()
    return path


# --- pictures

def test_own_folder(hostile, trained_folder):
    res = measured('mlc_predict', trained_folder, hostile, '--json')
    rows = rows_of(res)
    assert res.returncode==1
    assert len(res.stderr)==1
    assert set(rows)=={'whole.jpg', *NAMES, *TURNS, *BAD}
    assert res.gb<1.5
    for name,(_,why) in BAD.items(): assert name+fault(why) in rows[name]['error']
    for name in NAMES+TURNS: assert rows[name]['probs']==rows['cat.png']['probs'], name
    for_people = measured('mlc_predict', trained_folder, hostile)
    assert len(for_people.stdout.splitlines())==len(rows)


def test_shared_folder(shared, trained_folder, says):
    "All files of the folder beside the checkout, found by a scan"
    host = shared/'data/hostile'
    res = measured('mlc_predict', trained_folder, host, '--json')
    rows = rows_of(res)
    assert res.returncode==1
    assert len(res.stderr)==1
    assert res.gb<1.5
    assert {k for k,o in rows.items() if 'error' in o}==set(HOSTILE)
    for name,why in HOSTILE.items(): assert name+fault(why) in rows[name]['error']
    files = {o.name for o in host.iterdir() if o.is_file() and o.suffix.lower() not in ('','.csv','.md')}
    assert set(rows)==files-{'._progressive.jpg'}
    turns = [rows[f'exif_orientation_{i}.jpg'] for i in range(1, 9)]
    assert len({str(o['labels']) for o in turns})==1
    for label in turns[0]['probs']:
        probs = [o['probs'][label] for o in turns]
        assert max(probs)-min(probs)<.02 # each was compressed anew
    says(f'hostile folder: {len(rows)} lines, {len(HOSTILE)} errors, peak {res.gb:.2f} GB')


UNSCANNED = {'no_extension': None, 'a cat with spaces, ünïcødé 猫 & 50% (copy).jpg': None,
    '._progressive.jpg': 'no_picture', 'folder.jpg': 'no_file', 'README.md': 'no_picture',
    'empty.csv': 'empty', 'not_there.jpg': 'missing'}


def test_shared_folder_named(shared, trained_folder):
    "What a scan leaves out, too"
    files = [shared/'data/hostile'/o for o in UNSCANNED]
    res = measured('mlc_predict', trained_folder, *files, '--json')
    rows = rows_of(res)
    assert res.returncode==1
    assert list(rows)==list(UNSCANNED)
    for name,why in UNSCANNED.items():
        if why: assert name+fault(why) in rows[name]['error']
        else: assert 'labels' in rows[name]


@pytest.mark.parametrize('color,depth', [(6,8), (6,16), (0,16)],
    ids=['transparent','transparent deep','deep grey'])
def test_largest_picture_fits(trained_folder, tmp_path, color, depth):
    "88 million pixels are let in, and must not take more memory than was promised; once they took 2.2 GB"
    (tmp_path/'large.png').write_bytes(png(9_400, color, depth))
    res = measured('mlc_predict', trained_folder, tmp_path/'large.png')
    assert res.returncode==0
    assert res.gb<1.5


# --- names and kinds of files

ODD_NAMES = [b'two\nlines.jpg', b'red\x1b[31m\x1b]0;title\x07.jpg', b'back\r.jpg',
    'gpj.exe\u202e.jpg'.encode(), '\u2028.jpg'.encode(), '猫 \U0001f431 é.jpg'.encode()]
if sys.platform=='linux': ODD_NAMES.append(b'no text \xff\xfe.jpg')


@pytest.fixture
def odd(tmp_path, pets):
    "Names that steer a terminal or are no text, every second file cut short; and things that are no files"
    path,data = tmp_path/'odd',(pets/'pug_1.jpg').read_bytes()
    path.mkdir()
    for i,o in enumerate(ODD_NAMES):
        Path(os.fsdecode(os.fsencode(path)+b'/'+o)).write_bytes(data[:400] if i%2 else data)
    (path/'loop.jpg').symlink_to('loop.jpg')
    (path/'gone.jpg').symlink_to('nowhere.jpg')
    (path/'me').symlink_to('.')
    os.mkfifo(path/'pipe.jpg')
    return path


ENVIRONMENTS = pytest.mark.parametrize('env', [dict(), dict(LC_ALL='C'), dict(PYTHONIOENCODING='ascii'),
    dict(PYTHONIOENCODING='latin-1'), dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')], ids=str)


@ENVIRONMENTS
def test_odd_names(odd, trained_folder, env):
    "One line a file, whatever stdout can show"
    res = measured('mlc_predict', trained_folder, odd, text=False, env=os.environ|env)
    is_latin = env.get('PYTHONIOENCODING')=='latin-1'
    lines = res.stdout.decode('latin-1' if is_latin else 'utf-8').split('\n')[:-1]
    assert res.returncode==1
    assert len(lines)==len(ODD_NAMES)
    assert len(res.stderr)==1
    assert not any(ord(c)<32 or c in '\x7f\u2028\u202e' for o in lines for c in o)


@ENVIRONMENTS
def test_odd_names_in_json(odd, trained_folder, env):
    "The path is that of the file"
    res = measured('mlc_predict', trained_folder, odd, '--json', text=False, env=os.environ|env)
    rows = [json.loads(o) for o in res.stdout.split(b'\n')[:-1]]
    assert len(rows)==len(ODD_NAMES)
    for o in rows: assert Path(os.fsencode(o['path']).decode(errors='surrogateescape')).exists()
    assert sum('error' in o for o in rows)==len(ODD_NAMES)//2


NO_FILES = {'pipe.jpg': 'no_file', 'loop.jpg': 'missing', 'gone.jpg': 'missing', '/dev/zero': 'no_file',
    '/dev/null': 'no_file', 'x'*5000: 'unreadable', 'a\0b': 'missing'}


def test_no_files(odd, trained):
    "A pipe, devices, loops and endless names get a line each, and stop nothing"
    items = [odd/o for o in NO_FILES]
    *rows,last = trained.predict([*items, next(odd.glob('two*'))])
    for o,why in zip(rows, NO_FILES.values(), strict=True): assert fault(why) in o['error']
    assert 'labels' in last


def test_vanishes(trained, pets, tmp_path, monkeypatch):
    "Between the scan and the reading"
    shutil.copytree(pets, tmp_path/'p')
    real = Path.is_file
    def is_file(p):
        res = real(p)
        if p.name=='pug_3.jpg' and res: p.unlink()
        return res
    monkeypatch.setattr(Path, 'is_file', is_file)
    rows = trained.predict(tmp_path/'p')
    assert len(rows)==24
    assert [o['error'] for o in rows if 'error' in o]==[line('missing', tmp_path/'p/pug_3.jpg')]


def test_locked(trained_folder, pets):
    "Without the right to read, as another user than root"
    code = '''import os, sys
import PIL.Image, mlc_course.classifier
PIL.Image.init()
model, folder, good = sys.argv[1:]
clf = mlc_course.classifier.Classifier.load(model)
clf.predict(good)
if not os.getuid(): os.setuid(65534)
for o in clf.predict(folder): print(os.path.relpath(o['path'], folder), o.get('error', 'read'))'''
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        tmp.chmod(0o755)
        (tmp/'in').mkdir()
        for o in 'a.jpg', 'b.jpg', 'in/c.jpg': shutil.copy(pets/'pug_1.jpg', tmp/o)
        for o in 'b.jpg', 'in': (tmp/o).chmod(0)
        res = python(code, trained_folder, tmp, pets/'pug_1.jpg')
        (tmp/'in').chmod(0o700)
    first,*others = res.stdout.splitlines()
    assert first=='a.jpg read'
    locked = [f'{o} '+line('unreadable', tmp/o, 'Permission denied') for o in ('b.jpg', 'in')]
    assert others==locked, res


# --- training and measuring

@pytest.fixture(params=['names','folders','table'])
def mixed(request, tmp_path, pets):
    "Labelled pictures in each layout, 5 of 29 broken, one of 7 without label too; what is broken, and how"
    root,good = tmp_path/'data',(pets/'pug_1.jpg').read_bytes()
    broken = ['half.jpg', 'text.jpg', 'empty.jpg', 'real.heic', 'bomb.png']
    why = {}
    for label in 'Siamese', 'pug':
        sub = root/label if request.param=='folders' else root
        sub.mkdir(parents=True, exist_ok=True)
        for o in pets.glob(f'{label}_*'): shutil.copy(o, sub)
        for i,o in enumerate(broken):
            if i%2!=(label=='pug'): continue
            name = f'{label}_9{i}{Path(o).suffix}'
            (sub/name).write_bytes(bad_bytes(o, good))
            why[name] = BAD[o][1]
    unknown = draw(tmp_path/'unknown', ['car'], 6)
    (unknown/'half.jpg').write_bytes(bad_bytes('half.jpg', good))
    why['half.jpg'] = 'damaged'
    if request.param!='table': return root,unknown,why
    rows = [f'data/{o},{o.split("_")[0]},{i%5==0}' for i,o in enumerate(names(root))]
    (tmp_path/'t.csv').write_text('\n'.join(['fname,labels,is_valid', *rows]))
    return tmp_path/'t.csv',unknown,why


def listed(err, why, cmd=''):
    "Each bad picture has one line with its reason, after which one counts them"
    assert len(err)==len(why)+1, err
    for name,fault_of in why.items():
        about = [o for o in err if name+fault(fault_of) in o and o.startswith(cmd)]
        assert len(about)==1, (name,err)
    assert f'{len(why)} of ' in err[-1]


def test_train(mixed, tmp_path):
    path,unknown,why = mixed
    args = path, '--unknown', unknown, '--out', tmp_path/'m', *TRAIN
    res = measured('mlc_train', *args)
    assert res.returncode==2
    assert not (tmp_path/'m').exists()
    assert line('bad_pictures_end', 6, 36) in res.stderr[-1]
    listed(res.stderr, why, 'mlc_train: ')
    res = measured('mlc_train', *args, '--skip-bad')
    assert res.returncode==0
    assert res.gb<1.5
    assert res.stderr[-1]==line('left_out', 6, 36)
    listed(res.stderr, why)
    config = config_of(tmp_path/'m')
    facts = config['training']
    assert facts['n_train']+facts['n_valid']==30
    assert (facts['n_unlabelled'], facts['n_left_out'])==(6, 6)
    assert config['vocab']==['Siamese','pug']


def test_evaluate(mixed, trained_folder):
    path,unknown,why = mixed
    n_known = 24
    if path.suffix=='.csv': # only its is_valid rows are read
        rows = [o for o in path.read_text().splitlines() if o.endswith('True')]
        validating = {o.split(',')[0].split('/')[1] for o in rows}
        why = {name: o for name,o in why.items() if name in validating or name=='half.jpg'}
        n_known = len(validating)-(len(why)-1)
    args = trained_folder, path, '--unknown', unknown, '--json'
    res = measured('mlc_evaluate', *args)
    assert (res.returncode, res.stdout)==(2, '')
    assert '--skip-bad' in res.stderr[-1]
    assert 'pictures to evaluate' in res.stderr[0]
    listed(res.stderr[1:], why, 'mlc_evaluate: ')
    res = measured('mlc_evaluate', *args, '--skip-bad')
    listed([o for o in res.stderr[1:] if 'trained the model' not in o], why)
    figures = json.loads(res.stdout)
    assert res.returncode==0
    assert (figures['n_known'], figures['n_unknown'])==(n_known, 6)
    for_people = measured('mlc_evaluate', trained_folder, path, '--skip-bad')
    assert f'{n_known} labelled photos' in for_people.stdout


@pytest.fixture
def table(tmp_path, pets):
    "`table(*rows)`: a CSV of all pets, every sixth to validate, and of other rows"
    shutil.copytree(pets, tmp_path, dirs_exist_ok=True)
    def write(*more, validates=True):
        rows = [f'{o},{o.split("_")[0]},{validates and i%6==0}' for i,o in enumerate(names(pets))]
        (tmp_path/'t.csv').write_text('\n'.join(['fname,labels,is_valid', *rows, *more]))
        return tmp_path/'t.csv'
    return write


GONE = 'gone_1.jpg,pug,False', 'gone_2.jpg,pug,True'


def test_missing_rows(table, tmp_path):
    "An error with row and name, each"
    with pytest.raises(MissingError, match='row 26'): gather_photos(table(GONE[0]))
    with pytest.raises(BadPictures) as e: gather_photos(table(*GONE))
    *said,_ = e.value.lines
    assert said==[line('no_row_file', tmp_path/'t.csv', 26+i, f'gone_{i+1}.jpg') for i in range(2)]


def test_missing_rows_are_left_out(table, trained, capsys):
    "Like any bad picture"
    clf = Classifier.train(table(*GONE), 'small_cnn', size=32, epochs=1, skip_bad=True, say=noop)
    assert clf.config['training']['n_left_out']==2
    assert 'gone_2.jpg'+fault('missing') in capsys.readouterr().err
    assert trained.evaluate(table(*GONE), skip_bad=True)['n_known']==4


def test_missing_rows_hide_no_contradiction(table, trained):
    def train(*rows, **kwargs):
        Classifier.train(table(*rows, **kwargs), 'small_cnn', skip_bad=True, say=noop)
    with pytest.raises(InputError, match='gone_1.jpg'): train(*GONE, 'gone_1.jpg,Siamese,False')
    with pytest.raises(InputError) as e: train(GONE[1], validates=False)
    assert str(e.value).endswith('t.csv'+fault('no_valid_read'))
    with pytest.raises(InputError) as e: trained.evaluate(table(GONE[1], validates=False), skip_bad=True)
    assert str(e.value).endswith('t.csv'+fault('none_read'))


TABLES = dict(empty='empty_table', header_only='no_rows', no_labels_column='columns',
    missing_file='no_row_file', unknown_label='new_label', split_leak='contradicts',
    contradiction='contradicts', outside_path='outside')
NAMED = dict(missing_file='row 4 (not_there.jpg)', unknown_label='Allowed labels: cat dog')


@pytest.mark.parametrize('name', TABLES)
def test_bad_tables(shared, trained_folder, tmp_path, name):
    "As the folder's README asks, training and measuring"
    table,why = shared/f'data/hostile/{name}.csv',fault(TABLES[name])
    res = measured('mlc_train', table, '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==2
    assert not (tmp_path/'m').exists()
    said, = res.stderr
    for o in f'{name}.csv', why, NAMED.get(name, ''): assert o in said
    res = measured('mlc_evaluate', trained_folder, table)
    assert res.returncode==2
    said, = res.stderr
    assert (f'{name}.csv' if name=='unknown_label' else why) in said # of its labels none is the model's


@pytest.mark.parametrize('name', ['duplicate_row', 'empty_labels', 'bom_crlf'])
def test_odd_tables(shared, tmp_path, name):
    table = shared/f'data/hostile/{name}.csv'
    res = measured('mlc_train', table, '--out', tmp_path/'m', *TRAIN)
    assert res.returncode==0
    assert ('counted once' in res.stdout)==(name=='duplicate_row')
    assert measured('mlc_evaluate', tmp_path/'m', table).returncode==0
