"The report as its reader opens it: a file in Chromium, on a desk and on a phone, light and dark"
import csv
import pytest
from conftest import draw, untrained
from PIL import Image

WIDTHS = '[document.scrollingElement.scrollWidth, innerWidth]'
PHONE = dict(width=390, height=844)
# Red, green and blue of a text's colour, of its fill, and of what it stands on
COLORS = """o => [getComputedStyle(o).color, getComputedStyle(o).fill,
    getComputedStyle(document.body).backgroundColor].map(
        c => c.match(/[0-9.]+/g)?.slice(0, 3).map(Number))"""


@pytest.fixture(scope='module')
def report(trained, pets, tmp_path_factory):
    "Some pets are right, some wrong, and strangers are let in"
    folder = tmp_path_factory.mktemp('report')
    draw(folder/'others', ['car','donkey'], 8)
    clf = trained.with_keep(1)
    clf.report(folder/'r.html', pets, folder/'others')
    return (folder/'r.html').as_uri()


def luminance(rgb):
    parts = [c/255 for c in rgb]
    r,g,b = [c/12.92 if c<=.04045 else ((c+.055)/1.055)**2.4 for c in parts]
    return .2126*r + .7152*g + .0722*b


def contrast(a, b):
    low,high = sorted(map(luminance, (a, b)))
    return (high+.05)/(low+.05)


@pytest.mark.parametrize('scheme', ['light','dark'])
def test_readable(page, report, scheme, shot):
    "Nothing is asked for, no sideways scrolling, pictures are there, letters stand out and are large enough"
    asked = []
    page.on('request', lambda o: asked.append(o.url))
    page.emulate_media(color_scheme=scheme)
    page.goto(report)
    assert [o for o in asked if not o.startswith('data:')]==[report]
    shown = page.evaluate('[...document.images].map(o => [o.complete, o.naturalWidth, o.alt.length])')
    assert shown and all(done and width>=50 and alt for done,width,alt in shown)
    assert page.locator('h2').count()==10
    ink,_,back = page.locator('h1').evaluate(COLORS)
    assert contrast(ink, back)>10
    assert (luminance(back)<.1)==(scheme=='dark')
    soft,_,_ = page.locator('p.read').first.evaluate(COLORS)
    assert contrast(soft, back)>4.5
    for o in page.locator('figure svg text').all(): assert contrast(o.evaluate(COLORS)[1], back)>4.5
    wide = page.evaluate(WIDTHS)
    shot(page, f'report-{scheme}')
    page.set_viewport_size(PHONE)
    narrow = page.evaluate(WIDTHS)
    assert wide[0]<=wide[1]
    assert narrow[0]<=narrow[1]
    heights = 'all => all.map(o => o.getBoundingClientRect().height)'
    letters = page.locator('figure svg text').evaluate_all(heights)
    assert min(filter(None, letters))>=9
    shot(page, f'report-{scheme}-phone')


def test_links_lead_to_parts(page, report):
    page.goto(report)
    for link in page.locator('nav a').all():
        link.click()
        name = link.inner_text()
        heading = page.locator(page.evaluate('location.hash')).locator('h2')
        assert heading.inner_text()==name
        assert heading.is_visible()


def test_hostile_labels_do_nothing(page, tmp_path):
    "They are read as text; no dialog opens and nothing is asked for"
    image = "'><img/src=http://example.com/x/onerror=alert(1)>"
    vocab = '<script>alert(1)</script>', image, '"onmouseover="alert(1)'
    for i in range(6): Image.new('RGB', (64,48), (40*i,90,120)).save(tmp_path/f'{i}.jpg')
    with open(tmp_path/'t.csv', 'w', newline='') as f:
        csv.writer(f).writerows([['fname','labels'], *[(f'{i}.jpg', vocab[i%3]) for i in range(6)]])
    untrained(vocab=vocab, thresh=float('-inf')).report(tmp_path/'r.html', tmp_path/'t.csv')
    opened = []
    page.on('dialog', lambda o: (opened.append(o.message), o.dismiss()))
    page.goto((tmp_path/'r.html').as_uri())
    page.mouse.move(200, 300)
    text = page.locator('body').inner_text()
    for o in vocab: assert o in text
    assert not opened
