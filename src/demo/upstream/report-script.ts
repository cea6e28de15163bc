/** What runs in the page with the long form: nothing in it knows how a session is renewed, `auto.js` does that. */
export const reportScript = `
const by = (id) => document.getElementById(id)
const show = (id, text) => { by(id).textContent = text }

let endsAt = null
const look = async () => {
  try {
    const answer = await fetch('/oauth2/session', { headers: { accept: 'application/json' } })
    if (answer.status === 401) endsAt = 0
    if (!answer.ok) return
    const { ends_in_seconds: ends, timeout_in_seconds: idle } = (await answer.json()).session
    endsAt = Date.now() + 1000 * (idle < 0 ? ends : Math.min(ends, idle))
  } catch {
    show('left', 'The gateway does not answer.')
  }
}
const tick = () => {
  if (endsAt === null) return
  const left = Math.max(0, Math.round((endsAt - Date.now()) / 1000))
  const clock = Math.floor(left / 60) + ':' + String(left % 60).padStart(2, '0')
  show('left', left === 0
    ? 'The session has ended. What you have written is still here; just go on and save.'
    : 'The session ends in ' + clock + ' unless you do something.')
  if (left > 90) by('expiring').hidden = true
}
setInterval(tick, 1000)
look().then(tick)

by('save').addEventListener('click', async () => {
  show('saved', 'saving…')
  try {
    const body = JSON.stringify({ title: by('title').value, text: by('text').value })
    const answer = await fetch('/api/report', { method: 'POST', body })
    const time = new Date().toLocaleTimeString()
    show('saved', answer.ok
      ? 'Saved ' + (await answer.json()).characters + ' characters at ' + time + '.'
      : 'Not saved: ' + answer.status + ' at ' + time + '.')
  } catch (error) {
    show('saved', 'Not saved: ' + error)
  }
  look()
})
by('approve').addEventListener('click', async () => {
  show('saved', 'asking…')
  const answer = await fetch('/approve', { method: 'POST' })
  show('saved', answer.ok ? 'Approved with a second factor.' : 'Not approved: ' + answer.status + '.')
  look()
})
by('expire').addEventListener('click', async () => {
  await fetch('/oauth2/logout/local', { method: 'POST' })
  await look()
  tick()
})

let extend = null
addEventListener('gatehouse:expiring', (event) => {
  extend = event.detail.extend
  by('expiring').hidden = false
})
by('extend').addEventListener('click', async () => {
  by('expiring').hidden = true
  await extend()
  look()
})
let login = null
addEventListener('gatehouse:login-needed', (event) => {
  login = event.detail.login
  by('needed').hidden = false
})
by('login').addEventListener('click', () => {
  by('needed').hidden = true
  login()
})
addEventListener('gatehouse:ended', look)
`
