const at = id => document.getElementById(id)
const answers = at('answers'), status = at('status'), keep = at('keep')
const most = Number(answers.dataset.most), shown = 60
const files = new WeakMap() // from an answer to its photo
const told = keep ? JSON.parse(keep.dataset.told) : []
const waiting = []
let working = 0, last = ''

const pause = secs => new Promise(done => setTimeout(done, 1000*secs))
const cards = () => [...answers.querySelectorAll('.answer')]
const words = card => card.querySelector(card.matches('.silent') ? '.said.unknown' : '.said.known').textContent

function tell() {
  const all = cards(), named = all.filter(o => !o.matches('.silent')).length
  const rate = keep ? ` at keep ${told[keep.value][0]}` : ''
  const sum = all.length ? `${named} of ${all.length} photos named${rate}. ` : ''
  status.textContent = sum + last + (working ? ` ${working + waiting.length} to go.` : '')
}

function slide() {
  const [rate, price] = told[keep.value]
  at('rate').textContent = rate
  at('price').textContent = price
  keep.setAttribute('aria-valuetext', rate)
  for (const o of cards()) o.classList.toggle('silent', o.dataset.steps[keep.value] != '1')
}

function forget(card) {
  const img = card.querySelector('img')
  if (img) URL.revokeObjectURL(img.src)
  card.remove()
}

function refused(card, name, why) {
  card.className = 'refused'
  card.setAttribute('role', 'alert')
  card.textContent = why.includes(name) ? why : `${name}: ${why}`
}

async function post(where, name, file, more = '') {
  for (let i = 0; i < 60; i++) {
    const res = await fetch(`${where}?path=${encodeURIComponent(name)}${more}`, {method: 'POST', body: file})
    if (res.status != 429 && res.status != 503) return res
    await pause(Number(res.headers.get('Retry-After')) || 1)
  }
  throw Error('the app is too busy: try again later')
}

async function reason(res) {
  try { return (await res.json()).error } catch { return `the app answers with ${res.status}` }
}

const unreached = e => e instanceof TypeError ? 'the app cannot be reached: is it still running?' : e.message

async function ask(card, file) {
  const name = file.name || 'a photo'
  const mb = Math.round(file.size/1e6)
  if (file.size > most)
    return refused(card, name, `${name} has ${mb} MB, more than ${most/1e6}: make it smaller and try again`)
  let res, html
  try {
    res = await post('ask', name, file)
    if (!res.ok) return refused(card, name, await reason(res))
    html = await res.text()
  } catch (e) { return refused(card, name, unreached(e)) }
  const frame = document.createElement('template')
  frame.innerHTML = html
  const answer = frame.content.firstElementChild
  if (answer.matches('.refused')) return card.replaceWith(answer)
  const img = new Image()
  img.alt = ''
  img.onerror = () => img.remove() // a kind that this browser cannot show
  img.src = URL.createObjectURL(file)
  answer.querySelector('.photo').append(img)
  files.set(answer, file)
  card.replaceWith(answer)
  if (keep) answer.classList.toggle('silent', answer.dataset.steps[keep.value] != '1')
  last = `${name}: ${words(answer)}.`
}

async function work() {
  if (working >= 2 || !waiting.length) return
  working++
  const [card, file] = waiting.shift()
  try { await ask(card, file) } finally { working-- }
  tell()
  work()
}

function take(list) {
  const chosen = [...list]
  if (!chosen.length) return
  for (const o of answers.querySelectorAll('.refused')) o.remove()
  const first = answers.firstChild
  for (const file of chosen) {
    const card = document.createElement('article')
    card.className = 'waiting'
    card.textContent = `${file.name} …`
    answers.insertBefore(card, first)
    waiting.push([card, file])
  }
  for (const o of cards().slice(shown)) forget(o)
  last = ''
  work(); work()
  tell()
}

async function map(button) {
  const card = button.closest('.answer'), photo = card.querySelector('.photo'), file = files.get(card)
  const was = button.getAttribute('aria-pressed') == 'true'
  for (const o of card.querySelectorAll('.label')) o.setAttribute('aria-pressed', 'false')
  photo.querySelector('.map')?.remove()
  if (was) return
  button.setAttribute('aria-pressed', 'true')
  const label = button.dataset.label
  let res, blob
  try {
    res = await post('map', file.name || 'a photo', file, `&label=${encodeURIComponent(label)}`)
    if (!res.ok) throw Error(await reason(res))
    blob = await res.blob()
  } catch (e) {
    button.setAttribute('aria-pressed', 'false')
    status.textContent = unreached(e)
    return
  }
  if (button.getAttribute('aria-pressed') != 'true') return // another one was pressed meanwhile
  const img = new Image()
  img.className = 'map'
  img.alt = `bright where ${file.name} spoke for ${label}`
  img.onload = () => URL.revokeObjectURL(img.src)
  img.src = URL.createObjectURL(blob)
  photo.append(img)
  status.textContent = `Bright is what spoke for ${label}.`
}

for (const id of ['photos', 'camera']) {
  const input = at(id)
  const chosen = () => { take(input.files); input.value = '' }
  input.addEventListener('change', chosen)
  chosen() // before this script was there
}
if (keep) keep.addEventListener('input', () => { slide(); last = ''; tell() })
answers.addEventListener('click', e => {
  const button = e.target.closest('.label')
  if (button) map(button)
})
addEventListener('paste', e => take(e.clipboardData.files))
addEventListener('dragover', e => { e.preventDefault(); document.body.classList.add('over') })
addEventListener('dragleave', e => { if (!e.relatedTarget) document.body.classList.remove('over') })
addEventListener('drop', e => {
  e.preventDefault()
  document.body.classList.remove('over')
  take(e.dataTransfer.files)
})
