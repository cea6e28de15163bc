import type { IncomingHttpHeaders } from 'node:http'
import { escapeHtml } from '../escape-html.ts'
import { decodeHeader, signedInUser, withoutSecret } from './identity.ts'
import { layout } from './layout.ts'
import { orders } from './orders.ts'

const script = `
const show = (id, text) => {
  const element = document.getElementById(id)
  if (element) element.textContent = text
}

document.getElementById('load').addEventListener('click', async () => {
  show('status', 'asking…')
  try {
    const answer = await fetch('/api/orders', { headers: { accept: 'application/json' } })
    show('status', answer.status + ' ' + (answer.headers.get('content-type') ?? ''))
    show('body', await answer.text())
  } catch (error) {
    show('status', String(error))
  }
})

const units = { ends: 'the session ends', timeout: 'it ends without activity', expires: 'the access token expires' }
let left = {}
const tick = () => {
  for (const [id, seconds] of Object.entries(left)) {
    const known = Number.isFinite(seconds) && seconds >= 0
    show(id, units[id] + (known ? ' in ' + seconds + ' s' : ': not known'))
    if (known && seconds > 0) left[id] = seconds - 1
  }
}
const poll = async () => {
  try {
    const answer = await fetch('/oauth2/session', { headers: { accept: 'application/json' } })
    if (answer.status === 401) {
      left = {}
      show('session', 'There is no session. Reload the page to sign in.')
      return
    }
    const { session, tokens } = await answer.json()
    left = { ends: session.ends_in_seconds, timeout: session.timeout_in_seconds, expires: tokens.expire_in_seconds }
    show('refreshed', 'tokens refreshed at ' + tokens.refreshed_at)
    tick()
  } catch {
    left = {}
    show('refreshed', 'The session endpoint does not answer.')
  }
}
setInterval(tick, 1000)
setInterval(poll, 10000)
poll()
`

const headerRows = (rawHeaders: readonly string[]): string => {
  const rows: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const value = withoutSecret(rawHeaders[index + 1] ?? '')
    const meaning = decodeHeader(value)
    const gloss = meaning === value ? '' : ` <span class="soft">(${escapeHtml(meaning)})</span>`
    rows.push(`<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}${gloss}</td></tr>`)
  }
  return rows.join('\n')
}

/** The application's first page: orders, a form, a call by script, the session's end, and the headers that came in. */
export const homePage = (headers: IncomingHttpHeaders, rawHeaders: readonly string[]): string => {
  const rows = orders.map(({ id, item, quantity, state }) =>
    `<tr><td>${escapeHtml(id)}</td><td>${escapeHtml(item)}</td><td>${quantity}</td><td>${escapeHtml(state)}</td></tr>`)
  return layout('Orders', signedInUser(headers), `
<section>
<h2>Open orders</h2>
<div class="scroll"><table>
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
<h2>A call by script</h2>
<button id="load" type="button">GET /api/orders</button>
<p id="status" class="soft" role="status">not asked yet</p>
<pre id="body"></pre>
</section>
<section>
<h2>Your session</h2>
<div id="session">
<p id="ends"></p>
<p id="timeout"></p>
<p id="expires"></p>
<p id="refreshed" class="soft"></p>
</div>
</section>
<section>
<h2>What the application received</h2>
<div class="scroll"><table id="headers"><tbody>
${headerRows(rawHeaders)}
</tbody></table></div>
</section>
<script>${script}</script>`)
}

/** What the form's POST ends in. */
export const orderedPage = (headers: IncomingHttpHeaders, note: string): string =>
  layout('Order received', signedInUser(headers), `
<section>
<p>Thank you. We noted:</p>
<pre id="note">${escapeHtml(note)}</pre>
<p><a href="/">Back to the orders</a></p>
</section>`)

/** A page for everyone. */
export const publicPage = (headers: IncomingHttpHeaders): string =>
  layout('Public page', signedInUser(headers), `
<section>
<p>This page is for everyone, signed in or not. <a href="/">The orders</a> are not.</p>
</section>`)

/** What is at a path that the application does not know. */
export const notFoundPage = (headers: IncomingHttpHeaders, path: string): string =>
  layout('Not found', signedInUser(headers), `
<section>
<p>The application has nothing at <code>${escapeHtml(path)}</code>.</p>
</section>`)
