import type { IncomingHttpHeaders } from 'node:http'
import { escapeHtml } from '../html.ts'
import { ORDERS } from './api.ts'
import { decodeHeader, signedInUser } from './identity.ts'
import { layout } from './layout.ts'

// The headers that a gateway sets. All other headers come from the browser.
const GATEWAY_HEADER = /^(?:authorization|x-(?:user|name|email|groups|forwarded-.+))$/i

function headerRow(name: string, received: string): string {
  // The page shows only the first twelve characters of a bearer token.
  const value = received.replace(/^(Bearer +)(\S{12})\S+$/i, '$1$2…')
  const decoded = decodeHeader(value)
  const gloss = decoded === value ? '' : ` <span class="soft">(${escapeHtml(decoded)})</span>`
  return `<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}${gloss}</td></tr>`
}

function headerRows(rawHeaders: readonly string[], wanted: (name: string) => boolean): string {
  return rawHeaders
    .flatMap((name, index) => (index % 2 === 0 && wanted(name) ? [headerRow(name, rawHeaders[index + 1] ?? '')] : []))
    .join('\n')
}

export function homePage(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): string {
  const rows = ORDERS.map(
    ({ id, item, quantity, state }) =>
      `<tr><td>${escapeHtml(id)}</td><td>${escapeHtml(item)}</td>` +
      `<td>${quantity}</td><td>${escapeHtml(state)}</td></tr>`,
  )
  return layout(
    'Your orders',
    signedInUser(headers),
    `
<section>
<h2>Open orders</h2>
<div class="scroll" role="region" aria-label="Orders" tabindex="0">
<table>
<thead><tr><th>Order</th><th>Item</th><th>Quantity</th><th>State</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table></div>
</section>
<section>
<h2>New order</h2>
<form method="post" action="/orders">
<p><label for="note">What should we bring?</label></p>
<textarea id="note" name="note" rows="3" required></textarea>
<p><button>Order</button></p>
</form>
</section>
<section>
<h2>A call from a script</h2>
<button id="load" type="button">GET /api/orders</button>
<p id="status" class="soft" role="status">not called yet</p>
<pre id="body"></pre>
</section>
<section>
<h2>Your session</h2>
<div id="session">
<p id="ends"></p>
<p id="timeout"></p>
<p id="expires"></p>
<p id="refreshed" class="soft" role="status"></p>
</div>
<p><button id="refresh" type="button" class="quiet">Refresh the tokens</button>
<button id="end" type="button" class="quiet">End the session, stay on this page</button></p>
</section>
<section>
<h2>Things to try</h2>
<ul>
<li>End the session with the button above. The page stays; its next API call gets a 401 in JSON with the sign-in URL, not
a redirect.</li>
<li>Then order something. The form is kept during the sign-in.</li>
<li>Open <a href="/admin/">the administrators’ page</a>: alice has access, the other users get a 403.</li>
<li><a href="/oauth2/login?acr_values=urn:demo:mfa&amp;redirect=/">Sign in with a second factor</a>, or
<a href="/oauth2/login?prompt=login&amp;redirect=/">as another user</a>.</li>
<li>Wait until the access token has expired, then call the API. The gateway refreshes the token, without any effect on the page.</li>
</ul>
</section>
<section>
<h2>What the application received</h2>
<p>From the gateway. The session cookie is not included, and the browser never sees the token.</p>
<div class="scroll" role="region" aria-label="Headers of the gateway" tabindex="0">
<table id="headers" class="headers"><tbody>
${headerRows(rawHeaders, (name) => GATEWAY_HEADER.test(name))}
</tbody></table></div>
<details>
<summary>From the browser, unchanged</summary>
<div class="scroll" role="region" aria-label="Headers of the browser" tabindex="0">
<table class="headers"><tbody>
${headerRows(rawHeaders, (name) => !GATEWAY_HEADER.test(name))}
</tbody></table></div>
</details>
</section>
<script>${HOME_SCRIPT}</script>`,
  )
}

export function orderedPage(headers: IncomingHttpHeaders, note: string): string {
  return layout(
    'Order received',
    signedInUser(headers),
    `
<section>
<p>Thank you. We noted:</p>
<pre id="note">${escapeHtml(note)}</pre>
<p><a href="/">Back to the orders</a></p>
</section>`,
  )
}

export function adminPage(headers: IncomingHttpHeaders): string {
  return layout(
    'Administration',
    signedInUser(headers),
    `
<section>
<p>Only administrators can open this page: the gateway checks the claim <code>groups</code>.
The application checks nothing.</p>
</section>`,
  )
}

export function publicPage(headers: IncomingHttpHeaders): string {
  return layout(
    'Public page',
    signedInUser(headers),
    `
<section>
<p>This page is public: the gateway checks no session here, so the application does not know who you are.
<a href="/">The orders</a> need a session.</p>
</section>`,
  )
}

export function notFoundPage(headers: IncomingHttpHeaders, path: string): string {
  return layout(
    'Not found',
    signedInUser(headers),
    `
<section>
<p>The application has nothing at <code>${escapeHtml(path)}</code>.</p>
</section>`,
  )
}

const HOME_SCRIPT = `
function show(id, text) {
  const element = document.getElementById(id)
  if (element) element.textContent = text
}
function on(id, act) {
  return document.getElementById(id).addEventListener('click', act)
}

function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

on('load', async () => {
  show('status', 'calling…')
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
function tick() {
  for (const [id, seconds] of Object.entries(left)) {
    const known = Number.isFinite(seconds) && seconds >= 0
    show(id, units[id] + (known ? ' in ' + seconds + ' s' : ': unknown'))
    if (known && seconds > 0) left[id] = seconds - 1
  }
}
function allow(isSignedIn) {
  for (const id of ['refresh', 'end']) document.getElementById(id).disabled = !isSignedIn
}
async function update(path, method) {
  try {
    const answer = await fetch(path, { method, headers: { accept: 'application/json' } })
    allow(answer.status !== 401)
    if (answer.status === 401) {
      left = {}
      for (const id of Object.keys(units)) show(id, '')
      show('refreshed', 'The session has ended. Reload the page to sign in.')
      return
    }
    const { session, tokens } = await answer.json()
    left = { ends: session.ends_in_seconds, timeout: session.timeout_in_seconds, expires: tokens.expire_in_seconds }
    show('refreshed', 'The tokens were issued at ' + new Date(tokens.refreshed_at).toLocaleTimeString() + '.')
    tick()
  } catch {
    left = {}
    show('refreshed', 'The session endpoint does not answer.')
  }
}
function poll() {
  return update('/oauth2/session', 'GET')
}
on('refresh', () => update('/oauth2/session/refresh', 'POST'))
on('end', async () => {
  await fetch('/oauth2/logout/local', { method: 'POST' }).catch(() => {})
  await poll()
})
setInterval(tick, 1000)
setInterval(poll, 10000)
poll()
`
