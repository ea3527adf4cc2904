"What is looked for before training: files, copies, labels, odd ones out; and the command that tells it"
import csv, os, random, shutil, time
import numpy as np
import pytest, torch
from PIL import Image, ImageEnhance, ImageOps
from conftest import call, draw, python, refused
from fastcore.basics import noop
from mlc_course.draw.scenes import draw_portrait
from mlc_course.engine.check import KINDS, check_photos, contradicted, label_counts, label_quality
from mlc_course.engine.core import InputError
from mlc_course.engine.near_copies import groups_of, near_copies, small_greys
from mlc_course.ui.check_page import mlc_check, stop_kinds

BREEDS = 'Siamese', 'pug', 'beagle'


def plant(folder, n=20):
    "Portraits in a folder each breed, with mistakes; returns the folder"
    for o in BREEDS: draw(folder/o, [o], n, 96)
    pug, beagle, cat = folder/'pug', folder/'beagle', folder/'Siamese'
    (cat/'Siamese_3.jpg').rename(pug/'Siamese_3.jpg')                           # wrong folder
    shutil.copy(pug/'pug_5.jpg', pug/'same.jpg')                                # the same bytes
    Image.open(beagle/'beagle_7.jpg').resize((60,60)).save(beagle/'small.jpg')  # another version
    shutil.copy(beagle/'beagle_9.jpg', cat/'both.jpg')                          # two labels
    draw_portrait('car', 0, 96)[0].save(cat/'car.jpg')                          # none of the breeds
    (pug/'empty.jpg').touch()
    (pug/'text.jpg').write_text('a letter to my dog')
    return folder


@pytest.fixture(scope='module')
def planted(tmp_path_factory): return plant(tmp_path_factory.mktemp('check')/'photos')


@pytest.fixture(scope='module')
def checked(planted): return check_photos(planted, say=noop)


def found(checked, kind):
    "Pairs of names"
    return {(os.path.basename(o.file), os.path.basename(o.other)) for o in checked.of(kind).itertuples()}


def table(folder, rows):
    "Rows of files with labels and whether they validate, as a CSV in `folder`"
    with open(folder/'labels.csv', 'w', newline='') as f:
        csv.writer(f).writerows([('fname','labels','is_valid'), *rows])
    return folder/'labels.csv'


# --- all kinds of findings

def test_planted(checked):
    assert {o for o,_ in found(checked, 'unreadable')}=={'empty.jpg','text.jpg'}
    assert found(checked, 'copy')=={('same.jpg','pug_5.jpg')}
    assert found(checked, 'near_copy')=={('small.jpg','beagle_7.jpg')}
    assert found(checked, 'contradiction')=={('beagle_9.jpg','both.jpg')} # beside the first by path
    assert not len(checked.of('leak')) # there is no split
    assert 'Siamese_3.jpg' in [os.path.basename(o) for o in checked.doubtful.file[:3]]
    swapped = next(o for o in checked.doubtful.itertuples() if 'Siamese_3' in o.file)
    assert (swapped.labels, swapped.other_labels)==('pug', 'Siamese')


def test_odd_one_out(tmp_path):
    "Of 60 portraits and a car, the car is the least known"
    for o in BREEDS: draw(tmp_path/o, [o], 20, 96)
    draw_portrait('car', 0, 96)[0].save(tmp_path/'pug/car.jpg')
    odd = check_photos(tmp_path, say=noop).of('odd')
    assert os.path.basename(odd.file.iloc[0])=='car.jpg'


def test_gravest_first(checked):
    order = [list(KINDS).index(o) for o in checked.table.issue]
    assert order==sorted(order)
    assert list(checked.of('label').score)==sorted(checked.of('label').score)


def test_every_label_has_the_same_pictures(tmp_path):
    "Nothing to judge labels by: files and copies are looked at all the same, and it is said"
    draw(tmp_path/'pug', ['pug'], 24, 64)
    shutil.copy(tmp_path/'pug/pug_1.jpg', tmp_path/'pug/again.jpg')
    res = check_photos(tmp_path, say=noop)
    assert found(res, 'copy')=={('pug_1.jpg','again.jpg')}
    assert not len(res.of('label')) and any('labels are not judged' in o for o in res.notes)


def test_same_pixels_in_another_format(tmp_path):
    "Not the same bytes, so it is another version, however small the difference"
    draw(tmp_path/'pug', ['pug'], 6, 64)
    Image.open(tmp_path/'pug/pug_1.jpg').save(tmp_path/'pug/again.png')
    res = check_photos(tmp_path, say=noop)
    assert found(res, 'near_copy')=={('pug_1.jpg','again.png')}
    assert not len(res.of('copy'))


def test_without_pretrained_weights(planted, checked):
    "Files and copies do not need any"
    res = check_photos(planted, arch='small_cnn', say=noop)
    for o in 'unreadable','copy','near_copy','contradiction': assert found(res, o)==found(checked, o)
    assert not len(res.of('label')) and not len(res.of('odd'))
    assert any('small_cnn' in o for o in res.notes)


def test_nothing_found(tmp_path):
    for o in BREEDS: draw(tmp_path/o, [o], 12, 96)
    res = check_photos(tmp_path, say=noop)
    assert not set(res.table.issue) - {'label','doubt','odd'} # a drawing may be hard


# --- the split

def test_leaks(tmp_path):
    "The same picture on both sides, whether its bytes are the same or not; beside it a copy on one side"
    draw(tmp_path, ['Siamese','pug'], 15, 96)
    Image.open(tmp_path/'pug_3.jpg').save(tmp_path/'again.jpg', quality=50)
    shutil.copy(tmp_path/'pug_4.jpg', tmp_path/'same.jpg')
    shutil.copy(tmp_path/'pug_5.jpg', tmp_path/'harmless.jpg')
    files = sorted(tmp_path.glob('*_*.jpg'))
    rows = [(o.name, o.name.split('_')[0], int(o.stem.split('_')[-1])>11) for o in files]
    rows += [('again.jpg','pug',True), ('same.jpg','pug',True), ('harmless.jpg','pug',False)]
    res = check_photos(table(tmp_path, rows), say=noop)
    assert found(res, 'leak')=={('again.jpg','pug_3.jpg'), ('same.jpg','pug_4.jpg')}
    assert found(res, 'copy') in ({('harmless.jpg','pug_5.jpg')}, {('pug_5.jpg','harmless.jpg')})


def test_leak_under_another_label(tmp_path):
    "One pair, two kinds of harm"
    draw(tmp_path, ['Siamese','pug'], 12, 64)
    shutil.copy(tmp_path/'pug_3.jpg', tmp_path/'x.jpg')
    rows = [(o.name, o.name.split('_')[0], False) for o in sorted(tmp_path.glob('*_*.jpg'))]
    res = check_photos(table(tmp_path, [*rows, ('x.jpg','Siamese',True)]), say=noop)
    assert found(res, 'leak')==found(res, 'contradiction')=={('x.jpg','pug_3.jpg')}
    assert not len(res.of('copy'))


def test_many_files_of_one_picture(tmp_path):
    "Each file of a group is told once, beside one that trains"
    draw(tmp_path, ['Siamese','pug'], 12, 64)
    rows = [(o.name, o.name.split('_')[0], False) for o in sorted(tmp_path.glob('*_*.jpg'))]
    for i in range(6):
        Image.open(tmp_path/'pug_3.jpg').save(tmp_path/f'a{i}.jpg', quality=90-10*i)
        rows.append((f'a{i}.jpg', 'pug', i>2))
    res = check_photos(table(tmp_path, rows), say=noop)
    assert len(res.of('near_copy'))==len(res.of('leak'))==3
    assert not {os.path.basename(o) for o in res.of('leak').other} & {'a3.jpg','a4.jpg','a5.jpg'}


def test_unknown_among_labelled(planted, tmp_path):
    "A picture without label that is a copy of a labelled one contradicts it"
    unknown = draw(tmp_path/'unknown', ['car','ball'], 6, 96)
    shutil.copy(planted/'pug/pug_8.jpg', unknown/'no_pug.jpg')
    res = check_photos(planted, unknown, say=noop)
    assert ('no_pug.jpg','pug_8.jpg') in found(res, 'contradiction')
    assert res.photos.labels.count([])==13


# --- copies

def changed(img, how, rng):
    if how=='resized': return img.resize([round(o*rng.uniform(.3, .8)) for o in img.size])
    if how=='mirrored': return ImageOps.mirror(img)
    if how=='brighter': return ImageEnhance.Brightness(img).enhance(1.08)
    if how=='cropped':
        left, top, right, bottom = (rng.uniform(0, .08)*img.width for _ in range(4))
        return img.crop((left, top, img.width-right, img.height-bottom))
    return img


def grey(img):
    x = torch.from_numpy(np.array(img.convert('RGB').resize((160,160))))
    return small_greys(x.permute(2,0,1)[None])[0]


@pytest.mark.parametrize('how', ['resized','recompressed','mirrored','cropped','brighter'])
def test_near_copies(how, tmp_path):
    "All versions of 40 drawings are found, and no other pair"
    rng, greys = random.Random(0), []
    ims = [draw_portrait(BREEDS[i%3], i, 128)[0] for i in range(60)]
    for i in range(40):
        quality = rng.randint(30, 75) if how=='recompressed' else 90
        changed(ims[i], how, rng).save(tmp_path/f'{i}.jpg', quality=quality)
        ims.append(Image.open(tmp_path/f'{i}.jpg'))
    pairs = near_copies(torch.stack([grey(o) for o in ims]))
    assert {o[:2] for o in pairs}=={(i,60+i) for i in range(40)}


def test_near_copies_in_parts():
    "The parts that are compared at a time change nothing"
    greys = torch.stack([grey(draw_portrait('pug', i//2, 40+24*(i%2))[0]) for i in range(40)])
    pairs = near_copies(greys)
    assert {o[:2] for o in pairs} >= {(2*i,2*i+1) for i in range(20)}
    for chunk in 1,7: assert [o[:2] for o in near_copies(greys, chunk=chunk)]==[o[:2] for o in pairs]


def test_blank_pictures():
    "Neither a fault nor copies of whatever else there is"
    greys = torch.zeros(3, 32, 32, dtype=torch.uint8)
    greys[2] = grey(draw_portrait('pug', 0, 64)[0])
    assert not [o for o in near_copies(greys) if o.second==2]
    assert near_copies(greys[:0])==near_copies(greys[:1])==[]


def test_memory_of_many():
    "12,000 pictures: a table of all pairs would take 576 MB"
    code = '''import resource, torch
from mlc_course.engine.core import InputError
from mlc_course.engine.near_copies import near_copies
torch.manual_seed(0)
greys = torch.randint(0, 255, (12_000,8,8), dtype=torch.uint8)
greys = greys.repeat_interleave(4, 1).repeat_interleave(4, 2)
greys[11_999] = greys[5]
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
near_copies(greys[:2000])
before = peak()
print(near_copies(greys)[0][:2], peak()-before)'''
    pair,_,grown = python(code, check=True).stdout.strip().rpartition(' ')
    assert pair=='(5, 11999)'
    assert float(grown)<300


def test_groups():
    assert groups_of([(3,1),(1,2),(8,9)])==[[1,2,3],[8,9]]


# --- labels

def noisy(n=400, n_classes=6, n_wrong=30, seed=0):
    "Probabilities as cross-fitting gives them, labels with known errors, and the pictures that have one"
    g = torch.Generator().manual_seed(seed)
    truth = (torch.rand(n, n_classes, generator=g)<torch.linspace(.1, .5, n_classes)).float()
    probs = ((truth*2-1)*2.5 + 1.2*torch.randn(n, n_classes, generator=g)).sigmoid()
    wrong = torch.randperm(n, generator=g)[:n_wrong]
    targets = truth.clone()
    column = torch.randint(n_classes, (n_wrong,), generator=g)
    targets[wrong,column] = 1-targets[wrong,column]
    return probs, targets, set(wrong.tolist())


def as_lists(targets): return [o.nonzero()[:,0].tolist() for o in targets]


def test_beside_cleanlab():
    "Its scores, label by label, are ours; ranked by the lowest, as many planted errors come first"
    reason = 'no cleanlab: pip install cleanlab'
    rank = pytest.importorskip('cleanlab.multilabel_classification.rank', reason=reason)
    from cleanlab.multilabel_classification.filter import find_label_issues
    n_ours = n_usual = n_flagged = n_issues = 0
    for seed in range(5):
        probs, targets, wrong = noisy(seed=seed)
        labels, n = as_lists(targets), len(wrong)
        lowest = label_quality(probs, targets).amin(1)
        theirs = rank.get_label_quality_scores(labels, probs.numpy(), aggregator_kwargs=dict(method=np.min))
        assert np.allclose(theirs, lowest.numpy(), atol=1e-6)
        usual = rank.get_label_quality_scores(labels, probs.numpy())
        n_ours += len(wrong & set(lowest.argsort()[:n].tolist()))
        n_usual += len(wrong & set(usual.argsort()[:n].tolist()))
        flagged = contradicted(probs, targets).any(1)
        issues = find_label_issues(labels, probs.numpy(), filter_by='confident_learning')
        n_flagged += len(wrong & set(flagged.nonzero()[:,0].tolist()))
        n_issues += len(wrong & set(np.flatnonzero(issues).tolist()))
    assert n_ours>=n_usual
    assert n_flagged>=.9*n_issues


def test_hand_count():
    "A given label at 0.04 is as unlikely as missing ones, 0.3 is not; a missing 0.8 is as likely as given"
    probs = torch.tensor([.9,.9,.9,.9,.3,.04, .05,.05,.05,.05,.8])[:,None]
    targets = torch.tensor([1.]*6+[0]*5)[:,None]
    assert contradicted(probs, targets).nonzero()[:,0].tolist()==[5,10]
    assert not contradicted(probs, targets, least=7).any() # too few with the label to say anything


def test_copies_do_not_vouch_for_each_other(tmp_path):
    "A wrong label stays doubtful when the file is there five times"
    for o in BREEDS: draw(tmp_path/o, [o], 20, 96)
    wrong = tmp_path/'pug/Siamese_3.jpg'
    (tmp_path/'Siamese/Siamese_3.jpg').rename(wrong)
    for i in range(4): shutil.copy(wrong, tmp_path/f'pug/w{i}.jpg')
    doubtful = {os.path.basename(o) for o in check_photos(tmp_path, say=noop).doubtful.file}
    assert doubtful >= {'Siamese_3.jpg','w0.jpg','w1.jpg','w2.jpg','w3.jpg'}


def test_missing_label(tmp_path):
    "Several labels a picture: one that is not given where it should be is named"
    rng, rows = random.Random(0), []
    for i in range(80):
        kinds = rng.sample(BREEDS, rng.choice([1,1,2]))
        sheet = Image.new('RGB', (192,96), 'white')
        for k,o in enumerate(kinds): sheet.paste(draw_portrait(o, i, 96)[0], (96*k,0))
        sheet.save(tmp_path/f'{i}.png')
        rows.append([f'{i}.png', ' '.join(sorted(kinds)), False])
    i = next(i for i,o in enumerate(rows) if len(o[1].split())==2)
    gone, left = rows[i][1].split()
    rows[i][1] = left
    found = check_photos(table(tmp_path, rows), say=noop).doubtful
    o = next(o for o in found.itertuples() if os.path.basename(o.file)==f'{i}.png')
    assert gone in o.other_labels.split() and f'{gone} is missing' in o.said


@pytest.mark.parametrize('seed', [0,1])
def test_swapped_labels_of_photos(seed, shared, tmp_path):
    "Of 16 swapped labels among 600, four in five in the first 32 rows; benchmarks/checking.py takes all"
    rng = random.Random(seed)
    files = rng.sample(sorted((shared/'data/cats-dogs/train').glob('*.jpg')), 600)
    for o in 'cat','dog': (tmp_path/o).mkdir()
    for i,f in enumerate(files):
        label = f.name.split('.')[0]
        if i<16: label = 'dog' if label=='cat' else 'cat'
        (tmp_path/label/f.name).symlink_to(f)
    doubtful = check_photos(tmp_path, say=noop).doubtful
    first = [os.path.basename(o) for o in doubtful.file[:32]]
    assert len({o.name for o in files[:16]} & set(first))>=13


# --- counts

def test_counts():
    labels = [['cat'],['cat','sofa'],['dog','lead'],['dog','lead'],['dog','lead'],[]]
    counts = label_counts(labels, [False,True,False,False,True,False]).set_index('label')
    assert counts.loc['cat'].tolist()==[2,1,1,1,'sofa',1]
    assert counts.loc['lead'].tolist()==[3,0,2,1,'dog',3]
    assert label_counts([[]]).empty


def test_findings_about_labels(tmp_path):
    rows = []
    for i in range(24):
        draw_portrait(BREEDS[i%3], i, 48)[0].save(tmp_path/f'{i}.jpg')
        labels = {0: 'dog lead', 1: 'cat', 2: 'cat sofa'}[i%3]
        rows.append((f'{i}.jpg', 'rabbit' if i==4 else labels, False))
    res = check_photos(table(tmp_path, rows), few=5, arch='small_cnn', say=noop)
    assert res.of('few').labels.tolist()==['rabbit']
    assert set(res.of('never_alone').labels)=={'dog','lead','sofa'}
    assert [(o.labels,o.other) for o in res.of('together').itertuples()]==[('dog','lead')]


# --- the command

def test_command(planted, tmp_path):
    "What was understood first, a line a kind of finding, a table; exit code 1 for what spoils figures"
    res = call('mlc_check', planted, '--csv', tmp_path/'found.csv')
    assert res.returncode==1
    lines = res.stdout.splitlines()
    assert 'a folder per label' in lines[0] and '3 labels: Siamese beagle pug' in lines[0]
    assert any(o.split()[:2]==['1','contradiction'] for o in lines)
    assert res.stderr.splitlines()[-1]=='mlc_check: 2 unreadable, 1 contradiction'
    rows = list(csv.DictReader(open(tmp_path/'found.csv', encoding='utf-8')))
    assert {o['issue'] for o in rows} >= {'unreadable','contradiction','copy','near_copy','label'}
    assert all(os.path.exists(o['file']) for o in rows if o['file'])


@pytest.mark.parametrize(('fail_on','code'), [('none',0), ('leak',0), ('copy,few',1), ('any',1)])
def test_exit_code(planted, fail_on, code):
    try: mlc_check(str(planted), arch='small_cnn', fail_on=fail_on)
    except SystemExit as e: assert (1 if isinstance(e.code, str) else e.code)==code
    else: assert not code


def test_refused(tmp_path):
    refused(call('mlc_check', tmp_path/'none'), 'none does not exist')
    with pytest.raises(InputError, match='tigers is no kind of finding'): stop_kinds('leak,tigers')
    (tmp_path/'a').mkdir()
    (tmp_path/'a/x.jpg').touch()
    res = call('mlc_check', tmp_path)
    assert res.returncode==2 and 'none of 1 pictures can be read' in res.stderr


def test_help_is_quick():
    start = time.perf_counter()
    res = call('mlc_check', '--help')
    assert time.perf_counter()-start<1
    assert res.returncode==0 and 'xit code' in res.stdout and '--fail-on' in res.stdout
