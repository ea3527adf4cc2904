"The page of mlc_discover in a browser: groups are named by mouse and by keyboard, and names are learned"
import csv
import pytest
from conftest import draw
from fastcore.basics import noop
from mlc_course.classifier import Classifier
from mlc_course.engine.groups import named_rows
from mlc_course.ui.discover import discover, discover_page


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    "A page with two groups or more, one file of an awkward name; its model, and what that was silent on"
    path = tmp_path_factory.mktemp('discover')
    for o in 'Siamese', 'pug', 'beagle': draw(path/'old'/o, [o], 20, 64)
    draw(path/'mixed', ['car','samoyed'], 16, 64)
    (path/'mixed/car_0.jpg').rename(path/'mixed/<b>a car, "red"<!--.jpg')
    clf = Classifier.train(path/'old', size=128, say=noop)
    silent = discover(clf, path/'mixed')
    file = path/'groups.html'
    file.write_text(discover_page(silent, clf.vocab, 'model'), encoding='utf-8')
    return file,clf,silent


def opened(page, found, width=1280, scheme='light'):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(dict(width=width, height=900))
    page.goto(found[0].as_uri())
    return page


def saved(page, path, by_keyboard=False):
    with page.expect_download() as download:
        if by_keyboard: page.keyboard.press('Enter')
        else: page.get_by_role('button', name='Save the names').click()
    assert download.value.suggested_filename=='named.csv'
    download.value.save_as(path/'named.csv')
    return path/'named.csv'


@pytest.mark.parametrize('width', [1280,390])
@pytest.mark.parametrize('scheme', ['light','dark'])
def test_page(page, found, width, scheme, shot):
    opened(page, found, width, scheme)
    page.locator('[data-group]').first.fill('car')
    page.locator('[data-row]').nth(1).uncheck()
    shot(page, f'discover_{width}_{scheme}')
    assert page.evaluate('document.documentElement.scrollWidth')<=width
    is_fine = "o => o.complete && o.naturalWidth>0 && o.src.startsWith('data:')"
    assert page.evaluate(f'[...document.images].every({is_fine})')
    assert page.locator('[data-group]').count()==found[2].n_groups>=2
    bar = page.locator('#bar').bounding_box() # always at hand
    assert 0<=bar['y']<=900-bar['height']+1


def test_names_are_learned(page, found, tmp_path):
    "One group by name, without one picture, and the table is what --add takes"
    opened(page, found)
    button = page.get_by_role('button', name='Save the names')
    assert button.is_disabled()
    page.get_by_label('What is this?').first.fill(' white dog ; animal')
    page.locator('[data-row="0"]').uncheck()
    _,clf,silent = found
    n = len(silent.of(1))
    assert f'1 of {silent.n_groups} groups named, {n-1} photos' in page.locator('#bar output').inner_text()
    table = saved(page, tmp_path)
    assert 'named.csv is saved' in page.locator('#bar output').inner_text()
    rows = named_rows(table)
    assert rows.fname.tolist()==[silent.files[i] for i in silent.of(1)[1:]]
    assert rows.labels.tolist()==[['white_dog','animal']]*(n-1)
    assert {'white_dog','animal'}<={*clf.add(table, say=noop).vocab}


def test_awkward_names_come_back(page, found, tmp_path):
    opened(page, found)
    assert page.locator('b').count()==0
    for field in page.locator('[data-group]').all(): field.fill('thing')
    table = saved(page, tmp_path)
    silent = found[2]
    grouped = [silent.files[i] for g in range(1, silent.n_groups+1) for i in silent.of(g)]
    assert named_rows(table).fname.tolist()==grouped
    with open(table, newline='') as f: assert len(list(csv.reader(f)))==len(silent.files)+1


def test_by_keyboard(page, found, tmp_path):
    "From the field by Tab to the first picture, which Space leaves out, and on to the button"
    opened(page, found)
    page.locator('[data-group]').first.focus()
    page.keyboard.type('car')
    page.keyboard.press('Tab')
    page.keyboard.press('Space')
    assert not page.locator('[data-row="0"]').is_checked()
    for _ in range(200):
        if page.evaluate('document.activeElement.tagName')=='BUTTON': break
        page.keyboard.press('Tab')
    rows = named_rows(saved(page, tmp_path, by_keyboard=True))
    assert len(rows)==len(found[2].of(1))-1
