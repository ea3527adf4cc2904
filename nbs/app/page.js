const MAX_BYTES = 10_000_000 // of mlc_course.ui.asker
const at = id => document.getElementById(id)
window.voila_process = () => {
  at('loading_text').textContent = 'Loading the model'
}
const too_big = e => {
  const file = e.target.files[0], line = at('size')
  line.textContent = ''
  if (!file || file.size <= MAX_BYTES) return
  const mb = Math.round(file.size/1e6)
  line.textContent = `${file.name} has ${mb} MB, ` +
    `more than ${MAX_BYTES/1e6}: make it smaller and try again`
  for (const o of document.querySelectorAll('#main [role=alert]'))
    o.textContent = ''
  e.stopImmediatePropagation()
}
const click = HTMLInputElement.prototype.click
HTMLInputElement.prototype.click = function() {
  if (this.type == 'file')
    this.addEventListener('change', too_big, true)
  click.call(this)
}
const kernel = () => JSON.parse(at('jupyter-config-data').textContent).kernelId
const token = () => (document.cookie.match(/(?:^|; )mlc_app_xsrf=([^;]*)/) || [])[1]
addEventListener('pagehide', e => {
  if (e.persisted) return
  const url = document.body.dataset.baseUrl + 'api/shutdown/' + kernel() + '?_xsrf=' + token()
  navigator.sendBeacon(url)
})
