"Explorers on the site: each position shows the explorer's own picture; keyboard, touch, no script, a phone"
import base64, io
import numpy as np, pytest
from PIL import Image
from conftest import ROOT
from mlc_course.ui.explorer import heaviest, keep_frames, png64
from serve import serve_site
from test_site import notebook, shows
from test_widgets import MAKERS

import build_site, explorers

PHONE = dict(width=390, height=844)
SIZES = "o => [...o.querySelectorAll('select, input')].map(c => c.options ? c.options.length : +c.max+1)"
MOVE = """(o, places) => o.querySelectorAll('select, input').forEach((c, i) => {
    c.options ? c.selectedIndex = places[i] : c.value = places[i]
    c.dispatchEvent(new Event('input')) })"""
WRITTEN = """o => [...o.querySelectorAll('select, input')].map(c =>
    c.options ? c.options[c.selectedIndex].text : c.getAttribute('aria-valuetext'))"""
PIXELS = """async o => {
    const img = o.querySelector('img'), canvas = document.createElement('canvas')
    await img.decode()
    canvas.width = img.naturalWidth
    canvas.height = img.naturalHeight
    canvas.getContext('2d').drawImage(img, 0, 0)
    return canvas.toDataURL().split(',')[1] }"""


@pytest.fixture(scope='module')
def made():
    "Each explorer with its defaults, in the order of the page"
    return {name: make() for name,make in MAKERS.items()}


@pytest.fixture(scope='module')
def small_site(made, tmp_path_factory):
    "A site with a page of all explorers; yields its address"
    tmp = tmp_path_factory.mktemp('explorers')
    for explorer in made.values(): keep_frames(explorer, tmp/'frames', 12)
    cells = [(f'{name}()', shows(image_png=png64(o.still()), text_plain='Explorer(children=())'))
        for name,o in made.items()]
    paths = {'index': notebook(tmp/'index.ipynb', '# Small\n\n[All](ui/all.ipynb)'),
        'ui/all': notebook(tmp/'ui'/'all.ipynb', '# All', *cells)}
    assert not build_site.build(paths, ROOT/'mlc_course', tmp/'site', tmp/'work', frames=tmp/'frames')
    with serve_site(tmp/'site') as url: yield url


def figure(page, url, name):
    "The explorer `name` of the small site"
    page.goto(f'{url}/ui/all.html')
    return page.locator('figure.explorer').nth([*MAKERS].index(name))


def ten(explorer):
    "Ten positions of the controls of an explorer on a page, or all if there are fewer"
    sizes = explorer.evaluate(SIZES)
    n = np.prod(sizes)
    return [list(map(int, np.unravel_index(i, sizes))) for i in range(0, n, -(-n//10))]


def pixels(text):
    "The picture in base64 `text`"
    img = Image.open(io.BytesIO(base64.b64decode(text))).convert('RGB')
    return np.array(img).astype(int)


def move_to(control, text):
    "Move a control of the Python explorer to what the page writes"
    if hasattr(control, 'options'):
        pairs = [o if isinstance(o, tuple) else (o,o) for o in control.options]
        control.value = dict(pairs)[text]
        return
    percent = 100 if '%' in text else 1
    control.value = type(control.value)(float(text.rstrip('%'))/percent)


@pytest.mark.parametrize('name', MAKERS)
def test_frames_are_the_explorers_own(page, small_site, made, name):
    "Picture and words at ten positions"
    shown,own = figure(page, small_site, name),made[name]
    assert shown.locator('label').count()==len(own.main)
    for places in ten(shown):
        shown.evaluate(MOVE, places)
        for control,text in zip(own.main, shown.evaluate(WRITTEN)): move_to(control, text)
        seen,drawn = pixels(shown.evaluate(PIXELS)),pixels(png64(own.still()))
        off = np.abs(seen-drawn)
        # what holds photos is stored as photos are
        assert off.mean()<3 if name=='explore_thresh' else not off.any(), shown.evaluate(WRITTEN)
        words = explorers.without_tags(own.words())
        assert shown.locator('[role=status]').text_content()==words
        assert shown.locator('img').get_attribute('alt')==words


def test_keyboard(page, small_site, shot):
    "Tab reaches each control, which has a name; arrows, Home and End move it, and the words follow"
    box = figure(page, small_site, 'explore_bce')
    slider,chosen = box.get_by_role('slider', name='logit'),box.get_by_role('combobox', name='target')
    said,img,seen = box.locator('[role=status]'),box.locator('img'),set()
    def press(key):
        page.keyboard.press(key)
        seen.add((said.text_content(), img.get_attribute('src')))
    slider.focus()
    for key in 'Home','End','ArrowLeft': press(key)
    assert slider.get_attribute('aria-valuetext')=='50.0'
    page.keyboard.press('Tab')
    assert chosen.evaluate('o => o==document.activeElement')
    press('ArrowDown')
    assert 'target 1: loss' in said.text_content()
    assert len(seen)==4
    shot(page, 'site-explorer')


def test_touch(browser, small_site, shot):
    "A finger on a phone: the slider follows, and nothing is wider than the screen"
    context = browser.new_context(viewport=PHONE, has_touch=True)
    page = context.new_page()
    box = figure(page, small_site, 'explore_silence')
    slider = box.get_by_role('slider')
    slider.scroll_into_view_if_needed()
    before,place = box.locator('img').get_attribute('src'),slider.bounding_box()
    assert place['height']>=44
    page.touchscreen.tap(place['x']+place['width']/4, place['y']+place['height']/2)
    assert box.locator('img').get_attribute('src')!=before
    assert float(slider.get_attribute('aria-valuetext'))<.75
    assert page.evaluate('document.scrollingElement.scrollWidth')<=PHONE['width']
    shot(page, 'site-explorer-phone')
    context.close()


def test_loaded_when_near(page, small_site):
    "One frame of each at first, all of an explorer when one scrolls to it"
    asked = []
    page.on('request', lambda o: asked.append(o.url) if '/frames/' in o.url else None)
    box = figure(page, small_site, 'explore_model')
    address = box.get_attribute('data-frames').removeprefix('../')
    def mine(): return {o for o in asked if address in o}
    page.wait_for_load_state('networkidle')
    assert len(mine())<=1
    box.scroll_into_view_if_needed()
    page.wait_for_function('o => o.loaded?.every(i => i.complete)', arg=box.element_handle())
    assert len(mine())==np.prod(box.evaluate(SIZES))


def test_without_script(browser, small_site):
    "The still picture and its words stay, and a line says how to move it"
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    box = figure(page, small_site, 'explore_sigmoid')
    assert box.get_by_text(explorers.STILL).is_visible()
    assert box.locator('[role=status]').is_visible()
    assert not box.locator('label').first.is_visible()
    assert not box.get_by_text(explorers.MOVES).is_visible()
    context.close()


def test_whole_site(page, site, site_folder, says):
    "Whatever moves on the site's own pages: ten positions show ten loaded pictures, of a megabyte at most"
    weights = {}
    for path in sorted(site_folder.rglob('*.html')):
        if 'class="explorer"' not in path.read_text(encoding='utf-8'): continue
        page.goto(f'{site}/{path.relative_to(site_folder)}')
        for box in page.locator('figure.explorer').all():
            for places in ten(box):
                box.evaluate(MOVE, places)
                assert box.locator('img').evaluate('o => o.decode().then(() => o.naturalWidth)')>200
            folder = (path.parent/box.get_attribute('data-frames')).resolve()
            weights[folder.name] = sum(o.stat().st_size for o in folder.iterdir())
    if not weights: pytest.skip('no explorer moves: `make run` draws their frames')
    assert max(weights.values())<=heaviest
    says(f'explorers that move: {len(weights)}, {sum(weights.values())/1e6:.1f} MB')
