"""The course in JupyterLab as a person would use it: open it, run all cells, save it, move what moves.

Lessons, the notebooks that show explorers, and all others that take a few seconds. Those in `LONG` and the
worked answers show nothing that moves: they are left to nbdev-test, which runs every notebook."""
import re, time
from datetime import datetime
from statistics import median
import nbformat, pytest
from mlc_course.ui.course import copy_notebooks, course_files, notebooks_path
from .lab import IDLE, open_chapter, run_all, save, serve_lab, shut_down, wait_for

# At least so many explorers in each, and the longest chapters first, so that two workers end together
EXPLORERS = {'07_unknown': 1, '06_where': 1, '09_counting': 1, '11_ship': 1, '05_train': 1, '10_rare': 0,
    '08_trust': 0, '01_convolution': 1, 'ui/explorers_answers': 5, 'ui/explorers': 5, 'ui/asker': 1,
    'ui/explorer': 2, '04_data': 1, '03_bce': 1, '02_sigmoid': 1, 'index': 0}
LONG = ('deeper/hidden_labels', 'deeper/silence', 'deeper/simple_rules', 'deeper/unseen_sets',
    'draw/cells', 'draw/datasets',
    'engine/machines', 'engine/networks', 'engine/onnx_file',
    'engine/quick_import', 'engine/training', 'ui/cli')
TIMED = 'ui/explorers_answers', 'ui/explorers', 'ui/asker'


def chosen():
    "Those with explorers, then the short ones"
    root = notebooks_path()
    found = [o.relative_to(root).with_suffix('').as_posix() for o in course_files(root, '.ipynb')]
    lost = {*EXPLORERS, *LONG}-set(found)
    assert not lost, f'no such notebook: {lost}'
    short = [o for o in found if o not in EXPLORERS and o not in LONG and not o.startswith('solutions/')]
    return [*EXPLORERS, *short]


ANSI = re.compile(r'\x1b\[[0-9;]*m')
NAME = "o => (o.closest('.jupyter-widgets').querySelector('.widget-label') ?? o).innerText"
PLACE = 'o => o.parentElement.style.transform'
WATCH = """o => {
    o.took = []
    o.addEventListener('keydown', () => o.pressed = performance.now(), true)
    o.querySelector('img').addEventListener('load', () => {
        if (o.pressed) o.took.push(performance.now()-o.pressed)
        o.pressed = 0 })}"""


@pytest.fixture(scope='session')
def course(tmp_path_factory):
    "A copy of the course, as `mlc_notebooks` makes it"
    folder = tmp_path_factory.mktemp('course')
    copy_notebooks(folder)
    return folder


@pytest.fixture(scope='session')
def server(course):
    with serve_lab(course) as url: yield url


@pytest.fixture
def lab(page, server):
    "Address of JupyterLab, which has no kernel left afterwards"
    page.set_default_timeout(60_000)
    yield server
    shut_down(page, server)


def cells(path):
    "Code cells of a notebook that has something to run in them"
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type=='code' and c.source.strip()]


def seconds(cells):
    "What the kernel took from the first cell's start to the last one's end"
    def at(cell, event): return datetime.fromisoformat(cell.metadata.execution[event].replace('Z', '+00:00'))
    took = at(cells[-1], 'shell.execute_reply') - at(cells[0], 'iopub.execute_input')
    return took.total_seconds()


def explorers(page): return page.locator('.jp-OutputArea-output:has(.widget-vbox [role=status])')


def seen(explorer):
    "What a person sees of it: its text and which picture"
    return explorer.evaluate("""o => o.querySelector('[role=status]').innerText
        + Array.from(o.querySelectorAll('img'), i => i.src)""")


def rest(explorer):
    "Wait until it draws no more"
    explorer.page.wait_for_timeout(100) # the kernel has heard of the last change
    explorer.page.locator(IDLE).wait_for()
    def is_still():
        before = seen(explorer)
        explorer.page.wait_for_timeout(50)
        return seen(explorer)==before
    wait_for(is_still, 30, 'it never comes to rest')


def changes(explorer, o, act):
    "`act` on control `o` of an explorer at rest, and wait for another text or picture"
    o.scroll_into_view_if_needed()
    rest(explorer)
    before,name = seen(explorer),o.evaluate(NAME)
    act(o)
    wait_for(lambda: seen(explorer)!=before, 10, f'{act.__name__} of {name!r} changes nothing: {before}')


def step(o):
    "Arrow key, then End, on a slider's handle (at its end: the other way): one step may pass no score"
    at_end = o.get_attribute('aria-valuenow')==o.get_attribute('aria-valuemax')
    before = o.evaluate(PLACE)
    o.press('ArrowLeft' if at_end else 'ArrowRight')
    assert o.evaluate(PLACE)!=before, 'the arrow key does not move the slider'
    o.press('Home' if at_end else 'End')


def drag(o):
    "A slider's handle with the mouse, into the other half"
    handle = o.bounding_box()
    track = o.locator('xpath=ancestor::*[contains(@class,"noUi-target")]').bounding_box()
    x,y = handle['x']+handle['width']/2,handle['y']+handle['height']/2
    part = .25 if x > track['x']+track['width']/2 else .75
    mouse = o.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(track['x']+track['width']*part, y, steps=4)
    mouse.up()


def other(o):
    "Another option of an open list: ArrowDown alone would take JupyterLab to the next cell"
    o.press('ArrowUp' if o.evaluate('o => o.selectedIndex==o.length-1') else 'ArrowDown')
    o.press('Enter')


def space(o): o.press('Space')
def click(o): o.click()
def up(o): o.press('ArrowUp')

def choose(o):
    o.press('Space')
    other(o)

def click_choose(o):
    o.click()
    other(o)

def click_up(o):
    o.click()
    up(o)


# How each kind of control is moved by keyboard and by mouse
CONTROLS = {'.noUi-handle': (step, drag), 'select': (choose, click_choose),
    '.widget-toggle-button:not(.mod-active)': (space, click), '.widget-button': (space, click),
    'input[type=checkbox]': (space, click), 'input[type=number]': (up, click_up)}


def use(explorer):
    "Every control by keyboard, and the first of each kind by mouse; returns how many there are"
    n = 0
    for kind,(by_key,by_mouse) in CONTROLS.items():
        found = explorer.locator(kind).all()
        for o in found: changes(explorer, o, by_key)
        if found: changes(explorer, found[0], by_mouse)
        n += len(found)
    return n


def latency(explorer, n=20):
    "Median milliseconds from a key press on the first slider to the new picture; None if it draws none"
    handle = explorer.locator('.noUi-handle')
    if not handle.count(): return
    handle.first.press('Home')
    explorer.page.wait_for_timeout(1000)
    explorer.evaluate(WATCH)
    for i in range(n):
        handle.first.press('Home' if i%2 else 'End')
        try: wait_for(lambda: explorer.evaluate('o => o.took.length')>i, 5, 'no new picture')
        except TimeoutError: return
    return round(median(explorer.evaluate('o => o.took')))


def check_outputs(path, name, says):
    "No error, no warning, and every cell ran"
    outputs = [o for c in cells(path) for o in c.outputs]
    errors = [ANSI.sub('', '\n'.join(o.traceback)) for o in outputs if o.output_type=='error']
    assert not errors, '\n'.join(['', *errors])
    stderr = [o.text for o in outputs if o.get('name')=='stderr']
    assert not [o for o in stderr if 'Warning' in o], '\n'.join(['', *stderr])
    if stderr: says(f'{name}: on stderr {stderr}')
    left = [c.source for c in cells(path) if not c.execution_count]
    assert not left, f'did not run: {left}'


@pytest.mark.parametrize('name', chosen())
def test_chapter(page, lab, course, name, says):
    path = course/f'{name}.ipynb'
    start = time.time()
    open_chapter(page, lab, name)
    run_all(page)
    save(page)
    ran = time.time()-start
    check_outputs(path, name, says)
    assert 'Error displaying widget' not in page.locator('.jp-Notebook').inner_text()
    assert explorers(page).count()>=EXPLORERS.get(name, 0)
    if name not in EXPLORERS: assert not explorers(page).count(), f'{name} belongs into EXPLORERS'
    moved = [use(o) for o in explorers(page).all()]
    assert all(moved), f'an explorer without a control: {moved}'
    used = time.time()-start-ran
    kernel = seconds(cells(path))
    says(f'{name}: kernel {kernel:.1f} s, with JupyterLab {ran:.1f} s, controls {moved} {used:.1f} s')
    if name not in TIMED: return
    times = [latency(o) for o in explorers(page).all()]
    says(f'{name}: ms from key press to new picture, median of 20: {times}')
