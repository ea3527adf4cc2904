"The site as a reader meets it: each page, search, a phone, the dark, code that folds"
import os, re
import pytest
import build_site, pages
from conftest import ROOT

LESSONS = list(filter(pages.is_lesson, build_site.notebooks(ROOT/'nbs', ROOT/'none')))
PAGES = [*build_site.notebooks(ROOT/'nbs', ROOT/'none'), 'solutions/index', 'api/index', 'api/metrics',
    'api/classifier', 'search', 'genindex', 'py-modindex', '_modules/mlc_course/metrics']
HAS_PLAYGROUND = (build_site.PLAYGROUND/'page.html').exists()
if HAS_PLAYGROUND: PAGES.append('playground')
needs_playground = pytest.mark.skipif(not HAS_PLAYGROUND, reason='no nbs/playground/page.html')
PHONE = dict(width=390, height=844)
WIDTHS = '[document.scrollingElement.scrollWidth, innerWidth]'


@pytest.mark.parametrize('name', PAGES)
def test_page_loads(page, site, name):
    "Nothing missing, no error, no other host asked, no sideways scrolling on a desk or on a phone"
    missing = []
    page.on('response', lambda o: o.status>=400 and missing.append(o.url))
    assert page.goto(f'{site}/{name}.html').status==200
    wide = page.evaluate(WIDTHS)
    page.set_viewport_size(PHONE)
    narrow = page.evaluate(WIDTHS)
    assert not missing
    assert wide[0]<=wide[1]
    assert narrow[0]<=narrow[1]
    alts = page.evaluate('[...document.querySelectorAll(".cell_output img")].map(o => o.alt)')
    assert not [o for o in alts if not o or '_images' in o]


def test_front_page(page, site, shot):
    "A card for each chapter, with a picture that is there, leads to it"
    page.goto(site)
    cards = page.locator('.cards a.card')
    assert cards.count()==11
    cards.last.scroll_into_view_if_needed()
    page.wait_for_function('[...document.querySelectorAll(".cards img")].every(o => o.complete)')
    assert page.evaluate('[...document.querySelectorAll(".cards img")].map(o => o.naturalWidth)')==[480]*11
    page.set_viewport_size(PHONE)
    box = cards.first.bounding_box()
    assert box['width']>300
    assert box['x']>=0
    shot(page, 'site-front-phone')
    cards.first.click()
    page.wait_for_url('**/01_convolution.html')


@needs_playground
def test_way_to_playground(page, site):
    "From the front page, from a chapter's text and from the sidebar; what it loads stays off other pages"
    asked = []
    page.on('request', lambda o: asked.append(o.url.removeprefix(site)))
    ways = {'index': '.try a', '07_unknown': 'article a:has-text("playground")',
        'api/index': '.sidebar-tree a:text("Playground")'}
    for start,link in ways.items():
        page.goto(f'{site}/{start}.html')
        assert not [o for o in asked if o.startswith('/_static/playground/')]
        page.locator(link).first.click()
        page.wait_for_url('**/playground.html')
        asked.clear()
    page.goto(f'{site}/playground.html')
    mine = [o.split('/')[-1].split('?')[0] for o in asked if o.startswith('/_static/playground/')]
    assert sorted(mine)==['data.js','network.js','playground.css','playground.js','tour.css','tour.js']
    assert not [o for o in asked if 'mystnb' in o or 'pygments' in o]
    scripts = page.evaluate('[...document.scripts].map(o => o.src)')
    names = [o.split('/')[-1].split('.js?v=')[0] for o in scripts if '/_static/playground/' in o]
    assert names==['data','network','playground','tour']
    assert page.locator('h1').count()==1
    assert page.locator('.toc-drawer.no-toc').count()==1


def test_search(page, site, shot):
    page.goto(site)
    box = page.locator('input[name=q]')
    box.fill('receptive field')
    box.press('Enter')
    found = page.locator('ul.search li a')
    found.first.wait_for()
    page.wait_for_function('document.querySelector(".search-summary").textContent.includes("found")')
    shot(page, 'site-search')
    assert any('01_convolution' in a.get_attribute('href') for a in found.all()[:5])


def test_dark(page, site, shot):
    "The button goes round light, dark and as the system has it; pictures keep their white ground"
    page.goto(f'{site}/05_train.html')
    light = page.evaluate('getComputedStyle(document.body).backgroundColor')
    for _ in range(3):
        page.locator('.theme-toggle-content button').click()
        if page.evaluate('document.body.dataset.theme')=='dark': break
    assert page.evaluate('document.body.dataset.theme')=='dark'
    dark = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert sum(map(int, dark[4:-1].split(', '))) < 150 < sum(map(int, light[4:-1].split(', ')))
    img = page.locator('.cell_output img').first
    img.scroll_into_view_if_needed()
    assert img.evaluate('o => getComputedStyle(o).backgroundColor')=='rgb(255, 255, 255)'
    shot(page, 'site-dark')


def test_code_folds(page, site):
    "One cell by its handle, by keyboard too; all of them by the button, which the next page remembers"
    page.goto(f'{site}/05_train.html')
    fold = page.locator('details.exported').first
    code = fold.locator('pre')
    assert code.is_visible()
    fold.locator('summary').click(position=dict(x=4, y=4)) # the triangle: beside it is a link to the module
    assert not code.is_visible()
    page.locator('details.fold:not([open]) > summary').first.focus()
    page.keyboard.press('Enter')
    assert code.is_visible()
    page.get_by_role('button', name='Hide code').click()
    assert page.locator('details.fold[open]').count()==0
    page.goto(f'{site}/06_where.html')
    assert page.locator('details.fold[open]').count()==0
    page.get_by_role('button', name='Show code').click()
    assert page.locator('details.fold[open]').count()>20


def test_guess_first(page, site, shot):
    "Where a reader is asked to predict, a click or Enter shows what came out"
    page.goto(f'{site}/02_sigmoid.html')
    guess = page.locator('details.guess').first
    answer = guess.locator('.cell_output')
    assert not answer.is_visible()
    guess.scroll_into_view_if_needed()
    shot(page, 'site-guess')
    guess.locator('summary').focus()
    page.keyboard.press('Enter')
    assert answer.is_visible()


def test_api(page, site, shot):
    "Signature, table of parameters, source, and the way to the chapter and back"
    page.goto(f'{site}/api/metrics.html')
    entry = page.locator('dl.py', has=page.locator('[id="mlc_course.metrics.accuracy_multi"]'))
    assert entry.locator('dt').inner_text().startswith('accuracy_multi(probs, targets, thresh=0.5)')
    rows = [r.inner_text() for r in entry.locator('table.params tbody tr').all()]
    assert len(rows)==4
    assert rows[3].startswith('returns')
    assert 'thresh=0.5' in rows[2]
    assert 'Say yes above this' in rows[2]
    shot(page, 'site-api')
    entry.get_by_role('link', name='Derived and checked in chapter 5').click()
    page.wait_for_url('**/05_train.html#def-accuracy_multi')
    page.locator('#def-accuracy_multi + details').get_by_role('link', name='in mlc_course.metrics').click()
    page.wait_for_url('**/api/metrics.html')


def test_download(page, site):
    "Each chapter's notebook can be taken along"
    page.goto(f'{site}/02_sigmoid.html')
    with page.expect_download() as d: page.get_by_role('link', name='Notebook').click()
    assert d.value.suggested_filename=='02_sigmoid.ipynb'
    assert os.path.getsize(d.value.path())>100_000


SIZES = """n => {
    const sample = document.createElement(`h${n}`)
    document.querySelector('article').append(sample)
    return parseFloat(getComputedStyle(sample).fontSize)
}"""


TEXT = 'parseFloat(getComputedStyle(document.querySelector("article section > p")).fontSize)'


@pytest.mark.parametrize('name', ['index','05_train','engine/core','api/metrics'])
def test_headings(page, site, shot, name):
    "Each kind of heading is smaller than the one above it by a sixth, the last no smaller than the text"
    page.goto(f'{site}/{name}.html')
    for width in 1280,390:
        page.set_viewport_size(dict(width=width, height=844))
        shot(page, f'site-headings-{name.replace("/", "-")}-{width}')
        sizes = [page.evaluate(SIZES, n) for n in (1,2,3,4)]
        text = page.evaluate(TEXT)
        assert all(a>=1.16*b for a,b in zip(sizes, sizes[1:]))
        assert sizes[3]>=text


def test_previous_and_next(page, site):
    "Next leads from the front page through all lessons, then to the playground"
    page.goto(site)
    seen = []
    for _ in range(len(LESSONS)+1):
        page.locator('a.next-page').click()
        seen.append(page.url.rpartition('/')[2].removesuffix('.html'))
    assert seen[:len(LESSONS)]==LESSONS
    assert seen[-1]==('playground' if HAS_PLAYGROUND else 'glossary')
    page.goto(f'{site}/{LESSONS[0]}.html')
    page.locator('a.prev-page', has_text='Home').click()
    page.wait_for_url('**/index.html')


def test_glossary(page, site, shot):
    "A word's first use says what it means, and leads to its entry, by keyboard too"
    page.goto(f'{site}/03_bce.html')
    words = page.locator('article a.term')
    assert words.count()>8
    places = words.evaluate_all('os => os.map(o => o.hash)')
    assert len(places)==len({*places})
    assert page.locator(':is(h1, h2, h3, pre, .cell_output) a.term').count()==0
    logit = page.locator('a.term', has_text='logit').first
    assert logit.get_attribute('title').startswith('The score of a class before the sigmoid.')
    logit.focus()
    shot(page, 'site-term')
    page.keyboard.press('Enter')
    page.wait_for_url('**/glossary.html#term-logit')
    assert page.locator('p', has=page.locator('#term-logit')).is_visible()
    shot(page, 'site-glossary')


def marks(page): return page.locator('.cards .is-read').count()


def test_read_marks(page, site, shot):
    "A chapter whose end was seen is ticked, on the map and in the sidebar too; its box takes that back"
    page.goto(f'{site}/02_sigmoid.html')
    box = page.get_by_role('checkbox', name='I have read this chapter')
    assert not box.is_checked()
    own = page.locator('.sidebar-tree a.is-read')
    assert own.count()==0
    page.evaluate('document.querySelector("footer").scrollIntoView({behavior: "instant"})')
    own.wait_for()
    assert box.is_checked()
    shot(page, 'site-read')
    page.goto(site)
    assert marks(page)==1
    snapshot = page.locator('.cards').aria_snapshot()
    read = [line for line in snapshot.splitlines() if '(read)' in line]
    assert read
    assert all('From patterns' in o or 'text:' in o or 'strong' in o for o in read)
    page.locator('.cards').scroll_into_view_if_needed()
    shot(page, 'site-map-read')
    page.goto(f'{site}/02_sigmoid.html')
    assert box.is_checked()
    box.focus()
    page.keyboard.press('Space')
    page.goto(site)
    assert marks(page)==0


TO_END = """id => {
    const end = (document.getElementById(id) ?? document.querySelector('article')).lastElementChild
    end.scrollIntoView({behavior: 'instant', block: 'center'})
}"""
IS_KEPT = "o => localStorage.getItem('mlc-read')?.split(' ').some(p => p[0] !== '-' && p.includes(o))"


def test_short_way(page, site, shot):
    "A step is done when the ends of its sections were seen, or by its box; each box has a name"
    page.goto(site)
    way = page.locator('#two-ways-through-the-course')
    boxes = way.get_by_role('checkbox')
    names = re.findall(r'checkbox "Read: (.+?)"', way.aria_snapshot())
    assert [o[:12] for o in names]==['On this page', 'In chapter 0', 'In chapter 0', 'In the playg']
    assert not any(o.is_checked() for o in boxes.all())
    links = way.locator('ol a').evaluate_all('os => os.map(o => o.href)')
    for link in links:
        address,_,place = link.partition('#')
        page.goto(address)
        page.evaluate(TO_END, place)
        page.wait_for_function(IS_KEPT, arg=place or 'playground')
    page.goto(site)
    assert all(o.is_checked() for o in boxes.all())
    boxes.nth(0).focus()
    page.keyboard.press('Space')
    assert not boxes.nth(0).is_checked()
    way.scroll_into_view_if_needed()
    shot(page, 'site-short-way')
    page.reload()
    for link in links[:2]: # seen again, and still unticked
        page.evaluate(TO_END, link.partition('#')[2])
        page.wait_for_timeout(200)
    assert not boxes.nth(0).is_checked()
    assert boxes.nth(1).is_checked()


def test_without_storage(page, site):
    "Where the browser keeps nothing, the marks last as long as the page"
    refuse = '{get() { throw new Error("storage is off") }}'
    page.add_init_script(f'Object.defineProperty(window, "localStorage", {refuse})')
    page.goto(f'{site}/02_sigmoid.html')
    box = page.get_by_role('checkbox', name='I have read this chapter')
    box.scroll_into_view_if_needed()
    page.wait_for_function('document.querySelector(".read-mark input").checked')
    box.click()
    assert not box.is_checked()
    page.problems[:] = [o for o in page.problems if 'storage is off' not in o] # the theme's own


def test_colab(page, site):
    "Each lesson opens in Colab by a link, which asks nobody until it is followed; other pages don't"
    for name in 'index','05_train':
        page.goto(f'{site}/{name}.html')
        link = page.get_by_role('link', name='Open in Colab')
        assert link.count()==1
        assert link.get_attribute('href').endswith(f'/mlc-course/mlc_course/blob/main/nbs/{name}.ipynb')
    page.goto(f'{site}/engine/core.html')
    assert page.get_by_role('link', name='Open in Colab').count()==0


def test_llms(site_folder):
    "What llms.txt lists is there, every lesson and module"
    text = (site_folder/'llms.txt').read_text(encoding='utf-8')
    files = re.findall(r'^- \[.+\]\(https://mlc-course.github.io/mlc_course/(.+?)\)', text, re.M)
    assert not [o for o in files if not (site_folder/o).exists()]
    assert len(files)==text.count('\n- ')
    assert 'mlc_course.engine.classifier' not in text
    for words in 'mlc_course.classifier]', '1. What does a filter see', 'pip install', '## Optional':
        assert words in text
