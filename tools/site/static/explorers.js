// Explorers: the positions of the controls name a frame, and the words beside it, that Python made beforehand
document.querySelectorAll('figure.explorer').forEach(figure => {
  const controls = [...figure.querySelectorAll('select, input')], picture = figure.querySelector('img')
  const said = JSON.parse(figure.querySelector('script').textContent), line = figure.querySelector('[role=status]')
  const address = i => `${figure.dataset.frames}/${i}.webp`
  const frame = () => controls.reduce((i, o) =>
    o.options ? i * o.options.length + o.selectedIndex : i * (+o.max + 1) + +o.value, 0)

  const write = o => { // what a slider's position means, for the eye and for a screen reader
    const text = JSON.parse(o.dataset.places)[o.value]
    o.setAttribute('aria-valuetext', text)
    o.closest('span').querySelector('output').value = text
  }
  const show = () => {
    const i = frame()
    controls.filter(o => !o.options).forEach(write)
    line.innerHTML = said[i]
    picture.alt = line.textContent
    picture.src = address(i)
  }
  controls.forEach(o => o.addEventListener('input', show))
  const first = frame() // a browser may remember where the controls were
  if (picture.getAttribute('src') !== address(first)) show()
  else controls.filter(o => !o.options).forEach(write)
  figure.querySelectorAll('[hidden]').forEach(o => o.hidden = false)
  figure.querySelector('figcaption span').hidden = true

  new IntersectionObserver((seen, watch) => { // the other frames, once somebody comes near
    if (!seen.some(o => o.isIntersecting)) return
    watch.disconnect()
    figure.loaded = said.map((_, i) => Object.assign(new Image(), {src: address(i)}))
  }, {rootMargin: '300px'}).observe(figure)
})
