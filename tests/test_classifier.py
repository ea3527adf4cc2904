"Reading pictures and tables, training, saving and loading: the awkward cases that no page has room for"
import json, math, os, shutil, struct, subprocess, sys, zlib
from dataclasses import replace
import numpy as np
import pytest, torch
from fastcore.basics import noop
from PIL import Image
from mlc_course.classifier import Classifier, fitted_classifier
from mlc_course.draw.scenes import draw_portrait
from mlc_course.engine.core import InputError
from mlc_course.engine.decision import Decision, KeepTable, pick_threshs
from mlc_course.engine.evaluation import FIGURES, measure, measure_validation
from mlc_course.engine.labelling import raw_outputs
from mlc_course.engine.model_file import check_dest
from mlc_course.engine.networks import build_model, split_body
from mlc_course.engine.options import Options
from mlc_course.engine.photos import gather_photos, read_photos, read_table
from mlc_course.engine.pictures import open_picture, picture_files, picture_tensor
from mlc_course.engine.training import Fitted, Parts
from mlc_course.unknown import apply_score

# What shared/data/hostile/README.md says of its files
UNREADABLE = ['zero_byte.jpg', 'truncated_half.jpg', 'truncated_half.png', 'truncated_header.jpg',
    'text.jpg', 'error_page.jpg', 'text.heic', 'folder.jpg', 'bad_crc_ihdr.png', 'bad_crc_idat.png',
    'bomb_30000x30000.png', 'bomb_12000x12000.png']
READABLE = ['one_pixel.jpg', 'one_pixel.png', 'thin_1x4000.jpg', 'wide_4000x1.jpg', 'cmyk.jpg', 'gray.jpg',
    'gray16.png', 'rgba_transparent.png', 'palette.gif', 'palette_transparent.png', 'animated.gif',
    'animated.webp', 'bad_exif.jpg', 'png_inside.jpg', 'gif_inside.jpg', 'trailing_garbage.jpg',
    'progressive.jpg', 'picture.tiff', 'picture.bmp', 'UPPER.JPG', 'no_extension',
    'a cat with spaces, ünïcødé 猫 & 50% (copy).jpg', 'exif_upright_reference.png']


def pixels(img): return np.asarray(img.resize((8,8), Image.Resampling.BOX)).astype(int)


@pytest.fixture(scope='module')
def pets(tmp_path_factory):
    "24 drawn portraits of two breeds, named as in PETS"
    path = tmp_path_factory.mktemp('pets')
    for name in 'Siamese', 'pug':
        for i in range(12): draw_portrait(name, i, 48)[0].save(path/f'{name}_{i}.jpg')
    return path


RULE = dict(name='joint_energy+knn', mean=dict(joint_energy=0., knn=0.5), std=dict(joint_energy=1., knn=0.1))
TABLE = KeepTable((*(2-i/10 for i in range(99)), -math.inf), tuple(-i/50 for i in range(100)))


@pytest.fixture(scope='module')
def model():
    "An untrained classifier, as good as any for reading and writing"
    torch.manual_seed(0)
    decision = Decision(('cat','dog'), .95, RULE, 5, -3., (.4,.4), (.5,.5), TABLE)
    refs = torch.randint(-127, 128, (20,384), dtype=torch.int8)
    config = dict(arch='small_cnn', size=64, rare=[], versions={}, training={}, metrics={})
    return Classifier(build_model('small_cnn', 2), decision, refs, config)


def table(path, text, encoding='utf-8'):
    "A table of two sound pictures `a.jpg` and `b.jpg` and whatever else `text` says"
    for i,o in enumerate('ab'): draw_portrait('pug', i, 32)[0].save(path/f'{o}.jpg')
    (path/'labels.csv').write_text(text, encoding=encoding, newline='')
    return path/'labels.csv'


# --- pictures

@pytest.mark.parametrize('name', UNREADABLE)
def test_hostile_refused(shared, name):
    with pytest.raises(InputError) as e: open_picture(shared/'data/hostile'/name)
    assert name in str(e.value)
    assert '\n' not in str(e.value)
    assert 20<len(str(e.value))<400


@pytest.mark.parametrize('name', READABLE)
def test_hostile_read(shared, name):
    assert open_picture(shared/'data/hostile'/name).mode=='RGB'
    assert picture_tensor(shared/'data/hostile'/name, 64).shape==(3,64,64)


def test_hostile_hidden(shared):
    assert '._progressive.jpg' not in {o.name for o in picture_files(shared/'data/hostile')}
    with pytest.raises(InputError): open_picture(shared/'data/hostile/._progressive.jpg')


@pytest.mark.parametrize('turn', range(1, 9))
def test_hostile_upright(shared, turn):
    want = pixels(open_picture(shared/'data/hostile/exif_upright_reference.png'))
    got = pixels(open_picture(shared/f'data/hostile/exif_orientation_{turn}.jpg'))
    assert abs(got-want).max()<24


def test_hostile_pixels(shared):
    host = shared/'data/hostile'
    assert 100<pixels(open_picture(host/'gray16.png')).mean()<140
    edge = np.asarray(open_picture(host/'rgba_transparent.png'))[0,0]
    assert tuple(edge)==(255,255,255)


TURN = Image.Transpose
BACK = {2: TURN.FLIP_LEFT_RIGHT, 3: TURN.ROTATE_180, 4: TURN.FLIP_TOP_BOTTOM, 5: TURN.TRANSPOSE,
    6: TURN.ROTATE_90, 7: TURN.TRANSVERSE, 8: TURN.ROTATE_270}


@pytest.mark.parametrize('turn', range(1, 9))
def test_exif_turns(tmp_path, turn):
    img = draw_portrait('beagle', 0, 64)[0]
    exif = Image.Exif()
    exif[0x112] = turn
    turned = img.transpose(BACK[turn]) if turn in BACK else img
    turned.save(tmp_path/'x.png', exif=exif)
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


def chunk(kind, data):
    return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))


def png(w, h):
    "A PNG that claims to be w by h and holds next to nothing"
    head = struct.pack('>IIBBBBB', w, h, 8, 2, 0, 0, 0)
    data = zlib.compress(b'\0'*1000)
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', head)+chunk(b'IDAT', data)+chunk(b'IEND', b'')


@pytest.mark.parametrize('side,why', [
    (60_000, 'million pixels'),
    (9_500, 'million pixels'),
    (2_000, 'damaged')])
@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_bombs(tmp_path, side, why):
    (tmp_path/'x.png').write_bytes(png(side, side))
    with pytest.raises(InputError, match=why): open_picture(tmp_path/'x.png')


def test_broken(tmp_path):
    img = draw_portrait('beagle', 0, 64)[0]
    img.save(tmp_path/'good.jpg')
    data = (tmp_path/'good.jpg').read_bytes()
    for name,b in dict(empty=b'', half=data[:len(data)//2], text=b'hello', head=data[:12]).items():
        (tmp_path/f'{name}.jpg').write_bytes(b)
        with pytest.raises(InputError, match=name): open_picture(tmp_path/f'{name}.jpg')
    with pytest.raises(FileNotFoundError, match='does not exist'): open_picture(tmp_path/'none.jpg')
    with pytest.raises(InputError, match='folder'): open_picture(tmp_path)


def test_draft_is_large_enough(tmp_path):
    draw_portrait('beagle', 0, 96)[0].resize((2400,1800)).save(tmp_path/'x.jpg')
    w,h = open_picture(tmp_path/'x.jpg', 224).size
    assert 448<=min(w,h)<1800
    assert abs(w/h-4/3)<0.02


# --- layouts

def put(path, *names):
    for o in names:
        (path/o).parent.mkdir(parents=True, exist_ok=True)
        (path/o).write_bytes(b'x')


def test_named_photos(tmp_path):
    put(tmp_path, 'images/great_pyrenees_12.jpg', 'images/Siamese_1.JPG', 'images/._Siamese_2.jpg')
    put(tmp_path, 'images/x.mat', 'annotations/trimaps/Siamese_1.png')
    got = read_photos(tmp_path)
    assert got.labels==[['Siamese'],['great_pyrenees']]
    assert '1 pictures in other folders' in got.notes[0]


def test_folder_photos(tmp_path):
    put(tmp_path, 'cat/1.jpg', 'big dog/deep/2.png')
    (tmp_path/'empty').mkdir()
    got = read_photos(tmp_path)
    assert sorted(got.labels)==[['big_dog'],['cat']]
    assert len(got.notes)==2


@pytest.mark.parametrize('names,what', [
    (['pug_1.jpg', 'holiday.jpg'], 'holiday.jpg is not named like'),
    (['pug_1.jpg', 'cat/1.jpg'], 'beside sub-folders'),
    (['train/1.jpg', 'test/1.jpg'], 'is a split')])
def test_bad_layouts(tmp_path, names, what):
    put(tmp_path, *names)
    with pytest.raises(InputError, match=what): read_photos(tmp_path)


def test_table_in_a_folder(tmp_path):
    put(tmp_path, 'cat/1.jpg')
    (tmp_path/'labels.csv').write_text('fname,labels\ncat/1.jpg,cat\n')
    with pytest.raises(InputError, match='labels.csv'): read_photos(tmp_path)


@pytest.mark.parametrize('text,what', [
    ('', 'is empty'),
    ('fname,labels\n', 'no rows'),
    ('fname,is_valid\na.jpg,True\n', 'labels'),
    ('file,labels\na.jpg,cat\n', 'fname'),
    ('fname;labels\na.jpg;cat\n', 'fname;labels'),
    ('fname,labels\na.jpg,cat\nnone.jpg,dog\n', r'row 3 \(none.jpg\) does not exist'),
    ('fname,labels\n../labels.csv,cat\n', 'outside'),
    ('fname,labels\na.jpg\n', 'row 2 has 1 columns'),
    ('fname,labels,is_valid\na.jpg,cat,maybe\n', "is_valid is 'maybe'"),
    ('fname,labels,labels\na.jpg,cat,cat\n', '2 columns named labels'),
    ('fname,labels\na.jpg,cat\n./a.jpg,dog\n', 'contradicts row 2'),
    ('fname,labels,is_valid\na.jpg,cat,0\na.jpg,cat,1\n', 'contradicts row 2'),
    ('fname,labels\n,cat\n', 'does not exist')])
def test_bad_tables(tmp_path, text, what):
    with pytest.raises(InputError, match=what): read_table(table(tmp_path, text))


def test_good_tables(tmp_path):
    rows = 'fname,labels,is_valid\r\na.jpg,dog cat dog,False\r\n\r\nb.jpg,,1\r\n'
    t = read_table(table(tmp_path, rows, 'utf-8-sig'))
    assert t.labels==[['cat','dog'],[]]
    assert t.is_valid==[False,True]
    t = read_table(table(tmp_path, 'fname,labels\na.jpg,NA\n./a.jpg,NA\n'))
    assert t.labels==[['NA']]
    assert 'counted once' in t.notes[0]
    (tmp_path/'labels.csv').write_bytes('fname,labels\na.jpg,Käfer\n'.encode('latin-1'))
    with pytest.raises(InputError, match='UTF-8'): read_table(tmp_path/'labels.csv')


@pytest.mark.parametrize('name', ['duplicate_row', 'empty_labels', 'bom_crlf'])
def test_odd_tables(shared, name): gather_photos(shared/f'data/hostile/{name}.csv')


@pytest.mark.parametrize('name,what', [
    ('empty', 'is empty'),
    ('header_only', 'no rows'),
    ('no_labels_column', 'labels'),
    ('missing_file', 'not_there.jpg'),
    ('unknown_label', 'dgo.*cat dog'),
    ('split_leak', 'contradicts'),
    ('contradiction', 'contradicts'),
    ('outside_path', 'outside')])
def test_hostile_tables(shared, name, what):
    with pytest.raises(InputError, match=what): gather_photos(shared/f'data/hostile/{name}.csv')


# --- split

def test_split(pets):
    a,b,c = (read_photos(pets).split(seed) for seed in (0,0,1))
    assert a.is_valid==b.is_valid
    assert a.is_valid!=c.is_valid
    valid = [label for (label,),v in zip(a.labels, a.is_valid) if v]
    assert len(valid) in (4,5)
    assert set(valid)=={'Siamese','pug'}


def test_split_keeps_rare_labels(tmp_path):
    for i in range(30): (tmp_path/f'label{i}_1.jpg').write_bytes(b'x')
    assert not any(read_photos(tmp_path).split().is_valid)


def test_nothing_to_tell_apart(tmp_path, pets):
    for i in range(4): shutil.copy(pets/f'pug_{i}.jpg', tmp_path)
    with pytest.raises(InputError, match='nothing to tell apart'): gather_photos(tmp_path)
    with pytest.raises(InputError, match='both labelled and in'): gather_photos(pets, pets)


# --- networks, thresholds, figures

@pytest.mark.parametrize('arch',
    ['small_cnn', 'squeezenet1_0', 'resnet18', 'mobilenet_v3_small', 'densenet121'])
def test_split_body(arch):
    x = torch.rand(1, 3, 64, 64)
    body = build_model(arch, 2)[0].eval()
    stem,tail = split_body(body)
    assert len(stem)
    assert len(tail)
    torch.testing.assert_close(tail(stem(x)), body(x))


def test_threshs():
    def pick(scores, ys): return pick_threshs(torch.tensor(scores)[:,None], torch.tensor(ys)[:,None]).item()
    half = [1.]*50+[0.]*50
    assert pick([.9]*50+[.1]*50, half)==pytest.approx(0.5, abs=0.02) # between 0.1 and 0.9 all do: the middle
    assert 0.81<pick([.9]*50+[.8]*50, half)<0.89                     # never out of the range that works
    assert pick([.3,.1], [0.,0.])==0.5                               # no positives: no evidence
    assert pick_threshs(torch.zeros(0,3), torch.zeros(0,3)).tolist()==[0.5]*3


def test_measure():
    logits = torch.tensor([[9.,-9],[-9,9],[9,9],[-9,-9]])
    targets = torch.tensor([[1.,0],[0,1],[1,0],[0,0]])
    score,given = torch.tensor([4.,3,2,9]),logits>0
    unknown = torch.tensor([1.,2.5]),torch.tensor([[False,False],[True,False]])
    res = measure(logits, score, given, targets, *unknown)
    assert list(res)==list(FIGURES)
    assert (res['n_known'], res['exact_match'], res['answered'])==(4, 0.75, 1)
    assert (res['n_unknown'], res['silent'])==(2, 0.5)
    assert res['answered_right']==pytest.approx(2/3, abs=1e-6)     # the unlabelled picture is no known one
    assert res['auroc']==pytest.approx(5/6, abs=1e-6)              # and its score is not among the known
    res = measure(logits, score, given, targets, torch.zeros(0), torch.zeros(0,2).bool())
    assert res['silent'] is res['auroc'] is res['fpr95'] is None
    res = measure_validation(logits, score, given, targets)
    assert (res['n_known'], res['n_unknown'], res['exact_match'], res['silent'])==(3, 1, 0.75, 1)


# --- training

def weights(model): return model.model.state_dict()


def test_same_seed_same_model(pets, tmp_path):
    options = dict(arch='small_cnn', epochs=1, size=32, say=noop)
    a,b,c = (Classifier.train(pets, seed=seed, **options) for seed in (1,1,2))
    for k,v in weights(a).items(): torch.testing.assert_close(v, weights(b)[k], rtol=0, atol=0)
    assert (a.config, a.decision)==(b.config, b.decision)
    assert any((v!=weights(c)[k]).any() for k,v in weights(a).items())
    a.save(tmp_path/'m')
    assert Classifier.load(tmp_path/'m').predict(pets)==a.predict(pets)


def hub(path):
    "A folder of torch with a pretrained SqueezeNet, whose weights are random ones here; the file"
    from torchvision import models
    (path/'checkpoints').mkdir()
    torch.manual_seed(0)
    file = path/'checkpoints'/models.get_model_weights('squeezenet1_0').DEFAULT.url.split('/')[-1]
    torch.save(models.squeezenet1_0(weights=None).state_dict(), file)
    return file


@pytest.fixture
def random_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    return hub(tmp_path)


def test_pretrained_path(pets, random_weights):
    "Weights that lie in torch's folder are used; rubbish of that name is told, and not"
    said = []
    m = Classifier.train(pets, epochs=1, size=64, say=said.append)
    assert m.config['training']['pretrained']
    assert 'pretrained' in ' '.join(said)
    random_weights.write_bytes(b'rubbish')
    said.clear()
    assert not Classifier.train(pets, epochs=0, size=64, say=said.append).config['training']['pretrained']
    assert any('not at hand' in o and random_weights.name in o for o in said)


def test_by_turns(pets, tmp_path, random_weights):
    "Few pictures and a frozen body: all train, all validate; the file brings the references back"
    (tmp_path/'cars').mkdir()
    for i in range(10): draw_portrait('car', i, 48)[0].save(tmp_path/f'cars/car_{i}.jpg')
    said = []
    m = Classifier.train(pets, unknown=tmp_path/'cars', size=64, say=said.append)
    assert any('by turns, in 5 parts' in o for o in said)
    assert not any('teaches silence' in o for o in said)
    facts,figures = m.config['training'],m.config['metrics']
    want = dict(by_turns=True, epochs=0, n_train=34, n_valid=0, n_unlabelled=10)
    assert {k: facts[k] for k in want}==want
    assert (figures['n_known'], figures['n_unknown'])==(24, 10)
    assert figures['answered']>.9
    assert (m.refs.shape, m.refs.dtype)==((24,1024), torch.int8)
    again = Classifier.load(m.save(tmp_path/'m'))
    assert (again.refs==m.refs).all()
    answers = m.predict(pets)
    assert again.predict(pets)==answers
    assert all(o['known']==bool(o['labels']) for o in answers)
    assert all(o['score']>=m.decision.thresh for o in answers if o['known'])
    strict = Classifier(m.model, replace(m.decision, thresh=1e6), m.refs, m.config)
    assert not any(o['known'] for o in strict.predict(pets)) # the score alone can silence


def test_no_unlabelled_picture_is_told(pets, random_weights):
    said = []
    Classifier.train(pets, size=64, say=said.append)
    assert any('teaches silence' in o for o in said)


def test_keep(pets, random_weights):
    "More is kept, more is answered; keep=1 answers every validation picture"
    ms = [Classifier.train(pets, size=64, keep=k, say=noop) for k in (.5,.8,1.)]
    shares = [o.config['metrics']['answered'] for o in ms]
    assert shares==sorted(shares)
    assert .5<=shares[0]<.8
    assert shares[2]==1
    assert ms[2].decision.thresh==-math.inf


def test_min_images(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'p')
    for i in range(5): draw_portrait('samoyed', i, 48)[0].save(tmp_path/f'p/samoyed_{i}.jpg')
    said = []
    m = Classifier.train(tmp_path/'p', 'small_cnn', epochs=1, size=32, min_images=6, say=said.append)
    assert (m.vocab, m.config['rare'])==(['Siamese','pug'], ['samoyed'])
    assert m.config['training']['n_unlabelled']==5
    assert any('1 labels with fewer than 6 pictures' in o and '5 pictures' in o for o in said)
    assert m.evaluate(tmp_path/'p')['n_known']==29 # a samoyed counts as a picture without label
    assert len(gather_photos(tmp_path/'p', min_images=5).vocab)==3


def test_download_refused(pets, tmp_path, monkeypatch):
    "Without a network training says so first, goes on from scratch, and leaves no half file"
    import urllib.request
    def refuse(*args, **kwargs): raise OSError('connection refused')
    monkeypatch.setattr(urllib.request, 'urlopen', refuse)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    said = []
    Classifier.train(pets, 'mobilenet_v3_small', epochs=1, size=32, say=said.append)
    at = [i for i,o in enumerate(said) if 'connection refused' in o and 'from scratch' in o]
    first = [i for i,o in enumerate(said) if o.startswith('epoch 1')]
    assert at[0]<first[0]
    assert not [o for o in tmp_path.rglob('*') if o.is_file()]


def test_bad_pictures_stop_training(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'p')
    (tmp_path/'p/pug_98.jpg').write_bytes(b'')
    (tmp_path/'p/pug_99.jpg').write_text('hello')
    with pytest.raises(InputError, match='2 of .*pug_98.jpg.*pug_99.jpg'):
        Classifier.train(tmp_path/'p', 'small_cnn', epochs=1, size=32, say=noop)


@pytest.mark.parametrize('options,what', [
    (dict(size=0), 'size 0'),
    (dict(size=-5), 'size -5'),
    (dict(size=64.), 'size 64.0 is no whole number'),
    (dict(epochs=-1), 'epochs -1'),
    (dict(epochs=1.5), 'epochs 1.5 is no whole number'),
    (dict(epochs=True), 'epochs True is no whole number'),
    (dict(arch='resnet19'), 'resnet19.*resnet18'),
    (dict(seed=-1), 'seed -1'),
    (dict(seed='0'), 'seed 0 is no whole number'),
    (dict(unknown='nowhere'), 'nowhere'),
    (dict(keep=0.), 'keep 0'),
    (dict(keep=1.01), 'keep 1.01'),
    (dict(keep=True), 'keep True'),
    (dict(keep='0.9'), 'keep 0.9'),
    (dict(min_images=-1), 'min_images -1'),
    (dict(min_images=13), 'lower --min-images'),
    (dict(device='tpu'), 'device tpu')])
def test_bad_options(pets, options, what):
    with pytest.raises(InputError, match=what): Classifier.train(pets, say=noop, **options)


@pytest.mark.parametrize('options', [dict(size=0), dict(epochs=1.5), dict(keep=2), dict(device='tpu')])
def test_options_come_first(options):
    "Before a photo is read, and before fastai is loaded"
    with pytest.raises(InputError, match=[*options][0]): Classifier.train('nowhere', **options)


def test_numbers_of_numpy(pets, tmp_path):
    "They are taken, and saved as plain ones"
    options = Options('small_cnn', np.int64(32), np.int32(1), np.uint8(3), np.float64(.9), torch.tensor(0))
    assert [type(o) for o in (options.size, options.epochs, options.seed, options.keep)]==[int,int,int,float]
    options = dict(epochs=np.int64(0), size=np.int64(32), keep=np.float32(.5))
    m = Classifier.train(pets, 'small_cnn', **options, say=noop)
    assert Classifier.load(m.save(tmp_path/'m')).decision==m.decision


@pytest.mark.parametrize('label', ['\x1b[31mred', 'a\u202eb', 'x'*201])
def test_odd_labels_refused(tmp_path, label):
    "What could not be loaded is not trained"
    with pytest.raises(InputError, match='label cannot be') as e:
        Classifier.train(table(tmp_path, f'fname,labels\na.jpg,{label}\nb.jpg,dog\n'), say=noop)
    assert str(e.value).isprintable()


def test_joined_label(tmp_path):
    "Joiners inside a word are fine"
    rows = table(tmp_path, 'fname,labels\na.jpg,می\u200cشود\nb.jpg,dog\n')
    Classifier.train(rows, 'small_cnn', epochs=0, size=32, say=noop).save(tmp_path/'m')
    assert 'می\u200cشود' in Classifier.load(tmp_path/'m').vocab


def test_fitted_classifier(pets):
    "A network that was trained by other means becomes a whole classifier"
    torch.manual_seed(0)
    files = sorted(pets.iterdir())
    targets = torch.eye(2).repeat_interleave(12, 0)
    fitted = Fitted(torch.randn(24, 1, 384), torch.randn(24, 384), torch.randn(24, 2)+4*targets-2)
    config = dict(arch='small_cnn', size=32, rare=[], training=dict(seed=0))
    parts, said = Parts(targets, targets), []
    model, vocab = build_model('small_cnn', 2), ['Siamese','pug']
    clf = fitted_classifier(model, fitted, parts, vocab, .9, config, say=said.append)
    assert (clf.vocab, clf.decision.keep, len(clf.refs))==(['Siamese','pug'], .9, 24)
    assert clf.config['metrics']['n_known']==24
    assert said[-1].startswith('validation: ')
    assert len(clf.predict(files))==24


# --- saving

def test_saved_as_the_format_says(model, tmp_path):
    "The library of the format reads the same numbers that we read ourselves"
    from safetensors.torch import load_file
    theirs = load_file(model.save(tmp_path/'m')/'model.safetensors')
    ours = Classifier.load(tmp_path/'m')
    assert (theirs.pop('references')==ours.refs).all()
    assert theirs.keys()==weights(ours).keys()
    assert all((v==weights(ours)[k]).all() for k,v in theirs.items())


def names(folder): return sorted(o.name for o in folder.iterdir())


def test_save(model, tmp_path):
    model.save(tmp_path/'deep/er/m')
    model.save(tmp_path/'deep/er/m')            # replaces itself
    assert names(tmp_path/'deep/er')==['m']     # and leaves nothing behind
    assert names(tmp_path/'deep/er/m')==['config.json','model.safetensors']
    (tmp_path/'deep/er/m/notes.txt').write_text('mine')
    with pytest.raises(InputError, match='left alone'): model.save(tmp_path/'deep/er/m')


@pytest.mark.parametrize('bad', ['photos', 'file', 'file/m'])
def test_save_refuses(model, tmp_path, bad):
    (tmp_path/'photos').mkdir()
    for o in 'photos/a.txt', 'file': (tmp_path/o).write_text('mine')
    with pytest.raises(InputError): model.save(tmp_path/bad)
    for o in 'photos/a.txt', 'file': assert (tmp_path/o).read_text()=='mine'


def test_save_fails_whole(model, tmp_path, monkeypatch):
    "A full disk leaves the old model, and no rubbish"
    model.save(tmp_path/'m')
    before = (tmp_path/'m/config.json').read_bytes()
    def full(fd): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError): model.save(tmp_path/'m')
    assert (tmp_path/'m/config.json').read_bytes()==before
    assert names(tmp_path)==['m']


def test_check_dest(tmp_path):
    (tmp_path/'empty').mkdir()
    assert check_dest(tmp_path/'empty')==check_dest(tmp_path/'empty/../empty')


# --- keep rates

def test_with_keep(model, pets, tmp_path):
    "A saved model knows every keep rate; a bolder one answers all that a careful one does"
    again = Classifier.load(model.save(tmp_path/'m'))
    assert again.with_keep(.95) is again
    logits = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))*2
    score = torch.linspace(-12, 4, 200)
    n = [again.with_keep(i/100).decision.given(logits, score).sum().item() for i in range(1, 101) if i!=95]
    assert n==sorted(n)
    assert n[0]<n[-1]
    assert again.with_keep(1).decision.thresh==-math.inf # lets every score pass
    assert again.with_keep(.731).decision.thresh==again.with_keep(.74).decision.thresh
    careful = again.with_keep(.74)
    assert careful.with_keep(.9).decision.threshs==again.with_keep(.9).decision.threshs
    careful.save(tmp_path/'m2')
    assert Classifier.load(tmp_path/'m2').predict(pets)==careful.predict(pets)


@pytest.mark.parametrize('keep', [0, -1, 1.01, math.nan, '0.9', None])
def test_bad_keep(model, keep):
    with pytest.raises(InputError, match='no share of pictures'): model.with_keep(keep)


def test_no_other_keep(model):
    blind = Classifier(model.model, replace(model.decision, keep_table=None), model.refs, model.config)
    with pytest.raises(InputError, match='no other keep rate'): blind.with_keep(.5)


def test_kept_holds_on_validation():
    "What a keep rate asks for is what training for it would have chosen, and it keeps at least that share"
    gen = torch.Generator().manual_seed(0)
    targets = torch.eye(2).repeat(60, 1)
    targets[90:] = 0
    logits = torch.randn(120, 2, generator=gen)+4*targets-2
    knn = torch.randn(120, generator=gen)+targets.sum(1)
    views = dict(max_logit=logits.amax(1), joint_energy=logits.exp().log1p().sum(1), knn=knn)
    fit = Decision.fit(['a','b'], .95, logits, {k: views for k in (1,3,5,10,20)}, targets)
    score = apply_score(views, fit.rule)
    trained = fit.given(logits, score)
    by_table = replace(fit, keep=None)
    assert (by_table.at(.95).given(logits, score)==trained).all()
    for i in range(1, 101):
        answered = by_table.at(i/100).given(logits, score)[:90].any(1)
        assert answered.float().mean()>=i/100-1e-6, i


def test_marks_agree_with_the_rule():
    "In every picture a label is given exactly if it reaches its mark and the score passes"
    gen = torch.Generator().manual_seed(0)
    for _ in range(50):
        threshs, second = torch.rand(2, 4, generator=gen).sort(0).values.tolist()
        decision = Decision(tuple('abcd'), .95, RULE, 5, 0., tuple(threshs), tuple(second))
        logits, score = torch.randn(40, 4, generator=gen)*3, torch.randn(40, generator=gen)
        reached = logits.sigmoid()>decision.marks(logits)
        assert (decision.given(logits, score)==reached & (score>=0)[:,None]).all()


# --- loading

KEPT = Decision(('cat','dog'), .95, RULE, keep_table=TABLE).to_dict()['kept']


def of_rule(name, std=1., thresh=0.):
    return dict(name=name, mean={name: 0.}, std={name: std}, k=5, thresh=thresh)


def changed(config, **changes):
    res = {**config, **changes}
    return json.dumps({k: v for k,v in res.items() if v!='GONE'})


three = dict(a=.5, b=.5, c=.5)


@pytest.mark.parametrize('changes,what', [
    (dict(vocab='GONE'), 'lacks vocab'),
    (dict(vocab=['cat']), 'thresholds'),
    (dict(vocab=['cat','cat']), 'vocab'),
    (dict(size=10**9), 'size'),
    (dict(size=True), 'size'),
    (dict(arch='../../x'), 'arch'),
    (dict(arch='resnet18'), 'does not fit resnet18'),
    (dict(thresholds=dict(cat=0.5, dog='x')), 'thresholds'),
    (dict(format='mlc_course model 99'), 'format'),
    (dict(format='mlc_course model 2'), "format cannot be 'mlc_course model 2'"),
    (dict(score='eval'), 'score'),
    (dict(score=of_rule('knn', std=0.)), 'score'),
    (dict(score=of_rule('knn', thresh='low')), 'score'),
    (dict(score=of_rule('magic')), 'score'),
    (dict(keep=2), 'keep'),
    (dict(rare='fox'), 'rare'),
    (dict(further='GONE'), 'lacks further'),
    (dict(further=dict(cat=.5)), 'further'),
    (dict(kept='GONE'), 'lacks kept'),
    (dict(kept=[]), 'kept'),
    (dict(kept=dict(score=KEPT['score'])), 'kept'),
    (dict(kept=dict(KEPT, labels=[0.]*99)), 'kept'),
    (dict(kept=dict(KEPT, labels=[0.]*99+[None])), 'kept'),
    (dict(kept=dict(KEPT, labels=[0.]*99+[math.nan])), 'not JSON'),
    (dict(kept=dict(KEPT, labels=[-i for i in KEPT['labels']])), 'kept'),
    (dict(kept=dict(KEPT, score=KEPT['score'][::-1])), 'kept'),
    (dict(kept=dict(KEPT, score=['x']*100)), 'kept'),
    (dict(vocab=['a','b','c'], thresholds=three, further=three), 'does not fit small_cnn'),
    (dict(weights_sha256='0'*64), 'damaged')])
def test_damaged_config(model, tmp_path, changes, what):
    model.save(tmp_path/'m')
    file = tmp_path/'m/config.json'
    file.write_text(changed(json.loads(file.read_text()), **changes))
    with pytest.raises(ValueError, match=what): Classifier.load(tmp_path/'m')


def test_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist'): Classifier.load(tmp_path/'none')
    with pytest.raises(ValueError, match='lacks config.json and model'): Classifier.load(tmp_path)


@pytest.mark.parametrize('text', ['', '{', '[]', 'null', '"x"', '{"format":NaN}'])
def test_no_config(model, tmp_path, text):
    (model.save(tmp_path/'m')/'config.json').write_text(text)
    with pytest.raises(ValueError, match='config.json'): Classifier.load(tmp_path/'m')


@pytest.mark.parametrize('share', [0, .001, .5, 1])
def test_damaged_weights(model, tmp_path, share):
    file = model.save(tmp_path/'m')/'model.safetensors'
    data = bytearray(file.read_bytes())
    data[int(share*(len(data)-1))] ^= 0xff
    file.write_bytes(data)
    with pytest.raises(ValueError, match='damaged'): Classifier.load(tmp_path/'m')


def test_predict_without_fastai(model, pets, tmp_path):
    "Loading, predicting and evaluating import no fastai, and need no network"
    model.save(tmp_path/'m')
    (tmp_path/'cats').mkdir()
    for i in range(3): shutil.copy(pets/f'Siamese_{i}.jpg', tmp_path/'cats'/f'cat_{i}.jpg')
    code = f'''import sys
from mlc_course import Classifier
m = Classifier.load({str(tmp_path/'m')!r})
assert len(m.predict({str(pets)!r}))==24
assert m.evaluate({str(tmp_path/'cats')!r}, {str(pets)!r})['n_unknown']==24
assert not [o for o in sys.modules if o.split('.')[0] in ('fastai','pandas','matplotlib')]'''
    subprocess.run([sys.executable, '-c', code], check=True)


def test_import_is_quick():
    "`Classifier` is fetched when it is asked for"
    code = '''import sys, mlc_course
assert not {'torch','numpy','fastcore'} & set(sys.modules)
assert mlc_course.Classifier.__name__=='Classifier'
assert not hasattr(mlc_course, 'nothing')'''
    subprocess.run([sys.executable, '-c', code], check=True)


# --- asking

def test_predict_order_and_errors(model, pets, tmp_path):
    (tmp_path/'bad.jpg').write_bytes(b'')
    (tmp_path/'empty').mkdir()
    pug = pets/'pug_3.jpg'
    paths = [pug, tmp_path/'bad.jpg', tmp_path/'none.jpg', pets/'pug_1.jpg', tmp_path/'empty', pug]
    res = model.predict(paths)
    assert [o['path'] for o in res]==list(map(str, paths))
    assert ['error' in o for o in res]==[False,True,True,False,True,False]
    assert res[0]==res[5]
    assert all(o['known']==bool(o['labels']) for o in res if 'known' in o)
    alone, = model.predict(pug)
    assert alone['labels']==res[0]['labels']
    assert alone['score']==pytest.approx(res[0]['score'], abs=1e-4)


def test_evaluate_label_not_in_model(model, pets):
    with pytest.raises(InputError, match='Siamese is not one of the model. Allowed labels: cat dog'):
        model.evaluate(pets)


@pytest.mark.parametrize('valid_a,n', [('False', 1), ('True', 2)])
def test_evaluate_rows(model, tmp_path, valid_a, n):
    "Of rows of both kinds those that validate"
    rows = table(tmp_path, f'fname,labels,is_valid\na.jpg,cat,{valid_a}\nb.jpg,dog,True\n')
    assert model.evaluate(rows)['n_known']==n


def test_half_precision_gives_the_same_labels(pets, monkeypatch):
    "A folder is looked at in half precision first, where the processor has it, and close calls in full"
    from mlc_course.engine.labelling import quick_body
    clf = Classifier.train(pets, 'squeezenet1_1', size=64, epochs=2, device='cpu', say=noop)
    if quick_body(clf) is None: pytest.skip('this processor has no bfloat16')
    quick, exact = clf.predict(pets), clf.predict(pets, exact=True)
    assert [o['labels'] for o in quick]==[o['labels'] for o in exact]
    monkeypatch.setattr(Decision, 'is_close_call', lambda self, z, s: torch.zeros(len(z)).bool())
    half = clf.predict(pets)
    assert half!=exact
    assert max(abs(a['probs'][k]-b['probs'][k]) for a,b in zip(half, exact) for k in a['probs'])<.05


def test_no_number_is_an_error(model, pets):
    "Weights that no training makes give an error, not an answer"
    broken = Classifier(build_model('small_cnn', 2), model.decision, model.refs, model.config)
    with torch.no_grad(): broken.model[1][-1].bias.fill_(math.nan)
    _, _, errors = raw_outputs(broken, sorted(pets.iterdir()))
    assert len(errors)==24
    assert all('no number' in str(o) for o in errors.values())
