"The playground's tour: walked through by keyboard alone, on desk and phone; left, resumed, read aloud"
import pytest

DESK,PHONE = dict(width=1280, height=900),dict(width=390, height=844)
N = 12
# By card: a key that does what it asks for, at the place that it leads to, and a part of what it then says
ACTS = {2: ('Enter', 'Siamese'), 4: ('ArrowRight', '47 × 47'), 5: ('Space', 'Siamese'),
    6: ('Enter', 'Siamese and beagle'), 7: ('Home', 'Too low'), 8: ('Enter', 'The longest is 0.03'),
    9: ('End', 'Siamese, with a probability of 0.03'),
    11: ('Enter', 'Bengal with 1.00, the twin says Bengal with 1.00')}
# And something that its ring goes around
POINTED = {1: '#pg-picture', 2: '[data-kind=cat]', 3: '.pg-maps', 4: '.pg-layer:last-child', 5: '#pg-where',
    6: '[data-kind="cat and dog"]', 7: '#pg-thresh', 8: '[data-kind=donkey]', 9: '#pg-keep',
    10: '#pg-rows td:nth-child(3)', 11: '[data-kind=noise]', 12: '#pg-cost'}
# Is the ring whole and in sight, between the header and the card?
IN_SIGHT = '''() => {
  const ring = document.getElementById('pg-ring').getBoundingClientRect()
  const card = document.getElementById('pg-tour').getBoundingClientRect()
  const header = document.querySelector('.mobile-header').getBoundingClientRect().bottom
  const all = ring.left >= 0 && ring.right <= innerWidth && card.bottom <= innerHeight
  return all && ring.width > 20 && ring.height > 20 && ring.top >= header && ring.bottom <= card.top }'''
# Does the ring go around something of `selector`?
RINGED = '''selector => {
  const o = document.querySelector(selector).getBoundingClientRect()
  const ring = document.getElementById('pg-ring').getBoundingClientRect()
  return ring.left <= o.left && ring.top <= o.top && ring.right >= o.right && ring.bottom >= o.bottom }'''
COUNT = 'count => document.getElementById("pg-tour-count").textContent === count'
FOCUSED = 'id => document.activeElement.id === id'


@pytest.fixture(params=[DESK,PHONE], ids=['desk','phone'])
def size(request): return request.param


def text(page, part): return page.locator(f'#pg-tour-{part}').inner_text()
def count(page, i): page.wait_for_function(COUNT, arg=f'{i} of {N}')
def focused(page, id): page.wait_for_function(FOCUSED, arg=id)


def tab_to(page, id):
    "Press Tab until the control `id` has the focus"
    for _ in range(150):
        if page.evaluate(FOCUSED, id): return
        page.keyboard.press('Tab')
    pytest.fail(f'Tab never reaches {id}')


def press(page, id):
    tab_to(page, id)
    page.keyboard.press('Enter')


def go_to(page, i):
    "The tour's card `i`, by mouse"
    page.locator('#pg-tour-start').click()
    for k in range(1, i):
        count(page, k)
        page.locator('#pg-tour-next').click()
    count(page, i)


def test_opens_on_the_donkey(play):
    assert play.evaluate('playground.state.name')=='donkey, 1 of 6'
    assert play.locator('#pg-answer').inner_text().split('\n')[1]=='I don’t know.'
    assert play.locator('[data-kind=donkey]').get_attribute('aria-pressed')=='true'
    assert play.locator('#pg-tour-start').inner_text()==f'Take the tour: {N} short cards'
    assert play.locator('#pg-tour').is_hidden()


def test_by_keyboard(play, site_folder, size, shot):
    "From the first card to the last: each points at its element in sight, and what it asks for can be done"
    play.set_viewport_size(size)
    width = size['width']
    press(play, 'pg-tour-start')
    for i in range(1, N+1):
        count(play, i)
        focused(play, 'pg-tour')
        play.wait_for_function(IN_SIGHT)
        play.wait_for_function(RINGED, arg=POINTED[i])
        shot(play, f'tour-{width}-{i}')
        if more := play.locator('#pg-tour-more').get_attribute('href'): assert (site_folder/more).exists()
        assert text(play, 'then')==''
        assert (text(play, 'todo')!='')==(i in ACTS)
        if i in ACTS:
            key,says = ACTS[i]
            assert text(play, 'next')=='Skip'
            press(play, 'pg-tour-there')
            play.wait_for_function('!document.activeElement.closest("#pg-tour")')
            play.keyboard.press(key)
            play.wait_for_function('document.getElementById("pg-tour-then").textContent')
            assert says in text(play, 'then')
            assert text(play, 'next')=='Next'
            if i!=4: focused(play, 'pg-tour') # a cell is looked at for as long as one likes
            play.wait_for_function(IN_SIGHT)
            shot(play, f'tour-{width}-{i}-done')
        if i==N: assert text(play, 'next')=='Finish'
        press(play, 'pg-tour-next')
    focused(play, 'pg-tour-start')
    assert play.locator('#pg-tour').is_hidden()
    assert play.locator('#pg-tour-start').inner_text()==f'Take the tour: {N} short cards'
    assert play.evaluate('document.scrollingElement.scrollWidth<=innerWidth')


def test_left_and_resumed(play):
    "Escape leaves, from the card and from the page; the button resumes, also after the page was opened anew"
    go_to(play, 8)
    play.keyboard.press('Escape')
    assert play.locator('#pg-tour').is_hidden()
    assert play.locator('#pg-ring').is_hidden()
    focused(play, 'pg-tour-start')
    resume = f'Resume the tour: card 8 of {N}'
    assert play.locator('#pg-tour-start').inner_text()==resume
    play.reload()
    play.wait_for_function('window.playground && playground.seen')
    assert play.locator('#pg-tour-start').inner_text()==resume
    play.locator('#pg-tour-start').click()
    count(play, 8)
    assert play.evaluate('playground.state.name')=='cat and dog, 1 of 4' # not yet the donkey
    assert text(play, 'then')==''
    play.locator('#pg-keep').focus()
    play.keyboard.press('Escape')
    assert play.locator('#pg-tour').is_hidden()
    focused(play, 'pg-keep') # who is at work in the page stays there


def test_back(play):
    "A card that is gone back to asks anew"
    go_to(play, 9)
    play.locator('#pg-keep').fill('100')
    assert 'Siamese' in text(play, 'then')
    play.locator('#pg-tour-back').click()
    count(play, 8)
    assert text(play, 'then')==''
    assert play.locator('#pg-keep-is').inner_text()=='95 %'
    play.locator('#pg-tour-next').click()
    count(play, 9)
    assert play.evaluate('playground.state.name')=='donkey, 1 of 6'
    assert text(play, 'then')==''


def test_escape_in_a_map(play):
    "The first means the cell, the second the tour"
    go_to(play, 4)
    press(play, 'pg-tour-there')
    play.wait_for_function('playground.state.cell')
    play.keyboard.press('Escape')
    assert play.evaluate('playground.state.cell') is None
    assert play.locator('#pg-tour').is_visible()
    play.keyboard.press('Escape')
    assert play.locator('#pg-tour').is_hidden()


def test_refused_memory(page, site):
    "Where the browser refuses to remember, the tour goes, and resumes until the page is left"
    page.add_init_script('''for (const o of ['getItem', 'setItem']) {
        const before = Storage.prototype[o]
        Storage.prototype[o] = function(key, ...more) {
            if (key === 'mlc-tour') throw new DOMException('no', 'SecurityError')
            return before.call(this, key, ...more)
        } }''')
    page.goto(f'{site}/playground.html')
    page.wait_for_function('window.playground && playground.seen')
    go_to(page, 3)
    page.keyboard.press('Escape')
    page.locator('#pg-tour-start').click()
    count(page, 3)


def test_read_aloud(play):
    "A dialog beside the page, not over it: it has a name, says its text, and tells when something is done"
    go_to(play, 2)
    tree = play.locator('#pg').aria_snapshot()
    assert f'dialog "2 of {N} First an easy picture"' in tree
    assert 'slider "Keep rate' in tree
    card = play.locator('#pg-tour')
    assert card.get_attribute('aria-modal') is None
    described = [play.locator(f'#{o}').inner_text() for o in card.get_attribute('aria-describedby').split()]
    assert described[1]=='Pick the cat.'
    assert play.locator('#pg-tour-then').get_attribute('aria-live')=='polite' # and was before
    play.locator('[data-kind=cat]').click()
    play.wait_for_function('document.getElementById("pg-tour-then").textContent')
    assert play.evaluate('document.activeElement.dataset.kind')=='cat' # who clicks keeps the focus


def test_page_stays_usable(play):
    "Beside a card, everything of the page is reached by Tab, and nothing hides under the card"
    play.set_viewport_size(PHONE)
    play.emulate_media(reduced_motion='reduce')
    go_to(play, 1)
    play.locator('#pg-tour-start').focus()
    reached,hidden = set(),[]
    for _ in range(70):
        play.keyboard.press('Tab')
        where,bottom,top = play.evaluate('''() => {
            const o = document.activeElement, card = document.getElementById('pg-tour')
            const above = card.contains(o) || o.closest('.sidebar-drawer') // that one opens over it
            const bottom = above ? 0 : o.getBoundingClientRect().bottom
            return [o.id || o.dataset.kind || o.className, bottom, card.getBoundingClientRect().top] }''')
        reached.add(where)
        if bottom>top: hidden.append(where)
    assert {'donkey','noise','pg-where','pg-blank','pg-tour-next','pg-keep','pg-thresh'} <= reached
    assert not hidden


@pytest.mark.parametrize('wish', ['reduce','no-preference'])
def test_calm(play, wish):
    "Who asks for less motion is at the next element at once, others are led there"
    play.emulate_media(reduced_motion=wish)
    go_to(play, 2)
    at_once,later = play.evaluate('''async () => {
        const wait = ms => new Promise(done => setTimeout(done, ms))
        document.getElementById('pg-tour-next').click()
        while (document.getElementById('pg-tour-count').textContent[0] !== '3') await wait(5)
        const first = scrollY
        await wait(900)
        return [first, scrollY] }''')
    assert later>300
    assert (at_once==later)==(wish=='reduce')
