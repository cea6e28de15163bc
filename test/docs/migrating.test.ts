import { readFileSync } from 'node:fs'
import t from 'tap'
import { modAuthOpenidc } from '../../src/migrate/apache/keys.ts'
import { oauth2ProxyAlpha } from '../../src/migrate/oauth2-proxy/alpha.ts'
import { oauth2Proxy } from '../../src/migrate/oauth2-proxy/keys.ts'
import { migrateFiles } from '../../src/migrate/peer.ts'
import type { Rules } from '../../src/migrate/rule.ts'
import { wonderwall } from '../../src/migrate/wonderwall.ts'

const text = readFileSync(new URL('../../docs/migrating.md', import.meta.url), 'utf8')

/** The keys of a peer's two tables: those that become a key of ours, and those that don't. */
function tablesOf(name: string): { carried: string[]; others: string[] } {
  const [, part = ''] = new RegExp(`<!-- keys: ${name} -->([^]*?)<!-- end of keys -->`).exec(text) ?? []
  const [carried = '', others = ''] = part.split('Without a key here:')
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
  void t.test(`${name}: the tables have the keys that the command knows, on the side where it puts them`, async (t) => {
    const { carried, others } = tablesOf(name)
    const keys = Object.keys(rules)
    t.same(carried.toSorted(), keys.filter((key) => rules[key]?.ours !== null).toSorted())
    t.same(others.toSorted(), keys.filter((key) => rules[key]?.ours === null).toSorted())
    t.ok(carried.length > 10 && others.length > 10)
  })
}

void t.test(
  'oauth2-proxy: each key of the tables alone is known to the command, which says of it what the table says',
  async (t) => {
    const { carried, others } = tablesOf('oauth2-proxy')
    for (const key of [...carried, ...others]) {
      const { draft, entries } = migrateFiles([{ name: 'one.cfg', text: `${key} = "x"\n` }])
      const said = draft.remarks.filter(({ entry }) => entry?.key === key).map((remark) => remark.text)
      t.notMatch(said.join('\n'), 'not a key of', key)
      t.ok(
        entries.every((entry) => draft.done.has(entry)),
        `${key} is in the result or named`,
      )
      if (others.includes(key)) t.ok(said.length > 0, `${key} is named`)
    }
  },
)

void t.test('Wonderwall and mod_auth_openidc: the same', async (t) => {
  for (const key of Object.keys(wonderwall)) {
    const variable = /^[A-Z]/.test(key) ? key : `WONDERWALL_${key.toUpperCase().replace(/[^A-Z]/g, '_')}`
    const { draft, entries } = migrateFiles([{ name: 'one.env', text: `WONDERWALL_LOG_LEVEL=info\n${variable}=x\n` }])
    t.ok(
      entries.every((entry) => draft.done.has(entry) && Object.hasOwn(wonderwall, entry.key)),
      variable,
    )
  }
  for (const key of Object.keys(modAuthOpenidc)) {
    const { draft, entries } = migrateFiles([{ name: 'one.conf', text: `OIDCClientID x\n${key} x\n` }])
    t.ok(
      entries.every((entry) => draft.done.has(entry)),
      key,
    )
    t.notMatch(draft.remarks.map((remark) => remark.text).join('\n'), 'not a key of', key)
  }
})

void t.test('every file that docs/security.md names as proof is there', async (t) => {
  const security = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8')
  const files = [...security.matchAll(/`((?:src|test)\/[\w./-]+\.ts)`/g)].map(([, file = '']) => file)
  t.ok(files.length > 30)
  for (const file of files) t.ok(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8').length > 0, file)
})
