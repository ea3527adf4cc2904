"The app in a browser: the right words for every photo, by mouse, by keyboard and on a phone"
import re
import pytest
from conftest import SHARED, draw
from messages import fault
from visitors import running
from fastcore.basics import noop
from mlc_course.classifier import Classifier
from mlc_course.draw.scenes import draw_portrait
from mlc_course.ui.app import start
from mlc_course.ui.app_guard import Limits

expect = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install playwright').expect
expect.set_options(timeout=30_000) # milliseconds, on a busy machine


@pytest.fixture(scope='module')
def clf(tmp_path_factory):
    "A small network that tells drawn Siamese from pugs; saved in `clf.folder`"
    path = tmp_path_factory.mktemp('app')
    photos = draw(path/'photos', ['Siamese','pug'], 60, 64)
    strangers = draw(path/'strangers', ['donkey','ball'], 60, 64)
    clf = Classifier.train(photos, 'small_cnn', strangers, size=64, epochs=10, say=noop)
    clf.folder = clf.save(path/'model')
    return clf


@pytest.fixture(scope='module')
def app(clf, chromium):
    "A running app: its process, with its address as `url`"
    with running(clf.folder) as (p,url):
        p.url = url
        yield p
        p.terminate()
        said = p.communicate(timeout=40)
        assert (p.returncode,said)==(0,('','')), said


@pytest.fixture(scope='module')
def photos(clf, tmp_path_factory):
    "Files that people might upload; `stranger.jpg` is a donkey that this small model says nothing of"
    path = tmp_path_factory.mktemp('uploads')
    for o in 'Siamese','pug','donkey': draw_portrait(o, 100, 300)[0].save(path/f'{o}.jpg')
    draw_portrait('Siamese', 101, 300)[0].save(path/'Siamese.png')
    for i in range(100, 200):
        draw_portrait('donkey', i, 300)[0].save(path/'stranger.jpg')
        if words(clf, path/'stranger.jpg')=="I don't know": break
    else: pytest.fail('the small model knows every donkey')
    (path/'text.jpg').write_text('a letter to my cat')
    (path/'half.jpg').write_bytes((path/'pug.jpg').read_bytes()[:2000])
    with open(path/'200MB.jpg', 'wb') as f: f.truncate(200_000_000)
    return path


def words(clf, file): return ' and '.join(clf.predict(file)[0]['labels']) or "I don't know"


def opened(page, app):
    page.goto(app.url)
    return page


def choose(page, *files, by='Choose photos'):
    page.get_by_label(by).set_input_files([str(o) for o in files])
    expect(page.locator('.waiting')).to_have_count(0)


def card(page, name): return page.locator('.answer').filter(has=page.get_by_text(name, exact=True))


def answers(page, name, said): expect(card(page, name).locator('.said:visible')).to_have_text(said)


def test_right_words(page, app, clf, photos, shot):
    "Several photos at once, each with the answer of `predict`; what is none gets a line with its name"
    files = [photos/o for o in ('Siamese.jpg','Siamese.png','pug.jpg','donkey.jpg','stranger.jpg')]
    files += sorted((SHARED/'data/oxford-iiit-pet/images').glob('Siamese_*.jpg'))[:1]
    refused = {'text.jpg': fault('no_picture'), 'half.jpg': fault('damaged'), '200MB.jpg': ' has 200 MB'}
    choose(opened(page, app), *files, *(photos/o for o in refused))
    for file in files: answers(page, file.name, words(clf, file))
    assert words(clf, photos/'pug.jpg')=='pug'
    for name,why in refused.items():
        expect(page.get_by_role('alert').filter(has_text=name)).to_contain_text(why)
    expect(page.get_by_role('alert')).to_have_count(len(refused))
    n = sum(words(clf, o)!="I don't know" for o in files)
    expect(page.get_by_role('status')).to_contain_text(f'{n} of {len(files)} photos named')
    loaded = page.locator('.photo img').evaluate_all('o => o.map(o => o.complete && o.naturalWidth)')
    assert loaded==[300]*5+loaded[5:]
    shot(page, 'app')
    choose(page, photos/'pug.jpg')
    expect(page.get_by_role('alert')).to_have_count(0) # those lines were about the photos before
    expect(page.locator('.answer')).to_have_count(len(files)+1)


def test_drop_and_paste(page, app, clf, photos):
    "A photo that is dropped anywhere, and one from the clipboard"
    opened(page, app)
    for event,carrier,name in (('drop','dataTransfer','pug.jpg'), ('paste','clipboardData','Siamese.jpg')):
        data = page.evaluate_handle('''([bytes, name]) => {
            const data = new DataTransfer()
            data.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/jpeg'}))
            return data}''', [list((photos/name).read_bytes()), name])
        page.evaluate('''([event, carrier, data]) => {
            const e = new Event(event, {bubbles: true, cancelable: true})
            e[carrier] = data
            document.body.dispatchEvent(e)}''', [event, carrier, data])
        answers(page, name, words(clf, photos/name))


def test_names_are_text(page, app, clf, photos, tmp_path):
    "A file name with HTML in it is shown, not obeyed"
    name = '<img src=x onerror=alert(1)>.jpg'
    (tmp_path/name).write_bytes((photos/'pug.jpg').read_bytes())
    (tmp_path/f'text{name}').write_text('a letter')
    choose(opened(page, app), tmp_path/name, tmp_path/f'text{name}')
    answers(page, name, words(clf, photos/'pug.jpg'))
    expect(page.get_by_role('alert')).to_contain_text(f'text{name}')
    assert page.locator('img[src=x]').count()==0


def undecided(clf, file):
    "A picture that a keep rate of 0.5 gives another answer than one of 1"
    for i in range(100, 140):
        for breed in 'Siamese','pug':
            draw_portrait(breed, i, 300)[0].save(file)
            if words(clf.with_keep(.5), file)!=words(clf.with_keep(1), file): return file
    pytest.fail('no keep rate changes an answer')


def test_keyboard(page, app, clf, photos, tmp_path):
    "Without a mouse: chooser, slider, which answers as `with_keep` does and asks nobody, and maps"
    file = undecided(clf, tmp_path/'undecided.png')
    opened(page, app)
    page.keyboard.press('Tab')
    expect(page.get_by_label('Choose photos')).to_be_focused()
    with page.expect_file_chooser() as chooser: page.keyboard.press('Space')
    chooser.value.set_files(file)
    answers(page, file.name, words(clf, file))
    sent = []
    page.on('request', lambda o: sent.append(o.url))
    slider = page.get_by_role('slider')
    for key,keep in (('Home',.5), ('End',1.), ('ArrowLeft',.99)):
        slider.press(key)
        answers(page, file.name, words(clf.with_keep(keep), file))
        expect(page.get_by_role('slider')).to_have_attribute('aria-valuetext', f'{keep:.0%}')
        price = 'Any score will do' if keep==1 else f'{keep:.0%} of known photos'
        expect(page.locator('#price')).to_contain_text(price)
    assert not sent
    while not page.locator('.label:focus').count(): page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    expect(page.get_by_alt_text('bright where undecided.png spoke for')).to_be_visible()
    expect(page.get_by_role('status')).to_contain_text('Bright is what spoke for')
    assert page.locator('.map').evaluate('o => [o.naturalWidth, o.naturalHeight]')==[300,300]
    page.keyboard.press('Enter')
    expect(page.locator('.map')).to_have_count(0)


def test_three_tabs(page, app, clf, photos):
    "Each tab has its own photo and answer"
    tabs = {'pug.jpg': page}
    for o in 'Siamese.jpg','stranger.jpg': tabs[o] = page.context.new_page()
    for tab in tabs.values(): opened(tab, app)
    for name,tab in tabs.items(): tab.get_by_label('Choose photos').set_input_files(photos/name)
    for name,tab in tabs.items():
        answers(tab, name, words(clf, photos/name))
        expect(tab.locator('.answer')).to_have_count(1)


def test_waits_its_turn(page, clf, photos):
    "A page that is told to ask more slowly does so, and no photo is lost"
    app = start(clf, limits=Limits(per_second=2))
    try:
        choose(opened(page, app), *[photos/'pug.jpg']*7)
        expect(page.locator('.answer')).to_have_count(7)
    finally: app.stop()
    assert page.problems
    assert all('429' in o for o in page.problems) # which is how it was told
    page.problems.clear()
    choose(page, photos/'pug.jpg')
    expect(page.get_by_role('alert')).to_contain_text('the app cannot be reached')
    page.problems.clear()


def test_token(page, clf, photos):
    "The page asks for it, refuses a wrong one, and works with the right one"
    app = start(clf, token='correct-horse')
    try:
        opened(page, app)
        for token in 'wrong-horse','correct-horse':
            page.get_by_label('Token').fill(token)
            page.keyboard.press('Enter')
            if token=='wrong-horse': expect(page.get_by_role('alert')).to_have_text('This is not the token.')
        choose(page, photos/'pug.jpg')
        answers(page, 'pug.jpg', words(clf, photos/'pug.jpg'))
    finally: app.stop()
    assert all('401' in o or '403' in o for o in page.problems)
    page.problems.clear()


def test_phone(browser, app, clf, photos, shot):
    "Nothing wider than a small phone, also with a map; large enough for a thumb; the camera is offered"
    context = browser.new_context(viewport=dict(width=360, height=740), is_mobile=True, has_touch=True)
    page = opened(context.new_page(), app)
    choose(page, photos/'pug.jpg', by='Take a photo')
    choose(page, photos/'stranger.jpg')
    card(page, 'pug.jpg').locator('.label').first.tap()
    expect(page.locator('.map')).to_be_visible()
    assert page.evaluate('document.documentElement.scrollWidth')<=360
    heights = [o.bounding_box()['height'] for o in page.locator('.button:visible, #keep').all()]
    assert len(heights)==3
    assert min(heights)>=44
    shot(page, 'app-phone')
    context.close()


def test_dark(browser, app, photos):
    "Light letters on a dark page where the visitor prefers that"
    context = browser.new_context(color_scheme='dark')
    page = opened(context.new_page(), app)
    choose(page, photos/'pug.jpg')
    def color(selector, what):
        text = page.locator(selector).evaluate(f'o => getComputedStyle(o).{what}')
        return sum(map(int, re.findall(r'\d+', text)[:3]))
    ink,back = color('.said:visible', 'color'),color('body', 'backgroundColor')
    assert ink>600>150>back
    context.close()
