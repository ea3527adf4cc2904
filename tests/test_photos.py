"Labelled photos as people keep them: folders, links, parts of a split, copies, and a split that is fair"
import os, random, unicodedata
import pytest
from conftest import draw
from mlc_course.engine.core import InputError
from mlc_course.engine.folds import middle_fold, seeded_folds
from mlc_course.engine.photo_set import split_of, unknown_files
from mlc_course.engine.photos import gather_photos, pick_rows, read_photos
from mlc_course.engine.pictures import expand_paths, picture_files


def put(path, *names):
    "Files with a content of their own"
    for o in names:
        (path/o).parent.mkdir(parents=True, exist_ok=True)
        (path/o).write_text(o)


def labels_of(photos): return {'/'.join(o.parts[-2:]): names for o,names in zip(photos.files, photos.labels)}
def vocab(photos): return sorted({name for names in photos.labels for name in names})
def told(photos, *words): return any(all(o in note for o in words) for note in photos.notes)


# --- files named after their label

def test_named_photos(tmp_path):
    put(tmp_path, 'images/great_pyrenees_12.jpg', 'images/Siamese_1.JPG', 'images/._Siamese_2.jpg')
    put(tmp_path, 'images/x.mat', 'annotations/trimaps/Siamese_1.png')
    got = read_photos(tmp_path)
    assert got.labels==[['Siamese'],['great_pyrenees']]
    assert '1 pictures in other folders' in got.notes[0]


CAMERAS = '''IMG_20240101_100000 DSC_0001 DSC01234_1 DSCN0001_1 PXL_20240101_100000 DJI_0001
    WhatsApp-Image_2024-01-01_1 Screenshot_20240101 MVIMG_20240101_100000 P1000123_1 20240101_100000
    image_001 frame_000001 GOPR0001_1 2024-01-01_12 FB_IMG_16000 Screen-Shot-2024_1
    IMG-20240101-WA0001_1 VID20240101_1'''


@pytest.mark.parametrize('name', CAMERAS.split())
def test_names_of_cameras_are_no_labels(tmp_path, name):
    put(tmp_path, f'{name}.jpg', f'{name.replace("-", " ")}.jpg', 'cat_1.jpg')
    with pytest.raises(InputError, match='as a camera does'): read_photos(tmp_path)


def test_names_that_are_labels(tmp_path):
    put(tmp_path, 'n02085620_1.jpg', 'p_1.jpg', 'imogen_1.jpg', 'photographer_1.jpg', '7_12.jpg',
        'camera_1.jpg')
    assert len(vocab(read_photos(tmp_path)))==6
    put(tmp_path, 'person019_1.jpg')
    assert told(read_photos(tmp_path), 'person019')


# --- folders

def test_folder_photos(tmp_path):
    put(tmp_path, 'cat/1.jpg', 'big dog/deep/2.png')
    (tmp_path/'empty').mkdir()
    got = read_photos(tmp_path)
    assert vocab(got)==['big_dog','cat']
    assert len(got.notes)==2


def test_links_are_followed_and_loops_end(tmp_path):
    put(tmp_path, 'far/cat/1.jpg', 'far/cat/deep/2.jpg', 'far/dog/3.jpg')
    here = tmp_path/'photos'
    here.mkdir()
    for o in 'cat','dog': (here/o).symlink_to(tmp_path/'far'/o)
    assert vocab(read_photos(here))==['cat','dog']
    assert len(expand_paths(here))==3
    (tmp_path/'far/cat/deep/up').symlink_to(tmp_path/'far/cat')    # to its own parent
    (tmp_path/'far/cat/across').symlink_to(tmp_path/'far/dog')     # two that lead to each other
    (tmp_path/'far/dog/across').symlink_to(tmp_path/'far/cat')
    (here/'all').symlink_to(tmp_path)                              # to what is above the folder itself
    (here/'dead').symlink_to(tmp_path/'nowhere')
    found = picture_files(here)
    assert {o.name for o in found}=={'1.jpg','2.jpg','3.jpg'}
    assert len(found)<12
    (tmp_path/'alias').symlink_to(here)
    assert picture_files(tmp_path/'alias')


SYSTEM = '''@eaDir $RECYCLE.BIN lost+found __MACOSX .thumbnails #recycle @__thumb ~snapshot @Recycle RECYCLER
    System_Volume_Information .Trash-1000'''.split()


@pytest.mark.parametrize('name', SYSTEM)
def test_folders_of_systems_are_no_labels(tmp_path, name):
    put(tmp_path, 'cat/1.jpg', 'dog/2.jpg', f'{name}/3.jpg'.replace('_Vol', ' Vol').replace('_Inf', ' Inf'))
    put(tmp_path, 'cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg')
    got = read_photos(tmp_path)
    assert (vocab(got), len(got.files), got.notes)==(['cat','dog'], 2, ())
    assert len(picture_files(tmp_path/'cat/@eaDir'))==1 # named by the user: then it is meant


@pytest.mark.parametrize('train,valid', [('train','valid'), ('Train','Val'), ('train_set','valid_set'),
    ('train2017','val2017'), ('training','validation'), ('TrainSet','DevSet'), ('train-images',
    'test_and_val'),
    ('TRAIN','dev'), ('my train'.split()[1],'eval')])
def test_parts_of_a_split(tmp_path, train, valid):
    put(tmp_path, *[f'{o}/{label}/{o}1.jpg' for o in (train,valid) for label in ('cat','dog')])
    if split_of(valid) is None: # two parts at once are none
        with pytest.raises(InputError, match='split|same sub-folders'): read_photos(tmp_path)
        return
    got = read_photos(tmp_path).split()
    assert (vocab(got), got.is_valid.count(True))==(['cat','dog'], 2)
    assert {o.parts[-3] for o,v in zip(got.files, got.is_valid) if v}=={valid}
    assert got.kind==f'folders {" ".join(sorted([train,valid]))}, in each a folder per label'
    assert got.folds is None


@pytest.mark.parametrize('folders', ['seg_train/seg_train seg_valid/seg_valid',
    'animals-train animals-val', '1_train 2_val',
    'train/train val/val', 'train_1 val_1', 'Dog Train Set;Dog Valid Set'])
def test_parts_with_other_words(tmp_path, folders):
    parts = folders.split(';' if ';' in folders else ' ')
    put(tmp_path, *[f'{o}/{label}/1.jpg' for o in parts for label in ('cat','dog')])
    got = read_photos(tmp_path)
    assert (vocab(got), got.is_valid)==(['cat','dog'], [False,False,True,True])


@pytest.mark.parametrize('folders', ['cat_train dog_train cat_test dog_test', 'train cat',
    'train val extra', 'Train Set;Car'])
def test_parts_among_labels_are_refused(tmp_path, folders):
    put(tmp_path, *[f'{o}/1.jpg' for o in folders.split(';' if ';' in folders else ' ')])
    with pytest.raises(InputError, match='is a split, not a label'): read_photos(tmp_path)


def test_only_validation_is_not_trained_on(tmp_path):
    put(tmp_path, *[f'{o}/{label}/1.jpg' for o in ('my_val','my_test') for label in ('cat','dog')])
    with pytest.raises(InputError, match='only is_valid'): gather_photos(tmp_path)


def test_test_folders_are_left_out(tmp_path):
    put(tmp_path, *[f'{part}/{label}/{i}.jpg' for part in ('train','test') for label in ('cat',
        'dog') for i in range(5)])
    put(tmp_path, 'test/without.jpg')
    got = gather_photos(tmp_path)
    assert not any('test' in o.parts for o in got.files)
    assert told(got, '11 pictures for testing')
    assert sum(got.is_valid)==2
    with pytest.raises(InputError, match='train and valid|only pictures for testing'):
        put(tmp_path, 'only/test/cat/1.jpg', 'only/test/dog/2.jpg')
        read_photos(tmp_path/'only')


def test_label_that_only_validates(tmp_path):
    put(tmp_path, 'train/cat/1.jpg', 'train/dog/1.jpg', 'val/catt/1.jpg')
    with pytest.raises(InputError, match='catt is not one of the training rows'): gather_photos(tmp_path)


def test_parts_below_the_labels(tmp_path):
    put(tmp_path, *[f'{label}/{part}/{i}.jpg' for part in ('train','val','test') for label in ('cat',
        'dog') for i in range(3)])
    got = read_photos(tmp_path)
    assert (vocab(got), len(got.files), sum(got.is_valid))==(['cat','dog'], 12, 6)
    assert told(got, '6 pictures for testing')


@pytest.mark.parametrize('groups', [('fold1','fold2','fold3'), ('2023','2024'), ('cam_a','cam_b'),
    ('split_0','split_1')])
def test_same_folders_in_all_groups_are_asked_for(tmp_path, groups):
    put(tmp_path, *[f'{o}/{label}/1.jpg' for o in groups for label in ('cat','dog','pug')])
    (tmp_path/groups[0]/'pug/1.jpg').unlink() # one lacks a rare label
    with pytest.raises(InputError, match='the same sub-folders'): read_photos(tmp_path)


def test_folders_with_like_parts_are_labels(tmp_path):
    put(tmp_path, 'cat/images/1.jpg', 'dog/images/2.jpg', 'pug/3.jpg')
    assert vocab(read_photos(tmp_path))==['cat','dog','pug']


def test_wrapping_folder_is_hinted_at(tmp_path):
    put(tmp_path, 'a/dataset/cat/1.jpg', 'a/dataset/dog/2.jpg', 'b/dataset/train/cat/1.jpg',
        'b/dataset/val/cat/2.jpg')
    with pytest.raises(InputError, match='did you mean .*a/dataset?'): gather_photos(tmp_path/'a')
    with pytest.raises(InputError, match='name .*b/dataset'): read_photos(tmp_path/'b')
    put(tmp_path, 'u/1.png', 'u/2.png')
    assert told(gather_photos(tmp_path/'a', tmp_path/'u'), 'a/dataset')


# --- names that look alike

def test_twins_of_labels(tmp_path):
    composed = 'kätzchen'
    apart = unicodedata.normalize('NFD', composed)
    put(tmp_path, f'{composed}/1.jpg', f'{apart}/2.jpg', 'Dog/3.jpg', 'dog/4.jpg', 'none/5.jpg',
        'house cat/6.jpg',
        'house_cat/7.jpg', 'cat\u200b/8.jpg', 'cat/9.jpg', 'cat+dog/10.jpg', 'NaN/11.jpg', 'Unknown/12.jpg')
    got = read_photos(tmp_path)
    assert vocab(got).count(composed)==1 and apart not in vocab(got)
    assert told(got, 'Dog and dog', '2 labels')
    assert told(got, 'cat\\u200b', 'look alike')
    assert told(got, "'house cat' and 'house_cat'", 'one label')
    assert told(got, 'cat+dog', 'of its own')
    put(tmp_path, 'x/cat-dog/1.jpg', 'x/cat, dog/1.jpg', 'x/cat/1.jpg', 'x/dog/1.jpg', 'x/and/1.jpg')
    other = read_photos(tmp_path/'x')
    for o in 'cat-dog','cat,_dog': assert told(other, f'{o} is learned as a label of its own')
    assert told(other, 'and is learned')
    for o in 'none','NaN','Unknown': assert told(got, f'{o} is learned as a label')
    assert pick_rows(got, [apart, *{*vocab(got)}-{composed}])[1].count([apart])==2


# --- copies

def test_copies_stay_together(tmp_path):
    put(tmp_path, *[f'{label}/{label}{i}.jpg' for label in ('cat','dog') for i in range(20)])
    for file in picture_files(tmp_path):
        file.with_name(f'copy of {file.name}').write_bytes(file.read_bytes())
    got = gather_photos(tmp_path)
    parts = {}
    for file,fold,valid in zip(got.files, got.folds, got.is_valid):
        parts.setdefault(file.read_bytes(), set()).add((fold, valid))
    assert all(len(o)==1 for o in parts.values())
    assert sorted(got.folds.count(i) for i in range(5))==[16]*5
    assert told(got, '40 pictures are copies')


def test_copies_that_contradict_are_told(tmp_path):
    put(tmp_path, 'p/cat/1.jpg', 'p/cat/2.jpg', 'p/dog/3.jpg')
    (tmp_path/'p/dog/other.jpg').write_bytes((tmp_path/'p/cat/1.jpg').read_bytes())
    assert told(read_photos(tmp_path/'p'), 'cat/1.jpg', 'dog/other.jpg', 'with other labels')
    put(tmp_path, 'a.jpg', 'b.jpg')
    (tmp_path/'c.jpg').symlink_to(tmp_path/'a.jpg')
    (tmp_path/'t.csv').write_text('fname,labels,is_valid\na.jpg,cat,0\nb.jpg,dog,0\nc.jpg,dog,1\n')
    got = read_photos(tmp_path/'t.csv')
    assert told(got, 'with other labels', "'cat' and 'dog'")
    assert told(got, '1 validation pictures are copies of training pictures')


@pytest.mark.parametrize('link', [os.symlink, os.link])
def test_picture_linked_into_two_labels_has_both(tmp_path, link):
    put(tmp_path, 'cat/1.jpg', 'cat/2.jpg', 'dog/3.jpg')
    link(tmp_path/'cat/1.jpg', tmp_path/'dog/1.jpg')
    got = read_photos(tmp_path)
    assert labels_of(got)=={'cat/1.jpg': ['cat','dog'], 'cat/2.jpg': ['cat'], 'dog/3.jpg': ['dog']}
    assert told(got, '1 pictures lie in several label folders')


def test_copies_among_the_unknown_are_refused(tmp_path):
    draw(tmp_path/'p', ['Siamese','pug'], 2)
    draw(tmp_path/'u', ['car'], 2)
    twin = tmp_path/'u/x.jpg'
    twin.write_bytes((tmp_path/'p/pug_1.jpg').read_bytes())
    with pytest.raises(InputError, match='u/x.jpg, without label, is a copy of .*p/pug_1.jpg'):
        gather_photos(tmp_path/'p', tmp_path/'u')
    for o in twin,tmp_path/'p/pug_7.jpg': o.write_bytes(b'broken') # told of when it is read
    assert len(unknown_files(tmp_path/'u', picture_files(tmp_path/'p')))==3


def test_pictures_of_unequal_content_are_no_copies(tmp_path):
    put(tmp_path, 'cat/11.jpg', 'dog/22.jpg')
    for o in 'cat/e1.jpg','dog/e2.jpg': (tmp_path/o).touch() # empty ones hold no picture
    assert read_photos(tmp_path).same is None


# --- the split

def test_split(pets):
    a,b,c = (read_photos(pets).split(seed) for seed in (0,0,1))
    assert a.is_valid==b.is_valid
    assert a.is_valid!=c.is_valid
    valid = [label for (label,),v in zip(a.labels, a.is_valid) if v]
    assert len(valid) in (4,5)
    assert set(valid)=={'Siamese','pug'}


def test_single_pictures_stay_in_training(tmp_path):
    put(tmp_path, *(f'label{i}_1.jpg' for i in range(30)))
    got = read_photos(tmp_path).split()
    assert not any(got.is_valid)
    assert told(got, '30 labels have a single picture', '--min-images 2')


@pytest.mark.parametrize('n_cats', [2, 3, 4])
def test_few_of_a_label_validate(n_cats):
    labels = [['cat']]*n_cats + [[]]*48
    for seed in range(20):
        is_valid = middle_fold(labels, seeded_folds(labels, seed, 5))
        assert 0<sum(is_valid[:n_cats])<n_cats
        assert 8<=sum(is_valid)<=12


def test_rare_labels_in_rare_sets():
    "1,000 pictures, most with a set of labels of their own: each label is dealt evenly all the same"
    rng = random.Random(0)
    names = [f'{i}' for i in range(60)]
    labels = [sorted(set(rng.choices(names, weights=[1/(i+1) for i in range(60)],
        k=4))) for _ in range(1000)]
    folds = seeded_folds(labels, 0, 5)
    for name in names:
        n_in = [sum(name in ls for ls,fold in zip(labels, folds) if fold==k) for k in range(5)]
        assert max(n_in)-min(n_in)<=max(3, .1*sum(n_in)), (name, n_in)
    sizes = [folds.count(k) for k in range(5)]
    assert max(sizes)-min(sizes)<=20


def test_sets_of_labels_are_dealt_evenly_too():
    labels = [['cat']]*50 + [['dog']]*50 + [['cat','dog']]*50 + [[]]*50
    folds = seeded_folds(labels, 3, 5)
    for start in 0,50,100,150:
        n_in = [folds[start:start+50].count(k) for k in range(5)]
        assert max(n_in)-min(n_in)<=2, n_in


# --- a DataFrame

def test_classifier_takes_a_dataframe(pets, monkeypatch):
    import pandas as pd
    from fastcore.basics import noop
    from mlc_course.classifier import Classifier
    files = sorted(pets.iterdir())
    df = pd.DataFrame(dict(path=files, tags=[[o.name.split('_')[0]] for o in files]))
    clf = Classifier.train(df, 'small_cnn', size=48, epochs=1, device='cpu', say=noop)
    assert clf.vocab==['Siamese','pug']
    assert clf.evaluate(df)['n_known']==24
    monkeypatch.chdir(pets.parent)
    df['path'] = [f'{pets.name}/{o.name}' for o in files]
    assert clf.evaluate(df.sample(10, random_state=0))['n_known']==10


def test_real_parts(shared):
    "The local cats and dogs, split by folders as their table splits them"
    by_folder = read_photos(shared/'data/cats-dogs/labels.csv')
    assert (len(by_folder.files), sum(by_folder.is_valid))==(6800, 800)
    scenes = read_photos(shared/'data/pascal_2007/train.csv')
    assert told(scenes, 'pictures are those in', 'train')
    assert len(vocab(scenes))==20
