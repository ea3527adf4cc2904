"The playground says what PyTorch says, quickly: by mouse, keyboard, on a phone, read aloud, as a file"
import statistics
from types import SimpleNamespace
import numpy as np, pytest, torch
from conftest import ROOT
from PIL import Image

from mlc_course.draw.scenes import draw_portrait, draw_scene
from mlc_course.engine.labelling import raw_outputs
from mlc_course.engine.pictures import picture_tensor
from mlc_course.ui.playground import draw_kind, groups, load_page, page_kinds, share_right, twin_given
from train_playground import look

FOLDER = ROOT/'nbs'/'playground'
PHONE = dict(width=390, height=844)
SIX = 'Bengal, Bombay, Siamese, beagle, pug and rottweiler'
# What the page shows: probabilities and shares in full, labels, words
READ = '''() => {
  const rows = [...document.querySelectorAll('#pg-rows tr')]
  const read = id => [...document.getElementById(id).childNodes].filter(o => o.className !== 'pg-hidden')
  const text = id => read(id).map(o => o.textContent).join(' ')
  const given = rows.filter(o => o.className === 'given')
  return {
    probs: rows.map(o => +o.dataset.prob), shares: rows.map(o => +o.dataset.share),
    answer: text('pg-answer'), why: text('pg-why'), name: playground.state.name,
    score: playground.seen.score,
    labels: given.map(o => o.querySelector('th').innerText)} }'''
# Where the page draws the line of each label, as a share of its bar
MARKS = '''() => [...document.querySelectorAll('#pg-rows tr')].map(row => {
  const track = row.children[1].querySelector('.pg-bar > span')
  const bar = track.getBoundingClientRect(), line = track.querySelector('b').getBoundingClientRect()
  return (line.left+line.width/2-bar.left)/bar.width })'''


@pytest.fixture(scope='module')
def model():
    clf,twin,stored = load_page(FOLDER)
    return SimpleNamespace(clf=clf, twin=twin, stored=stored)


def upload(page, file):
    page.set_input_files('#pg-upload', file)
    page.wait_for_function('name => playground.state.name === name', arg=file.name)
    return page.evaluate(READ)


def press(page, kind, i=1):
    "Show the `i`-th picture of `kind`"
    button = page.locator(f'[data-kind="{kind}"]')
    name = kind if kind=='noise' else f'{kind}, {i} of'
    while not (before := page.evaluate('playground.state.name')).startswith(name):
        button.click()
        page.wait_for_function('name => playground.state.name !== name', arg=before)
    return page.evaluate(READ)


def slide(page, name, value):
    page.locator(f'#pg-{name}').fill(str(value))
    return page.evaluate(READ)


def squeezed(page): return page.evaluate('Array.from(playground.seen.rgb)')
def bytes_of(file): return picture_tensor(file, 96).permute(1,2,0).flatten().tolist()


def drawn(folder):
    "50 pictures of all kinds and of several sizes, from seeds that nothing was trained on"
    names = 'Bengal Bombay Siamese beagle pug rottweiler Persian samoyed donkey rabbit bird car ball'.split()
    sizes = 96,150,224,301,384
    made = []
    for i in range(2):
        for j,o in enumerate(names):
            made.append((f'{o} {i}', draw_portrait(o, f'tested {i}', sizes[(i+j)%5])[0]))
    made += [(f'scene {i}', draw_scene(f'tested {i}', sizes[i%5])[0]) for i in range(24)]
    for name,img in made: img.save(folder/f'{name}.png')
    return [folder/f'{name}.png' for name,_ in made]


def test_same_as_pytorch(play, model, tmp_path, says):
    files = drawn(tmp_path)
    assert len(files)==50
    want,shares = model.clf.predict(files),look(model.twin, files)[0].softmax(1)
    worst = dict(probs=0., shares=0.)
    off_score = 0.
    for f,o,share in zip(files, want, shares):
        got = upload(play, f)
        assert got['labels']==o['labels'], f.name
        assert np.abs(np.subtract(squeezed(play), bytes_of(f))).max()<=1, f.name
        off_score = max(off_score, abs(got['score']-o['score']))
        for key,values in dict(probs=list(o['probs'].values()), shares=share.tolist()).items():
            worst[key] = max(worst[key], np.abs(np.subtract(got[key], values)).max().item())
    says('playground: largest difference of 50 pictures from PyTorch: '
        f'probabilities {worst["probs"]:.0e}, the twin\'s {worst["shares"]:.0e}, scores {off_score:.0e}')
    assert max(worst.values())<1e-3
    assert off_score<.01
    n_labels = [len(o['labels']) for o in want]
    assert 5<n_labels.count(0)<40 # it is silent, and speaks
    assert max(n_labels)>1


def gallery(folder):
    "The page's own pictures: kind, number, file"
    for kind,n in page_kinds.items():
        for i in range(1, n+1):
            file = folder/f'{kind} {i}.webp'
            draw_kind(kind, i).save(file, quality=85, method=6)
            yield kind,i,file


def test_gallery_as_in_python(play, model, tmp_path):
    "The donkeys are silent if and only if they are in Python, and all others say the same as there"
    silent = 0
    for kind,i,file in gallery(tmp_path):
        want,got = model.clf.predict(file)[0],press(play, kind, i)
        assert got['labels']==want['labels'], file.name
        assert np.allclose(got['probs'], list(want['probs'].values()), atol=1e-3), file.name
        assert got['answer'].startswith('I don’t know')==(not want['known'])
        silent += kind=='donkey' and not want['known']
    assert silent>1


@pytest.mark.parametrize('keep', [95,99,100])
def test_marks_of_gallery(play, model, tmp_path, keep):
    "The line in each bar stands where the decision puts it"
    slide(play, 'keep', keep)
    for kind,i,file in gallery(tmp_path):
        press(play, kind, i)
        logits,_,_ = raw_outputs(model.clf, [file])
        want = model.clf.decision.at(keep/100).marks(logits)[0]
        assert np.allclose(play.evaluate(MARKS), want, atol=.003), file.name


def imagine(page, probs, score):
    "What the page says of a picture with these numbers, and where its lines stand"
    page.evaluate('([z, s]) => playground.imagine(z, s)', [torch.tensor(probs).logit().tolist(), score])
    return page.evaluate(READ)['labels'],page.evaluate(MARKS)


@pytest.mark.parametrize('keep,strange', [(95,[]), (99,[]), (100,['Bombay'])])
def test_likeliest_needs_no_threshold(play, model, keep, strange):
    "With a passing score it is given, however unlikely; every other label needs its own"
    probs = [.045,.062,.001,.001,.001,.001]
    slide(play, 'keep', keep)
    labels,marks = imagine(play, probs, 3)
    want = list(model.clf.decision.threshs)
    want[1] = 0
    assert np.allclose(marks, want, atol=.003)
    assert want[0]>probs[0]
    assert labels==['Bombay']
    assert imagine(play, probs, -50)[0]==strange


@pytest.mark.parametrize('thresh,labels', [(.04,['Bengal','Bombay']), (.05,['Bombay']), (.07,[])])
def test_threshold_of_reader(play, thresh, labels):
    "Moved by the reader, the threshold is that of every label, also of the likeliest"
    slide(play, 'thresh', thresh)
    got,marks = imagine(play, [.045,.062,.001,.001,.001,.001], 3)
    assert np.allclose(marks, thresh, atol=.003)
    assert got==labels
    assert imagine(play, [.9]*6, -50)[0]==[]


@pytest.mark.parametrize('keep', [50,95,99,100])
def test_decides_as_in_python(play, model, keep):
    "Labels and marks of numbers as no picture has them, many of them close to a threshold"
    decision = model.clf.decision.at(keep/100)
    gen = torch.Generator().manual_seed(keep)
    logits = torch.tensor(decision.threshs).logit() + torch.randn(500, 6, generator=gen)*.5
    scores = torch.randn(500, generator=gen)*3-2
    got = play.evaluate('''([keep, logits, scores]) => {
        const lines = network.lines(window.playgroundData.decision, keep)
        return logits.map((z, i) => network.decide(z, scores[i], lines)) }''',
        [keep, logits.tolist(), scores.tolist()])
    marks,probs = decision.marks(logits),logits.sigmoid()
    # thresholds end after four digits, and the page computes in 64 bits
    clear = ((probs-marks).abs()>2e-4).all(1)
    assert clear.float().mean()>.95
    assert np.allclose(torch.tensor([o['marks'] for o in got])[clear], marks[clear], atol=1.1e-4)
    given = torch.tensor([o['given'] for o in got])
    assert given[clear].equal(decision.given(logits, scores)[clear])


def test_noise(play, model, tmp_path):
    got = press(play, 'noise')
    seen = np.array(squeezed(play), np.uint8).reshape(96, 96, 3)
    Image.fromarray(seen).save(tmp_path/'noise.png')
    want = model.clf.predict(tmp_path/'noise.png')[0]
    assert got['labels']==want['labels']
    assert np.allclose(got['probs'], list(want['probs'].values()), atol=1e-3)


@pytest.mark.parametrize('keep', [50,80,99,100])
def test_keep_rates(play, model, tmp_path, keep):
    "Labels at other keep rates, and the shares of test pictures, are those of `with_keep`"
    files = drawn(tmp_path)[::7]
    clf,stored = model.clf.with_keep(keep/100),model.stored
    slide(play, 'keep', keep)
    got = [upload(play, f)['labels'] for f in files]
    assert got==[o['labels'] for o in clf.predict(files)]
    n = [(stored.group==i).sum().item() for i in range(len(groups))]
    both = clf.decision.given(stored.logits, stored.score),twin_given(stored, keep/100)
    for column,given in enumerate(both, 1):
        right = play.evaluate('''column => [...document.querySelectorAll("#pg-cost tbody tr")].map(
            row => +row.children[column].dataset.right)''', column)
        share = list(share_right(stored, given).values())
        assert np.allclose(np.divide(right, n), share, atol=.0051) # figures travel in thousandths


def test_threshold_0(play):
    "Every label is above, if the score lets the picture pass"
    press(play, 'cat')
    slide(play, 'keep', 100)
    got = slide(play, 'thresh', 0)
    assert len(got['labels'])==6
    assert got['answer'].startswith(SIX)
    assert '6 labels' in got['why']
    slide(play, 'keep', 95)
    press(play, 'car')
    assert not slide(play, 'thresh', 0)['labels'] # the score still stands


def test_threshold_1(play):
    "No label is above, until the stored thresholds are back"
    press(play, 'cat')
    slide(play, 'keep', 100)
    got = slide(play, 'thresh', 1)
    assert not got['labels']
    assert got['answer'].startswith('I don’t know')
    assert 'no label passes' in got['why']
    play.get_by_role('button', name='As stored').click()
    assert play.evaluate(READ)['labels']==['Siamese']


def test_no_picture(play, tmp_path, shot):
    "A text named .png gets a friendly line; the picture before stays, and the next upload works"
    before = press(play, 'dog')
    (tmp_path/'notes.png').write_text('milk, bread')
    play.set_input_files('#pg-upload', tmp_path/'notes.png')
    play.wait_for_function('document.getElementById("pg-answer").innerText.includes("notes.png")')
    got = play.evaluate(READ)
    assert got['answer']=='notes.png is no picture that this browser can read: choose a JPEG, PNG or WebP.'
    assert got['probs']==before['probs']
    assert got['name']==before['name']
    shot(play, 'playground-no-picture')
    draw_portrait('pug', 1, 96)[0].save(tmp_path/'pug.png')
    assert upload(play, tmp_path/'pug.png')['answer']=='Pug'


@pytest.fixture
def odd(tmp_path):
    "Pictures that a browser may see otherwise than Python"
    cat = draw_portrait('Siamese', 'odd', 250)[0]
    exif = Image.Exif()
    exif[0x112] = 6 # to be turned by a quarter
    cat.save(tmp_path/'side.jpg', quality=95, exif=exif)
    clear = cat.convert('RGBA')
    clear.putalpha(Image.linear_gradient('L').resize(cat.size))
    clear.save(tmp_path/'clear.png')
    cat.resize((1,1)).save(tmp_path/'pixel.png')
    cat.resize((3000,2)).save(tmp_path/'strip.png')
    cat.save(tmp_path/'five noise.png')
    Image.new('RGB', (70_000,2)).save(tmp_path/'wide.png')
    return tmp_path


@pytest.mark.parametrize('name,close', [('side.jpg',2), ('clear.png',1), ('pixel.png',1), ('strip.png',1)])
def test_odd_pictures(play, odd, name, close):
    "A photo on its side, one with clear parts, one pixel, a strip: as in Python. JPEG may differ by a level"
    upload(play, odd/name)
    assert np.abs(np.subtract(squeezed(play), bytes_of(odd/name))).max()<=close


def test_too_wide(play, odd):
    upload(play, odd/'strip.png')
    play.set_input_files('#pg-upload', odd/'wide.png')
    answer = 'document.getElementById("pg-answer").textContent'
    play.wait_for_function(f'{answer}.includes("wide.png is too large here")')
    assert play.evaluate(READ)['name']=='strip.png'


def test_name_is_no_kind(play, odd):
    assert 'five' not in upload(play, odd/'five noise.png')['why'].lower()


def test_quick(play, says):
    "From a change to the next frame that shows it: median of 50, pictures and sliders by turns"
    ms = play.evaluate('''async () => {
        const times = [], frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)))
        const kinds = [...document.querySelectorAll('#pg-pick button')]
        const keep = document.getElementById('pg-keep')
        for (let i = 0; i < 50; i++) {
            const before = playground.seen, start = performance.now()
            if (i%2) {
                keep.value = 60+i%40
                keep.dispatchEvent(new Event('input'))
            } else {
                kinds[i%kinds.length].click()
                while (playground.seen === before) await new Promise(done => setTimeout(done))
            }
            await frame()
            times.push(performance.now()-start)
        }
        return times }''')
    by_turns = dict(picture=ms[::2], slider=ms[1::2], all=ms)
    middle = {name: statistics.median(o) for name,o in by_turns.items()}
    figures = ', '.join(f'{k} {v:.0f}' for k,v in middle.items())
    says(f'playground: milliseconds from a change to its frame, medians of 50: {figures}')
    assert middle['picture']<100
    assert middle['slider']<100


def test_keyboard(play, shot):
    "Pictures by Tab and Enter, sliders and feature maps by arrows"
    play.locator('[data-kind=donkey]').focus()
    for _ in range(3): play.keyboard.press('Tab')
    play.keyboard.press('Enter')
    play.wait_for_function('playground.state.name.startsWith("cat and dog")')
    play.locator('#pg-keep').focus()
    play.keyboard.press('ArrowLeft')
    assert play.locator('#pg-keep-is').inner_text()=='94 %'
    play.locator('#pg-where').focus()
    play.keyboard.press('Space')
    assert play.locator('#pg-where').is_checked()
    maps = play.locator('.pg-layer').nth(2).locator('canvas')
    maps.first.focus()
    for key in 'ArrowRight','ArrowDown','PageDown': play.keyboard.press(key)
    cell = play.locator('#pg-cell').inner_text()
    assert cell.startswith('Layer 3, map ')
    assert 'row 8, column 8' in cell
    assert 'sees 15 × 15 pixels' in cell
    assert maps.nth(1).evaluate('o => o === document.activeElement')
    shot(play, 'playground-keyboard')


def test_receptive_field(play):
    "Where a cell points, and only there, a changed pixel changes it"
    canvas = play.locator('.pg-layer').nth(4).locator('canvas').first
    box = canvas.bounding_box()
    canvas.hover(position=dict(x=box['width']*5.5/12, y=box['height']*6.5/12))
    assert 'row 7, column 6' in play.locator('#pg-cell').inner_text()
    x,y,w,h = play.evaluate('''() => { // the clear part of the shade, in pixels of the network
        const shade = document.getElementById('pg-over').getContext('2d')
        const {data, width} = shade.getImageData(0, 0, 384, 384)
        const xs = [], ys = []
        for (let i = 0; i < width*width; i++) if (!data[4*i+3]) {
            xs.push(i%width)
            ys.push(Math.floor(i/width))
        }
        const ends = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)]
        const [x1, y1, x2, y2] = ends.map(o => Math.floor(o/4))
        return [x1, y1, x2-x1+1, y2-y1+1] }''')
    assert (w,h)==(47,47)
    inside = [[x,y], [x+w-1,y+h-1]]
    outside = [[x-1,y], [x,y-1], [x+w,y+h-1], [x+w-1,y+h]]
    moved = play.evaluate('''pixels => {
        const data = window.playgroundData, net = network.unpack(data.sigmoid), rgb = playground.seen.rgb
        const at = o => {
            const {maps, side, channels} = network.run(net, o, data).layers[4]
            return Array.from({length: channels}, (_, c) => maps[(c*side+6)*side+5]).join()
        }
        return pixels.map(([x, y]) => {
            const o = Uint8ClampedArray.from(rgb)
            for (let c = 0; c < 3; c++) o[(y*96+x)*3+c] ^= 255
            return at(o) !== at(rgb)
        }) }''', [*inside, *outside])
    assert moved==[True]*2+[False]*4
    for size in dict(width=1280, height=700),PHONE: # wherever the maps are, the framed picture is in sight
        play.set_viewport_size(size)
        canvas.scroll_into_view_if_needed()
        mini = play.locator('#pg-mini').bounding_box()
        assert mini['y']>=0
        assert mini['y']+mini['height']<=size['height']


def test_paint(play):
    "A blank sheet is nothing known; strokes are seen at once; undoing nothing else"
    play.get_by_role('button', name='Blank sheet').click()
    blank = play.evaluate(READ)
    assert blank['answer'].startswith('I don’t know')
    box = play.locator('#pg-picture').bounding_box()
    play.mouse.move(box['x']+80, box['y']+80)
    play.mouse.down()
    play.mouse.move(box['x']+250, box['y']+200, steps=6)
    play.mouse.up()
    play.wait_for_timeout(200)
    after = play.evaluate(READ)
    assert after['probs']!=blank['probs']
    assert after['name'].endswith('painted on')


def test_stroke_changes_what_it_covers(play):
    "And nothing else: all other pixels stay those that the network had"
    press(play, 'cat')
    before = np.reshape(squeezed(play), (96,96,3))
    play.get_by_role('button', name='Paint', exact=True).click()
    box = play.locator('#pg-picture').bounding_box()
    def click(share, **kwargs):
        play.mouse.click(box['x']+box['width']*share, box['y']+box['height']*share, **kwargs)
    click(.25, button='right') # that paints nothing
    click(.75)
    play.wait_for_timeout(200)
    ys,xs = np.nonzero((np.reshape(squeezed(play), (96,96,3))!=before).any(2))
    assert len(xs)>10
    assert min(*xs, *ys)>=68
    assert max(*xs, *ys)<=76
    press(play, 'donkey')
    play.mouse.move(box['x']+50, box['y']+50)
    play.mouse.down()
    play.mouse.move(box['x']+90, box['y']+90)
    play.mouse.up()
    assert not play.evaluate('playground.state.name').endswith('painted on') # another picture ends painting


@pytest.mark.parametrize('theme', ['light','dark'])
def test_themes_and_phone(page, site, shot, theme):
    "The theme of the site, on a desk and on a phone, where the answer stands on the first screen"
    page.add_init_script(f'localStorage.setItem("theme", "{theme}")')
    page.goto(f'{site}/playground.html')
    page.wait_for_function('window.playground && playground.seen')
    ground = page.evaluate('getComputedStyle(document.body).backgroundColor')[4:-1].split(', ')
    assert (sum(map(int, ground))<150)==(theme=='dark')
    press(page, 'cat and dog')
    page.locator('#pg-where').check()
    shot(page, f'playground-{theme}')
    page.set_viewport_size(PHONE)
    press(page, 'donkey')
    page.evaluate('scrollTo(0, 0)')
    shot(page, f'playground-{theme}-phone')
    assert page.evaluate('document.scrollingElement.scrollWidth<=innerWidth')
    box = page.locator('#pg-answer').bounding_box()
    assert box['y']>0
    assert box['y']+box['height']<PHONE['height']


def test_names_for_all(play):
    "Each control has a name, and the answer is told by a live region that speaks once"
    nameless = play.evaluate('''() => {
        const all = [...document.querySelectorAll('#pg :is(button, input, select, canvas[role], section)')]
        const says = o => o.getAttribute('aria-label') || o.getAttribute('aria-labelledby')
        const named = o => says(o) || o.labels?.length || o.innerText
        return all.filter(o => !named(o)).map(o => o.outerHTML) }''')
    assert not nameless
    tree = play.locator('#pg').aria_snapshot()
    roles = ['button "donkey', 'slider "Keep rate', 'slider "Threshold', 'checkbox "Show where:"', 'status',
        'rowheader "Siamese"', 'columnheader "sigmoid']
    for o in roles: assert o in tree, o
    said = play.evaluate('''async () => {
        let n = 0
        const all = {childList: true, subtree: true, characterData: true}
        new MutationObserver(() => n++).observe(document.getElementById('pg-answer'), all)
        const keep = document.getElementById('pg-keep')
        for (const o of [96, 97, 98]) {
            keep.value = o
            keep.dispatchEvent(new Event('input'))
        }
        await new Promise(done => setTimeout(done, 50))
        return n }''')
    assert said==0 # the same answer is not said again
    for i in 1,2: # but of another picture it is
        press(play, 'donkey', i)
        assert f'donkey, {i} of' in play.locator('#pg-answer').text_content()


def test_weight(page, site, says):
    "Everything that the page loads, as it lies on the disk"
    sizes = {}
    page.on('response', lambda o: sizes.update({o.url: len(o.body())}))
    page.goto(f'{site}/playground.html', wait_until='networkidle')
    says(f'playground: {sum(sizes.values())} bytes in all')
    assert 200_000<sum(sizes.values())<600_000


def test_as_a_file(page, site, site_folder):
    page.goto((site_folder/'playground.html').as_uri())
    page.wait_for_function('window.playground && playground.seen')
    assert page.evaluate(READ)['answer'].startswith('I don’t know')
