import type { IncomingHttpHeaders } from 'node:http'
import { escapeHtml } from '../html.ts'
import { signedInUser } from './identity.ts'
import { layout } from './layout.ts'

const TAB_LINKS = [1, 2, 3, 4, 5].map(
  (n) => `<a href="/tab/${n}#/part/${n}" target="_blank" rel="noopener">Tab ${n}</a>`,
)

/** Returns the page with a long form. It loads the gateway's `auto.js`, so no input is lost when the session ends. */
export function reportPage(headers: IncomingHttpHeaders): string {
  return layout(
    'A long form',
    signedInUser(headers),
    `
<section>
<h2>Your session</h2>
<p id="left" role="timer"></p>
<p id="expiring" role="alert" hidden>Your session is about to end.
<button id="extend" type="button">Stay signed in</button></p>
<p id="needed" role="alert" hidden>Your browser did not open the sign-in window.
<button id="login" type="button">Sign in to continue</button></p>
<p><button id="expire" type="button" class="quiet">Expire my session now</button></p>
</section>
<section>
<h2>An hour of work</h2>
<form method="post" action="/report">
<p><label for="title">Title</label><br><input id="title" name="title" value="Weekly report"></p>
<p><label for="text">Report</label><br>
<textarea id="text" name="text"
rows="8">Write something here, expire your session with the button above, then save.</textarea></p>
<p><button id="save" type="button">Save by script</button>
<button class="quiet">Send as a form</button>
<button id="approve" type="button" class="quiet">Approve with a second factor</button></p>
<p id="saved" class="soft" role="status">not saved yet</p>
</form>
</section>
<section>
<h2>Things to try</h2>
<ul>
<li>Expire the session, then <em>save by script</em>: the call gets a 401, <code>auto.js</code> signs you in again
silently and repeats the call with your text. If the browser blocks the provider’s cookies in frames, a small window
opens instead.</li>
<li>Expire it, then <em>send as a form</em>: a page keeps the form in this tab and sends it after you have signed in.</li>
<li><em>Approve</em> asks for a second factor in a window, then continues.</li>
<li>Do nothing for a while: before the session ends, the page offers to keep you signed in.</li>
<li>Open this page twice and log out in one tab: the other tab notices.</li>
<li>Expire the session and open each of these in a new tab before you sign in: ${TAB_LINKS.join(', ')}.
Each tab ends at its own page.</li>
</ul>
</section>
<script>${REPORT_SCRIPT}</script>`,
    '<script src="/oauth2/auto.js"></script>\n',
  )
}

export function reportedPage(headers: IncomingHttpHeaders, form: URLSearchParams): string {
  return layout(
    'Report received',
    signedInUser(headers),
    `
<section>
<h2>${escapeHtml(form.get('title') ?? '')}</h2>
<pre id="text">${escapeHtml(form.get('text') ?? '')}</pre>
<p><a href="/report">Back to the form</a></p>
</section>`,
  )
}

export function approvedPage(headers: IncomingHttpHeaders): string {
  return layout('Approved', signedInUser(headers), '<section><p>With a second factor.</p></section>')
}

export function tabPage(headers: IncomingHttpHeaders, path: string): string {
  return layout(
    `Tab ${path.slice('/tab/'.length)}`,
    signedInUser(headers),
    '<section><p>This is the page that this tab requested.</p></section>',
  )
}

/** The script of the long form; `auto.js` renews the session. */
const REPORT_SCRIPT = `
function by(id) {
  return document.getElementById(id)
}
function show(id, text) { by(id).textContent = text }

let endsAt = null
async function readSession() {
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
function tick() {
  if (endsAt === null) return
  const left = Math.max(0, Math.round((endsAt - Date.now()) / 1000))
  const clock = Math.floor(left / 60) + ':' + String(left % 60).padStart(2, '0')
  show('left', left === 0
    ? 'The session has ended. Your text is still here; you can save it.'
    : 'The session ends in ' + clock + ' unless you are active.')
  if (left > 90) by('expiring').hidden = true
}
setInterval(tick, 1000)
readSession().then(tick)

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
  readSession()
})
by('approve').addEventListener('click', async () => {
  show('saved', 'sending…')
  const answer = await fetch('/approve', { method: 'POST' })
  show('saved', answer.ok ? 'Approved with a second factor.' : 'Not approved: ' + answer.status + '.')
  readSession()
})
by('expire').addEventListener('click', async () => {
  await fetch('/oauth2/logout/local', { method: 'POST' })
  await readSession()
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
  readSession()
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
addEventListener('gatehouse:ended', readSession)
`
