"The page of mlc_check in a browser: pictures are shown, names stay text, it fits a phone"
import csv, shutil
import pytest
from PIL import Image
from conftest import draw
from fastcore.basics import noop
from mlc_course.draw.scenes import draw_portrait
from mlc_course.engine.check import check_photos
from mlc_course.ui.check_page import check_page


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    "Two pages: of pictures with every kind of mistake and awkward names, and of three that are fine"
    path = tmp_path_factory.mktemp('check')
    photos = draw(path/'photos', ['Siamese','pug','beagle'], 16, 96)
    files = sorted(photos.glob('*.jpg'))
    rows = [[o.name, o.name.split('_')[0], int(o.stem.split('_')[-1])>12] for o in files]
    def add(name, labels, valid=False): rows.append([name, labels, valid])
    rows[0][1] = 'pug'                                                    # Siamese or beagle, swapped
    shutil.copy(photos/'pug_1.jpg', photos/'<img src=x onerror=alert(1)>.jpg')
    add('<img src=x onerror=alert(1)>.jpg', 'pug')
    Image.open(photos/'pug_2.jpg').resize((60,60)).save(photos/'small & "quoted".jpg')
    add('small & "quoted".jpg', 'pug', True)                              # leak
    shutil.copy(photos/'pug_4.jpg', photos/'both.jpg')
    add('both.jpg', '<b>cat</b>')                                         # contradiction, and a rare label
    draw_portrait('car', 0, 96)[0].save(photos/f'{"long"*40}.jpg')
    add(f'{"long"*40}.jpg', 'pug')
    (photos/'empty.jpg').touch()
    add('empty.jpg', 'pug')
    Image.new('RGB', (600,60), 'teal').save(photos/'wide.jpg')
    add('wide.jpg', 'pug')
    table = photos/'labels.csv'
    with open(table, 'w', newline='') as f: csv.writer(f).writerows([('fname','labels','is_valid'), *rows])
    fine = draw(path/'fine', ['pug'], 3, 64)
    res = []
    for name,source in ('full',table),('fine',fine):
        (path/f'{name}.html').write_text(check_page(check_photos(source, say=noop)), encoding='utf-8')
        res.append(path/f'{name}.html')
    return res


def opened(page, file, width):
    page.set_viewport_size(dict(width=width, height=900))
    page.goto(file.as_uri())


@pytest.mark.parametrize('width', [1280,390])
@pytest.mark.parametrize('scheme', ['light','dark'])
def test_page(page, pages, width, scheme, shot):
    page.emulate_media(color_scheme=scheme)
    opened(page, pages[0], width)
    shot(page, f'check_{width}_{scheme}')
    headings = page.locator('h2').all_inner_texts()
    wanted = 'cannot be read', 'other labels', 'both sides', 'doubt', 'same bytes', 'few pictures', 'Labels'
    for o in wanted:
        assert any(o in h for h in headings), (o, headings)
    assert page.evaluate('document.documentElement.scrollWidth')<=width
    ims = page.locator('.gallery img')
    assert ims.count()>=4
    is_fine = "o => o.complete && o.naturalWidth>0 && o.src.startsWith('data:')"
    assert page.evaluate(f'[...document.images].every({is_fine})')
    assert not page.evaluate("[...document.images].some(o => o.getBoundingClientRect().right > innerWidth)")


def test_names_stay_text(page, pages):
    "A file name or label that is HTML is shown, and does nothing"
    opened(page, pages[0], 1280)
    assert page.locator('img[src="x"]').count()==0
    assert page.get_by_text('<img src=x onerror=alert(1)>.jpg').count()
    assert page.get_by_text('<b>cat</b>').count()


def test_links(page, pages):
    "Each part is reached from the top"
    opened(page, pages[0], 390)
    for link in page.locator('nav a').all():
        link.click()
        part = page.locator(link.get_attribute('href'))
        assert part.evaluate('o => Math.abs(o.getBoundingClientRect().top)<=innerHeight')


def test_nothing_found(page, pages):
    opened(page, pages[1], 390)
    assert '3 pictures' in page.inner_text('main')
    assert page.locator('.gallery').count()==0
