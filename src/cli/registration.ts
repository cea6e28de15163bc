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

/** The URLs to register, in the words of the specifications. Most providers have only some of the logout URLs. */
const URLS = [
  { of: 'postLogout', name: 'post-logout redirect URI', path: 'logout/callback', note: '' },
  { of: 'backchannel', name: 'back-channel logout URL', path: 'logout/backchannel', note: 'if the provider has it' },
  {
    of: 'frontchannel',
    name: 'front-channel logout URL',
    path: 'logout/frontchannel',
    note: 'otherwise, with frontchannel_logout_session_required',
  },
  { of: 'login', name: 'initiate login URI', path: 'login', note: 'if users start at the provider' },
] as const satisfies readonly { readonly of: keyof RegistrationNames; name: string; path: string; note: string }[]

/** Returns the URLs to register at each provider, in the provider's words where its preset knows them, as YAML comments. */
export function registration(config: Pick<Config, 'provider' | 'providers'> & Settings): string {
  return providersOf(config)
    .map((provider) => {
      const preset = presetOf(provider)
      const at = [provider.name === undefined ? null : `providers.${provider.name}`, preset?.title, provider.issuer]
      const rows = rowsOf(config, provider, preset?.registration ?? {})
      const width = Math.max(...rows.map(([name]) => name.length))
      const lines = rows.map(([name, url, note]) => `#   ${name.padEnd(width)}  ${url}${note === '' ? '' : `  (${note})`}`)
      return `# Register at the provider (${at.filter((one) => (one ?? '') !== '').join(', ')}):\n${lines.join('\n')}\n`
    })
    .join('#\n')
}

function rowsOf(config: Settings, provider: ProviderSettings, names: RegistrationNames): [string, string, string][] {
  const bases = loginBases(config)
  const { redirect } = names
  const others = URLS.flatMap(({ of, name, path, note }) => {
    const own = names[of]
    // A provider with a name for its setting has the setting.
    return own === null || (of === 'login' && own === undefined)
      ? []
      : bases.map((base): [string, string, string] => [named(name, own), `${base}/${path}`, own === undefined ? note : ''])
  })
  return [
    ...redirectUrisOf(config, provider).map((url): [string, string, string] => [named('redirect URI', redirect), url, '']),
    ...others,
  ]
}

/** Returns the name in the specifications, with the provider's own name for it if that differs. */
function named(name: string, own: string | undefined): string {
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[^a-z]/g, '')
  return own === undefined || plain(own) === plain(name) ? name : `${name}: "${own}"`
}
