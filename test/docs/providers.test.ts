import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { presets } from '../../src/config/presets/table.ts'
import { createAuthority } from '../support/certificates.ts'
import { asFile } from '../support/gateway.ts'

const page = readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8')
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()
const env = {
  OIDC_CLIENT_SECRET: 'hush',
  OIDC_PRIVATE_KEY: key,
  OIDC_DECRYPTION_KEY: key,
  STAFF_SECRET: 'hush',
  PARTNERS_SECRET: 'hush',
  SESSION_KEY: Buffer.alloc(32, 7).toString('base64'),
}
const sections = page.split(/^(?=## )/m)
const examplesOf = (text: string): string[] =>
  [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, example = '']) => example)

for (const preset of presets) {
  void t.test(`${preset.name}: the section's examples are complete and load, with this preset`, async (t) => {
    const section = sections.find((text) => text.includes(`<!-- preset: ${preset.name} -->`)) ?? ''
    t.ok(section.startsWith(`## ${preset.title}\n`))
    t.ok(page.includes(`| \`${preset.name}\` | ${preset.title} |`), 'and the list of presets has it')
    const examples = examplesOf(section)
    t.ok(examples.length > 0)
    for (const example of examples) {
      const { config, warnings } = loadConfig({ env, file: asFile(t, parse(example)) })
      // A self-hosted product is recognized only by its metadata.
      t.equal(
        config.provider?.preset,
        preset.hosts === undefined && !example.includes('preset: ') ? 'auto' : preset.name,
      )
      t.same(
        warnings.filter((warning) => !(preset.tolerate ?? []).includes('no-pkce') || !warning.includes('tolerate')),
        [],
      )
    }
  })
}

void t.test('examples outside the sections of providers load together with the required keys', async (t) => {
  const least = { publicUrl: 'https://orders.example.com', upstream: 'http://127.0.0.1:3000' }
  const provider = { issuer: 'https://login.example.com', clientId: 'orders', clientSecret: 'hush' }
  const authority = createAuthority()
  const { cert, key } = authority.issue(['orders'])
  const folder = t.testdir({ certFile: cert, keyFile: key, caFile: authority.ca })
  for (const section of sections.filter((text) => !text.includes('<!-- preset: '))) {
    for (const example of examplesOf(section)) {
      const written: { provider?: object; providers?: object } = parse(
        example
          .replace(/\$\{file:[^}]*\}/g, '${OIDC_PRIVATE_KEY}')
          .replace(/\b(certFile|keyFile|caFile): [^\s,}]+/g, (_, name: string) => `${name}: ${folder}/${name}`),
      )
      // A manifest of Kubernetes beside an example is no configuration of the gateway.
      if (written.provider === undefined && written.providers === undefined) continue
      const file = asFile(t, {
        ...least,
        ...written,
        ...(written.providers === undefined ? { provider: { ...provider, ...written.provider } } : {}),
      })
      t.doesNotThrow(() => loadConfig({ env, file }), example)
    }
  }
})
