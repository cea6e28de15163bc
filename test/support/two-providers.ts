import type { Test } from 'tap'
import { startIdp, type Idp, type IdpOptions } from '../../src/demo/idp.ts'
import type { Browser } from './browser.ts'
import type { Answer } from './exchange.ts'
import { freePort } from './free-port.ts'
import { startGateway, type Running } from './gateway.ts'

export type Two = Running & { readonly staff: Idp; readonly partners: Idp; readonly port: number }

type Options = {
  readonly config?: Readonly<Record<string, unknown>>
  readonly idp?: IdpOptions
  /** Further keys of the providers. */
  readonly staff?: object
  readonly partners?: object
}

/** The secret of the gateway's clients at both providers. */
const clientSecret = 'a-secret-of-both-clients'

/** The client ID of the gateway at a provider. */
export const clientOf = (name: 'staff' | 'partners', port: number): string => `${name}-${port}`

/** Starts a gateway with two providers, at two hosts, so that their cookies differ. Only partners may open /partners/**, and only staff /staff/**. */
export const startTwo = async (t: Test, { config = {}, idp, ...more }: Options = {}): Promise<Two> => {
  const [staff, partners] = await Promise.all([startIdp(idp), startIdp({ ...idp, hostname: 'localhost' })])
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const register = async (at: Idp, name: 'staff' | 'partners'): Promise<void> => {
    await at.registerClient({
      clientId: clientOf(name, port),
      clientSecret,
      redirectUris: [`${url}/oauth2/callback/${name}`],
      postLogoutRedirectUris: [`${url}/oauth2/logout/callback`],
      backchannelLogoutUri: `${url}/oauth2/logout/backchannel`,
    })
  }
  await Promise.all([register(staff, 'staff'), register(partners, 'partners')])
  const entry = (at: Idp, name: 'staff' | 'partners') => ({
    issuer: at.issuer,
    clientId: clientOf(name, port),
    clientSecret,
    ...more[name],
  })
  const running = await startGateway(t, {
    idp: staff,
    port,
    config: {
      provider: null,
      providers: { staff: { title: 'Our staff', ...entry(staff, 'staff') }, partners: entry(partners, 'partners') },
      routes: [
        { path: '/**', headers: { set: { 'X-Provider': '{provider}' } } },
        { path: '/staff/**', provider: 'staff' },
        { path: '/partners/**', provider: ['partners'] },
        { path: '/open/**', provider: ['partners'], access: 'optional' },
      ],
      ...config,
    },
  })
  t.teardown(async () => {
    await Promise.all([staff.close(), partners.close()])
  })
  return { ...running, staff, partners, port }
}

/** Logs alice in at a provider, without the page to choose. */
export const loginAt = async (browser: Browser, { url }: Running, name: 'staff' | 'partners'): Promise<Answer> =>
  (await browser.login(`${url}/oauth2/login?provider=${name}&redirect=/`, 'alice')).answer

/** Returns the name of the session's provider, or the code of the response. */
export const providerOf = async (browser: Browser, { url }: Running): Promise<unknown> => {
  const answer = await browser.get(`${url}/oauth2/session`, { kind: 'script' })
  return answer.status === 200 ? answer.json()['provider'] : answer.headers.gatehouse
}
