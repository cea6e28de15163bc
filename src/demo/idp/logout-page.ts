import type { KoaContextWithOIDC } from 'oidc-provider'
import { escapeHtml } from '../escape-html.ts'
import { page } from './page.ts'

const frontchannelUris = async ({ oidc }: KoaContextWithOIDC): Promise<string[]> => {
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

// A submit that waits for `load` gives every frame the time to tell its application.
const submitWhenLoaded = "<script>addEventListener('load', () => { document.forms[0].submit() })</script>"

/**
 * The page of the end-session endpoint while someone is signed in. With an ID token of that very user it needs no
 * click: it opens the front-channel logout URLs in frames (OpenID Connect Front-Channel Logout 1.0, section 3) and
 * goes on. Else it asks first.
 */
export const showLogout = async (ctx: KoaContextWithOIDC, form: string): Promise<void> => {
  const { oidc } = ctx
  const known = oidc.entities.IdTokenHint?.payload.sub === oidc.session?.accountId
  const frames = known ? (await frontchannelUris(ctx)).map((uri) => `<iframe src="${escapeHtml(uri)}"></iframe>`) : []
  ctx.type = 'html'
  ctx.body = page(
    known ? 'Signing you out' : 'Sign out?',
    known
      ? `
${form}
<input type="hidden" form="op.logoutForm" name="logout" value="yes">
<button form="op.logoutForm">Continue</button>
${frames.join('\n')}
${submitWhenLoaded}`
      : `
${form}
<button form="op.logoutForm" name="logout" value="yes" autofocus>Yes, sign me out</button>
<button form="op.logoutForm">No, stay signed in</button>`,
  )
}

/** The page at the end of a logout that names no place to go to. */
export const showSignedOut = (ctx: KoaContextWithOIDC): void => {
  ctx.type = 'html'
  ctx.body = page('Signed out', '<p>You are signed out of the demo provider.</p>')
}
