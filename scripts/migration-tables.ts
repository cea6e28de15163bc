import { apacheDirectives } from '../src/migrate/apache/directives.ts'
import { modAuthOpenidc } from '../src/migrate/apache/keys.ts'
import { oauth2ProxyAlpha } from '../src/migrate/oauth2-proxy/alpha-config.ts'
import { oauth2Proxy } from '../src/migrate/oauth2-proxy/keys.ts'
import type { Rules } from '../src/migrate/rule.ts'
import { wonderwall } from '../src/migrate/wonderwall/keys.ts'
import { cell } from './reference.ts'

const tables: Readonly<Record<string, Rules>> = {
  'oauth2-proxy': oauth2Proxy,
  'oauth2-proxy-alpha': oauth2ProxyAlpha,
  'mod_auth_openidc': modAuthOpenidc,
  'apache': apacheDirectives,
  wonderwall,
}

export function withMigrationTables(text: string): string {
  return text.replace(
    /(<!-- keys: ([a-z0-9_-]+) -->\n)[^]*?(<!-- end of keys -->)/g,
    (_, start: string, name: string, end: string) => `${start}\n${tableOf(tables[name] ?? {})}\n${end}`,
  )
}

function tableOf(rules: Rules): string {
  const rows = Object.entries(rules)
  const carried = rows
    .filter(([, { target }]) => target !== null)
    .map(([key, { target, note }]) => `| \`${key}\` | \`${target ?? ''}\` | ${cell(note)} |`)
  const others = rows
    .filter(([, { target }]) => target === null)
    .map(([key, { note }]) => `| \`${key}\` | ${cell(note)} |`)
  return (
    `| Key | Gatehouse key | Difference |\n| --- | --- | --- |\n${carried.join('\n')}\n\n` +
    `Keys without an equivalent:\n\n| Key | What to do instead |\n| --- | --- |\n${others.join('\n')}\n`
  )
}
