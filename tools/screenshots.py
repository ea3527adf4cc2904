"Pictures for the README, into images/: site, playground, explorer, app, check, report, discover"
import io, os, shutil, subprocess, sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from fastcore.basics import noop
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT/'images'
sys.path[:0] = [str(ROOT/'tests'), str(ROOT/'tools'/'site')]
from browser.lab import open_chapter, run_all, serve_lab
from mlc_course import Classifier
from mlc_course.ui.course import copy_notebooks
from mlc_course.draw.animals import breeds,strangers
from mlc_course.draw.scenes import draw_portrait
from mlc_course.engine.check import check_photos
from mlc_course.ui.check_page import check_page
from mlc_course.ui.discover import discover, discover_page
from mlc_course.ui.explorers_answers import demo
from serve import serve_site

MAX_BYTES = 300_000


@contextmanager
def tab(width=1280, height=900):
    "A tab in Debian's Chromium"
    names = 'chromium','chromium-browser','google-chrome'
    chromium = next(filter(None, map(shutil.which, names)), None)
    if not chromium: sys.exit('no Chromium on this machine: apt install chromium')
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=['--no-sandbox', '--disable-gpu'])
        page = browser.new_page(viewport=dict(width=width, height=height))
        page.set_default_timeout(120_000)
        yield page
        browser.close()


def take(page, name, **part):
    "What `page` shows as images/`name`.png, whole or not at all"
    shown = Image.open(io.BytesIO(page.screenshot(**part))).convert('RGB')
    for im in shown,shown.quantize(256, kmeans=2): # 256 colours where the true ones take too much
        file = io.BytesIO()
        im.save(file, 'PNG', optimize=True)
        if file.tell()<=MAX_BYTES: break
    if file.tell()>MAX_BYTES: sys.exit(f'{name}.png would have {file.tell()} bytes, more than {MAX_BYTES}')
    IMAGES.mkdir(exist_ok=True)
    (IMAGES/f'.{name}').write_bytes(file.getvalue())
    os.replace(IMAGES/f'.{name}', IMAGES/f'{name}.png')
    print(f'images/{name}.png: {file.tell()/1000:.0f} kB', flush=True)


def site():
    with serve_site(ROOT/'_site') as url, tab(height=1400) as page:
        page.goto(url)
        page.evaluate('[...document.images].forEach(o => o.loading = "eager")')
        page.wait_for_load_state('networkidle')
        take(page, 'site')


def playground():
    "The page as it opens: on a donkey"
    with serve_site(ROOT/'_site') as url, tab() as page:
        page.goto(f'{url}/playground.html')
        page.wait_for_function('window.playground && playground.seen')
        page.mouse.move(0, 0)
        first = page.locator('#pg-pick').bounding_box()
        last = page.locator('.pg-tools').bounding_box()
        take(page, 'playground', clip=dict(x=first['x']-12, y=first['y']-12,
            width=first['width']+24, height=last['y']-first['y']+12))


def explorer():
    "The last explorer of chapter 01, one of its sliders moved"
    with TemporaryDirectory() as folder:
        copy_notebooks(folder)
        with serve_lab(folder) as url, tab() as page:
            open_chapter(page, url, '01_convolution')
            run_all(page)
            found = page.locator('.jp-OutputArea-output:has(.widget-vbox [role=status])').last
            for _ in range(3): found.locator('.noUi-handle').first.press('ArrowRight')
            page.mouse.move(0, 0)
            page.wait_for_timeout(1500)
            found.evaluate('o => o.scrollIntoView({block: "center"})')
            page.wait_for_timeout(500)
            take(page, 'explorer')


@contextmanager
def serve_app(model):
    "`mlc_app MODEL`; yields its address"
    command = [Path(sys.executable).with_name('mlc_app'), model]
    app = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try: yield app.stdout.readline().strip()
    finally:
        app.terminate()
        app.wait()


def app():
    "Drawn photos are uploaded: a cat with its map, and a stranger"
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        demo().clf.save(folder/'model')
        photos = []
        for kind,i in (('Bengal',3), ('donkey',3)):
            photos.append(folder/f'photo_{len(photos)+1}.png')
            draw_portrait(kind, i, 320)[0].save(photos[-1])
        with serve_app(folder/'model') as url, tab(height=1240) as page:
            page.goto(url)
            page.get_by_label('Choose photos').set_input_files(photos)
            page.locator('.answer').nth(1).wait_for()
            page.locator('.answer .label').first.click()
            page.locator('.map').wait_for()
            page.wait_for_timeout(500)
            page.mouse.move(0, 0)
            take(page, 'app')
    for_the_notebooks('app', (195,20,1085,1210))


def for_the_notebooks(name, part, scale=.8):
    "A part of images/`name`.png, smaller, where the notebooks travel with it: chapter 11 shows it"
    shown = Image.open(IMAGES/f'{name}.png').convert('RGB').crop(part)
    shown = shown.resize([round(scale*o) for o in shown.size], Image.LANCZOS)
    shown.quantize(256, kmeans=2).save(ROOT/'nbs'/'photos'/f'{name}.png', optimize=True)


def check():
    "A drawn pet under two labels, one on both sides of the split, and three with the wrong label"
    with TemporaryDirectory() as folder:
        here = Path.cwd()
        os.chdir(folder) # the page tells what was named
        train,valid = Path('photos/train'),Path('photos/valid')
        for part,numbers in (train, range(16)), (valid, range(16, 20)):
            for kind in breeds:
                (part/kind).mkdir(parents=True)
                for i in numbers: draw_portrait(kind, i, 256)[0].save(part/kind/f'{kind}_{i}.jpg')
        shutil.copy(train/'pug/pug_3.jpg', train/'beagle/beagle_99.jpg')
        small = Image.open(train/'Siamese/Siamese_5.jpg').resize((180,180))
        small.save(valid/'Siamese/IMG_1.jpg', quality=60)
        for i,(true,wrong) in enumerate((('Bombay','pug'), ('rottweiler','Bengal'), ('samoyed','Siamese'))):
            shutil.move(train/true/f'{true}_{i}.jpg', train/wrong/f'{wrong}_{50+i}.jpg')
        Path('check.html').write_text(check_page(check_photos('photos', say=noop)), encoding='utf-8')
        with tab(height=1500) as page:
            page.goto(Path('check.html').absolute().as_uri())
            take(page, 'check')
        os.chdir(here)


def report():
    "The beginning of a report, and a few of the worst mistakes: drawn pets, and strangers"
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        for name,kinds,numbers in (('train', breeds, range(8)), ('test', breeds, range(100, 140)),
                ('others', strangers, range(20))):
            (folder/name).mkdir()
            for kind in kinds:
                for i in numbers: draw_portrait(kind, i, 256)[0].save(folder/name/f'{kind}_{i}.jpg')
        clf = Classifier.train(folder/'train', say=noop)
        clf.report(folder/'report.html', folder/'test', folder/'others')
        with tab(height=1500) as page:
            page.goto((folder/'report.html').as_uri())
            for i in 2,3: page.locator(f'#part-{i}').evaluate('o => o.remove()') # what hides the mistakes
            take(page, 'report')


def groups():
    "Two breeds and cars that a model of the other breeds stays silent on; the cars have got their name"
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        hidden = ['samoyed','Bombay','car']
        for name,kinds,numbers in (('train', [o for o in breeds if o not in hidden], range(30)),
                ('month', hidden, range(40, 64))):
            for kind in kinds:
                (folder/name/kind).mkdir(parents=True)
                for i in numbers: draw_portrait(kind, i, 256)[0].save(folder/name/kind/f'{kind}_{i}.jpg')
        clf = Classifier.train(folder/'train', say=noop)
        html = discover_page(discover(clf, folder/'month'), clf.vocab, 'model')
        (folder/'groups.html').write_text(html, encoding='utf-8')
        with tab(height=1000) as page:
            page.goto((folder/'groups.html').as_uri())
            page.locator('[data-group]').first.fill('car')
            page.locator('[data-row]').nth(3).uncheck()
            take(page, 'discover')


if __name__ == '__main__':
    known = dict(site=site, playground=playground, explorer=explorer, app=app,
        check=check, report=report, discover=groups)
    for name in sys.argv[1:] or known: known[name]()
