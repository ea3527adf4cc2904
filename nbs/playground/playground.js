// The page: a picture goes through both networks; answers, bars, maps and shares of test pictures follow every move
'use strict'
document.addEventListener('DOMContentLoaded', () => {
const $ = id => document.getElementById('pg-'+id), data = window.playgroundData, {vocab, size} = data
if (!document.getElementById('pg') || !data) return
const nets = {sigmoid: network.unpack(data.sigmoid, vocab), softmax: network.unpack(data.softmax, vocab)}, refs = network.references(data)
const minus = text => `${text}`.replace('-', '−'), fixed = (x, n) => minus(x.toFixed(n)), percent = x => `${Math.round(100*x)} %`
const colour = o => data.colors[o], title = o => o[0].toUpperCase()+o.slice(1)
const make = (tag, props = {}, ...children) => {
  const o = document.createElement(tag)
  for (const [k, v] of Object.entries(props)) k.includes('-') || k === 'role' || k === 'scope' ? o.setAttribute(k, v) : o[k] = v
  o.append(...children)
  return o
}
const side = 384, picture = $('picture').getContext('2d', {willReadFrequently: true}), over = $('over').getContext('2d')
const small = make('canvas', {width: size, height: size}).getContext('2d', {willReadFrequently: true}) // what the networks get
const state = {own: true, percent: Math.round(data.keep*100), thresh: .5, name: '', kind: '', cell: null, seed: 0}
let seen = null // what the networks made of the picture

// ---- Colours of maps: matplotlib's inferno at nine places
const stops = ['000004', '210c4a', '56106e', '89226a', 'bb3754', 'e35932', 'f98e09', 'f9cb35', 'fcffa4'].map(o => parseInt(o, 16))
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
  for (let i = 0, j = 0; i < rgba.length; i += 4) { rgb[j++] = rgba[i]; rgb[j++] = rgba[i+1]; rgb[j++] = rgba[i+2] }
  return [rgb, w, h]
}

function look(rgb) { // both networks once; all else is arithmetic on what they said
  const one = network.run(nets.sigmoid, rgb, data)
  seen = {rgb, ...one, score: network.score(one.logits, one.feats, refs, data.score), twin: network.run(nets.softmax, rgb, data).logits}
  drawLayers()
  answer()
}

const noise = seed => { // the same dots for the same seed
  const o = make('canvas', {width: size, height: size}), ctx = o.getContext('2d'), im = ctx.createImageData(size, size)
  for (let i = 0, x = seed+1; i < im.data.length; i++) { x = (Math.imul(x, 1664525)+1013904223)>>>0; im.data[i] = i%4 === 3 ? 255 : x>>>24 }
  ctx.putImageData(im, 0, 0)
  return o
}

// ---- The decision at the sliders
const lines = () => {
  const o = network.thresholds(data, state.percent), all = vocab.map(() => state.thresh)
  return state.own ? o : {thresh: o.thresh, threshs: all, further: all}
}
const twinLine = () => state.own ? data.twinKept[state.percent-1] : network.logit(state.thresh)

function answer() {
  const {thresh, threshs, further} = lines(), probs = seen.logits.map(network.sigmoid), shares = network.softmax(seen.twin)
  const given = network.decide(seen.logits, seen.score, thresh, threshs, further), labels = vocab.filter((_, k) => given[k])
  const top = shares.indexOf(Math.max(...shares)), twinSays = network.topShare(seen.twin) >= twinLine()
  const passes = seen.score >= thresh, any = probs.some((p, k) => p > threshs[k])
  const bold = vocab.filter((_, k) => network.decide(seen.logits, 0, -1, threshs, further)[k]) // if the score had no say
  const and = o => o.length < 2 ? o.join() : `${o.slice(0, -1).join(', ')} and ${o.at(-1)}`
  say(labels.length ? title(and(labels)) : 'I don’t know.', labels.length ? '' : 'Not sure enough of any breed, and I won’t guess.', !labels.length)
  $('why').textContent = !passes ? `It looks too strange: its score ${fixed(seen.score, 1)} is below ${fixed(thresh, 1)}, set so that ${state.percent} % of known validation pictures pass.` +
      (any ? ` Without that, it would be called ${and(bold)}.` : ' No label passes its threshold either.') :
    labels.length ? `Its score ${fixed(seen.score, 1)} passes ${thresh < -1e8 ? 'any line' : fixed(thresh, 1)}, and ` +
      (labels.length > 1 ? `${labels.length} labels pass their thresholds: nobody had to win.` : 'one label passes its threshold.') +
      (state.kind === 'five Rottweilers' && labels.length === 1 ? ' Five give one label: it names, it does not count.' : '') +
      (state.kind === 'noise' ? ' Wrong, and sure of it: nothing like noise has taught it silence.' : '') :
    'It looks familiar enough, but no label passes its threshold.'
  const p = network.sigmoid(twinLine()), needed = p.toFixed(p > .99 && p < 1 ? 4 : 2), twin = `${vocab[top]} (${shares[top].toFixed(2)})`
  $('twin').textContent = `The softmax twin’s shares sum to 1, so somebody always wins: ${twin}. ` + (twinSays ?
    `A threshold for its largest share, ${needed}, lets that pass.` : `Only a threshold for its largest share, ${needed}, keeps it silent here.`)
  drawScore(thresh)
  drawBars(probs, threshs, further, given, shares, top)
  $('picture').setAttribute('aria-label', `The picture: ${state.name}`)
  drawOver()
  drawCost()
  seen.given = given
}

function say(text, more, silent, bad) {
  const o = $('answer'), key = state.name+text+more, whose = make('span', {className: 'pg-hidden', textContent: `${state.name}: `})
  if (o.dataset.key !== key) o.replaceChildren(whose, text, ...(more ? [make('small', {textContent: more})] : [])) // a live region speaks once
  o.dataset.key = key
  o.className = bad ? 'bad' : silent ? 'silent' : ''
}

const scorePlace = s => 100*Math.max(0, Math.min(1, (s+14)/18))
function drawScore(thresh) {
  const [line, dot] = $('score').querySelectorAll('i, b')
  line.style.left = `${scorePlace(thresh)}%`
  dot.style.left = `${scorePlace(seen.score)}%`
  $('score').setAttribute('aria-label', `Score ${fixed(seen.score, 1)}; the line stands at ${thresh < -1e8 ? 'minus infinity' : fixed(thresh, 1)}`)
}

// ---- Bars
const bar = () => make('td', {}, make('div', {className: 'pg-bar'}, make('span', {}, make('i'), make('b')), make('span')))
function setBar(cell, value, line, c, text, more) {
  const [fill, tick] = cell.querySelectorAll('i, b')
  fill.style.cssText = `width:${100*value}%;background:${c}`
  tick.style.cssText = line == null ? 'display:none' : `left:${100*line}%`
  cell.querySelector('.pg-bar > span:last-child').replaceChildren(text, ...(more ? [make('span', {className: 'pg-hidden', textContent: more})] : []))
}

const rows = vocab.map(o => {
  const dot = make('span', {className: 'pg-dot'}), head = make('th', {scope: 'row'}, dot, o)
  dot.style.background = colour(o)
  const row = make('tr', {}, head, bar(), bar())
  $('rows').append(row)
  return row
})
function drawBars(probs, threshs, further, given, shares, top) {
  rows.forEach((row, k) => {
    row.className = given[k] ? 'given' : ''
    row.dataset.prob = probs[k]
    row.dataset.share = shares[k]
    const needs = probs[k] === Math.max(...probs) ? threshs[k] : Math.max(threshs[k], further[k]) // a second label may need more
    setBar(row.children[1], probs[k], needs, colour(vocab[k]), (given[k] ? '✓ ' : '')+probs[k].toFixed(2), `, needs ${needs.toFixed(2)}`)
    setBar(row.children[2], shares[k], network.sigmoid(twinLine()), colour(vocab[k]), shares[k].toFixed(2))
    row.children[2].className = k === top ? 'pg-wins' : ''
  })
}

// ---- Test pictures, counted anew with each move
const groups = ['known portraits', 'scenes of 0 to 4 animals', 'donkeys and rabbits', 'cars and balls', 'pictures of noise']
const groupColours = ['#0077BB', '#009988', '#CC6677', '#777777', '#999933']
const test = (({logits, score, top, choice, targets, group}) => ({logits: network.numbers(logits, Int16Array), score: network.numbers(score, Int16Array),
  top: network.numbers(top, Int16Array), choice: network.numbers(choice, Uint8Array), targets: network.numbers(targets, Uint8Array), group: network.numbers(group, Uint8Array)}))(data.test)
const costRows = groups.map((o, i) => {
  const n = test.group.filter(g => g === i).length, row = make('tr', {}, make('th', {scope: 'row', textContent: `${n} ${o}`}), bar(), bar())
  document.querySelector('#pg-cost tbody').append(row)
  return {row, n}
})
function drawCost() {
  const {thresh, threshs, further} = lines(), twin = twinLine(), n = vocab.length, right = groups.map(() => [0, 0])
  for (let i = 0; i < test.group.length; i++) {
    const given = network.decide(Array.from(test.logits.subarray(i*n, i*n+n), o => o/1000), test.score[i]/1000, thresh, threshs, further)
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
  $('layers').append(make('div', {className: 'pg-layer'}, head, make('div', {className: 'pg-maps'}, ...maps.map(m => make('figure', {}, m, make('figcaption'))))))
  maps.forEach((m, i) => {
    const point = e => {
      const {side: n} = seen.layers[l], box = m.getBoundingClientRect(), at = (v, len) => Math.max(0, Math.min(n-1, Math.floor(v/len*n)))
      pointAt(l, i, at(e.clientY-box.top, box.height), at(e.clientX-box.left, box.width))
    }
    m.addEventListener('pointermove', point)
    m.addEventListener('pointerdown', point)
    m.addEventListener('pointerleave', e => e.pointerType === 'mouse' && pointAt(null))
    m.addEventListener('focus', () => m.matches(':focus-visible') && state.cell?.l !== l && pointAt(l, i, seen.layers[l].side>>1, seen.layers[l].side>>1))
    m.addEventListener('keydown', e => moveCell(e, l, i))
    for (const o of ['blur', 'pointercancel']) m.addEventListener(o, () => pointAt(null))
  })
  return {head: head.querySelector('span'), maps}
})

function moveCell(e, l, i) {
  const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[e.key], page = {PageUp: -1, PageDown: 1}[e.key]
  if (e.key === 'Escape') pointAt(null)
  if (!step && !page) return
  e.preventDefault()
  const n = seen.layers[l].side, c = state.cell?.l === l ? state.cell : {r: n>>1, c: n>>1}, on = o => Math.max(0, Math.min(n-1, o))
  const next = page ? Math.max(0, Math.min(7, i+page)) : i
  if (page) { layerRows[l].maps.forEach((m, k) => m.tabIndex = k === next ? 0 : -1); layerRows[l].maps[next].focus() }
  pointAt(l, next, on(c.r+(step?.[0] ?? 0)), on(c.c+(step?.[1] ?? 0)))
}

function drawLayers() {
  seen.layers.forEach((layer, l) => {
    const {maps, side: n, channels} = layer, means = Array.from({length: channels}, (_, c) => {
      let sum = 0
      for (let i = c*n*n; i < (c+1)*n*n; i++) sum += maps[i]
      return sum/n/n
    })
    layer.order = means.map((_, c) => c).sort((a, b) => means[b]-means[a]).slice(0, 8)
    layer.top = layer.order.reduce((top, c) => maps.subarray(c*n*n, (c+1)*n*n).reduce((a, b) => a > b ? a : b, top), 1e-6)
    const {head, maps: shown} = layerRows[l], f = fields[l].field
    head.textContent = `the 8 strongest of ${channels} maps of ${n} × ${n} cells; a cell sees ${f} × ${f} of ${size} × ${size} pixels`
    layer.order.forEach((c, i) => drawMap(l, i))
  })
}

function drawMap(l, i) {
  const {maps, side: n, order, top} = seen.layers[l], o = layerRows[l].maps[i], c = order[i], zoom = Math.max(1, Math.floor(96/n))
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
const chosenClass = () => +$('class').value < 0 ? seen.logits.indexOf(Math.max(...seen.logits)) : +$('class').value
function drawOver() {
  over.clearRect(0, 0, side, side)
  overlay()
  const mini = $('mini').getContext('2d')
  for (const o of ['picture', 'over']) mini.drawImage($(o), 0, 0)
}

function overlay() {
  if ($('where').checked) {
    const last = seen.layers.at(-1), k = chosenClass(), map = network.classMap(nets.sigmoid, last, k)
    const top = Math.max(...vocab.map((_, j) => Math.max(...network.classMap(nets.sigmoid, last, j))), 1e-6)
    over.imageSmoothingEnabled = true
    over.drawImage(mapPicture(map, last.side, top, true), 0, 0, side, side)
  }
  if (!state.cell) return tell('Point at a cell of a feature map, and see here what it sees.')
  const {l, i, r, c} = state.cell, {start, field, jump} = fields[l], {maps, side: n, order} = seen.layers[l], zoom = side/size
  over.lineWidth = 3
  over.strokeStyle = '#EE7733'
  over.strokeRect((start+c*jump)*zoom, (start+r*jump)*zoom, field*zoom, field*zoom)
  over.fillStyle = 'rgb(0 0 0 / .45)'
  over.beginPath()
  over.rect(0, 0, side, side)
  over.rect((start+c*jump)*zoom, (start+r*jump)*zoom, field*zoom, field*zoom)
  over.fill('evenodd')
  tell(`Layer ${l+1}, map ${order[i]+1}, row ${r+1}, column ${c+1}: ${maps[(order[i]*n+r)*n+c].toFixed(2)}. It sees ${field} × ${field} pixels.`)
}
const tell = text => { if ($('cell').textContent !== text) $('cell').textContent = text }

// ---- Painting
const colours = {black: '#111111', brown: '#7a4a22', sand: '#d9b382', cream: '#f4ead7', grey: '#8a8f98', red: '#c0392b', green: '#5d9c59', blue: '#7fb2e5'}
let ink = 'brown', last = null
for (const [name, c] of Object.entries(colours)) {
  const o = make('button', {type: 'button', 'aria-label': name, 'aria-pressed': name === ink, title: name, onclick: () => {
    ink = name
    $('colours').querySelectorAll('button').forEach(b => b.setAttribute('aria-pressed', b === o))
    painting(true)
  }})
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
const place = e => { const box = $('picture').getBoundingClientRect(); return [(e.clientX-box.left)/box.width*side, (e.clientY-box.top)/box.height*side] }
function stroke(e) {
  const at = place(e)
  for (const [ctx, zoom] of [[picture, 1], [small, size/side]]) { // both, so that nothing changes but what was painted
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
  if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; look(bytes(small.canvas)[0]) }) } // at most once a frame
}
$('picture').addEventListener('pointerdown', e => {
  if (e.button || !e.isPrimary || $('paint').getAttribute('aria-pressed') !== 'true') return
  $('picture').setPointerCapture(e.pointerId)
  e.preventDefault()
  stroke(e)
})
$('picture').addEventListener('pointermove', e => last && e.isPrimary && stroke(e))
for (const o of ['pointerup', 'pointercancel', 'lostpointercapture']) $('picture').addEventListener(o, () => last = null)

// ---- Choosing a picture: the first press shows the first of its kind, each further one the next
const address = src => new Promise((done, failed) => { const o = new Image(); o.onload = () => done(o); o.onerror = failed; o.src = src })
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
for (const [kind, all] of Object.entries(data.pictures)) {
  let at = -1
  const button = make('button', {type: 'button', 'aria-pressed': false, 'data-kind': kind, title: 'Press again for the next one'}, make('img', {src: all[0], alt: ''}), kind, make('small'))
  button.onclick = () => choose(button, kind, at = button.getAttribute('aria-pressed') === 'true' || at < 0 ? (at+1)%all.length : at)
  $('pick').append(button)
}
const thumb = noise(0), noisy = make('button', {type: 'button', 'aria-pressed': false, 'data-kind': 'noise', title: 'Press again for other noise'}, thumb, 'noise', make('small'))
noisy.onclick = () => {
  asked++
  if (noisy.getAttribute('aria-pressed') === 'true') state.seed++
  const o = noise(state.seed)
  thumb.getContext('2d').drawImage(o, 0, 0)
  chosen(noisy)
  noisy.querySelector('small').textContent = 'another ›'
  show(o, `noise, seed ${state.seed}`, 'noise')
}
const upload = make('input', {type: 'file', id: 'pg-upload', accept: 'image/*', 'aria-label': 'your picture: upload one'})
$('pick').append(noisy, make('label', {}, make('span', {className: 'pg-plus', textContent: '+', 'aria-hidden': 'true'}), 'your picture', make('small', {textContent: 'or drop it'}), upload))

async function take(file) {
  const mine = ++asked, url = URL.createObjectURL(file), name = file.name.length > 60 ? `${file.name.slice(0, 57)}…` : file.name
  try {
    const sheet = await address(url)
    if (mine !== asked) return
    if (sheet.naturalWidth*sheet.naturalHeight > 25e6) throw new TooLarge()
    show(sheet, name)
    chosen(null)
  } catch (e) { if (mine === asked) refuse(`${name} is ${e instanceof TooLarge ? 'too large here: make it smaller' : 'no picture that this browser can read: choose a JPEG, PNG or WebP'}.`) }
  finally { URL.revokeObjectURL(url) }
}
function refuse(line) { // the picture before stays, and so do its bars
  say(line, '', false, true)
  $('why').textContent = 'The bars are those of the picture that you see.'
}
upload.onchange = () => { if (upload.files[0]) take(upload.files[0]); upload.value = '' }
const page = document.getElementById('pg')
page.addEventListener('dragover', e => e.preventDefault())
page.addEventListener('drop', e => { e.preventDefault(); if (e.dataTransfer.files[0]) take(e.dataTransfer.files[0]) })

// ---- Sliders and switches
vocab.forEach((o, k) => $('class').append(make('option', {value: k, textContent: o})))
function settings() {
  $('keep').value = state.percent
  $('keep-is').textContent = `${state.percent} %`
  const {threshs} = lines(), [lo, hi] = [Math.min(...threshs), Math.max(...threshs)].map(o => o.toFixed(2))
  if (state.own) $('thresh').value = threshs.reduce((a, b) => a+b, 0)/threshs.length
  $('thresh-is').textContent = state.own ? `each label its own, ${lo} to ${hi}` : `${state.thresh.toFixed(2)} for all`
  $('thresh').setAttribute('aria-valuetext', $('thresh-is').textContent)
  $('keep').setAttribute('aria-valuetext', `${state.percent} per cent`)
  $('own').disabled = state.own
  if (seen) answer()
}
$('keep').oninput = () => { state.percent = +$('keep').value; settings() }
$('thresh').oninput = () => { state.own = false; state.thresh = +$('thresh').value; settings() }
$('own').onclick = () => { state.own = true; $('thresh').focus(); settings() } // a disabled button would lose the focus
$('where').onchange = drawOver
$('class').onchange = () => { $('where').checked = true; drawOver() }

settings()
window.playground = {get seen() { return seen }, noise, state} // for the curious, and for tests
$('pick').querySelector('button').click()
})
