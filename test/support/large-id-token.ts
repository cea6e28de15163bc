import type { Browser } from './browser.ts'
import type { Running } from './gateway.ts'
import { beginLogin, signIn } from './sign-in.ts'

/** Logs alice in with an ID token that has a claim of this many characters, and returns the ID token. */
export const logInWithLargeIdToken = async (
  { url, idp }: Pick<Running, 'url' | 'idp'>,
  browser: Browser,
  characters: number,
): Promise<string> => {
  const authorization = await beginLogin(browser, url, { redirect: '/orders' })
  const callback = await signIn(browser, authorization)
  const now = Math.floor(Date.now() / 1000)
  const idToken = await idp.sign({
    iss: idp.issuer,
    sub: 'alice',
    aud: authorization.searchParams.get('client_id') ?? '',
    nonce: authorization.searchParams.get('nonce') ?? '',
    iat: now,
    exp: now + 300,
    roles: 'r'.repeat(characters),
  })
  idp.settings.reshapeTokenResponse = (body) => ({ ...body, id_token: idToken })
  const answer = await browser.get(callback.href)
  idp.settings.reshapeTokenResponse = null
  if (answer.headers.location !== '/orders') throw new Error(`the login ended with ${answer.status}`)
  return idToken
}
