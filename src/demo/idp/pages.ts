import type { KoaContextWithOIDC } from 'oidc-provider'
import { escapeHtml, htmlDocument } from '../html.ts'
import type { User } from './settings.ts'

const CSS = `
:root { color-scheme: light dark; --ink: #1c2430; --paper: #f4f6f9; --card: #fff; --line: #cfd6e0; --accent: #2456c7 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --paper: #12161c; --card: #1b212a; --line: #36404d; --accent: #8db0ff }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }
main { width: min(27rem, 100vw - 2rem); background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 1.5rem }
h1 { font-size: 1.25rem; margin: 0 0 .5rem } p { margin: 0 0 1rem }
button { display: block; width: 100%; margin: .5rem 0 0; padding: .6rem .8rem; font: inherit; text-align: left;
  color: inherit; background: transparent; border: 1px solid var(--line); border-radius: .5rem; cursor: pointer }
button:hover, button:focus-visible, button.hinted { border-color: var(--accent) }
button.quiet { border-color: transparent; text-align: center }
iframe { display: none }
`

/** Returns an HTML document in the style of the provider; `body` is HTML, `title` is text. */
export function page(title: string, body: string): string {
  const main = `<main>
<h1>${escapeHtml(title)}</h1>
${body}
</main>`
  return htmlDocument({ title, css: CSS, body: main })
}

const CANCEL_BUTTON = '<button class="quiet" name="cancel" value="yes">Cancel</button>'

function isHinted(user: User, hint: unknown): boolean {
  return hint === user.sub || hint === user.email
}

export function loginPage(users: Iterable<User>, clientName: string, loginHint: unknown): string {
  const inOrder = [...users].toSorted((a, b) => Number(isHinted(b, loginHint)) - Number(isHinted(a, loginHint)))
  const buttons = inOrder.map((user) => {
    const groups = user.groups.length === 0 ? 'no groups' : user.groups.join(', ')
    const hinted = isHinted(user, loginHint) ? ' class="hinted" autofocus' : ''
    const label = escapeHtml(`Sign in as ${user.sub} (${groups})`)
    return `<button name="login" value="${escapeHtml(user.sub)}"${hinted}>${label}</button>`
  })
  return page(
    'Demo sign-in',
    `
<p>Choose a user to sign in to ${escapeHtml(clientName)}.</p>
<form method="post">
${buttons.join('\n')}
${CANCEL_BUTTON}
</form>`,
  )
}

export function secondFactorPage(sub: string): string {
  return page(
    'Second factor',
    `
<p>This application needs a stronger sign-in for ${escapeHtml(sub)}.</p>
<form method="post">
<input type="hidden" name="login" value="${escapeHtml(sub)}">
<button name="factor" value="confirmed" autofocus>Confirm second factor</button>
${CANCEL_BUTTON}
</form>`,
  )
}

async function frontChannelUris({ oidc }: KoaContextWithOIDC): Promise<string[]> {
  const uris = await Promise.all(
    Object.entries(oidc.session?.authorizations ?? {}).map(async ([clientId, { sid }]) => {
      const client = await oidc.provider.Client.find(clientId)
      const uri = client?.frontchannel_logout_uri
      if (typeof uri !== 'string') return null
      const url = new URL(uri)
      url.searchParams.set('iss', oidc.issuer)
      if (sid !== undefined) url.searchParams.set('sid', sid)
      return url.href
    }),
  )
  return uris.filter((uri) => uri !== null)
}

// The `load` event fires after every frame has called its application.
const SUBMIT_WHEN_LOADED = "<script>addEventListener('load', () => { document.forms[0].submit() })</script>"

/**
 * Shows the page of the end-session endpoint for a user who is signed in. With an ID token of that user, the page opens
 * the front-channel logout URLs in frames and continues; otherwise it asks for confirmation.
 *
 * @see https://openid.net/specs/openid-connect-frontchannel-1_0.html#OPLogout
 */
export async function showLogout(ctx: KoaContextWithOIDC, form: string): Promise<void> {
  const { oidc } = ctx
  const known = oidc.entities.IdTokenHint?.payload.sub === oidc.session?.accountId
  const frames = known ? (await frontChannelUris(ctx)).map((uri) => `<iframe src="${escapeHtml(uri)}"></iframe>`) : []
  ctx.type = 'html'
  ctx.body = page(
    known ? 'Signing you out' : 'Sign out?',
    known
      ? `
${form}
<input type="hidden" form="op.logoutForm" name="logout" value="yes">
<button form="op.logoutForm">Continue</button>
${frames.join('\n')}
${SUBMIT_WHEN_LOADED}`
      : `
${form}
<button form="op.logoutForm" name="logout" value="yes" autofocus>Yes, sign me out</button>
<button form="op.logoutForm">No, stay signed in</button>`,
  )
}

export function showSignedOut(ctx: KoaContextWithOIDC): void {
  ctx.type = 'html'
  ctx.body = page('Signed out', '<p>You are signed out of the demo provider.</p>')
}
