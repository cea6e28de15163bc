import type { IncomingHttpHeaders } from 'node:http'
import { escapeHtml } from '../escape-html.ts'
import { decodeHeader, signedInUser, withoutSecret } from './identity.ts'
import { layout } from './layout.ts'
import { orders } from './orders.ts'
import { pageScript } from './page-script.ts'

// What a gateway speaks with; the rest is the browser's. The application itself could not tell them apart.
const gatewayHeader = /^(?:authorization|x-(?:user|name|email|groups|forwarded-.+))$/i

const headerRow = (name: string, received: string): string => {
  const value = withoutSecret(received)
  const meaning = decodeHeader(value)
  const gloss = meaning === value ? '' : ` <span class="soft">(${escapeHtml(meaning)})</span>`
  return `<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}${gloss}</td></tr>`
}

const headerRows = (rawHeaders: readonly string[], wanted: (name: string) => boolean): string =>
  rawHeaders
    .flatMap((name, index) => (index % 2 === 0 && wanted(name) ? [headerRow(name, rawHeaders[index + 1] ?? '')] : []))
    .join('\n')

/** The application's first page: orders, a form, a call by script, the session's end, and the headers that came in. */
export const homePage = (headers: IncomingHttpHeaders, rawHeaders: readonly string[]): string => {
  const rows = orders.map(
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
<p id="refreshed" class="soft" role="status"></p>
</div>
<p><button id="refresh" type="button" class="quiet">Refresh the tokens</button>
<button id="end" type="button" class="quiet">End the session, stay on this page</button></p>
</section>
<section>
<h2>Things to try</h2>
<ul>
<li>End the session with the button above. The page stays; its next call by script gets a 401 in JSON that says where to
sign in, not a redirect.</li>
<li>Then order something. The form survives the sign-in.</li>
<li>Open <a href="/admin/">the administrators’ page</a>: alice may, everyone else gets a 403.</li>
<li><a href="/oauth2/login?acr_values=urn:demo:mfa&amp;redirect=/">Sign in with a second factor</a>, or
<a href="/oauth2/login?prompt=login&amp;redirect=/">as somebody else</a>.</li>
<li>Wait until the access token has expired, then call the API. The token is renewed on the way, and nothing shows.</li>
</ul>
</section>
<section>
<h2>What the application received</h2>
<p>From the gateway. There is no session cookie among it, and the browser never sees the token.</p>
<div class="scroll" role="region" aria-label="Headers of the gateway" tabindex="0">
<table id="headers" class="headers"><tbody>
${headerRows(rawHeaders, (name) => gatewayHeader.test(name))}
</tbody></table></div>
<details>
<summary>From the browser, passed on as it was</summary>
<div class="scroll" role="region" aria-label="Headers of the browser" tabindex="0">
<table class="headers"><tbody>
${headerRows(rawHeaders, (name) => !gatewayHeader.test(name))}
</tbody></table></div>
</details>
</section>
<script>${pageScript}</script>`,
  )
}

/** What the form's POST ends in. */
export const orderedPage = (headers: IncomingHttpHeaders, note: string): string =>
  layout(
    'Order received',
    signedInUser(headers),
    `
<section>
<p>Thank you. We noted:</p>
<pre id="note">${escapeHtml(note)}</pre>
<p><a href="/">Back to the orders</a></p>
</section>`,
  )

/** A page for administrators; who that is, the gateway knows. */
export const adminPage = (headers: IncomingHttpHeaders): string =>
  layout(
    'Administration',
    signedInUser(headers),
    `
<section>
<p>Only administrators come this far: the gateway looks at the claim <code>groups</code>.
The application never asks.</p>
</section>`,
  )

/** A page for everyone. */
export const publicPage = (headers: IncomingHttpHeaders): string =>
  layout(
    'Public page',
    signedInUser(headers),
    `
<section>
<p>This page is for everyone, signed in or not: the gateway looks at no session here, so the application does not know
who you are. <a href="/">The orders</a> are not for everyone.</p>
</section>`,
  )

/** What is at a path that the application does not know. */
export const notFoundPage = (headers: IncomingHttpHeaders, path: string): string =>
  layout(
    'Not found',
    signedInUser(headers),
    `
<section>
<p>The application has nothing at <code>${escapeHtml(path)}</code>.</p>
</section>`,
  )
