/** What runs in the application's first page: calls to its API, and a look at the gateway's session endpoints. */
export const pageScript = `
const show = (id, text) => {
  const element = document.getElementById(id)
  if (element) element.textContent = text
}
const on = (id, act) => document.getElementById(id).addEventListener('click', act)

const readable = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

on('load', async () => {
  show('status', 'asking…')
  try {
    const answer = await fetch('/api/orders', { headers: { accept: 'application/json' } })
    show('status', answer.status + ' ' + (answer.headers.get('content-type') ?? ''))
    show('body', readable(await answer.text()))
  } catch (error) {
    show('status', String(error))
  }
})

const units = { ends: 'The session ends', timeout: 'Without activity it ends', expires: 'The access token expires' }
let left = {}
const tick = () => {
  for (const [id, seconds] of Object.entries(left)) {
    const known = Number.isFinite(seconds) && seconds >= 0
    show(id, units[id] + (known ? ' in ' + seconds + ' s' : ': not known'))
    if (known && seconds > 0) left[id] = seconds - 1
  }
}
const tell = async (path, method) => {
  try {
    const answer = await fetch(path, { method, headers: { accept: 'application/json' } })
    if (answer.status === 401) {
      left = {}
      for (const id of Object.keys(units)) show(id, '')
      show('refreshed', 'There is no session any more. Reload the page to sign in.')
      return
    }
    const { session, tokens } = await answer.json()
    left = { ends: session.ends_in_seconds, timeout: session.timeout_in_seconds, expires: tokens.expire_in_seconds }
    show('refreshed', 'The tokens are from ' + new Date(tokens.refreshed_at).toLocaleTimeString() + '.')
    tick()
  } catch {
    left = {}
    show('refreshed', 'The session endpoint does not answer.')
  }
}
const poll = () => tell('/oauth2/session', 'GET')
on('refresh', () => tell('/oauth2/session/refresh', 'POST'))
on('end', async () => {
  await fetch('/oauth2/logout/local', { method: 'POST' }).catch(() => {})
  await poll()
})
setInterval(tick, 1000)
setInterval(poll, 10000)
poll()
`
