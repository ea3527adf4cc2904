"Edges of chapter 11: its folders, and the picture of the app that travels with the notebooks"
import csv
import pytest
from PIL import Image

from mlc_course.engine.toys import photo_folders
from mlc_course.ui.course import course_files


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    made = [tmp_path_factory.mktemp('drawn') for _ in range(2)]
    return [photo_folders(o, seed, size=8) for seed,o in enumerate(made)]


def rows(file):
    with open(file, newline='') as f: return list(csv.DictReader(f))


@pytest.mark.parametrize('part', ['photos','check','test'])
def test_each_picture_has_a_row(folders, part):
    listed = [o['fname'] for o in rows(folders[0]/part/'labels.csv')]
    assert listed==sorted(o.name for o in (folders[0]/part).glob('*.jpg'))


def test_no_label_of_one_part_is_told_by_another(folders):
    "Parts and seeds are drawn apart: as many pictures, other labels"
    first,second = folders
    tables = [[o['labels'] for o in rows(o)] for o in (first/'photos/labels.csv', second/'photos/labels.csv',
        first/'test/labels.csv')]
    a,b,c = tables
    assert len(a)==len(b) and a!=b and a[:len(c)]!=c[:len(a)]
    assert all(o.split()==sorted(o.split()) for o in a)


def test_unknown_kinds_are_apart(folders):
    "What teaches silence is neither what one chooses with nor what is reported"
    kinds = {name: {o.name.split('_')[0] for o in (folders[0]/name).iterdir()} for name in
        ('things','rabbits','donkeys')}
    assert kinds==dict(things={'ball','bird','car'}, rabbits={'rabbit'}, donkeys={'donkey'})


def test_the_picture_of_the_app_travels():
    file = next(o for o in course_files() if o.name=='app.png')
    with Image.open(file) as im: assert im.size>=(600,600)
    assert file.stat().st_size<150_000
