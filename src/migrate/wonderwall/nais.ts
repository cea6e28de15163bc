import { readYaml } from '../readers/yaml.ts'
import { flagOf, type Setting, textOf, UNREAD } from '../setting.ts'

const APPLICATION = /^apiVersion:\s*["']?nais\.io\/[\w.]+["']?\s*$/m
const SIDECAR = /^\s+(?:sidecar|login)\s*:/m

/** What a value in an Application of NAIS, which starts Wonderwall as a sidecar, sets. */
const KEYS: Readonly<Record<string, string>> = {
  'spec.ingresses': 'ingress',
  'spec.port': 'upstream-host',
  'spec.login.provider': 'openid.provider',
  'spec.login.enforce.enabled': 'auto-login',
  'spec.login.enforce.excludePaths': 'auto-login-ignore-paths',
  'spec.idporten.sidecar.autoLogin': 'auto-login',
  'spec.idporten.sidecar.autoLoginIgnorePaths': 'auto-login-ignore-paths',
  'spec.idporten.sidecar.level': 'openid.acr-values',
  'spec.idporten.sidecar.locale': 'openid.ui-locales',
  'spec.azure.sidecar.autoLogin': 'auto-login',
  'spec.azure.sidecar.autoLoginIgnorePaths': 'auto-login-ignore-paths',
}

const OF_PLATFORM = 'the platform applies it to the pod or to the provider, and not Wonderwall: keep it there'
const OPEN_FOR_PROBES =
  'the platform excluded the path from auto-login, and it needs a session here: let probes and Prometheus ask the application, ' +
  'or add a route with access: optional'
const OF_PROBES = /^spec\.(?:prometheus|liveness|readiness)\.path$/
const ENABLED = /^spec\.(idporten|azure)\.sidecar\.enabled$/
const OF_LOGIN = /^spec\.(?:login|idporten|azure)\./

/** Returns whether a text is an Application of NAIS with a Wonderwall sidecar. */
export function isNaisApplication(text: string): boolean {
  return APPLICATION.test(text) && SIDECAR.test(text)
}

/** Reads what the Applications of NAIS in a file set for Wonderwall. */
export function readNaisApplication(text: string, file: string): Setting[] {
  const settings: Setting[] = []
  let before = ''
  for (const document of text.split(/^(?=---\s*$)/m)) {
    // Empty lines keep the numbers of the lines.
    const padded = before.replace(/[^\n]/g, '') + document.replace(/^---.*/, '')
    if (isNaisApplication(document)) settings.push(...readYaml(padded, file).flatMap(settingOf))
    before += document
  }
  return settings
}

function settingOf(setting: Setting): Setting[] {
  const { key } = setting
  const [, provider] = ENABLED.exec(key) ?? []
  if (provider !== undefined)
    return flagOf(setting) === true
      ? [{ ...setting, key: 'openid.provider', value: provider }]
      : [withNote(setting, 'it is off')]
  if (OF_PROBES.test(key)) return [withNote(setting, OPEN_FOR_PROBES)]
  const known = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined
  if (known === 'upstream-host') return [{ ...setting, key: known, value: `127.0.0.1:${textOf(setting)}` }]
  if (known !== undefined) return [{ ...setting, key: known }]
  return OF_LOGIN.test(key) ? [withNote(setting, OF_PLATFORM)] : []
}

function withNote(setting: Setting, text: string): Setting {
  return { ...setting, key: UNREAD, note: { grade: 'differs', text } }
}
