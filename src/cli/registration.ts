import { presetOf } from '../config/presets/apply.ts'
import type { RegistrationNames } from '../config/presets/table.ts'
import { providersOf, type Config, type ProviderSettings } from '../config/schema.ts'
import { callbackPath } from '../http/endpoints/endpoint.ts'

type Settings = Pick<Config, 'basePath' | 'publicUrl' | 'loginHost'>

/** Returns the URLs under which browsers reach the gateway's own endpoints for a login: one, or each public URL. */
function loginBases({ basePath, publicUrl, loginHost }: Settings): string[] {
  return (loginHost === null ? publicUrl : [loginHost]).map((origin) => origin + basePath)
}

/** Returns the redirect URIs of a provider, one for each public URL, or the one of `loginHost`. */
export function redirectUrisOf(config: Settings, provider: Pick<ProviderSettings, 'name'>): string[] {
  return loginBases(config).map((base) => `${base}/${callbackPath(provider)}`)
}

/** The URLs to register besides redirect URIs, in the words of the specifications, and when to register them. */
const URLS = [
  { of: 'postLogout', name: 'post-logout redirect URI', path: 'logout/callback', when: '' },
  { of: 'backchannel', name: 'back-channel logout URL', path: 'logout/backchannel', when: 'if the provider has it' },
  {
    of: 'frontchannel',
    name: 'front-channel logout URL',
    path: 'logout/frontchannel',
    when: 'otherwise, with frontchannel_logout_session_required',
  },
  { of: 'login', name: 'initiate login URI', path: 'login', when: 'for logins that begin at the provider' },
] as const satisfies readonly { readonly of: keyof RegistrationNames; name: string; path: string; when: string }[]

interface Row {
  readonly name: string
  readonly url: string
  readonly when: string
}

/** Returns the URLs to register at each provider, in the provider's words where its preset knows them, as YAML comments. */
export function registration(config: Pick<Config, 'provider' | 'providers'> & Settings): string {
  return providersOf(config)
    .map((provider) => {
      const preset = presetOf(provider)
      const key = provider.name === undefined ? [] : [`providers.${provider.name}`]
      const title = preset === null ? [] : [preset.title]
      const rows = rowsOf(config, provider, preset?.registration ?? null)
      const width = Math.max(...rows.map(({ name }) => name.length))
      const lines = rows.map(
        ({ name, url, when }) => `#   ${name.padEnd(width)}  ${url}${when === '' ? '' : `  (${when})`}\n`,
      )
      return `# Register at the provider (${[...key, ...title, provider.issuer].join(', ')}):\n${lines.join('')}`
    })
    .join('#\n')
}

/** `names`: the provider's words, or `null` if its settings are not known. */
function rowsOf(config: Settings, provider: ProviderSettings, names: RegistrationNames | null): Row[] {
  const bases = loginBases(config)
  const redirect = named('redirect URI', names?.redirect)
  const others = URLS.flatMap(({ of, name, path, when }) => {
    const own = names?.[of]
    // Only some consoles have a field for the login, and those that the table describes name it.
    if (own === null || (of === 'login' && names !== null && own === undefined)) return []
    return bases.map((base): Row => ({
      name: named(name, own),
      url: `${base}/${path}`,
      when: own === undefined ? when : '',
    }))
  })
  return [...redirectUrisOf(config, provider).map((url): Row => ({ name: redirect, url, when: '' })), ...others]
}

/** Returns the name in the specifications, with the provider's own name for it if that differs. */
function named(name: string, own: string | undefined): string {
  return own === undefined || lettersOf(own) === lettersOf(name) ? name : `${name}: "${own}"`
}

function lettersOf(text: string): string {
  return text.toLowerCase().replaceAll(/[^a-z]/g, '')
}
