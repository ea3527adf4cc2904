// What this browser keeps for us; nothing where it may not
const kept = {
  get: name => { try { return localStorage.getItem(name) } catch { return null } },
  set: (name, value) => { try { localStorage.setItem(name, value) } catch {} },
}

// "Hide code": fold or unfold all code of the page, and remember it
document.addEventListener('DOMContentLoaded', () => {
  const folds = [...document.querySelectorAll('details.fold')], bar = document.querySelector('.content-icon-container')
  if (!folds.length || !bar) return
  const at_first = folds.map(o => o.open), button = document.createElement('button')
  button.className = 'fold-all'
  const show = hidden => {
    folds.forEach((o, i) => o.open = !hidden && at_first[i])
    button.textContent = hidden ? 'Show code' : 'Hide code'
    kept.set('mlc-hide-code', hidden ? '1' : '')
  }
  button.onclick = () => show(button.textContent === 'Hide code')
  bar.prepend(button)
  show(kept.get('mlc-hide-code') === '1')
})
