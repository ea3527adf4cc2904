"Labelled photos: three layouts, tables, and a split that gives every label its share"
import pytest
from mlc_course.engine.photos import read_photos, read_table


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


ODD_ROWS = 'fname,labels,is_valid\r\na.jpg,dog cat dog,False\r\n\r\nb.jpg,,1\r\n'


@pytest.mark.parametrize('text,encoding,labels,is_valid', [
    (ODD_ROWS, 'utf-8-sig', [['cat','dog'],[]], [False,True]),
    ('fname,labels\na.jpg,NA\n./a.jpg,NA\n', 'utf-8', [['NA']], [False])])
def test_tables(tmp_path, text, encoding, labels, is_valid):
    put(tmp_path, 'a.jpg', 'b.jpg')
    (tmp_path/'t.csv').write_text(text, encoding=encoding, newline='')
    got = read_table(tmp_path/'t.csv')
    assert got.labels==labels
    assert got.is_valid==is_valid


def test_split(pets):
    a,b,c = (read_photos(pets).split(seed) for seed in (0,0,1))
    assert a.is_valid==b.is_valid
    assert a.is_valid!=c.is_valid
    valid = [label for (label,),v in zip(a.labels, a.is_valid) if v]
    assert len(valid) in (4,5)
    assert set(valid)=={'Siamese','pug'}


def test_split_keeps_rare_labels(tmp_path):
    put(tmp_path, *(f'label{i}_1.jpg' for i in range(30)))
    assert not any(read_photos(tmp_path).split().is_valid)
