"Every mistake gets its line, word for word as in messages.py"
import json, math, socket, sys
from types import SimpleNamespace
import numpy as np, pandas as pd, pytest, torch
from PIL import Image
from conftest import draw, names, png, untrained
from messages import line
from mlc_course.classifier import Classifier
from mlc_course.engine.decision import check_keep
from mlc_course.engine.core import BadPictures, InputError, MissingError
from mlc_course.engine.files import read_limited
from mlc_course.engine.labelling import raw_outputs
from mlc_course.engine import answer_files, networks
from mlc_course.engine.answer_files import check_sorted, check_table
from mlc_course.engine.model_file import check_dest, load_model, model_format
from mlc_course.engine.networks import build_model, fetch_weights
from mlc_course.engine.options import Options, find_device
from mlc_course.engine.photo_set import unknown_files
from mlc_course.engine.photos import gather_photos, read_photos
from mlc_course.engine.tables import read_table
from mlc_course.engine.pictures import expand_paths, open_picture
from mlc_course.engine.promise import check_missed
from mlc_course.ui.app import free_port, mlc_app
from mlc_course.ui.asker import look_at
from mlc_course.ui.cli import mlc_predict, mlc_train, read_part
from mlc_course.ui.report import check_report


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    "Relative names in the messages are the same on each machine"
    monkeypatch.chdir(tmp_path)
    return tmp_path


def says(make, name, *things, kind=InputError):
    "`make()` fails with exactly that line; in place of `@` anything may stand, such as words of a library"
    with pytest.raises(kind) as e: make()
    before,is_open,after = line(name, *things).partition('@')
    said = str(e.value)
    assert said.startswith(before)
    assert said.endswith(after)
    assert is_open or said==before
    assert '\n' not in said


# --- options

def free_ip(ip): return free_port(None, ip)


PIXELS = '32 to 1024'
SEEDS = '0 to 4294967295'


@pytest.mark.parametrize('options,name,things', [
    (dict(size=0), 'range', ('size', 0, PIXELS)),
    (dict(size=1025), 'range', ('size', 1025, PIXELS)),
    (dict(size=64.5), 'whole', ('size', 64.5, PIXELS)),
    (dict(epochs=-1), 'range', ('epochs', -1, '0 to 10000')),
    (dict(epochs=1.5), 'whole', ('epochs', 1.5, '0 to 10000')),
    (dict(epochs=True), 'whole', ('epochs', True, '0 to 10000')),
    (dict(seed=-1), 'range', ('seed', -1, SEEDS)),
    (dict(seed='0'), 'whole', ('seed', '0', SEEDS)),
    (dict(min_images=-1), 'range', ('min_images', -1, '0 to 1000000000')),
    (dict(keep=1.01), 'keep', (1.01,)),
    (dict(arch='resnet19'), 'arch', ('resnet19',)),
    (dict(arch='timm/resnet19'), 'timm_name', ('timm/resnet19',)),
    (dict(arch='timm/hf-hub:a/b'), 'timm_name', ('timm/hf-hub:a/b',)),
    (dict(max_missed=1), 'missed', (1,)),
    (dict(max_missed=.1, keep=.9), 'missed_by_silence', (.1, .9, .9)),
    (dict(loss='hinge'), 'loss', ('hinge',)),
    (dict(device='tpu'), 'device', ('tpu',))])
def test_options(options, name, things):
    "Before a photo is read"
    says(lambda: Options(**options), name, *things)
    says(lambda: Classifier.train('nowhere', **options), name, *things)


VALUES = {
    (find_device, 'device'): ['gpu', 'cuda:x', 'meta', '', 3.5, object()],
    (check_keep, 'keep'): [0, -1, 1.01, math.nan, '0.9', None, True],
    (check_missed, 'missed'): [0, 1, -1, math.nan, '0.1', True, object()],
    (read_part, 'shard'): ['0/3', '4/3', '3', 'a/b', '1/0', '1/2/3', '-1/3', '1.5/3'],
    (free_port, 'no_number_port'): ['abc', '80.5', ''],
    (free_port, 'port_range'): ['-1', '0', 70000],
    (free_ip, 'address'): ['203.0.113.1', 'no such host', '::2']}


@pytest.mark.parametrize('ask,name,value', [(*o, value) for o,values in VALUES.items() for value in values])
def test_value(ask, name, value): says(lambda: ask(value), name, value)


@pytest.mark.parametrize('device,name,things', [
    ('cuda', 'no_gpu', ()),
    ('cuda:7', 'no_gpu', ()),
    ('mps', 'no_gpu', ()),
    ('cuda:2', 'last_gpu', (1,))])
def test_missing_device(monkeypatch, device, name, things):
    "Before anything is read"
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: name=='last_gpu')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    for ask in find_device, lambda o: Options(device=o), lambda o: Classifier.load('nowhere', o):
        says(lambda: ask(device), name, device, *things)


def test_no_map():
    name = 'timm/vit_tiny_patch16_224'
    says(lambda: build_model(name, 2), 'no_map', name)


def test_missing_libraries(monkeypatch, folder):
    "timm, without which its networks can be neither trained nor loaded; a package of weights"
    with monkeypatch.context() as m:
        m.setattr(networks, 'find_spec', lambda name: None)
        says(lambda: Options(arch='timm/resnet18'), 'no_timm', 'timm/resnet18')
        name = 'efficientnet_lite0'
        says(lambda: fetch_weights(name), 'lite_lacks', name, name.replace('_', '-'))
        folder.change(arch='timm/resnet18')
        says(load, 'of_config', 'm/config.json', line('no_timm', 'timm/resnet18'))


def test_damaged_weights_of_a_package(here, monkeypatch):
    (here/'models').mkdir()
    (here/'models/w.pth').write_bytes(b'rubbish')
    monkeypatch.setattr(networks, 'find_spec', lambda name: SimpleNamespace(origin=str(here/'__init__.py')))
    name = 'efficientnet_lite1'
    says(lambda: fetch_weights(name), 'lite_damaged', name, '@', name.replace('_', '-'))


def a_row(logits, targets): return logits.mean(1)


@pytest.mark.parametrize('options,name,things', [
    (dict(loss='focal'), 'loss_at_rest', ('focal',)),
    (dict(loss=a_row, epochs=1), 'loss_fails', ('a_row', 'it returns (2,), not one number', 2)),
    (dict(max_missed=.1), 'few_for_missed', (.1, .95, 40, 20)),
    (dict(max_missed=.1, epochs=1), 'few_for_missed', (.1, .95, 40, 4)),
    (dict(max_missed=.02), 'few_for_missed', (.02, .99, 198, 20))])
def test_options_that_the_pictures_forbid(options, name, things):
    valid = [False]*16+[True]*4
    few = SimpleNamespace(vocab=['a','b'], labels=[['a'],['b']]*10, is_valid=valid, folds=[0]*20)
    says(lambda: Options(**options).planned(few, pretrained=True), name, *things)


@pytest.mark.parametrize('asked,name,things', [
    (.7, 'threshs', (.7, 'cat')),
    (dict(fox=.7), 'no_label_of_model', ('fox', 'cat dog')),
    (dict(cat='high'), 'no_prob', ('high', 'cat'))])
def test_threshs(blank, asked, name, things): says(lambda: blank.with_threshs(asked), name, *things)


def test_no_other_keep(): says(lambda: untrained(keep_table=None).with_keep(.5), 'no_keep')


# --- pictures

LETTER = b'a letter to my cat'
PICTURES = {
    'empty.jpg': (b'', 'empty'),
    'letter.jpg': (LETTER, 'no_picture'),
    'page.jpg': (b'<html>404', 'no_picture'),
    'program.jpg': (b'%!PS-Adobe-3.0 EPSF-3.0\n', 'no_picture'), # Pillow would hand it to Ghostscript
    'letter.heic': (LETTER, 'no_picture'),
    'list.csv': (LETTER, 'is_list'),
    'all.zip': (LETTER, 'is_archive'),
    'film.mp4': (LETTER, 'is_film'),
    'page.pdf': (LETTER, 'other_format'),
    'bomb.png': (png(60_000, n_rows=0), 'too_large'),
    'large.png': (png(9_500, n_rows=0), 'too_large'),
    'cut.png': (png(2_000, n_rows=0), 'damaged')}


@pytest.mark.parametrize('file', PICTURES)
@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_picture(here, file):
    data,name = PICTURES[file]
    (here/file).write_bytes(data)
    says(lambda: open_picture(file), name, file, '@')


@pytest.mark.parametrize('file', ['phone.heic','phone.jpg'])
def test_heic_without_its_reader(here, monkeypatch, file):
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    (here/file).write_bytes(b'\0\0\0\x1cftypheic'+bytes(99))
    says(lambda: open_picture(file), 'heic', file)


NAN = math.nan
FORMS = [
    ('', 'no_name', ()), (None, 'no_name', ()), (NAN, 'no_name', ()),
    ('https://a.org//b.jpg', 'is_address', ('https://a.org//b.jpg',)),
    ('file:///b.jpg', 'is_address', ('file:///b.jpg',)),
    (7, 'no_form', ('picture 1','int')), ([7], 'no_form', ('picture 1','list')),
    (np.zeros((0,9)), 'no_numbers', ('picture 1',)), (np.array(7), 'shape', ('picture 1',())),
    (np.zeros((9,9,2)), 'shape', ('picture 1',(9,9,2))),
    (np.zeros((2,9,9,3)), 'shape', ('picture 1',(2,9,9,3))),
    (np.zeros((3,9,3)), 'either_shape', ('picture 1',(3,9,3))),
    (np.full((9,9), 'a'), 'no_plain', ('picture 1','<U1')),
    (np.full((9,9), NAN), 'array_nan', ('picture 1',)),
    (np.full((9,9), 200.), 'array_range', ('picture 1','200','200')),
    (np.full((9,9), -1), 'array_range', ('picture 1','-1','-1')),
    (torch.linspace(-2, 2, 81).view(9, 9), 'array_range', ('picture 1','-2','2'))]


@pytest.mark.parametrize('form,name,things', FORMS)
def test_form(form, name, things): says(lambda: open_picture(form), name, *things)


def test_open_file(here):
    (here/'a.txt').write_text('a')
    with open('a.txt') as f: says(lambda: open_picture(f), 'as_text', 'a.txt')
    says(lambda: open_picture(f), 'closed', 'a.txt')
    draw(here, ['pug'], 1)
    with Image.open('pug_0.jpg') as img: pass
    says(lambda: open_picture(img), 'closed_picture', 'pug_0.jpg')


SIZES = [((224,224), 'size'), (64., 'size'), ('64', 'size'), (0, 'size_range')]


@pytest.mark.parametrize('size,name', SIZES)
def test_size_is_the_callers(here, size, name):
    draw(here, ['pug'], 1)
    says(lambda: open_picture('pug_0.jpg', size), name, size)


def test_no_list_of_pictures(blank):
    says(lambda: blank.predict(pd.DataFrame(dict(path=['a.jpg']))), 'table_given', 'DataFrame')
    says(lambda: blank.predict(dict(path=['a.jpg'])), 'table_given', 'dict')


def test_picture_places(here):
    (here/'folder').mkdir()
    says(lambda: open_picture('none.jpg'), 'missing', 'none.jpg', kind=MissingError)
    says(lambda: open_picture(*expand_paths('folder')), 'no_file', 'folder')


def test_large_webp(here):
    "Its decoder takes more memory"
    Image.new('L', (7_000,6_400)).save(here/'a.webp', quality=0, method=0)
    says(lambda: open_picture('a.webp'), 'too_large_for', 'a.webp')


def test_bad_pictures():
    errors = {o: InputError(line('empty', o)) for o in ('a.jpg','b.jpg')}
    said = list(map(str, errors.values()))
    e = BadPictures(errors, 9)
    assert str(e)==line('bad_pictures', 2, 9, '; '.join(said))
    assert e.lines==[*said, line('bad_pictures_end', 2, 9)]


def test_no_number(here):
    draw(here/'p', ['pug'], 1)
    clf = untrained()
    with torch.no_grad(): clf.model[1][-1].bias.fill_(math.nan)
    errors = raw_outputs(clf, ['p/pug_0.jpg']).errors
    assert str(errors['p/pug_0.jpg'])==line('no_number', 'p/pug_0.jpg')


def test_upload(blank):
    says(lambda: look_at(blank, 'a.jpg', bytes(11_000_000)), 'upload', 'a.jpg', 11)


# --- photos

@pytest.mark.parametrize('files,name,things', [
    ([], 'no_photos', ('p',)),
    (['p/letter.txt'], 'holds_none', ('p',)),
    (['p/pug_1.jpg', 'p/holiday.jpg'], 'not_named', ('p/holiday.jpg',)),
    (['p/pug_1.jpg', 'p/cat/1.jpg'], 'beside_folders', ('p/pug_1.jpg',)),
    (['p/train/1.jpg', 'p/cat/1.jpg'], 'is_split', ('p', 'train')),
    (['p/train/1.jpg', 'p/test/1.jpg'], 'not_named', ('p/train/1.jpg',)),
    (['p/IMG_2024_1.jpg', 'p/pug_1.jpg'], 'of_camera', ('p/IMG_2024_1.jpg',)),
    (['p/1/a/x.jpg', 'p/1/b/x.jpg', 'p/2/a/y.jpg', 'p/2/b/y.jpg'], 'same_folders', ('p', '1 2', 'a b')),
    (['p/pug_1.jpg'], 'one_photo', ('p',)),
    (['p/pug_1.jpg', 'p/pug_2.jpg'], 'one_label', ('p', 'pug'))])
def test_layout(here, files, name, things):
    for o in files:
        (here/o).parent.mkdir(parents=True, exist_ok=True)
        (here/o).touch()
    says(lambda: gather_photos('p'), name, *things)


TABLES = [
    ('', 'empty_table', ()),
    ('fname,labels\n', 'no_rows', ()),
    ('fname,is_valid\na.jpg,True\n', 'no_labels_column', ('fname,is_valid',)),
    ('when,labels\na.jpg,cat\n', 'no_file_column', ('when,labels',)),
    ('fname,labels,labels\na.jpg,cat,cat\n', 'columns', (2, 'labels', 'labels labels')),
    ('image,path,labels\na.jpg,a.jpg,cat\n', 'columns', (2, 'file', 'image path')),
    ('fname,labels\na.jpg,"cat,dog"\nb.jpg,cat dog\n', 'mixed', (3, 'cat dog')),
    ('fname,labels\na.jpg,"cat,dog"\nb.jpg,cat;dog\n', 'two_ways', (2, 'cat,dog', 't.csv', 3, 'cat;dog')),
    ('fname,labels\na.jpg,[\'cat\']\nb.jpg,cat\n', 'not_a_list', (3, 'cat', 't.csv', 2)),
    ('fname,labels\na.jpg,"[[1],2]"\n', 'no_list', (2, '[[1],2]')),
    ('fname,labels\na.jpg,cat\nb.jpg,cat/dog\nc.jpg,dog\n', 'joined', (3, 'cat/dog')),
    ('fname,labels\na.jpg,1 0\nb.jpg,0 1\n', 'no_names', (2, '1 0')),
    ('fname,cat,dog\na.jpg,0,1\nb.jpg,1,\nc.jpg,0,0\n', 'zero_or_one', (3, 'dog', '')),
    ('fname,labels,split\na.jpg,cat,train\nb.jpg,cat,tran\n', 'part', (3, 'split', 'tran')),
    ('fname,labels\na.jpg\n', 'cells', (2, 1, 2)),
    ('fname,labels,is_valid\na.jpg,cat,maybe\n', 'truth', (2, 'maybe')),
    ('fname,labels\n../t.csv,cat\n', 'outside', (2, '../t.csv', '.')),
    ('fname,labels\n,cat\n', 'no_row_file', (2, '.')),
    ('fname,labels\na.jpg,cat\nnone.jpg,dog\n', 'no_row_file', (3, 'none.jpg')),
    ('fname,labels\na.jpg,cat\n./a.jpg,dog\n', 'contradicts', (3, 'a.jpg', 2, 'labels')),
    ('fname,labels,is_valid\na.jpg,cat,0\na.jpg,cat,1\n', 'contradicts', (3, 'a.jpg', 2, 'is_valid')),
    ('fname,labels,is_valid\na.jpg,cat,1\n', 'only_valid', ()),
    ('fname,labels\na.jpg,\nb.jpg,\n', 'no_label', ()),
    ('fname,labels,is_valid\na.jpg,cat,0\nb.jpg,dgo,1\n', 'new_label', (3, 'b.jpg', 'dgo', 'cat')),
    ('fname,labels\na.jpg,\x1b[31mred\nb.jpg,dog\n', 'odd_label', ('\x1b[31mred',)),
    ('fname,labels\na.jpg,a\u202eb\nb.jpg,dog\n', 'odd_label', ('a\u202eb',)),
    (f'fname,labels\na.jpg,{"x"*201}\nb.jpg,dog\n', 'odd_label', ('x'*60,))]


@pytest.mark.parametrize('text,name,things', TABLES)
def test_table(here, text, name, things):
    for o in 'a.jpg', 'b.jpg': (here/o).touch()
    (here/'t.csv').write_text(text, encoding='utf-8')
    says(lambda: Classifier.train('t.csv', 'small_cnn', device='cpu'), name, 't.csv', *things)


def test_other_tables(here):
    (here/'a.jpg').touch()
    (here/'p').mkdir()
    for place in 't.csv', 'p/t.csv': (here/place).write_text('fname,labels\na.jpg,NA\n./a.jpg,NA\n')
    (here/'p/a.jpg').touch()
    assert read_table('t.csv').notes==(line('counted_once', 't.csv', 3, 'a.jpg', 2),)
    says(lambda: read_photos('p'), 'holds_table', 'p', 'p/t.csv')
    says(lambda: read_photos('a.jpg'), 'no_folder', 'a.jpg')
    (here/'t.csv').write_bytes('fname,labels\na.jpg,Käfer\n'.encode('latin-1'))
    says(lambda: read_table('t.csv'), 'no_csv', 't.csv', '@')


def test_gathering(here):
    draw(here/'p', ['Siamese','pug'], 2)
    says(lambda: gather_photos('p', min_images=3), 'too_rare', 'p', 3, 2)
    says(lambda: gather_photos('p', unknown='none'), 'no_unknown', 'none', kind=MissingError)
    says(lambda: unknown_files('p/pug_0.jpg'), 'no_unknown_folder', 'p/pug_0.jpg')
    says(lambda: gather_photos('p', unknown='p'), 'both', 'p/Siamese_0.jpg', 'p')
    photos = read_photos('p')
    says(lambda: photos.without(photos.files), 'none_read', 'p')
    says(lambda: photos.without(photos.files[:2]), 'label_lost', 'p', 'Siamese')
    draw(here/'u', ['car'], 2)
    split = photos.split()
    says(lambda: split.plus_unlabelled('u', bad=unknown_files('u')), 'none_read', 'u')


def test_evaluating(here, blank):
    "A row that validates, and one that has another label than the model"
    draw(here, ['pug'], 2)
    (here/'t.csv').write_text('fname,labels,is_valid\npug_0.jpg,cat,0\npug_1.jpg,pug,1\n')
    says(lambda: blank.evaluate('t.csv'), 'other_label', 't.csv', 3, 'pug_1.jpg', 'pug', 'cat dog')
    photos = read_photos('t.csv')
    says(lambda: photos.without(photos.files[1:]), 'no_valid_read', 't.csv')


# --- models

GONE = object()
WHOLE = [0.]*100
KEPT = [2-i/10 for i in range(99)]+[None]
THREE = dict(a=.5, b=.5, c=.5)


def of_rule(name, std=1., thresh=0., prior=None):
    return dict(name=name, mean={name: 0.}, std={name: std}, k=5, prior=prior, thresh=thresh)


def of_told(n_labels=3, **columns):
    return dict(n_labels=n_labels, **dict(dict.fromkeys(('mean','lowest','highest'), WHOLE), **columns))


CONFIGS = [
    ('vocab', GONE), ('thresholds', GONE), ('kept', GONE), ('rehearsal', GONE),
    ('vocab', ['cat','cat']), ('vocab', []), ('vocab', ['cat','']),
    ('size', 10**9), ('size', True),
    ('format', 'model 4'), ('format', None), ('resize', 'crop'),
    ('mean', [.5,.5]), ('mean', [.5,.5,2.]), ('mean', '0.5'),
    ('std', [1.,0.,1.]), ('std', [1e9]*3), ('std', .5),
    ('weights', 'mine'), ('weights', dict(source='mine')), ('weights', dict(source='a\x1b', licence='MIT')),
    ('thresholds', dict(cat=.5, dog='x')), ('thresholds', dict(cat=.5)),
    ('score', 'eval'), ('score', of_rule('knn', std=0.)), ('score', of_rule('knn', thresh='low')),
    ('score', of_rule('magic')),
    ('score', of_rule('knn', prior=[.5,2.])), ('score', of_rule('knn', prior=.5)),
    ('keep', 2), ('rare', 'fox'),
    ('kept', []), ('kept', KEPT[1:]), ('kept', KEPT[::-1]), ('kept', ['x']*100), ('kept', dict(score=KEPT)),
    ('rehearsal', []), ('rehearsal', of_told(0)), ('rehearsal', of_told(mean=WHOLE[1:])),
    ('rehearsal', of_told(lowest=[2.]*100)), ('rehearsal', of_told(more=WHOLE))]


@pytest.fixture
def folder(here, blank):
    "A model, and a function that changes its configuration"
    blank.save('m')
    file = here/'m/config.json'
    def change(**changes):
        config = json.loads(file.read_text()) | changes
        file.write_text(json.dumps({k: v for k,v in config.items() if v is not GONE}))
    return SimpleNamespace(file=file, change=change)


def load(): return load_model('m')


@pytest.mark.parametrize('field,value', CONFIGS)
def test_config(folder, field, value):
    "What is missing or wrong is named, with the value"
    folder.change(**{field: value})
    if value is GONE: says(load, 'lacks', 'm/config.json', field)
    else: says(load, 'field', 'm/config.json', field, '@')


def test_priors_of_other_labels(folder):
    folder.change(score=of_rule('knn', prior=[.5]*3))
    says(load, 'priors', 'm/config.json', 3, 2)


@pytest.mark.parametrize('found', ['mlc_course model 3', 'mlc_course model 99'])
def test_other_version(folder, found):
    folder.change(format=found)
    says(load, 'other_version', 'm/config.json', found, model_format)


@pytest.mark.parametrize('text,name,why', [
    ('', 'config_damaged', 'Expecting value: line 1 column 1 (char 0)'),
    ('{', 'config_damaged', '@'),
    ('{"a":1,"a":2}', 'config_damaged', 'a key stands there twice'),
    ('{"format":NaN}', 'config_damaged', 'Out of range float values are not JSON compliant@'),
    ('[]', 'lacks', 'format'),
    ('null', 'lacks', 'format'),
    ('"x"', 'lacks', 'format')])
def test_no_config(folder, text, name, why):
    folder.file.write_text(text)
    says(load, name, 'm/config.json', why)


@pytest.mark.parametrize('arch,changes', [
    ('resnet18', dict(arch='resnet18')),
    ('small_cnn', dict(vocab=['a','b','c'], thresholds=THREE))])
def test_other_network(folder, arch, changes):
    folder.change(**changes)
    says(load, 'no_fit', 'm/model.safetensors', arch, '@')


def test_model_places(here, folder):
    says(lambda: load_model('none'), 'no_model', 'none', kind=MissingError)
    (here/'empty').mkdir()
    says(lambda: load_model('empty'), 'no_model_folder', 'empty', 'config.json and model.safetensors')
    folder.change(arch='../../x')
    says(load, 'of_config', 'm/config.json', line('arch', '../../x'))
    folder.change(arch='small_cnn', weights_sha256='0'*64)
    says(load, 'other_weights', 'm/model.safetensors')
    says(lambda: read_limited('empty', 9), 'not_plain', 'empty')
    (here/'big').write_bytes(bytes(3_000_000))
    says(lambda: read_limited('big', 2_000_000), 'too_many_bytes', 'big', 2)


def test_destinations(here):
    (here/'mine').mkdir()
    for o in 'file', 'mine/thesis.txt': (here/o).write_text('years of work')
    says(lambda: check_dest('file'), 'dest_is_file', 'file')
    says(lambda: check_dest('file/m'), 'below_file', 'file/m', 'file')
    says(lambda: check_dest('mine'), 'left_alone', 'mine', 'thesis.txt')


@pytest.mark.parametrize('lack', ['onnx', 'onnxscript'])
def test_onnx_lacks(here, blank, monkeypatch, lack):
    monkeypatch.setitem(sys.modules, lack, None)
    says(lambda: blank.to_onnx('a.onnx'), 'onnx_lacks', 'a.onnx', lack)
    assert not names(here)


def test_onnx_places(here, blank, monkeypatch):
    pytest.importorskip('onnx', reason='not installed: it comes with the extra `dev`')
    pytest.importorskip('onnxscript', reason='not installed: it comes with the extra `dev`')
    (here/'folder').mkdir()
    (here/'notes.onnx').write_text('mine')
    says(lambda: blank.to_onnx('folder'), 'onnx_folder', 'folder', 'folder/model.onnx')
    says(lambda: blank.to_onnx('notes.onnx'), 'onnx_left_alone', 'notes.onnx')
    says(lambda: blank.to_onnx('notes.onnx/a.onnx'), 'below_file', 'notes.onnx/a.onnx', 'notes.onnx')
    name = f'{"x"*260}.onnx'
    says(lambda: blank.to_onnx(name), 'onnx_unwritten', name, 'File name too long')
    monkeypatch.setattr(torch.onnx, 'export', lambda *args, **kwargs: 1/0)
    says(lambda: blank.to_onnx('a.onnx'), 'onnx_network', 'small_cnn', 'division by zero')


# --- tables of answers, sorted photos

def test_places_of_answers(here, monkeypatch):
    (here/'photos').mkdir()
    (here/'notes.csv').write_text('mine')
    says(lambda: check_table('photos'), 'no_plain_table', 'photos')
    says(lambda: check_table('notes.csv'), 'table_left_alone', 'notes.csv')
    says(lambda: check_table('notes.csv/a.csv'), 'below_file', 'notes.csv/a.csv', 'notes.csv')
    says(lambda: check_sorted('photos/album', ['photos']), 'sort_inside', 'photos/album', 'photos')
    says(lambda: check_sorted('notes.csv'), 'sort_not_empty', 'notes.csv')
    monkeypatch.setattr(answer_files, 'find_spec', lambda name: None)
    says(lambda: check_table('a.parquet', 'parquet'), 'no_pyarrow', 'a.parquet')


# --- a report

def test_report_names(here):
    (here/'r.html').mkdir()
    (here/'f').write_text('mine')
    says(lambda: check_report('photos.csv'), 'no_page', 'photos.csv', 'photos')
    says(lambda: check_report('r.html'), 'page_folder', 'r.html', 'r.html/report.html')
    says(lambda: check_report('f/r.html'), 'below_file', 'f/r.html', 'f')


# --- the app and the commands

def test_port_in_use():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        port = s.getsockname()[1]
        says(lambda: free_port(port), 'port_in_use', port)


@pytest.mark.parametrize('command,name,things', [
    (lambda: mlc_app('nowhere', rate=-1), 'rate', (-1,)),
    (lambda: mlc_app('nowhere', token='secret'), 'token', ()),
    (lambda: mlc_app('nowhere'), 'no_model', ('nowhere',)),
    (lambda: mlc_app('nowhere', ip='203.0.113.1'), 'address', ('203.0.113.1',)),
    (lambda: mlc_predict('nowhere', ['a.jpg'], shard='4/3'), 'shard', ('4/3',)),
    (lambda: mlc_predict('nowhere', ['a.jpg'], link=True), 'link_alone', ()),
    (lambda: mlc_predict('nowhere', ['a'], sort='b', csv='b/a.csv'), 'table_inside', ('b/a.csv', 'b')),
    (lambda: mlc_train(), 'no_photos_named', ()),
    (lambda: mlc_train('nowhere'), 'no_out', ())])
def test_command(capsys, command, name, things):
    "The name of the command stands before it"
    with pytest.raises(SystemExit) as e: command()
    assert e.value.code==2
    said = capsys.readouterr().err
    assert said.split(': ', 1)[1]==line(name, *things)+'\n'
