// The page: a picture goes through both networks;
// answers, bars, maps and shares of test pictures follow every move
'use strict'
document.addEventListener('DOMContentLoaded', () => {
const $ = id => document.getElementById('pg-'+id), page = document.getElementById('pg')
const data = window.playgroundData
if (!page || !data) return
const {decision, size} = data, {vocab} = decision
const nets = {sigmoid: network.unpack(data.sigmoid, vocab), softmax: network.unpack(data.softmax, vocab)}
const refs = network.references(data)
const minus = text => `${text}`.replace('-', '−'), fixed = (x, n) => minus(x.toFixed(n))
const percent = x => `${Math.round(100*x)} %`
const colour = o => data.colors[o], title = o => o[0].toUpperCase()+o.slice(1)
const make = (tag, props = {}, ...children) => {
  const o = document.createElement(tag)
  for (const [k, v] of Object.entries(props)) {
    if (k.includes('-') || k === 'role' || k === 'scope') o.setAttribute(k, v)
    else o[k] = v
  }
  o.append(...children)
  return o
}
const hidden = text => make('span', {className: 'pg-hidden', textContent: text}) // but read aloud
const readable = {willReadFrequently: true}, side = 384
const picture = $('picture').getContext('2d', readable), over = $('over').getContext('2d')
const small = make('canvas', {width: size, height: size}).getContext('2d', readable) // what the networks get
const stored = Math.round(decision.keep*100)
const state = {own: true, percent: stored, thresh: .5, name: '', kind: '', cell: null, seed: 0}
let seen = null // what the networks made of the picture

// ---- Colours of maps: matplotlib's inferno at nine places
const stops = [0x000004, 0x210c4a, 0x56106e, 0x89226a, 0xbb3754, 0xe35932, 0xf98e09, 0xf9cb35, 0xfcffa4]
const heat = Array.from({length: 256}, (_, i) => {
  const at = i/255*8, k = Math.min(7, Math.floor(at)), t = at-k
  return [16, 8, 0].map(s => Math.round(((stops[k]>>s)&255)*(1-t) + ((stops[k+1]>>s)&255)*t))
})

function mapPicture(values, n, top, alpha) { // n × n numbers from 0 to `top` as a canvas
  const o = make('canvas', {width: n, height: n}), ctx = o.getContext('2d'), im = ctx.createImageData(n, n)
  for (let i = 0; i < n*n; i++) {
    const t = Math.max(0, Math.min(1, values[i]/top))
    im.data.set([...heat[Math.round(255*t)], alpha ? 255*Math.min(.75, t) : 255], 4*i)
  }
  ctx.putImageData(im, 0, 0)
  return o
}

// ---- The picture
function show(sheet, name, kind = '') {
  const rgb = network.squeeze(...bytes(sheet), size) // first, for this may fail
  Object.assign(state, {name, kind, cell: null})
  const im = small.createImageData(size, size)
  im.data.fill(255)
  for (let i = 0; i < size*size; i++) im.data.set(rgb.subarray(3*i, 3*i+3), 4*i)
  small.putImageData(im, 0, 0)
  picture.fillStyle = 'white'
  picture.fillRect(0, 0, side, side)
  picture.imageSmoothingQuality = 'high'
  picture.drawImage(sheet, 0, 0, side, side)
  look(rgb)
}

class TooLarge extends Error {}
function bytes(sheet) { // RGB of `sheet` (a picture or a canvas), on white
  const w = sheet.naturalWidth || sheet.width, h = sheet.naturalHeight || sheet.height
  const ctx = make('canvas', {width: w, height: h}).getContext('2d', {willReadFrequently: true})
  ctx.fillStyle = 'white'
  ctx.fillRect(0, 0, w, h)
  ctx.drawImage(sheet, 0, 0)
  const {data: rgba} = ctx.getImageData(0, 0, w, h)
  if (rgba[3] !== 255) throw new TooLarge() // a canvas beyond what the browser can hold stays empty
  const rgb = new Uint8ClampedArray(w*h*3)
  for (let i = 0, j = 0; i < rgba.length; i += 4)
    for (let c = 0; c < 3; c++) rgb[j++] = rgba[i+c]
  return [rgb, w, h]
}

function look(rgb) { // both networks once; all else is arithmetic on what they said
  const one = network.run(nets.sigmoid, rgb, data)
  const score = network.score(one.logits, one.feats, refs, decision.score)
  seen = {rgb, ...one, score, twin: network.run(nets.softmax, rgb, data).logits}
  drawLayers()
  answer()
}

const noise = seed => { // the same dots for the same seed
  const o = make('canvas', {width: size, height: size}), ctx = o.getContext('2d')
  const im = ctx.createImageData(size, size)
  for (let i = 0, x = seed+1; i < im.data.length; i++) {
    x = (Math.imul(x, 1664525)+1013904223)>>>0
    im.data[i] = i%4 === 3 ? 255 : x>>>24
  }
  ctx.putImageData(im, 0, 0)
  return o
}

// ---- The decision at the sliders
const lines = () => {
  const own = network.lines(decision, state.percent), all = vocab.map(() => state.thresh)
  return state.own ? own : {thresh: own.thresh, threshs: all, least: state.thresh}
}
const twinLine = () => state.own ? data.twinKept[state.percent-1] : network.logit(state.thresh)
const listed = o => o.length < 2 ? o.join() : `${o.slice(0, -1).join(', ')} and ${o.at(-1)}`

function answer() {
  const {thresh} = lines(), {given, marks} = network.decide(seen.logits, seen.score, lines())
  const labels = seen.labels = vocab.filter((_, k) => given[k])
  if (labels.length) say(title(listed(labels)), '')
  else say('I don’t know.', 'Not sure enough of any breed, and I won’t guess.', 'silent')
  $('why').textContent = why(labels, thresh)
  const shares = network.softmax(seen.twin)
  tellTwin(shares)
  drawScore(thresh)
  drawBars(given, marks, shares)
  $('picture').setAttribute('aria-label', `The picture: ${state.name}`)
  drawOver()
  drawCost()
}

function why(labels, thresh) {
  const score = fixed(seen.score, 1), line = thresh === -Infinity ? 'any line' : fixed(thresh, 1)
  if (seen.score < thresh) {
    const bold = network.decide(seen.logits, Infinity, lines()).given // if the score had no say
    const names = vocab.filter((_, k) => bold[k])
    const without = names.length ? `Without that, it would be called ${listed(names)}.` :
      'No label passes the threshold either.'
    return `It looks too strange: its score ${score} is below ${line}, ` +
      `set so that ${state.percent} % of known validation pictures pass. ${without}`
  }
  if (!labels.length) return 'It looks familiar enough, but no label passes the threshold.'
  const n = labels.length, said = [`Its score ${score} passes ${line},`]
  if (!state.own) said.push(`and ${n > 1 ? `${n} labels pass` : 'one label passes'} the threshold.`)
  else if (n > 1) {
    const more = n > 2 ? `${n-1} more that pass their thresholds` : 'one more that passes its threshold'
    said.push(`so it gets its likeliest label, and ${more}.`)
  }
  else said.push('so it gets its likeliest label. No other passes its threshold.')
  if (n > 1) said.push('Nobody had to win.')
  if (state.kind === 'five Rottweilers' && n === 1)
    said.push('Five give one label: it names, it does not count.')
  if (state.kind === 'noise') said.push('Wrong, and sure of it: nothing like noise has taught it silence.')
  return said.join(' ')
}

function tellTwin(shares) {
  const top = shares.indexOf(Math.max(...shares)), line = network.sigmoid(twinLine())
  const needed = line.toFixed(line > .99 && line < 1 ? 4 : 2)
  const passes = network.topShare(seen.twin) >= twinLine()
  const then = passes ? `A threshold for its largest share, ${needed}, lets that pass.` :
    `Only a threshold for its largest share, ${needed}, keeps it silent here.`
  $('twin').textContent = 'The softmax twin’s shares sum to 1, so somebody always wins: ' +
    `${vocab[top]} (${shares[top].toFixed(2)}). ${then}`
}

function say(text, more, look = '') { // a live region speaks once
  const o = $('answer'), key = state.name+text+more
  const small = more ? [make('small', {textContent: more})] : []
  if (o.dataset.key !== key) o.replaceChildren(hidden(`${state.name}: `), text, ...small)
  o.dataset.key = key
  o.className = look
}

const scorePlace = s => 100*Math.max(0, Math.min(1, (s+14)/18))
function drawScore(thresh) {
  const [line, dot] = $('score').querySelectorAll('i, b')
  line.style.left = `${scorePlace(thresh)}%`
  dot.style.left = `${scorePlace(seen.score)}%`
  const stands = thresh === -Infinity ? 'minus infinity' : fixed(thresh, 1)
  $('score').setAttribute('aria-label', `Score ${fixed(seen.score, 1)}; the line stands at ${stands}`)
}

// ---- Bars
const bar = () => {
  const track = make('span', {}, make('i'), make('b'))
  return make('td', {}, make('div', {className: 'pg-bar'}, track, make('span')))
}
function setBar(cell, value, line, c, text, more) {
  const [fill, tick] = cell.querySelectorAll('i, b'), said = more ? [hidden(more)] : []
  fill.style.cssText = `width:${100*value}%;background:${c}`
  tick.style.cssText = line == null ? 'display:none' : `left:${100*line}%`
  cell.querySelector('.pg-bar > span:last-child').replaceChildren(text, ...said)
}

const rows = vocab.map(o => {
  const dot = make('span', {className: 'pg-dot'}), head = make('th', {scope: 'row'}, dot, o)
  dot.style.background = colour(o)
  const row = make('tr', {}, head, bar(), bar())
  $('rows').append(row)
  return row
})
function drawBars(given, marks, shares) {
  rows.forEach((row, k) => {
    const prob = network.sigmoid(seen.logits[k]), share = shares[k], c = colour(vocab[k])
    row.className = given[k] ? 'given' : ''
    row.dataset.prob = prob
    row.dataset.share = share
    const tick = given[k] ? '✓ ' : ''
    const needs = marks[k] ? `, needs ${marks[k].toFixed(2)}` : ', needs nothing'
    setBar(row.children[1], prob, marks[k], c, tick+prob.toFixed(2), needs)
    setBar(row.children[2], share, network.sigmoid(twinLine()), c, share.toFixed(2))
    row.children[2].className = share === Math.max(...shares) ? 'pg-wins' : ''
  })
}

// ---- Test pictures, counted anew with each move
const groups = ['known portraits', 'scenes of 0 to 4 animals', 'donkeys and rabbits', 'cars and balls',
  'pictures of noise']
const groupColours = ['#0077BB', '#009988', '#CC6677', '#777777', '#999933']
const kinds = {logits: Int16Array, score: Int16Array, top: Int16Array,
  choice: Uint8Array, targets: Uint8Array, group: Uint8Array}
const test = {}
for (const [name, kind] of Object.entries(kinds)) test[name] = network.numbers(data.test[name], kind)
const costRows = groups.map((o, i) => {
  const n = test.group.filter(g => g === i).length
  const row = make('tr', {}, make('th', {scope: 'row', textContent: `${n} ${o}`}), bar(), bar())
  document.querySelector('#pg-cost tbody').append(row)
  return {row, n}
})
function drawCost() {
  const stand = lines(), twin = twinLine(), n = vocab.length, right = groups.map(() => [0, 0])
  for (let i = 0; i < test.group.length; i++) {
    const logits = Array.from(test.logits.subarray(i*n, i*n+n), o => o/1000)
    const {given} = network.decide(logits, test.score[i]/1000, stand)
    const mask = given.reduce((m, yes, k) => m | yes << k, 0)
    right[test.group[i]][0] += mask === test.targets[i]
    right[test.group[i]][1] += (test.top[i]/1000 >= twin ? 1 << test.choice[i] : 0) === test.targets[i]
  }
  costRows.forEach(({row, n}, i) => right[i].forEach((o, j) => {
    row.children[j+1].dataset.right = o
    setBar(row.children[j+1], o/n, null, groupColours[i], percent(o/n))
  }))
}

// ---- Feature maps; a cell's receptive field by arithmetic: chapter 01
const fields = []
data.sigmoid.layers.reduce(({start, field, jump}, o) => {
  fields.push({start: start-jump, field: field+2*jump, jump: jump*o.stride})
  return fields.at(-1)
}, {start: 0, field: 1, jump: 1})
const layerRows = data.sigmoid.layers.map((o, l) => {
  const maps = Array.from({length: 8}, (_, i) => make('canvas', {tabIndex: i ? -1 : 0, role: 'application'}))
  const head = make('h3', {}, `Layer ${l+1} `, make('span'))
  const figures = maps.map(m => make('figure', {}, m, make('figcaption')))
  const row = make('div', {className: 'pg-maps'}, ...figures)
  $('layers').append(make('div', {className: 'pg-layer'}, head, row))
  maps.forEach((m, i) => {
    const point = e => {
      const {side: n} = seen.layers[l], box = m.getBoundingClientRect()
      const at = (v, len) => Math.max(0, Math.min(n-1, Math.floor(v/len*n)))
      pointAt(l, i, at(e.clientY-box.top, box.height), at(e.clientX-box.left, box.width))
    }
    m.addEventListener('pointermove', point)
    m.addEventListener('pointerdown', point)
    m.addEventListener('pointerleave', e => e.pointerType === 'mouse' && pointAt(null))
    m.addEventListener('focus', () => {
      const middle = seen.layers[l].side>>1
      if (m.matches(':focus-visible') && state.cell?.l !== l) pointAt(l, i, middle, middle)
    })
    m.addEventListener('keydown', e => moveCell(e, l, i))
    for (const o of ['blur', 'pointercancel']) m.addEventListener(o, () => pointAt(null))
  })
  return {head: head.querySelector('span'), maps}
})

const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}
const pages = {PageUp: -1, PageDown: 1}
function moveCell(e, l, i) {
  if (e.key === 'Escape') pointAt(null)
  const step = steps[e.key] ?? [0, 0], page = pages[e.key] ?? 0
  if (!(e.key in steps || e.key in pages)) return
  e.preventDefault()
  const n = seen.layers[l].side, within = (o, n) => Math.max(0, Math.min(n-1, o))
  const {r, c} = state.cell?.l === l ? state.cell : {r: n>>1, c: n>>1}
  const {maps} = layerRows[l], next = within(i+page, maps.length)
  if (page) {
    maps.forEach((m, k) => m.tabIndex = k === next ? 0 : -1)
    maps[next].focus()
  }
  pointAt(l, next, within(r+step[0], n), within(c+step[1], n))
}

function drawLayers() {
  seen.layers.forEach((layer, l) => {
    const {maps, side: n, channels} = layer, means = Array.from({length: channels}, (_, c) => {
      let sum = 0
      for (let i = c*n*n; i < (c+1)*n*n; i++) sum += maps[i]
      return sum/n/n
    })
    layer.order = means.map((_, c) => c).sort((a, b) => means[b]-means[a]).slice(0, 8)
    const larger = (a, b) => Math.max(a, b)
    layer.top = layer.order.reduce((top, c) => maps.subarray(c*n*n, (c+1)*n*n).reduce(larger, top), 1e-6)
    const {head, maps: shown} = layerRows[l], f = fields[l].field
    head.textContent = `the 8 strongest of ${channels} maps of ${n} × ${n} cells; ` +
      `a cell sees ${f} × ${f} of ${size} × ${size} pixels`
    layer.order.forEach((c, i) => drawMap(l, i))
  })
}

function drawMap(l, i) {
  const {maps, side: n, order, top} = seen.layers[l], o = layerRows[l].maps[i], c = order[i]
  const zoom = Math.max(1, Math.floor(96/n))
  o.width = o.height = n*zoom
  const ctx = o.getContext('2d')
  ctx.imageSmoothingEnabled = false
  ctx.drawImage(mapPicture(maps.subarray(c*n*n, (c+1)*n*n), n, top), 0, 0, n*zoom, n*zoom)
  o.setAttribute('aria-label', `Layer ${l+1}, map ${c+1}: arrow keys move over its cells`)
  o.parentNode.querySelector('figcaption').textContent = `map ${c+1}`
  if (state.cell?.l === l && state.cell.i === i) {
    for (const [c, wide, out] of [['black', 3, 2], ['white', 2, 1]]) {
      ctx.strokeStyle = c
      ctx.lineWidth = wide
      ctx.strokeRect(state.cell.c*zoom-out, state.cell.r*zoom-out, zoom+2*out, zoom+2*out)
    }
  }
}

function pointAt(l, i, r, c) {
  const old = state.cell
  if (l != null && old && old.l === l && old.i === i && old.r === r && old.c === c) return
  state.cell = l == null ? null : {l, i, r, c}
  if (old) drawMap(old.l, old.i)
  if (l != null) drawMap(l, i)
  drawOver()
}

// ---- Over the picture: the class map and what a cell sees
const likeliest = () => seen.logits.indexOf(Math.max(...seen.logits))
const chosenClass = () => +$('class').value < 0 ? likeliest() : +$('class').value
function drawOver() {
  over.clearRect(0, 0, side, side)
  overlay()
  const mini = $('mini').getContext('2d')
  for (const o of ['picture', 'over']) mini.drawImage($(o), 0, 0)
  page.dispatchEvent(new Event('shown')) // the tour listens
}

function overlay() {
  if ($('where').checked) {
    const last = seen.layers.at(-1), k = chosenClass(), map = network.classMap(nets.sigmoid, last, k)
    const top = Math.max(...vocab.map((_, j) => Math.max(...network.classMap(nets.sigmoid, last, j))), 1e-6)
    over.imageSmoothingEnabled = true
    const {start, field, jump} = fields.at(-1), zoom = side/size, n = last.side+1
    const edged = new Float32Array(n*n) // its last row and column twice: the cells' middles lie left of their tiles'
    for (let i = 0; i < n*n; i++)
      edged[i] = map[Math.min(Math.floor(i/n), n-2)*(n-1) + Math.min(i%n, n-2)]
    const moved = (start + field/2 - jump/2)*zoom
    over.drawImage(mapPicture(edged, n, top, true), moved, moved, n*jump*zoom, n*jump*zoom)
  }
  if (!state.cell) return tell('Point at a cell of a feature map, and see here what it sees.')
  const {l, i, r, c} = state.cell, {start, field, jump} = fields[l]
  const {maps, side: n, order} = seen.layers[l], zoom = side/size
  over.lineWidth = 3
  over.strokeStyle = '#EE7733'
  over.strokeRect((start+c*jump)*zoom, (start+r*jump)*zoom, field*zoom, field*zoom)
  over.fillStyle = 'rgb(0 0 0 / .45)'
  over.beginPath()
  over.rect(0, 0, side, side)
  over.rect((start+c*jump)*zoom, (start+r*jump)*zoom, field*zoom, field*zoom)
  over.fill('evenodd')
  const value = maps[(order[i]*n+r)*n+c].toFixed(2)
  tell(`Layer ${l+1}, map ${order[i]+1}, row ${r+1}, column ${c+1}: ${value}. ` +
    `It sees ${field} × ${field} pixels.`)
}
const tell = text => { if ($('cell').textContent !== text) $('cell').textContent = text }

// ---- Painting
const colours = {black: '#111111', brown: '#7a4a22', sand: '#d9b382', cream: '#f4ead7',
  grey: '#8a8f98', red: '#c0392b', green: '#5d9c59', blue: '#7fb2e5'}
let ink = 'brown', last = null
for (const [name, c] of Object.entries(colours)) {
  const o = make('button', {type: 'button', 'aria-label': name, 'aria-pressed': name === ink, title: name})
  o.onclick = () => {
    ink = name
    $('colours').querySelectorAll('button').forEach(b => b.setAttribute('aria-pressed', b === o))
    painting(true)
  }
  o.style.background = c
  $('colours').append(o)
}
function painting(on) {
  last = null
  if (on) pointAt(null)
  $('paint').setAttribute('aria-pressed', on)
  $('drop').classList.toggle('painting', on)
}
$('paint').onclick = () => painting($('paint').getAttribute('aria-pressed') !== 'true')
$('blank').onclick = () => {
  asked++
  const o = make('canvas', {width: side, height: side}), ctx = o.getContext('2d')
  ctx.fillStyle = 'white'
  ctx.fillRect(0, 0, side, side)
  chosen(null)
  show(o, 'a blank sheet')
  painting(true)
}
let waiting = false
const place = e => {
  const box = $('picture').getBoundingClientRect()
  return [(e.clientX-box.left)/box.width*side, (e.clientY-box.top)/box.height*side]
}
function stroke(e) {
  const at = place(e)
  for (const [ctx, zoom] of [[picture, 1], [small, size/side]]) { // both: no other pixel changes
    ctx.save()
    ctx.scale(zoom, zoom)
    Object.assign(ctx, {strokeStyle: colours[ink], lineWidth: 22, lineCap: 'round'})
    ctx.beginPath()
    ctx.moveTo(...(last || at))
    ctx.lineTo(at[0]+.01, at[1]) // a line of no length would leave no dot
    ctx.stroke()
    ctx.restore()
  }
  last = at
  if (!state.name.endsWith(', painted on')) state.name += ', painted on'
  state.kind = ''
  if (waiting) return // at most once a frame
  waiting = true
  requestAnimationFrame(() => {
    waiting = false
    look(bytes(small.canvas)[0])
  })
}
$('picture').addEventListener('pointerdown', e => {
  if (e.button || !e.isPrimary || $('paint').getAttribute('aria-pressed') !== 'true') return
  $('picture').setPointerCapture(e.pointerId)
  e.preventDefault()
  stroke(e)
})
$('picture').addEventListener('pointermove', e => last && e.isPrimary && stroke(e))
for (const o of ['pointerup', 'pointercancel', 'lostpointercapture'])
  $('picture').addEventListener(o, () => last = null)

// ---- Choosing a picture: the first press shows the first of its kind, each further one the next
const address = src => new Promise((done, failed) => {
  const o = new Image()
  Object.assign(o, {onload: () => done(o), onerror: failed, src})
})
let asked = 0 // a late picture must not replace a newer one
function chosen(button) {
  $('pick').querySelectorAll('button').forEach(o => {
    o.setAttribute('aria-pressed', o === button)
    o.querySelector('small').textContent = ''
  })
  painting(false)
}
async function choose(button, kind, at) {
  const mine = ++asked, n = data.pictures[kind].length, sheet = await address(data.pictures[kind][at])
  if (mine !== asked) return
  chosen(button)
  button.querySelector('img').src = data.pictures[kind][at]
  button.querySelector('small').textContent = `${at+1} of ${n} ›`
  show(sheet, `${kind}, ${at+1} of ${n}`, kind)
}
const pick = (kind, hint, sheet) => make('button', {type: 'button', 'aria-pressed': false, 'data-kind': kind,
  title: `Press again for ${hint}`}, sheet, kind, make('small'))
const isChosen = button => button.getAttribute('aria-pressed') === 'true'
const first = {} // by kind: shows its first picture
for (const [kind, all] of Object.entries(data.pictures)) {
  let at = -1
  const button = pick(kind, 'the next one', make('img', {src: all[0], alt: ''}))
  button.onclick = () => {
    if (isChosen(button) || at < 0) at = (at+1)%all.length
    choose(button, kind, at)
  }
  first[kind] = () => choose(button, kind, at = 0)
  $('pick').append(button)
}
const thumb = noise(0), noisy = pick('noise', 'other noise', thumb)
noisy.onclick = () => {
  asked++
  if (isChosen(noisy)) state.seed++
  const o = noise(state.seed)
  thumb.getContext('2d').drawImage(o, 0, 0)
  chosen(noisy)
  noisy.querySelector('small').textContent = 'another ›'
  show(o, `noise, seed ${state.seed}`, 'noise')
}
const upload = make('input',
  {type: 'file', id: 'pg-upload', accept: 'image/*', 'aria-label': 'your picture: upload one'})
const plus = make('span', {className: 'pg-plus', textContent: '+', 'aria-hidden': 'true'})
const drop = make('small', {textContent: 'or drop it'})
$('pick').append(noisy, make('label', {}, plus, 'your picture', drop, upload))

async function take(file) {
  const mine = ++asked, url = URL.createObjectURL(file)
  const name = file.name.length > 60 ? `${file.name.slice(0, 57)}…` : file.name
  try {
    const sheet = await address(url)
    if (mine !== asked) return
    if (sheet.naturalWidth*sheet.naturalHeight > 25e6) throw new TooLarge()
    show(sheet, name)
    chosen(null)
  } catch (e) {
    if (mine !== asked) return
    if (e instanceof TooLarge) refuse(`${name} is too large here: make it smaller.`)
    else refuse(`${name} is no picture that this browser can read: choose a JPEG, PNG or WebP.`)
  } finally { URL.revokeObjectURL(url) }
}
function refuse(line) { // the picture before stays, and so do its bars
  say(line, '', 'bad')
  $('why').textContent = 'The bars are those of the picture that you see.'
}
upload.onchange = () => { if (upload.files[0]) take(upload.files[0]); upload.value = '' }
page.addEventListener('dragover', e => e.preventDefault())
page.addEventListener('drop', e => {
  e.preventDefault()
  if (e.dataTransfer.files[0]) take(e.dataTransfer.files[0])
})

// ---- Sliders and switches
vocab.forEach((o, k) => $('class').append(make('option', {value: k, textContent: o})))
function settings() {
  $('keep').value = state.percent
  $('keep-is').textContent = `${state.percent} %`
  const {threshs} = lines(), [lo, hi] = [Math.min(...threshs), Math.max(...threshs)].map(o => o.toFixed(2))
  if (state.own) $('thresh').value = threshs.reduce((a, b) => a+b, 0)/threshs.length
  const stored = lo === hi ? lo : `${lo} to ${hi}`
  const is = state.own ? `${stored}; the likeliest label needs none` : `${state.thresh.toFixed(2)} for all`
  $('thresh-is').textContent = is
  $('thresh').setAttribute('aria-valuetext', is)
  $('keep').setAttribute('aria-valuetext', `${state.percent} per cent`)
  $('own').disabled = state.own
  if (seen) answer()
}
$('keep').oninput = () => { state.percent = +$('keep').value; settings() }
$('thresh').oninput = () => { state.own = false; state.thresh = +$('thresh').value; settings() }
$('own').onclick = () => {
  state.own = true
  $('thresh').focus() // a disabled button would lose it
  settings()
}
$('where').onchange = drawOver
$('class').onchange = () => { $('where').checked = true; drawOver() }

settings()
async function scene(kind) { // all as stored, and the first picture of `kind`
  Object.assign(state, {own: true, percent: stored})
  $('where').checked = false
  settings()
  await first[kind]()
}
function imagine(logits, score) { // what the page shows of a picture with these numbers
  Object.assign(seen, {logits, score})
  answer()
}
// for the tour, for tests, and for the curious
window.playground = {get seen() { return seen }, noise, state, fields, scene, imagine}
first.donkey()
})
