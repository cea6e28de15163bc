import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { runProgram } from '../support/program.ts'

type Compose = {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly image?: string
        readonly ports?: readonly string[]
        readonly environment?: Readonly<Record<string, string>>
      }
    >
  >
}
type Realm = {
  readonly realm: string
  readonly clients: readonly {
    readonly clientId: string
    readonly secret: string
    readonly redirectUris: readonly string[]
    readonly attributes: Readonly<Record<string, string>>
  }[]
}

const example = (name: string): string =>
  readFileSync(new URL(`../../examples/compose/${name}`, import.meta.url), 'utf8')
const { services }: Compose = parse(example('compose.yaml'))
const { realm, clients }: Realm = JSON.parse(example('realm.json'))
const environment = { ...services['gatehouse']?.environment, GATEHOUSE_SESSION_KEYS: '' }

void t.test('the configuration is valid, with no warning but that of the missing session key', async (t) => {
  const { status, stdout, stderr } = await runProgram(t, ['check'], environment)
  t.equal(status, 0, stderr)
  t.same(stderr.match(/^warning: /gm)?.length, 1)
  t.match(stderr, 'session.keys')
  t.match(stdout, /^# \/admin\/\*\* +required .* groups: admin$/m)
  t.match(stdout, /^# \/public\/\*\* +public /m)
})

void t.test('the realm registers the client that the gateway is', async (t) => {
  const { GATEHOUSE_PUBLIC_URL: publicUrl = '' } = services['gatehouse']?.environment ?? {}
  const [client, ...others] = clients
  t.same(others, [])
  t.match(environment, {
    GATEHOUSE_PROVIDER_ISSUER: new RegExp(`/realms/${realm}$`),
    GATEHOUSE_PROVIDER_CLIENT_ID: client?.clientId,
    GATEHOUSE_PROVIDER_CLIENT_SECRET: client?.secret,
  })
  t.same(client?.redirectUris, [`${publicUrl}/oauth2/callback`])
  t.match(client?.attributes, {
    'post.logout.redirect.uris': `${publicUrl}/oauth2/logout/callback`,
    'backchannel.logout.url': 'http://gatehouse:8080/oauth2/logout/backchannel',
  })
})

void t.test('the services are reachable from this machine alone, and each image has a version', async (t) => {
  const { gatehouse, ...others } = services
  t.match(gatehouse, { build: '../..' })
  for (const [name, { image = '' }] of Object.entries(others)) t.match(image, /:v?\d/, name)
  for (const { ports = [] } of Object.values(services)) for (const port of ports) t.match(port, /^127\.0\.0\.1:/)
})
