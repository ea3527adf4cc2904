"Reading pictures and tables, saving and loading models: the awkward cases that no page has room for"
import json, os, shutil, struct, subprocess, sys, zlib
import numpy as np
import pytest, torch
from PIL import Image
from mlc_course.classifier import Classifier,one_hot
from mlc_course.engine.model_file import check_dest,model_format
from mlc_course.engine.evaluation import measure
from mlc_course.engine.photos import InputError, gather_photos, open_picture, picture_files, read_photos, read_table, split_photos
from mlc_course.engine.networks import build_model,split_body
from mlc_course.engine.pictures import imagenet_mean,imagenet_std,picture_tensor
from mlc_course.engine.decision import pick_threshs
from mlc_course.draw.scenes import draw_portrait
from mlc_course.unknown import apply_score

# What shared/data/hostile/README.md says of its files
UNREADABLE = ['zero_byte.jpg', 'truncated_half.jpg', 'truncated_half.png', 'truncated_header.jpg', 'text.jpg', 'error_page.jpg', 'text.heic',
    'folder.jpg', 'bad_crc_ihdr.png', 'bad_crc_idat.png', 'bomb_30000x30000.png', 'bomb_12000x12000.png']
READABLE = ['one_pixel.jpg', 'one_pixel.png', 'thin_1x4000.jpg', 'wide_4000x1.jpg', 'cmyk.jpg', 'gray.jpg', 'gray16.png', 'rgba_transparent.png',
    'palette.gif', 'palette_transparent.png', 'animated.gif', 'animated.webp', 'bad_exif.jpg', 'png_inside.jpg', 'gif_inside.jpg',
    'trailing_garbage.jpg', 'progressive.jpg', 'picture.tiff', 'picture.bmp', 'UPPER.JPG', 'no_extension',
    'a cat with spaces, ünïcødé 猫 & 50% (copy).jpg', 'exif_upright_reference.png']


def pixels(img): return np.asarray(img.resize((8,8), Image.Resampling.BOX)).astype(int)


@pytest.fixture(scope='module')
def pets(tmp_path_factory):
    "24 drawn portraits of two breeds, named as in PETS"
    path = tmp_path_factory.mktemp('pets')
    for name in 'Siamese','pug':
        for i in range(12): draw_portrait(name, i, 48)[0].save(path/f'{name}_{i}.jpg')
    return path


KEPT = dict(score=[2-i/10 for i in range(99)]+[None], labels=[-i/50 for i in range(100)]) # what each keep rate asks for


@pytest.fixture(scope='module')
def model():
    "An untrained classifier, as good as any for reading and writing"
    torch.manual_seed(0)
    score = dict(name='joint_energy+knn', mean=dict(joint_energy=0., knn=0.5), std=dict(joint_energy=1., knn=0.1), k=5, thresh=-3.)
    config = dict(format=model_format, arch='small_cnn', vocab=['cat','dog'], size=64, resize='squeeze', score=score, mean=list(imagenet_mean),
        std=list(imagenet_std), thresholds=dict(cat=0.4, dog=0.4), further=dict(cat=0.5, dog=0.5), keep=0.95, kept=KEPT, rare=[], training={}, metrics={}, versions={})
    return Classifier(build_model('small_cnn', 2), config, torch.randint(-127, 128, (20,384), dtype=torch.int8))


def table(path, text, encoding='utf-8'):
    "A table of two sound pictures `a.jpg` and `b.jpg` and whatever else `text` says"
    for i,o in enumerate('ab'): draw_portrait('pug', i, 32)[0].save(path/f'{o}.jpg')
    (path/'labels.csv').write_text(text, encoding=encoding, newline='')
    return path/'labels.csv'


# --- pictures

@pytest.mark.parametrize('name', UNREADABLE)
def test_hostile_refused(shared, name):
    with pytest.raises(InputError) as e: open_picture(shared/'data/hostile'/name)
    assert name in str(e.value) and '\n' not in str(e.value) and 20<len(str(e.value))<400


@pytest.mark.parametrize('name', READABLE)
def test_hostile_read(shared, name):
    img = open_picture(shared/'data/hostile'/name)
    assert img.mode=='RGB' and picture_tensor(shared/'data/hostile'/name, 64).shape==(3,64,64)


def test_hostile_hidden(shared):
    assert '._progressive.jpg' not in {o.name for o in picture_files(shared/'data/hostile')}
    with pytest.raises(InputError): open_picture(shared/'data/hostile/._progressive.jpg')


def test_hostile_upright(shared):
    want = pixels(open_picture(shared/'data/hostile/exif_upright_reference.png'))
    for i in range(1, 9): assert abs(pixels(open_picture(shared/f'data/hostile/exif_orientation_{i}.jpg'))-want).max()<24, i


def test_hostile_pixels(shared):
    host = shared/'data/hostile'
    assert 100<pixels(open_picture(host/'gray16.png')).mean()<140
    edge = np.asarray(open_picture(host/'rgba_transparent.png'))[0,0]
    assert tuple(edge)==(255,255,255)


@pytest.mark.parametrize('turn', range(1, 9))
def test_exif_turns(tmp_path, turn):
    back = {2:Image.Transpose.FLIP_LEFT_RIGHT, 3:Image.Transpose.ROTATE_180, 4:Image.Transpose.FLIP_TOP_BOTTOM, 5:Image.Transpose.TRANSPOSE,
        6:Image.Transpose.ROTATE_90, 7:Image.Transpose.TRANSVERSE, 8:Image.Transpose.ROTATE_270}
    img = draw_portrait('beagle', 0, 64)[0]
    exif = Image.Exif()
    exif[0x112] = turn
    (img.transpose(back[turn]) if turn>1 else img).save(tmp_path/'x.png', exif=exif)
    assert (pixels(open_picture(tmp_path/'x.png'))==pixels(img)).all()


def test_deep_grey(tmp_path):
    a = np.linspace(0, 65535, 64*64).reshape(64, 64)
    Image.fromarray(a.astype(np.uint16)).save(tmp_path/'a.png')
    Image.fromarray(a.astype(np.float32)).save(tmp_path/'b.tiff')
    Image.fromarray((a/65535).astype(np.float32)).save(tmp_path/'c.tiff')
    for o in 'a.png','b.tiff','c.tiff':
        got = np.asarray(open_picture(tmp_path/o))[...,0]
        assert abs(got-a/257).max()<=1, o


def test_transparent(tmp_path):
    a = np.full((8,8,4), (255,0,255,0), np.uint8)
    a[4:] = 10,20,30,255
    Image.fromarray(a).save(tmp_path/'a.png')
    Image.fromarray(a).convert('LA').save(tmp_path/'b.png')
    rgb = np.asarray(open_picture(tmp_path/'a.png'))
    assert (rgb[:4]==255).all() and (rgb[4:]==(10,20,30)).all()
    assert (np.asarray(open_picture(tmp_path/'b.png'))[:4]==255).all()


def png(w, h):
    "A PNG that claims to be w by h and holds next to nothing"
    def chunk(kind, data): return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, 8, 2, 0, 0, 0))+chunk(b'IDAT', zlib.compress(b'\0'*1000))+chunk(b'IEND', b'')


@pytest.mark.parametrize('side,why', [(60_000,'million pixels'), (9_500,'million pixels'), (2_000,'damaged')])
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
    assert 448<=min(w,h)<1800 and abs(w/h-4/3)<0.02


# --- layouts

def test_layouts(tmp_path):
    def put(*names):
        for o in names:
            (tmp_path/o).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path/o).write_bytes(b'x')
    put('a/images/great_pyrenees_12.jpg', 'a/images/Siamese_1.JPG', 'a/images/._Siamese_2.jpg', 'a/annotations/trimaps/Siamese_1.png', 'a/images/x.mat')
    a = read_photos(tmp_path/'a')
    assert a.labels==[['Siamese'],['great_pyrenees']] and '1 pictures in other folders' in a.notes[0]
    put('b/cat/1.jpg', 'b/big dog/deep/2.png')
    (tmp_path/'b/empty').mkdir()
    b = read_photos(tmp_path/'b')
    assert sorted(b.labels)==[['big_dog'],['cat']] and len(b.notes)==2
    put('c/pug_1.jpg', 'c/holiday.jpg')
    with pytest.raises(InputError, match='holiday.jpg is not named like'): read_photos(tmp_path/'c')
    put('d/pug_1.jpg', 'd/cat/1.jpg')
    with pytest.raises(InputError, match='beside sub-folders'): read_photos(tmp_path/'d')
    put('e/train/1.jpg', 'e/test/1.jpg')
    with pytest.raises(InputError, match='is a split'): read_photos(tmp_path/'e')
    put('f/cat/1.jpg')
    (tmp_path/'f/labels.csv').write_text('fname,labels\ncat/1.jpg,cat\n')
    with pytest.raises(InputError, match='labels.csv'): read_photos(tmp_path/'f')


@pytest.mark.parametrize('text,what', [
    ('', 'is empty'), ('fname,labels\n', 'no rows'), ('fname,is_valid\na.jpg,True\n', 'labels'), ('file,labels\na.jpg,cat\n', 'fname'),
    ('fname;labels\na.jpg;cat\n', 'fname;labels'), ('fname,labels\na.jpg,cat\nnone.jpg,dog\n', r'row 3 \(none.jpg\) does not exist'),
    ('fname,labels\n../labels.csv,cat\n', 'outside'), ('fname,labels\na.jpg\n', 'row 2 has 1 columns'),
    ('fname,labels,is_valid\na.jpg,cat,maybe\n', "is_valid is 'maybe'"), ('fname,labels,labels\na.jpg,cat,cat\n', '2 columns named labels'),
    ('fname,labels\na.jpg,cat\n./a.jpg,dog\n', 'contradicts row 2'), ('fname,labels,is_valid\na.jpg,cat,0\na.jpg,cat,1\n', 'contradicts row 2'),
    ('fname,labels\n,cat\n', 'does not exist')])
def test_bad_tables(tmp_path, text, what):
    with pytest.raises(InputError, match=what): read_table(table(tmp_path, text))


def test_good_tables(tmp_path):
    t = read_table(table(tmp_path, 'fname,labels,is_valid\r\na.jpg,dog cat dog,False\r\n\r\nb.jpg,,1\r\n', 'utf-8-sig'))
    assert t.labels==[['cat','dog'],[]] and t.is_valid==[False,True]
    t = read_table(table(tmp_path, 'fname,labels\na.jpg,NA\n./a.jpg,NA\n'))
    assert t.labels==[['NA']] and 'counted once' in t.notes[0]
    (tmp_path/'labels.csv').write_bytes('fname,labels\na.jpg,Käfer\n'.encode('latin-1'))
    with pytest.raises(InputError, match='UTF-8'): read_table(tmp_path/'labels.csv')


def test_hostile_tables(shared):
    host = shared/'data/hostile'
    for name,what in dict(empty='is empty', header_only='no rows', no_labels_column='labels', missing_file='not_there.jpg', duplicate_row=None,
            unknown_label='dgo.*cat dog', split_leak='contradicts', contradiction='contradicts', empty_labels=None, bom_crlf=None,
            outside_path='outside').items():
        if what is None: gather_photos(host/f'{name}.csv')
        else:
            with pytest.raises(InputError, match=what): gather_photos(host/f'{name}.csv')


# --- split

def test_split(pets):
    a,b,c = (split_photos(read_photos(pets), seed) for seed in (0,0,1))
    assert a.is_valid==b.is_valid!=c.is_valid
    assert sorted(l for (l,),v in zip(a.labels, a.is_valid) if v)==['Siamese']*2+['pug']*2 or sum(a.is_valid)==5
    assert {l for (l,),v in zip(a.labels, a.is_valid) if v}=={'Siamese','pug'}


def test_split_keeps_rare_labels(tmp_path):
    for i in range(30): (tmp_path/f'label{i}_1.jpg').write_bytes(b'x')
    assert not any(split_photos(read_photos(tmp_path)).is_valid)


def test_nothing_to_tell_apart(tmp_path, pets):
    for i in range(4): shutil.copy(pets/f'pug_{i}.jpg', tmp_path)
    with pytest.raises(InputError, match='nothing to tell apart'): gather_photos(tmp_path)
    with pytest.raises(InputError, match='both labelled and in'): gather_photos(pets, pets)


# --- networks

def test_split_body():
    x = torch.rand(1, 3, 64, 64)
    for arch in 'small_cnn','squeezenet1_0','resnet18','mobilenet_v3_small','densenet121':
        body = build_model(arch, 2)[0].eval()
        stem,tail = split_body(body)
        assert len(stem) and len(tail)
        torch.testing.assert_close(tail(stem(x)), body(x))


def test_threshs():
    def pick(scores, ys): return pick_threshs(torch.tensor(scores)[:,None], torch.tensor(ys)[:,None]).item()
    assert pick([.9]*50+[.1]*50, [1.]*50+[0.]*50)==pytest.approx(0.5, abs=0.02) # anything between 0.1 and 0.9 does: the middle
    assert 0.81<pick([.9]*50+[.8]*50, [1.]*50+[0.]*50)<0.89                  # never drawn out of the range that works
    assert pick([.3,.1], [0.,0.])==0.5                                          # no positives: no evidence
    assert pick_threshs(torch.zeros(0,3), torch.zeros(0,3)).tolist()==[0.5]*3


def test_measure():
    logits,targets = torch.tensor([[9.,-9],[-9,9],[9,9],[-9,-9]]), torch.tensor([[1.,0],[0,1],[1,0],[0,0]])
    score,given = torch.tensor([4.,3,2,9]),logits>0
    res = measure(logits, score, given, targets, torch.tensor([1.,2.5]), torch.tensor([[False,False],[True,False]]))
    assert (res['n_known'],res['exact_match'],res['answered'],res['n_unknown'],res['silent'])==(4, 0.75, 1, 2, 0.5)
    assert res['answered_right']==pytest.approx(2/3, abs=1e-6)     # the unlabelled picture is no known one
    assert res['auroc']==pytest.approx(5/6, abs=1e-6)              # and its score does not count among the known
    res = measure(logits, score, given, targets, torch.zeros(0), torch.zeros(0,2).bool())
    assert res['silent'] is res['auroc'] is res['fpr95'] is None


# --- training, saving, loading

def test_same_seed_same_model(pets, tmp_path):
    a,b,c = (Classifier.train(pets, 'small_cnn', epochs=1, size=32, seed=seed, say=lambda o: None) for seed in (1,1,2))
    for k,v in a.model.state_dict().items(): torch.testing.assert_close(v, b.model.state_dict()[k], rtol=0, atol=0)
    assert a.config==b.config and any((v!=c.model.state_dict()[k]).any() for k,v in a.model.state_dict().items())
    a.save(tmp_path/'m')
    assert Classifier.load(tmp_path/'m').predict(pets)==a.predict(pets)


def test_pretrained_path(pets, tmp_path, monkeypatch):
    "Weights that lie in torch's folder are used; here they are random ones"
    from torchvision import models
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path/'checkpoints').mkdir()
    name = models.get_model_weights('squeezenet1_0').DEFAULT.url.split('/')[-1]
    torch.save(models.squeezenet1_0(weights=None).state_dict(), tmp_path/'checkpoints'/name)
    said = []
    m = Classifier.train(pets, epochs=1, size=64, say=said.append)
    assert m.config['training']['pretrained'] and 'pretrained' in ' '.join(said)
    (tmp_path/'checkpoints'/name).write_bytes(b'rubbish')
    said.clear()
    assert not Classifier.train(pets, epochs=0, size=64, say=said.append).config['training']['pretrained']
    assert any('not at hand' in o and name in o for o in said)


@pytest.fixture
def random_weights(tmp_path, monkeypatch):
    "A SqueezeNet with random weights where torch looks for pretrained ones"
    from torchvision import models
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path/'checkpoints').mkdir()
    torch.manual_seed(0)
    name = models.get_model_weights('squeezenet1_0').DEFAULT.url.split('/')[-1]
    torch.save(models.squeezenet1_0(weights=None).state_dict(), tmp_path/'checkpoints'/name)


def test_by_turns(pets, tmp_path, random_weights):
    "Few pictures and a frozen body: all train, all validate; the file brings the references back"
    (tmp_path/'cars').mkdir()
    for i in range(10): draw_portrait('car', i, 48)[0].save(tmp_path/f'cars/car_{i}.jpg')
    said = []
    m = Classifier.train(pets, unknown=tmp_path/'cars', size=64, say=said.append)
    assert any('by turns, in 5 parts' in o for o in said) and not any('teaches silence' in o for o in said)
    facts,figures = m.config['training'],m.config['metrics']
    assert (facts['by_turns'], facts['epochs'], facts['n_train'], facts['n_valid'], facts['n_unlabelled'])==(True, 0, 34, 0, 10)
    assert (figures['n_known'], figures['n_unknown'])==(24, 10) and figures['answered']>.9
    assert m.refs.shape==(24,1024) and m.refs.dtype==torch.int8
    m.save(tmp_path/'m')
    again = Classifier.load(tmp_path/'m')
    assert (again.refs==m.refs).all() and again.predict(pets)==m.predict(pets)
    some = m.predict(pets)
    assert all(o['known']==bool(o['labels']) for o in some) and all(o['score']>=m.config['score']['thresh'] for o in some if o['known'])
    strict = Classifier(m.model, {**m.config, 'score':{**m.config['score'], 'thresh':1e6}}, m.refs)
    assert not any(o['known'] for o in strict.predict(pets))                                # the score alone can silence
    assert any('teaches silence' in o for o in _said(lambda say: Classifier.train(pets, size=64, say=say)))


def _said(f):
    res = []
    f(res.append)
    return res


def test_keep(pets, random_weights):
    "More is kept, more is answered; keep=1 answers every validation picture"
    ms = [Classifier.train(pets, size=64, keep=k, say=lambda o: None) for k in (.5,.8,1.)]
    shares = [o.config['metrics']['answered'] for o in ms]
    assert shares==sorted(shares) and shares[2]==1 and .5<=shares[0]<.8
    assert ms[2].config['score']['thresh'] is None


def test_min_images(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'p')
    for i in range(5): draw_portrait('samoyed', i, 48)[0].save(tmp_path/f'p/samoyed_{i}.jpg')
    said = []
    m = Classifier.train(tmp_path/'p', 'small_cnn', epochs=1, size=32, min_images=6, say=said.append)
    assert m.vocab==['Siamese','pug'] and m.config['rare']==['samoyed'] and m.config['training']['n_unlabelled']==5
    assert any('1 labels with fewer than 6 pictures' in o and '5 pictures' in o for o in said)
    assert m.evaluate(tmp_path/'p')['n_known']==29                                           # a samoyed counts as a picture without label
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
    assert at and at[0]<[i for i,o in enumerate(said) if o.startswith('epoch 1')][0]
    assert not [o for o in tmp_path.rglob('*') if o.is_file()]


def test_bad_pictures_stop_training(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'p')
    (tmp_path/'p/pug_98.jpg').write_bytes(b'')
    (tmp_path/'p/pug_99.jpg').write_text('hello')
    with pytest.raises(InputError, match='2 of .*pug_98.jpg.*pug_99.jpg'):
        Classifier.train(tmp_path/'p', 'small_cnn', epochs=1, size=32, say=lambda o: None)


@pytest.mark.parametrize('options,what', [(dict(size=0), 'size 0'), (dict(size=-5), 'size -5'), (dict(epochs=-1), 'epochs -1'),
    (dict(arch='resnet19'), 'resnet19.*resnet18'), (dict(seed=-1), 'seed -1'), (dict(unknown='nowhere'), 'nowhere'), (dict(keep=0.), 'keep 0'), (dict(keep=1.01), 'keep 1.01'),
    (dict(min_images=-1), 'min_images -1'), (dict(min_images=13), 'lower --min-images')])
def test_bad_options(pets, options, what):
    with pytest.raises(InputError, match=what): Classifier.train(pets, say=lambda o: None, **options)


@pytest.mark.parametrize('label', ['\x1b[31mred', 'a\u202eb', 'x'*201])
def test_odd_labels_refused(tmp_path, label):
    "What could not be loaded is not trained; joiners inside a word are fine"
    with pytest.raises(InputError, match='label cannot be') as e:
        Classifier.train(table(tmp_path, f'fname,labels\na.jpg,{label}\nb.jpg,dog\n'), say=lambda o: None)
    assert str(e.value).isprintable()
    said = []
    Classifier.train(table(tmp_path, 'fname,labels\na.jpg,می\u200cشود\nb.jpg,dog\n'), 'small_cnn', epochs=0, size=32, say=said.append).save(tmp_path/'m')
    assert 'می\u200cشود' in Classifier.load(tmp_path/'m').vocab


def test_saved_as_the_format_says(model, tmp_path):
    "The library of the format reads the same numbers that we read ourselves"
    from safetensors.torch import load_file
    theirs = load_file(model.save(tmp_path/'m')/'model.safetensors')
    ours = Classifier.load(tmp_path/'m')
    assert (theirs.pop('references')==ours.refs).all() and theirs.keys()==ours.model.state_dict().keys()
    assert all((v==ours.model.state_dict()[k]).all() for k,v in theirs.items())


def test_save(model, tmp_path):
    model.save(tmp_path/'deep/er/m')
    model.save(tmp_path/'deep/er/m')                                        # replaces itself
    assert sorted(o.name for o in (tmp_path/'deep/er').iterdir())==['m']    # and leaves nothing behind
    assert sorted(o.name for o in (tmp_path/'deep/er/m').iterdir())==['config.json','model.safetensors']
    (tmp_path/'photos').mkdir()
    (tmp_path/'photos/a.txt').write_text('mine')
    (tmp_path/'file').write_text('mine')
    for bad in 'photos','file','file/m':
        with pytest.raises(InputError): model.save(tmp_path/bad)
    assert (tmp_path/'photos/a.txt').read_text()==(tmp_path/'file').read_text()=='mine'
    (tmp_path/'deep/er/m/notes.txt').write_text('mine')
    with pytest.raises(InputError, match='left alone'): model.save(tmp_path/'deep/er/m')


def test_save_fails_whole(model, tmp_path, monkeypatch):
    "A full disk leaves the old model, and no rubbish"
    model.save(tmp_path/'m')
    before = (tmp_path/'m/config.json').read_bytes()
    def full(fd): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError): model.save(tmp_path/'m')
    assert (tmp_path/'m/config.json').read_bytes()==before and [o.name for o in tmp_path.iterdir()]==['m']


def test_with_keep(model, pets, tmp_path):
    "A saved model knows every keep rate; the one of training changes nothing; a bolder one answers all that a careful one does"
    model.save(tmp_path/'m')
    again = Classifier.load(tmp_path/'m')
    assert again.with_keep(.95) is again
    logits,score = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))*2,torch.linspace(-12, 4, 200)
    n = [again.with_keep(i/100).given(logits, score).sum().item() for i in range(1, 101) if i!=95]
    assert n==sorted(n) and n[0]<n[-1]
    assert again.with_keep(1).config['score']['thresh'] is None                  # lets every score pass
    assert again.with_keep(.731).config['score']==again.with_keep(.74).config['score']
    assert again.with_keep(.74).with_keep(.9).threshs.equal(again.with_keep(.9).threshs)
    assert again.with_keep(.74).save(tmp_path/'m2') and Classifier.load(tmp_path/'m2').predict(pets)==again.with_keep(.74).predict(pets)
    for bad in 0,-1,1.01,float('nan'):
        with pytest.raises(InputError, match='no share of pictures'): again.with_keep(bad)
    with pytest.raises(InputError, match='no other keep rate'): Classifier(model.model, dict(model.config, kept=None), model.refs).with_keep(.5)


def test_kept_holds_on_validation(pets, tmp_path):
    "What a keep rate asks for is what training for it would have chosen, and it keeps at least that share of the known validation pictures"
    clf = Classifier(build_model('small_cnn', 2), dict(arch='small_cnn', vocab=['a','b'], size=64, rare=[], keep=.95))
    gen = torch.Generator().manual_seed(0)
    targets = torch.eye(2).repeat(60, 1)
    targets[90:] = 0
    logits,knn = torch.randn(120, 2, generator=gen)+4*targets-2,torch.randn(120, generator=gen)+targets.sum(1)
    parts = {k: dict(max_logit=logits.amax(1), joint_energy=logits.exp().log1p().sum(1), knn=knn) for k in (1,3,5,10,20)}
    clf.finish(logits, parts, targets, {}, lambda o: None)
    score = apply_score(parts[clf.config['score']['k']], clf.config['score'])
    clf.config['keep'],trained = None,clf.given(logits, score)
    assert (clf.with_keep(.95).given(logits, score)==trained).all()
    for i in range(1, 101): assert clf.with_keep(i/100).given(logits, score)[:90].any(1).float().mean()>=i/100-1e-6, i


def broken(cfg, **changes): return json.dumps({k:v for k,v in {**cfg, **changes}.items() if v!='GONE'})


@pytest.mark.parametrize('changes,what', [(dict(vocab='GONE'), 'lacks vocab'), (dict(vocab=['cat']), 'thresholds'), (dict(vocab=['cat','cat']), 'vocab'),
    (dict(size=10**9), 'size'), (dict(size=True), 'size'), (dict(arch='../../x'), 'arch'), (dict(arch='resnet18'), 'does not fit resnet18'),
    (dict(thresholds=dict(cat=0.5, dog='x')), 'thresholds'), (dict(format='mlc_course model 99'), 'format'), (dict(score='eval'), 'score'),
    (dict(score=dict(name='knn', mean=dict(knn=0.), std=dict(knn=0.), k=5, thresh=0.)), 'score'), (dict(keep=2), 'keep'), (dict(rare='fox'), 'rare'),
    (dict(score=dict(name='knn', mean=dict(knn=0.), std=dict(knn=1.), k=5, thresh='low')), 'score'), (dict(further='GONE'), 'lacks further'),
    (dict(score=dict(name='magic', mean=dict(magic=0.), std=dict(magic=1.), k=5, thresh=0.)), 'score'), (dict(further=dict(cat=.5)), 'further'),
    (dict(kept='GONE'), 'lacks kept'), (dict(kept=dict(KEPT, labels=[0.]*99)), 'kept'), (dict(kept=dict(KEPT, score=KEPT['score'][::-1])), 'kept'),
    (dict(kept=dict(KEPT, labels=[-i for i in KEPT['labels']])), 'kept'), (dict(kept=dict(KEPT, score=['x']*100)), 'kept'), (dict(kept=dict(score=KEPT['score'])), 'kept'),
    (dict(kept=dict(KEPT, labels=[0.]*99+[float('nan')])), 'not JSON'), (dict(kept=dict(KEPT, labels=[0.]*99+[None])), 'kept'), (dict(kept=[]), 'kept'),
    (dict(format='mlc_course model 2'), "format cannot be 'mlc_course model 2'"), (dict(vocab=['a','b','c'], thresholds=dict(a=.5, b=.5, c=.5), further=dict(a=.5, b=.5, c=.5)), 'does not fit small_cnn'), (dict(weights_sha256='0'*64), 'damaged')])
def test_damaged_config(model, tmp_path, changes, what):
    model.save(tmp_path/'m')
    file = tmp_path/'m/config.json'
    file.write_text(broken(json.loads(file.read_text()), **changes))
    with pytest.raises(ValueError, match=what): Classifier.load(tmp_path/'m')


def test_damaged_model(model, tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist'): Classifier.load(tmp_path/'none')
    with pytest.raises(ValueError, match='lacks config.json and model.safetensors'): Classifier.load(tmp_path)
    model.save(tmp_path/'m')
    for text in '','{','[]','null','"x"','{"format":NaN}':
        (tmp_path/'m/config.json').write_text(text)
        with pytest.raises(ValueError, match='config.json'): Classifier.load(tmp_path/'m')
    model.save(tmp_path/'m2')
    data = bytearray((tmp_path/'m2/model.safetensors').read_bytes())
    for i in 0,9,len(data)//2,len(data)-1:
        bad = data.copy()
        bad[i] ^= 0xff
        (tmp_path/'m2/model.safetensors').write_bytes(bad)
        with pytest.raises(ValueError, match='damaged'): Classifier.load(tmp_path/'m2')


def test_predict_without_fastai(model, pets, tmp_path):
    "Loading, predicting and evaluating import no fastai, and need no network"
    model.save(tmp_path/'m')
    (tmp_path/'cats').mkdir()
    for i in range(3): shutil.copy(pets/f'Siamese_{i}.jpg', tmp_path/'cats'/f'cat_{i}.jpg')
    code = f'''import sys
from mlc_course.classifier import Classifier
m = Classifier.load({str(tmp_path/'m')!r})
assert len(m.predict({str(pets)!r}))==24
assert m.evaluate({str(tmp_path/'cats')!r}, {str(pets)!r})['n_unknown']==24
assert not [o for o in sys.modules if o.split('.')[0] in ('fastai','pandas','matplotlib')]'''
    subprocess.run([sys.executable, '-c', code], check=True)


def test_predict_order_and_errors(model, pets, tmp_path):
    (tmp_path/'bad.jpg').write_bytes(b'')
    (tmp_path/'empty').mkdir()
    paths = [pets/'pug_3.jpg', tmp_path/'bad.jpg', tmp_path/'none.jpg', pets/'pug_1.jpg', tmp_path/'empty', pets/'pug_3.jpg']
    res = model.predict(paths)
    assert [o['path'] for o in res]==list(map(str, paths))
    assert ['error' in o for o in res]==[False,True,True,False,True,False]
    assert res[0]==res[5] and all(o['known']==bool(o['labels']) for o in res if 'known' in o)
    alone = model.predict(pets/'pug_3.jpg')
    assert alone[0]['labels']==res[0]['labels'] and alone[0]['score']==pytest.approx(res[0]['score'], abs=1e-4)


def test_evaluate_label_not_in_model(model, pets):
    with pytest.raises(InputError, match='Siamese is not one of the model. Allowed labels: cat dog'): model.evaluate(pets)


def test_evaluate_rows(model, tmp_path):
    t = table(tmp_path, 'fname,labels,is_valid\na.jpg,cat,False\nb.jpg,dog,True\n')
    assert model.evaluate(t)['n_known']==1
    t = table(tmp_path, 'fname,labels,is_valid\na.jpg,cat,True\nb.jpg,dog,True\n')
    assert model.evaluate(t)['n_known']==2


def test_check_dest(tmp_path):
    (tmp_path/'empty').mkdir()
    assert check_dest(tmp_path/'empty')==check_dest(tmp_path/'empty/../empty')
    assert one_hot([], ['a']).shape==(0,1)


def test_half_precision_gives_the_same_labels(pets, monkeypatch):
    "A folder is looked at in half precision first, where the processor has it, and close calls in full"
    from mlc_course.classifier import _half
    clf = Classifier.train(pets, 'squeezenet1_1', size=64, epochs=2, say=lambda o: None)
    if _half(clf.model[0]) is None: pytest.skip('this processor has no bfloat16')
    quick, exact = clf.predict(pets), clf.predict(pets, exact=True)
    assert [o['labels'] for o in quick]==[o['labels'] for o in exact]
    monkeypatch.setattr(Classifier, 'near', lambda self, z, s: torch.zeros(len(z)).bool())
    half = clf.predict(pets)
    assert half!=exact and max(abs(a['probs'][k]-b['probs'][k]) for a,b in zip(half, exact) for k in a['probs'])<.05
