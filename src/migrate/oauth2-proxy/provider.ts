import { type Draft, has, put, remark, routed, secret } from '../draft.ts'
import { type Entry, flagOf, listOf, literal, textOf } from '../entry.ts'
import { listen } from '../listen.ts'
import { provider } from './access.ts'

const issuers: Readonly<Record<string, string>> = {
  'google': 'https://accounts.google.com',
  'gitlab': 'https://gitlab.com',
  'login.gov': 'https://secure.login.gov',
}
const withoutOpenid = new Set([
  'github',
  'bitbucket',
  'facebook',
  'digitalocean',
  'sourcehut',
  'gitea',
  'nextcloud',
  'keycloak',
  'linkedin',
])

/** Reads together who the provider is and how this client is known to it. */
export function finishProvider(draft: Draft): void {
  const type = draft.given.get('provider')
  const issuer = draft.given.get('oidc_issuer_url')
  const tenant = draft.given.get('azure_tenant')
  const kind = provider(draft)
  const from = [type, issuer, tenant].filter((entry) => entry !== undefined)
  if (issuer !== undefined && textOf(issuer) !== '') {
    put(draft, 'provider.issuer', literal(textOf(issuer).replace(/\/\.well-known\/.*$/, '')), ...from)
    allowHttp(draft, issuer)
  } else if (Object.hasOwn(issuers, kind)) put(draft, 'provider.issuer', issuers[kind], ...from)
  else if (['azure', 'entra-id'].includes(kind) && tenant !== undefined && textOf(tenant) !== 'common') {
    put(draft, 'provider.issuer', `https://login.microsoftonline.com/${literal(textOf(tenant))}/v2.0`, ...from)
  } else {
    put(draft, 'provider.issuer', 'https://issuer.change-me.invalid', ...from)
    remark(
      draft,
      'todo',
      type ?? null,
      "no issuer is given: set provider.issuer to the one in the provider's discovery document",
    )
  }
  if (withoutOpenid.has(kind)) {
    remark(
      draft,
      'gap',
      type ?? null,
      `the provider ${kind} may only speak OAuth 2.0 there: OpenID Connect and its discovery are needed here; put a ` +
        'provider such as Keycloak or Dex between them',
    )
  }
  finishClient(draft)
  if (kind === 'google') finishGoogle(draft, type)
}

function allowHttp(draft: Draft, issuer: Entry): void {
  const text = textOf(issuer)
  if (!URL.canParse(text) || !text.startsWith('http:')) return
  if (/^(localhost|127\.[\d.]+|\[::1\])$/.test(new URL(text).hostname)) return
  put(draft, 'provider.allowHttp', true, issuer)
  remark(
    draft,
    'security',
    issuer,
    'the issuer is plain http: tokens and the client secret travel in clear, as before; provider.allowHttp lets it be',
  )
}

function finishClient(draft: Draft): void {
  if (!has(draft, 'provider.clientId')) {
    put(draft, 'provider.clientId', 'change-me')
    remark(draft, 'todo', null, 'client_id is not given: set provider.clientId')
  }
  if (has(draft, 'provider.clientSecret') || has(draft, 'provider.privateKey')) return
  put(
    draft,
    'provider.clientSecret',
    secret(draft, 'OIDC_CLIENT_SECRET', 'the client secret, which this file does not have'),
  )
}

/** Google refuses the scope offline_access and wants a parameter for it. */
function finishGoogle(draft: Draft, type: Entry | undefined): void {
  const from = type === undefined ? [] : [type]
  if (!has(draft, 'provider.scopes')) put(draft, 'provider.scopes', ['openid', 'email', 'profile'], ...from)
  put(draft, 'provider.authorizationParameters.access_type', 'offline', ...from)
  if (!has(draft, 'provider.authorizationParameters.prompt')) {
    put(draft, 'provider.authorizationParameters.prompt', 'consent', ...from)
    remark(
      draft,
      'differs',
      type ?? null,
      'Google gives a refresh token for access_type: offline with prompt: consent, which are set; without ' +
        'prompt only at the first login',
    )
  }
}

/** Reads together where the gateway listens, what its cookie's domain is, and what has to be there but is not. */
export function finishServing(draft: Draft): void {
  const [plain, tls, cert, key] = ['http_address', 'https_address', 'tls_cert_file', 'tls_key_file'].map((name) =>
    draft.given.get(name),
  )
  const secure = cert !== undefined && key !== undefined && textOf(cert) !== '' && textOf(key) !== ''
  if (secure) {
    put(draft, 'tls.certFile', literal(textOf(cert)), cert)
    put(draft, 'tls.keyFile', literal(textOf(key)), key)
  }
  const used = secure ? tls : plain
  const address = listen(used === undefined ? (secure ? ':443' : '127.0.0.1:4180') : textOf(used))
  if (address === null && used !== undefined) remark(draft, 'gap', used, 'it is no host:port or unix:/path: set listen')
  put(draft, 'listen', literal(address ?? '127.0.0.1:4180'), ...(used === undefined ? [] : [used]))
  const unused = secure ? plain : tls
  if (unused !== undefined) remark(draft, 'gap', unused, 'there is one public listener, and it is the other one')
  finishCookie(draft)
}

function finishCookie(draft: Draft): void {
  const publicUrl = draft.parts.find(({ path }) => path.join('.') === 'publicUrl')?.value
  if (publicUrl === undefined) {
    put(draft, 'publicUrl', 'https://change-me.invalid')
    remark(draft, 'todo', null, 'redirect_url is not given: set publicUrl to the origin that browsers see')
  }
  const origin = typeof publicUrl === 'string' ? publicUrl : 'https://change-me.invalid'
  if (origin.startsWith('http:')) {
    remark(
      draft,
      'security',
      null,
      'publicUrl is plain http: the session cookie has neither Secure nor the __Host- prefix',
    )
    const sameSite = draft.parts.find(({ path }) => path.join('.') === 'session.cookie.sameSite')
    if (sameSite?.value === 'none') {
      put(draft, 'session.cookie.sameSite', 'lax')
      remark(draft, 'differs', sameSite.from[0] ?? null, 'SameSite=None needs https: it is lax')
    }
  }
  const domains = draft.given.get('cookie_domains')
  if (domains === undefined || listOf(domains).length === 0) return
  const names = listOf(domains).map((name) => name.replace(/^\./, '').replace(/:\d+$/, '').toLowerCase())
  const host = new URL(origin).hostname
  const fits = names.find((name) => (host === name || host.endsWith(`.${name}`)) && /[.][a-z]/.test(name))
  if (fits === undefined) {
    return remark(
      draft,
      'differs',
      domains,
      'it covers no publicUrl, so that the cookie is for one host alone: list the public URLs, then set ' +
        'session.cookie.domain',
    )
  }
  put(draft, 'session.cookie.domain', literal(fits), domains)
  remark(
    draft,
    'security',
    domains,
    `every host under ${fits} gets the session cookie, which loses the __Host- prefix: leave domain out where ` +
      'one host is enough',
  )
}

/** Marks what is settled by the keys around it. */
export function finishFlags(draft: Draft): void {
  const secretFile = draft.given.get('client_secret_file')
  if (secretFile !== undefined && draft.given.has('client_secret'))
    remark(draft, 'builtin', secretFile, 'client_secret comes before it, and is given')
  const skip = draft.given.get('insecure_oidc_allow_unverified_email')
  if (skip !== undefined && flagOf(skip) !== true) routed(draft, skip)
}
