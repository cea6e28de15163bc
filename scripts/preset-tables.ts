import { stringify } from 'yaml'
import { presets, type Preset } from '../src/config/presets/table.ts'
import { cell } from './reference.ts'

/** Fills the page with the presets: the list of all of them, and the settings of each in its section. */
export function withPresetTables(text: string): string {
  return text
    .replace(/(<!-- presets -->\n)[^]*?(<!-- end of presets -->)/, (_, start: string, end: string) => {
      const rows = presets.map((preset) => `| \`${preset.name}\` | ${preset.title} | ${recognizedBy(preset)} |`)
      return `${start}\n${table(['`preset`', 'Provider', 'Recognized by'], rows)}\n${end}`
    })
    .replace(/(<!-- preset: ([a-z0-9-]+) -->\n)[^]*?(<!-- end of preset -->)/g, (_, start, name, end) => {
      const preset = presets.find((one) => one.name === name)
      if (preset === undefined)
        throw new Error(`docs/providers.md names the preset ${String(name)}, which is not in the table`)
      return `${start}\n${sectionOf(preset)}\n${end}`
    })
}

function table(head: readonly string[], rows: readonly string[]): string {
  return `| ${head.join(' | ')} |\n| ${head.map(() => '---').join(' | ')} |\n${rows.join('\n')}\n`
}

function sectionOf(preset: Preset): string {
  const settings: [string, string | null][] = [
    ['Recognized by', recognizedBy(preset)],
    ['`issuer`, unless you set it', code(preset.issuer)],
    ['`scopes`', code(preset.scopes?.join(' '))],
    ['Scope `offline_access`', preset.needsOfflineAccess === false ? 'not requested' : null],
    ['`authorizationParameters`', flow(preset.authorizationParameters)],
    ['`clientAuthentication`', code(preset.clientAuthentication)],
    ['`responseMode`', code(preset.responseMode)],
    ['`logout.url`', code(preset.logoutUrl)],
    ['`tolerate`', preset.tolerate === undefined ? null : code(preset.tolerate.join(', '))],
    ['Parameters that are never pushed', preset.lostWhenPushed?.map(code).join(', ') ?? null],
    ['`iss` of access tokens', code(preset.accessTokenIssuer)],
    [
      'Audience of access tokens',
      preset.audienceClaim === undefined ? null : `\`${preset.audienceClaim}\`, if there is no \`aud\``,
    ],
    ['Groups or roles', preset.groupClaim === undefined ? null : `claim \`${preset.groupClaim}\``],
  ]
  const rows = settings.flatMap(([name, value]) => (value === null ? [] : [`| ${name} | ${cell(value)} |`]))
  return `${wrapped(preset.note)}\n\n${table([`Preset \`${preset.name}\``, ''], rows)}`
}

const LINE_WIDTH = 120

function wrapped(text: string): string {
  let line = ''
  const lines: string[] = []
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > LINE_WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join('\n')
}

function code(value: string | undefined): string | null {
  return value === undefined ? null : `\`${value}\``
}

function flow(value: object | undefined): string | null {
  return value === undefined ? null : code(stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim())
}

function recognizedBy({ hosts, issuerPath, tokenPath }: Preset): string {
  const ways = [
    ...(hosts === undefined ? [] : [`the host ${hostsOf(hosts).map(code).join(', ')}`]),
    ...(issuerPath === undefined ? [] : ['a path for all tenants, such as `/common/v2.0`']),
    ...(tokenPath === undefined ? [] : [`the token endpoint \`${hostsOf(tokenPath).join('')}\``]),
  ]
  if (ways.length === 0) return 'only by its name in `preset`'
  return ways.join(issuerPath === undefined ? ' or ' : ' and ')
}

/** Returns what an expression of the table matches: each alternative by itself, with `*` for any label. */
function hostsOf({ source }: RegExp): string[] {
  const readable = source
    .replace(/^\^|\$$|\\\/\?\$$/g, '')
    .replace(/\(\?:\[a-z0-9-\]\+\\\.\)[+*]/g, '*.')
    .replaceAll('[a-z0-9-]+', '*')
    .replaceAll('[^/]+', '*')
    .replace(/\\(.)/g, '$1')
  const expand = (text: string): string[] => {
    const [whole, alternatives] = /\(\?:([^()]*)\)/.exec(text) ?? []
    if (whole === undefined || alternatives === undefined) return [text]
    return alternatives.split('|').flatMap((one) => expand(text.replace(whole, one)))
  }
  return [...new Set(expand(readable))]
}
