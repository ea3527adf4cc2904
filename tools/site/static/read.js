// What you have read, kept in this browser: a chapter or a section counts once its end was seen, or by its box
// What you have unticked ('-02_sigmoid') stays so, until you tick it
document.addEventListener('DOMContentLoaded', () => {
  const home = new URL(document.documentElement.dataset.content_root ?? './', location.href).href
  const key = href => { // '02_sigmoid' or '02_sigmoid#patterns-vote'
    const [path, section] = href.replace(home, '').split('#')
    return (path.replace('.html', '') || 'index') + (section ? `#${section}` : '')
  }
  const here = key(location.href.split(/[?#]/)[0])
  const read = new Set((kept.get('mlc-read') ?? '').split(' '))
  const shown = [] // a function for each place that shows a mark
  const show = () => shown.forEach(o => o())
  const mark = (keys, is_read) => {
    for (const o of keys) {
      read.delete(is_read ? `-${o}` : o)
      read.add(is_read ? o : `-${o}`)
    }
    kept.set('mlc-read', [...read].join(' '))
    show()
  }
  const box = (input, keys) => {
    input.onchange = () => mark(keys, input.checked)
    shown.push(() => { input.checked = keys.every(o => read.has(o)) })
  }

  // A box at a chapter's end, ticks in the sidebar and on the map's cards, a box for each step of the short way
  const own = document.querySelector('.read-mark')
  if (own) {
    own.hidden = false
    box(own.querySelector('input'), [here])
  }
  const chapters = document.querySelectorAll('.cards .card, .sidebar-tree a')
  shown.push(() => chapters.forEach(o => o.classList.toggle('is-read', read.has(key(o.href)))))
  for (const step of document.querySelectorAll('#two-ways-through-the-course ol > li')) {
    const input = document.createElement('input')
    input.type = 'checkbox'
    input.ariaLabel = `Read: ${step.textContent.trim().split(/[:.]/)[0]}`
    step.prepend(input)
    box(input, [...step.querySelectorAll('a')].map(o => key(o.href)))
  }
  show()

  const watch = new IntersectionObserver(seen => {
    for (const o of seen.filter(o => o.isIntersecting)) {
      const {ends} = o.target.dataset
      watch.unobserve(o.target)
      if (!read.has(`-${ends}`)) mark([ends], true)
    }
  })
  const watch_end = (element, ends) => {
    const end = document.createElement('span')
    end.dataset.ends = ends
    element.append(end)
    watch.observe(end)
  }
  const article = document.querySelector('article')
  for (const o of article.querySelectorAll('section section[id]')) watch_end(o, `${here}#${o.id}`)
  watch_end(article, here)
})
