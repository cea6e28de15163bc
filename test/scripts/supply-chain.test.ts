import { readFileSync } from 'node:fs'
import t from 'tap'
import { readAudit } from '../../scripts/audit.ts'

interface Package {
  readonly version?: string
  readonly dev?: boolean
  readonly engines?: { readonly node?: string }
}

const lock: { packages: Record<string, Package> } = JSON.parse(
  readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8'),
)
const production = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && dev !== true)

const counts = (high: number, critical: number) => ({
  metadata: { vulnerabilities: { info: 0, low: 1, moderate: 2, high, critical, total: 3 + high + critical } },
})

void t.test('the audit fails only on high and critical vulnerabilities', async (t) => {
  t.equal(readAudit(JSON.stringify(counts(0, 0))).status, 'clean')
  t.equal(readAudit(JSON.stringify(counts(1, 0))).status, 'vulnerable')
  t.equal(readAudit(JSON.stringify(counts(0, 1))).status, 'vulnerable')
})

void t.test('the audit passes without a response only if the registry is unreachable', async (t) => {
  for (const statusCode of [404, 405])
    t.equal(readAudit(JSON.stringify({ message: `${statusCode} no`, statusCode })).status, 'unavailable')
  t.equal(readAudit(JSON.stringify({ error: { code: 'EAI_AGAIN', summary: 'no network' } })).status, 'unavailable')
  t.equal(readAudit(JSON.stringify({ message: '401 Unauthorized', statusCode: 401 })).status, 'failed')
  t.equal(readAudit(JSON.stringify({ error: { code: 'ENOLOCK', summary: 'no lockfile' } })).status, 'failed')
  t.equal(readAudit('').status, 'failed')
})

void t.test('all packages support Node 20.19, so that npm ci has nothing to warn about', async (t) => {
  for (const [path, { engines }] of Object.entries(lock.packages)) {
    const wanted = engines?.node ?? '*'
    const majors = wanted.split('||').map((one) => /(\^|>=?)?\s*v?(\d+)(?:\.(\d+))?/.exec(one) ?? [])
    const fits =
      wanted === '*' ||
      majors.some(([, operator = '', major = '', minor = '0']) =>
        operator.startsWith('>')
          ? Number(major) < 20 || (Number(major) === 20 && Number(minor) <= 19)
          : Number(major) === 20 && Number(minor) <= 19,
      )
    t.ok(fits, `${path}: ${wanted}`)
  }
})

void t.test('no package is older than its security fixes', async (t) => {
  const floors: [name: string, floor: readonly number[]][] = [
    ['fastify', [5, 8, 3]],
    ['@fastify/reply-from', [12, 6, 4]],
    ['@fastify/http-proxy', [11, 6, 3]],
    ['undici', [7, 24, 0]],
  ]
  for (const [name, floor] of floors) {
    const found = production.filter(
      ([path]) => path === `node_modules/${name}` || path.endsWith(`/node_modules/${name}`),
    )
    t.ok(found.length > 0, name)
    for (const [path, { version = '' }] of found) {
      const parts = version.split('.').map(Number)
      const order = floor.map((least, index) => Math.sign((parts[index] ?? 0) - least)).find((sign) => sign !== 0) ?? 0
      t.ok(order >= 0, `${path} ${version}`)
    }
  }
})
