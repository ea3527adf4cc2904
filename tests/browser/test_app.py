"The app in a browser, as a person uses it: the right words for every file, three tabs, and all goes on"
import re, select, subprocess
import psutil, pytest
from conftest import BIN, SHARED, draw
from messages import fault
from fastcore.basics import noop
from mlc_course.classifier import Classifier
from mlc_course.draw.scenes import draw_portrait

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
    command = [BIN/'mlc_app', clf.folder]
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert select.select([p.stdout], [], [], 60)[0], 'no address within a minute'
        p.url = p.stdout.readline().strip()
        yield p
    finally:
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
    for mb in 20,200:
        with open(path/f'{mb}MB.jpg', 'wb') as f: f.truncate(mb*1_000_000)
    return path


def opened(page, app):
    "The app in this tab, with its first answer"
    page.goto(app.url)
    expect(page.get_by_role('status')).to_contain_text('a drawn cat', timeout=60_000)
    return page


def upload(page, file):
    with page.expect_file_chooser() as chooser: page.get_by_role('button', name='photo').click()
    chooser.value.set_files(file)


def words(clf, file): return ' and '.join(clf.predict(file)[0]['labels']) or "I don't know"


def answers(page, name, said):
    "The tab shows this answer to the picture of this name"
    wanted = re.compile('^'+re.escape(name+said)+'(The score|At this)')
    expect(page.get_by_role('status')).to_have_text(wanted)


REFUSED = {'text.jpg': fault('no_picture'), 'half.jpg': fault('damaged'), '20MB.jpg': ' has 20 MB',
    '200MB.jpg': ' has 200 MB'}

def test_right_words(page, app, clf, photos, shot):
    "Every picture gets the answer that `predict` gives; anything else a line with its name; and all goes on"
    opened(page, app)
    files = [photos/o for o in ('Siamese.jpg','Siamese.png','pug.jpg','donkey.jpg','stranger.jpg')]
    cats = SHARED/'data/oxford-iiit-pet/images'
    files += sorted(cats.glob('Siamese_*.jpg'))[:1]
    for file in files:
        upload(page, file)
        answers(page, file.name, words(clf, file))
    assert words(clf, photos/'pug.jpg')=='pug'
    for name,why in REFUSED.items():
        upload(page, photos/name)
        expect(page.get_by_role('alert').filter(has_text=name)).to_contain_text(why)
        expect(page.get_by_role('alert').filter(has_text='jpg')).to_have_count(1) # of one file at a time
        answers(page, files[-1].name, words(clf, files[-1]))      # the last answer stays
    shot(page, 'app-refused')
    upload(page, photos/'pug.jpg')
    answers(page, 'pug.jpg', words(clf, photos/'pug.jpg'))
    expect(page.get_by_role('alert').filter(has_text='MB')).to_have_count(0)
    shot(page, 'app')


def test_names_are_text(page, app, clf, photos, tmp_path):
    "A file name with HTML in it is shown, not obeyed"
    name = '<img src=x onerror=alert(1)>.jpg'
    (tmp_path/name).write_bytes((photos/'pug.jpg').read_bytes())
    upload(opened(page, app), tmp_path/name)
    answers(page, name, words(clf, photos/'pug.jpg'))
    assert page.locator('img[src=x]').count()==0


def test_keyboard(page, app, clf, photos, tmp_path):
    "The chooser and the keep slider work without a mouse, and answer as Python does at that rate"
    save_undecided(clf, tmp_path/'undecided.png')
    upload(opened(page, app), tmp_path/'undecided.png')
    for key,keep in (('Home',.5), ('End',1.)):
        page.get_by_role('slider').press(key)
        answers(page, 'undecided.png', words(clf.with_keep(keep), tmp_path/'undecided.png'))
    page.get_by_role('slider').press('ArrowLeft')
    answers(page, 'undecided.png', words(clf.with_keep(.99), tmp_path/'undecided.png'))
    picture = page.get_by_label('picture')
    picture.press('Home')
    expect(page.get_by_role('status')).to_contain_text('a drawn cat')
    picture.press('ArrowDown')
    expect(page.get_by_role('status')).to_contain_text('a drawn dog')


def save_undecided(clf, file):
    "A picture that a keep rate of 0.5 gives another answer than one of 1"
    for i in range(100, 140):
        for breed in 'Siamese','pug':
            draw_portrait(breed, i, 300)[0].save(file)
            if words(clf.with_keep(.5), file)!=words(clf.with_keep(1), file): return
    pytest.fail('no keep rate changes an answer')


def test_three_tabs(page, app, clf, photos):
    "Each tab has its own picture and answer; a closed one takes its kernel along"
    tabs = {'pug.jpg': page}
    for o in 'Siamese.jpg','stranger.jpg': tabs[o] = page.context.new_page()
    for tab in tabs.values(): tab.goto(app.url, wait_until='commit')
    for name,tab in tabs.items():
        expect(tab.get_by_role('status')).to_contain_text('a drawn cat', timeout=60_000)
        upload(tab, photos/name)
    for name,tab in tabs.items(): answers(tab, name, words(clf, photos/name))
    n = len(psutil.Process(app.pid).children())
    for tab in tabs.values(): tab.goto('about:blank')
    for _ in range(100):
        # the one that waits for the next visitor may just be starting
        if len(psutil.Process(app.pid).children())<=n-3+1: break
        page.wait_for_timeout(100)
    else: pytest.fail('kernels of closed tabs go on')


def test_phone(page, app, shot):
    "No sideways scrolling, and the button is large enough for a thumb"
    page.set_viewport_size(dict(width=390, height=844))
    opened(page, app)
    assert page.evaluate('document.documentElement.scrollWidth')<=390
    assert page.get_by_role('button', name='photo').bounding_box()['height']>=44
    shot(page, 'app-phone')
