"Boxes as labels: COCO, VOC and YOLO, in the folders that people have"
import json
import pytest
from mlc_course.engine.core import BadPictures, InputError
from mlc_course.engine.photos import gather_photos, read_photos
from test_photos import labels_of, put, told, vocab


def coco(**labels_of):
    "A COCO file: `a='cat dog'` has boxes of both in a.jpg"
    names = ['cat','dog','traffic light']
    boxes = [(i, names.index(name)) for i,
        o in enumerate(labels_of.values()) for name in o.split(',') if name]
    return json.dumps(dict(categories=[dict(id=i, name=o, supercategory='x') for i,o in enumerate(names)],
        images=[dict(id=i, file_name=f'{o}.jpg', width=9) for i,o in enumerate(labels_of)],
        annotations=[dict(id=i, image_id=image, category_id=k, bbox=[1,1,2,2]) for i,(image,
            k) in enumerate(boxes)]))


def test_coco_file_and_folder(tmp_path):
    put(tmp_path, 'train2017/a.jpg', 'train2017/b.jpg', 'val2017/c.jpg', 'test2017/d.jpg')
    notes = tmp_path/'annotations'
    notes.mkdir()
    (notes/'instances_train2017.json').write_text(coco(a='cat,cat,traffic light', b=''))
    (notes/'instances_val2017.json').write_text(coco(c='cat'))
    (notes/'captions_val2017.json').write_text('{"images": [], "annotations": []}')
    (notes/'person_keypoints_val2017.json').write_text(coco(c='dog'))
    one = read_photos(notes/'instances_train2017.json')
    assert labels_of(one)=={'train2017/a.jpg': ['cat','traffic_light'], 'train2017/b.jpg': []}
    assert one.kind=='COCO annotations'
    both = read_photos(tmp_path)
    assert labels_of(both)=={**labels_of(one), 'val2017/c.jpg': ['cat']}
    assert both.is_valid==[False,False,True]


def test_coco_of_roboflow(tmp_path):
    for part,name in ('train','a'),('valid','b'),('test','c'):
        put(tmp_path, f'{part}/{name}.jpg')
        (tmp_path/part/'_annotations.coco.json').write_text(coco(**{name: 'cat,dog'}))
    got = read_photos(tmp_path)
    assert labels_of(got)=={'train/a.jpg': ['cat','dog'], 'valid/b.jpg': ['cat','dog']}
    assert got.is_valid==[False,True]
    assert told(got, '1 pictures for testing')


@pytest.mark.parametrize('change,words', [(dict(categories=[]), 'damaged'), (dict(images=[{}]), 'damaged'),
    (dict(images=[]), 'lists no picture'), (dict(images=[dict(id=0, file_name='z.jpg')]),
    'z.jpg does not exist')])
def test_coco_that_is_broken(tmp_path, change, words):
    put(tmp_path, 'a.jpg')
    (tmp_path/'c.json').write_text(json.dumps(json.loads(coco(a='cat')) | change))
    with pytest.raises(InputError, match=words): read_photos(tmp_path/'c.json')


def voc(*names):
    boxes = ''.join(f'<object><name>{o}</name><bndbox/></object>' for o in names)
    return f'<annotation><filename>x.png</filename>{boxes}</annotation>'


def test_voc(tmp_path):
    (tmp_path/'Annotations').mkdir()
    for stem,names in dict(a=['cat'], b=['dog','dog'], c=['potted plant','dog'], d=[]).items():
        put(tmp_path, f'JPEGImages/{stem}.jpg', f'SegmentationClass/{stem}.png')
        (tmp_path/f'Annotations/{stem}.xml').write_text(voc(*names))
    put(tmp_path, 'JPEGImages/e.jpg')
    got = read_photos(tmp_path)
    assert got.labels==[['cat'],['dog'],['dog','potted_plant'],[],[]]
    assert told(got, '1 pictures have no annotation')
    lists = tmp_path/'ImageSets/Main'
    lists.mkdir(parents=True)
    for name,stems in dict(train='a\nb', val='c', trainval='a\nb\nc', test='d',
        cat_train='a 1\nb -1').items():
        (lists/f'{name}.txt').write_text(stems+'\n')
    got = read_photos(tmp_path)
    assert ([o.stem for o in got.files], got.is_valid)==(['a','b','c'], [False,False,True])
    assert told(got, '1 pictures are in no part') and told(got, '1 pictures for testing')


def test_voc_beside_the_pictures(tmp_path):
    for part,stem,name in ('train','a','cat'),('train','b','dog'),('valid','c','cat'):
        put(tmp_path, f'{part}/{stem}.jpg')
        (tmp_path/part/f'{stem}.xml').write_text(voc(name))
    got = read_photos(tmp_path)
    assert (got.labels, got.is_valid)==([['cat'],['dog'],['cat']], [False,False,True])
    (tmp_path/'train/z.xml').write_text(voc('cat'))
    with pytest.raises(BadPictures, match='z.xml: its picture does not exist'): read_photos(tmp_path)
    assert len(read_photos(tmp_path, skip_bad=True).files)==3
    (tmp_path/'train/z.xml').write_text('<annotation>')
    with pytest.raises(InputError, match='z.xml is damaged'): read_photos(tmp_path)


@pytest.mark.parametrize('picture,text', [('images/{}/{}.jpg', 'labels/{}/{}.txt'), ('{}/images/{}.jpg',
    '{}/labels/{}.txt'),
    ('{}/{}.jpg', '{}/{}.txt')])
@pytest.mark.parametrize('facts,name', [
    ('names: [cat, big dog]\ntrain: ../train/images\nval: ../valid/images\n', 'data.yaml'),
    ('path: /data/mine\ntrain: images/train\nval: images/valid\nnames:\n  0: cat\n  1: big dog\n', 'm.yml'),
    ('cat\nbig dog\n', 'classes.txt')])
def test_yolo(tmp_path, picture, text, facts, name):
    for part,stem,numbers in ('train','a','01'),('train','b',''),('valid','c','1'),('test','d','0'):
        put(tmp_path, picture.format(part, stem))
        (tmp_path/text.format(part, stem)).parent.mkdir(parents=True, exist_ok=True)
        if numbers: (tmp_path/text.format(part,
        stem)).write_text(''.join(f'{o} .5 .5 .1 .1\n' for o in numbers))
    (tmp_path/name).write_text(facts)
    got = read_photos(tmp_path)
    assert {o.stem: names for o,names in zip(got.files, got.labels)}=={'a': ['big_dog','cat'], 'b': [],
        'c': ['big_dog']}
    assert {o.stem for o,v in zip(got.files, got.is_valid) if v}=={'c'}
    assert told(got, '1 pictures for testing') and told(got, '1 pictures have no annotation')
    if name!='classes.txt': assert read_photos(tmp_path/name).labels==got.labels


def test_yolo_without_a_split(tmp_path):
    "coco128 trains and validates on one folder: that is no split"
    put(tmp_path, 'images/train2017/a.jpg', 'images/train2017/b.jpg')
    for stem,number in ('a',0),('b',1): 
        (tmp_path/'labels/train2017').mkdir(parents=True, exist_ok=True)
        (tmp_path/f'labels/train2017/{stem}.txt').write_text(f'{number} .1 .1 .1 .1 .2 .2\n')
    (tmp_path/'data.yaml').write_text('train: images/train2017\nval: images/train2017\nnames: [cat, dog]\n')
    assert not any(read_photos(tmp_path).is_valid)
    assert gather_photos(tmp_path).vocab==['cat','dog']


@pytest.mark.parametrize('line', ['2 .1 .1 .1 .1', 'cat .1 .1 .1 .1', '-1 .1 .1 .1 .1'])
def test_yolo_that_is_broken(tmp_path, line):
    put(tmp_path, 'images/a.jpg')
    (tmp_path/'labels').mkdir()
    (tmp_path/'labels/a.txt').write_text(f'0 .1 .1 .1 .1\n{line}\n')
    with pytest.raises(InputError, match='no names for them'): read_photos(tmp_path)
    (tmp_path/'classes.txt').write_text('cat\ndog\n')
    with pytest.raises(InputError, match='a.txt, line 2'): read_photos(tmp_path)


def test_tables_of_roboflow(tmp_path):
    "A table with a column for each label in each part of the split"
    for part,name in ('train','a'),('train','b'),('valid','c'),('test','d'):
        put(tmp_path, f'{part}/{name}.jpg')
    (tmp_path/'train/_classes.csv').write_text('filename, cat, dog\na.jpg, 1, 1\nb.jpg, 0, 0\n')
    (tmp_path/'valid/_classes.csv').write_text('filename, cat, dog\nc.jpg, 0, 1\n')
    got = read_photos(tmp_path)
    assert (got.labels, got.is_valid)==([['cat','dog'],[],['dog']], [False,False,True])


def test_folders_without_annotations(tmp_path):
    "Captions, settings and other JSON beside pictures are no annotations"
    put(tmp_path, 'cat/1.jpg', 'cat/1.txt', 'dog/2.jpg', 'dog/2.json', 'settings.yaml', 'notes.json',
        'layout.xml')
    (tmp_path/'settings.yaml').write_text('size: 3\n')
    (tmp_path/'layout.xml').write_text('<page/>')
    assert vocab(read_photos(tmp_path))==['cat','dog']
    assert read_photos(tmp_path).kind=='a folder per label'


def test_real_coco(shared, tmp_path):
    "The local sample's boxes, written as COCO, give the labels that its own table has"
    import csv
    root = shared/'data/coco-sample'
    with open(root/'boxes.csv') as f: boxes = list(csv.DictReader(f))
    table = read_photos(root/'labels.csv')
    names = sorted({o['label'] for o in boxes})
    files = [str(o.relative_to(root)) for o in table.files]
    (tmp_path/'images').symlink_to(root/'images')
    (tmp_path/'all.json').write_text(json.dumps(dict(categories=[dict(id=i, name=o) for i,
    o in enumerate(names)],
        images=[dict(id=o, file_name=o) for o in files],
        annotations=[dict(image_id=o['fname'], category_id=names.index(o['label'])) for o in boxes])))
    got = read_photos(tmp_path/'all.json')
    assert got.labels==table.labels
