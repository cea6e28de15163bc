import { readFileSync } from 'node:fs'
import t from 'tap'
import { modAuthOpenidc } from '../../src/migrate/apache/keys.ts'
import { oauth2ProxyAlpha } from '../../src/migrate/oauth2-proxy/alpha-config.ts'
import { oauth2Proxy } from '../../src/migrate/oauth2-proxy/keys.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import type { Rules } from '../../src/migrate/rule.ts'
import { wonderwall } from '../../src/migrate/wonderwall/keys.ts'

const text = readFileSync(new URL('../../docs/migrating.md', import.meta.url), 'utf8')

/** The keys of a peer's two tables: those that become a key of ours, and those that don't. */
function tablesOf(name: string): { carried: string[]; others: string[] } {
  const [, part = ''] = new RegExp(`<!-- keys: ${name} -->([^]*?)<!-- end of keys -->`).exec(text) ?? []
  const [carried = '', others = ''] = part.split('Keys without an equivalent:')
  const keys = (table: string): string[] => [...table.matchAll(/^\| `([^`]+)` \|/gm)].map(([, key = '']) => key)
  return { carried: keys(carried), others: keys(others) }
}

const known: Readonly<Record<string, Rules>> = {
  'oauth2-proxy': oauth2Proxy,
  'oauth2-proxy-alpha': oauth2ProxyAlpha,
  'mod_auth_openidc': modAuthOpenidc,
  wonderwall,
}

for (const [name, rules] of Object.entries(known)) {
  void t.test(`${name}: the tables list the keys that the command knows, each with the same target`, async (t) => {
    const { carried, others } = tablesOf(name)
    const keys = Object.keys(rules)
    t.same(carried.toSorted(), keys.filter((key) => rules[key]?.target !== null).toSorted())
    t.same(others.toSorted(), keys.filter((key) => rules[key]?.target === null).toSorted())
    t.ok(carried.length > 10 && others.length > 10)
  })
}

void t.test('oauth2-proxy: the command knows each key of the tables, and says the same about the key', async (t) => {
  const { carried, others } = tablesOf('oauth2-proxy')
  for (const key of [...carried, ...others]) {
    const migration = migrateFiles([{ name: 'one.cfg', text: `${key} = "x"\n` }])
    const said = migration.remarks.filter(({ setting }) => setting?.key === key).map((remark) => remark.text)
    t.notMatch(said.join('\n'), 'not a key of', key)
    t.ok(
      migration.settings.every((setting) => migration.handled.has(setting)),
      `${key} is in the result or named`,
    )
    if (others.includes(key)) t.ok(said.length > 0, `${key} is named`)
  }
})

void t.test('Wonderwall and mod_auth_openidc: the command knows each key of the tables', async (t) => {
  for (const key of Object.keys(wonderwall)) {
    const variable = /^[A-Z]/.test(key) ? key : `WONDERWALL_${key.toUpperCase().replace(/[^A-Z]/g, '_')}`
    const migration = migrateFiles([{ name: 'one.env', text: `WONDERWALL_LOG_LEVEL=info\n${variable}=x\n` }])
    t.ok(
      migration.settings.every((setting) => migration.handled.has(setting) && Object.hasOwn(wonderwall, setting.key)),
      variable,
    )
  }
  for (const key of Object.keys(modAuthOpenidc)) {
    const migration = migrateFiles([{ name: 'one.conf', text: `OIDCClientID x\n${key} x\n` }])
    t.ok(
      migration.settings.every((setting) => migration.handled.has(setting)),
      key,
    )
    t.notMatch(migration.remarks.map((remark) => remark.text).join('\n'), 'not a key of', key)
  }
})

void t.test('every file that docs/security.md names exists', async (t) => {
  const security = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8')
  const files = [...security.matchAll(/`((?:src|test)\/[\w./-]+\.ts)`/g)].map(([, file = '']) => file)
  t.ok(files.length > 30)
  for (const file of files) t.ok(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8').length > 0, file)
})
