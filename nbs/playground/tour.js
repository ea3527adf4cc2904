// The guided tour: a dozen cards over the live page, each pointing at its element
// Some are done when the reader acts. Left, it is resumed where it was
'use strict'
document.addEventListener('DOMContentLoaded', () => {
const page = document.getElementById('pg')
if (!page || !window.playground) return
const $ = id => document.getElementById('pg-tour'+id), ring = document.getElementById('pg-ring')
const card = $(''), {state, fields, scene} = playground, {vocab} = playgroundData.decision
const nMaps = playgroundData.sigmoid.layers.at(-1).nf

// ---- What the page shows at this moment
const labels = () => playground.seen.labels.join(' and ')
const top = values => values.indexOf(Math.max(...values))
const likeliest = () => vocab[top(playground.seen.logits)]
const longest = () => network.sigmoid(Math.max(...playground.seen.logits)).toFixed(2)
const shares = () => network.softmax(playground.seen.twin)
const winner = () => vocab[top(shares())]
const largest = () => Math.max(...shares()).toFixed(2)
const shows = kind => () => state.kind === kind

// ---- The cards. Each begins with the first picture of the kind `from`, and points `at` an element.
// If it asks for something `todo`, it is done when `done()`. It says `then()`, and points at what `moved`
const cards = [
  {title: 'A donkey, and six names', from: 'donkey', at: '#pg-drop',
    text: () => 'This network knows six names, all of cats and dogs. Most classifiers must pick one of ' +
      'their names, so they would call this donkey a cat or a dog. This one says “I don’t know”. ' +
      'To see how it can, we follow a picture through it.'},
  {title: 'First an easy picture', from: 'donkey', at: '[data-kind=cat]', moved: '#pg-answer',
    text: () => 'To understand a refusal, we first need to see an answer. ' +
      'So we show it a picture that it knows.',
    todo: 'Pick the cat.', done: shows('cat'),
    then: () => `It says ${labels()}. But how does it get from pixels to a name?`},
  {title: 'Filters look for small patterns', from: 'cat', at: '#pg-layers > :first-child',
    text: () => 'No two cats have the same pixels, so it is no use to look for a whole cat. ' +
      'The network looks for small patterns first. A filter slides over the picture and asks ' +
      'at each place: is my pattern here? Its answers are a map, bright where they are yes.',
    more: ['01_convolution.html', 'Chapter 1: filters']},
  {title: 'Later layers see more', from: 'cat', at: '#pg-layers > :last-child', stays: true,
    text: () => `A pattern of ${fields[0].field} × ${fields[0].field} pixels is too small to be an ear. ` +
      'So the next layer looks for patterns in the maps of the one before, and the next in its maps.',
    todo: 'Point at a cell of layer 5, or move over its cells by the arrow keys.',
    done: () => state.cell?.l === fields.length-1,
    then: () => 'The orange frame on the picture is all that this cell sees: ' +
      `${fields.at(-1).field} × ${fields.at(-1).field} pixels, enough for a whole face.`,
    more: ['01_convolution.html', 'Chapter 1: what a cell sees']},
  {title: 'From maps to scores', from: 'cat', at: '.pg-row:has(#pg-where)', moved: '#pg-drop',
    text: () => 'A cat is a cat wherever it sits. ' +
      `So each of the last ${nMaps} maps is averaged: one number remains, and the place is forgotten. ` +
      `Each breed has its weighted sum of these ${nMaps} numbers, its score. ` +
      'The same sum at each cell, before averaging, shows where the score comes from.',
    todo: 'Tick “Show where”.', done: () => document.getElementById('pg-where').checked,
    then: () => `Bright is where the score of ${likeliest()} comes from.`,
    more: ['06_where.html', 'Chapter 6: where is it?']},
  {title: 'One question for each breed', from: 'cat', at: '[data-kind="cat and dog"]',
    moved: '.pg-say :is(th, td):nth-child(2)',
    text: () => 'A score can be any number. A sigmoid makes it a probability from 0 to 1, ' +
      'for each breed by itself. So each bar answers its own question: is there a Siamese? ' +
      'Is there a beagle? More than one answer may be yes.',
    todo: 'Pick cat and dog.', done: shows('cat and dog'),
    then: () => `${labels()}: two long bars, and neither has taken anything from the other.`,
    more: ['02_sigmoid.html', 'Chapter 2: sigmoids']},
  {title: 'Where does “yes” begin?', from: 'cat and dog', at: '.pg-slider:last-child',
    text: () => 'A probability is not yet an answer. Somebody must decide how long a bar must be ' +
      'for a yes. This is the threshold: the black line in each bar.',
    todo: 'Slide the threshold until the answer changes.', done: () => playground.seen.labels.length !== 2,
    then: () => (playground.seen.labels.length > 2 ? 'Too low: it names animals that aren’t there. ' :
      'Too high: it has lost an animal that is there. ') +
      'So we don’t guess the thresholds. We choose them on pictures that took no part in training.',
    more: ['08_trust.html', 'Chapter 8: thresholds']},
  {title: 'Now the donkey', from: 'cat and dog', at: '[data-kind=donkey]', moved: '.pg-score',
    text: () => 'None of the six names is right for a donkey. ' +
      'Guess, before you look: how long will the longest of the six bars be?',
    todo: 'Pick the donkey.', done: shows('donkey'),
    then: () => `The longest is ${longest()}. And the orange dot, which tells how much the picture ` +
      'is like those that the network knows, stands left of its line. So no name is given.',
    more: ['07_unknown.html', 'Chapter 7: the unknown']},
  {title: 'Why not always answer?', from: 'donkey', at: '.pg-slider:first-child',
    text: () => 'Silence has a price. The line of the dot lets 95 % of known pictures pass, ' +
      'so one in twenty gets no answer either. If we move the line, more of them pass. But what else will?',
    todo: 'Slide the keep rate until the donkey gets a name.', done: () => playground.seen.labels.length > 0,
    then: () => `${labels()}, with a probability of ${longest()}. ` +
      'If no known picture may be refused, a donkey passes too, and gets its likeliest name.',
    more: ['07_unknown.html', 'Chapter 7: the unknown']},
  {title: 'Its twin names the donkey anyway', from: 'donkey', at: '.pg-say :is(th, td):nth-child(3)',
    text: () => 'The twin has the same layers, but its bars are shares that sum to 1: a softmax. ' +
      `When one gets shorter, others get longer, so somebody always wins, here ${winner()} ` +
      `with ${largest()}. ` +
      'A share tells who is ahead. Without a threshold of its own, it can’t tell that nobody is there.',
    more: ['02_sigmoid.html', 'Chapter 2: why not softmax?']},
  {title: 'And a picture of nothing?', from: 'donkey', at: '[data-kind=noise]', moved: '.pg-say .pg-bars',
    text: () => 'Noise is less like a cat than a donkey is. So all bars should be short. ' +
      'Guess, before you look, for both networks.',
    todo: 'Pick noise.', done: shows('noise'),
    then: () => `The sigmoids say ${likeliest()} with ${longest()}, the twin says ${winner()} ` +
      `with ${largest()}: no training picture has taught them better. Only the dot keeps the name back, ` +
      'and that is partly luck. Trained with another seed, the network names one in seven pictures of noise.',
    more: ['ui/playground.html', 'How this was measured']},
  {title: 'One donkey proves nothing', at: '#pg-cost',
    text: () => 'So we count. Each bar is the share of test pictures that are answered right. ' +
      'For a donkey or a car, right means silence. Move the sliders, and see what you win and lose. ' +
      'Then paint on the donkey, or upload a picture of your own. Guess first!',
    more: ['index.html', 'To the course']},
]

// ---- Where the reader is, also next time
const key = 'mlc-tour'
function stored() {
  try {
    const i = +localStorage.getItem(key)
    return i in cards ? i : 0
  } catch { return 0 } // the browser may refuse
}
function store(i) { try { localStorage.setItem(key, i) } catch {} }
let at = stored()

function invite() {
  $('-start').textContent = at ? `Resume the tour: card ${at+1} of ${cards.length}` :
    `Take the tour: ${cards.length} short cards`
  $('-start').setAttribute('aria-expanded', !card.hidden)
}

// ---- Pointing
const calm = matchMedia('(prefers-reduced-motion: reduce)')
const nearest = {block: 'nearest', inline: 'nearest'}
let target = ''
function point() { // the ring goes around all that `target` selects, and the card stands below
  if (card.hidden) return
  const boxes = [...page.querySelectorAll(target)].map(o => o.getBoundingClientRect())
  const least = edge => Math.min(...boxes.map(o => o[edge]))
  const most = edge => Math.max(...boxes.map(o => o[edge]))
  const base = page.getBoundingClientRect(), left = least('left'), up = least('top')
  const place = {left: left-base.left, top: up-base.top, width: most('right')-left, height: most('bottom')-up}
  for (const [k, v] of Object.entries(place)) ring.style[k] = `${v}px`
  card.style.left = `${base.left + (base.width-card.offsetWidth)/2}px`
  document.documentElement.style.setProperty('--pg-card', `${card.offsetHeight}px`)
}
function pointAt(selector, block) {
  target = selector
  const behavior = calm.matches ? 'instant' : 'smooth'
  page.querySelector(target).scrollIntoView(nearest) // sideways, where the row of pictures scrolls
  point()
  ring.scrollIntoView({block, behavior})
}

// ---- Going from card to card
let turn = 0
let open = null // the card whose act is awaited
let sent = false // did the card lead the reader there, by a key?
async function go(i) {
  const mine = ++turn, o = cards[i]
  open = null
  if (o.from) await scene(o.from)
  if (mine !== turn) return
  at = i
  store(at)
  $('-count').textContent = `${at+1} of ${cards.length}`
  $('-title').textContent = o.title
  $('-text').textContent = o.text()
  $('-todo').textContent = o.todo ?? ''
  $('-then').textContent = ''
  $('-there').hidden = !o.todo
  $('-back').hidden = !at
  $('-more').hidden = !o.more
  if (o.more) [$('-more').href, $('-more').textContent] = o.more
  $('-next').textContent = o.todo ? 'Skip' : at+1 < cards.length ? 'Next' : 'Finish'
  page.querySelector(o.at).closest('#pg > *').after(card) // so Tab leads from the element to its card
  card.hidden = ring.hidden = false
  ring.dataset.card = at+1
  $('-then').setAttribute('aria-live', 'polite')
  sent = false
  card.focus({preventScroll: true})
  pointAt(o.at, 'center')
  invite()
  open = o.todo ? o : null
  check()
}

function check() {
  if (!open?.done()) return point()
  const o = open
  open = null
  $('-then').textContent = o.then()
  $('-there').hidden = true
  $('-next').textContent = 'Next'
  if (sent && !o.stays) card.focus({preventScroll: true})
  if (o.moved) pointAt(o.moved, 'nearest')
  else point()
}

function leave() {
  turn++
  open = null
  const inside = card.contains(document.activeElement) || document.activeElement === document.body
  card.hidden = ring.hidden = true
  invite()
  if (inside) $('-start').focus()
}

$('-start').onclick = () => go(at)
$('-back').onclick = () => go(at-1)
$('-leave').onclick = leave
$('-next').onclick = () => {
  if (at+1 < cards.length) return go(at+1)
  store(at = 0)
  leave()
}
$('-there').onclick = e => {
  sent = e.detail === 0 // by a key
  if (sent && !cards[at].stays) $('-then').setAttribute('aria-live', 'off') // read when the focus comes back
  const o = page.querySelector(cards[at].at), control = 'button, input, canvas'
  const there = o.matches(control) ? o : o.querySelector(control)
  there.focus()
}
document.addEventListener('keydown', e => {
  const near = page.contains(e.target) || e.target === document.body
  const ofMap = state.cell && e.target.matches('.pg-maps canvas') // there, Escape first means the cell
  if (e.key === 'Escape' && !card.hidden && near && !ofMap) leave()
}, true) // before the map forgets its cell
page.addEventListener('shown', check)
addEventListener('scroll', point, true)
addEventListener('resize', point)
$('-start').hidden = false
invite()
})
