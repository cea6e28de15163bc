import t from 'tap'
import { parse } from 'yaml'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import type { Migration } from '../../src/migrate/migration.ts'
import { writeYaml } from '../../src/migrate/write.ts'

type Written = {
  readonly log?: { readonly user?: string; readonly fields?: string[]; readonly exclude?: string[] }
  readonly routes: { readonly headers?: { readonly set?: Record<string, string> } }[]
}

const migrated = (lines: string): { log: Written['log']; remarks: Migration['remarks'] } => {
  const text = `client_id = "a"\nemail_domains = ["*"]\nupstreams = ["http://app:80"]\n${lines}\n`
  const migration = migrateFiles([{ name: 'one.cfg', text }])
  const written: Written = parse(writeYaml(migration))
  return {
    log: written.log,
    remarks: migration.remarks.filter(({ setting }) => /log|request_id/.test(setting?.key ?? '')),
  }
}

void t.test('oauth2-proxy: paths without a line in the request log are carried over', async (t) => {
  t.same(migrated('exclude_logging_paths = ["/ping", "/static/app.js"]').log, { exclude: ['/ping', '/static/app.js'] })
  t.same(migrated('exclude_logging_paths = "/ping,/ready"').log, { exclude: ['/ping', '/ready'] })
  const some = migrated('exclude_logging_paths = ["/ping", "no-path", "/a b"]')
  t.same(some.log, { exclude: ['/ping'] })
  t.match(some.remarks, [{ grade: 'gap', text: /left out/ }])
})

void t.test('oauth2-proxy: without request_logging there are no access lines', async (t) => {
  t.same(migrated('request_logging = false').log, { exclude: ['/**'] })
  t.same(migrated('exclude_logging_paths = ["/ping"]\nrequest_logging = false').log, { exclude: ['/**'] })
  const on = migrated('request_logging = true\nsilence_ping_logging = true')
  t.equal(on.log, undefined)
  t.match(on.remarks, [{ grade: 'builtin' }, { grade: 'builtin' }])
})

void t.test('oauth2-proxy: the format of the request log decides about user, user agent and size', async (t) => {
  t.same(
    migrated(
      'request_logging_format = "{{.Client}} {{.Username}} {{.RequestURI}} {{.UserAgent}} {{.StatusCode}} {{.ResponseSize}}"',
    ).log,
    { user: 'email', fields: ['bytes', 'user_agent'] },
  )
  const bare = migrated('request_logging_format = "{{.Client}} {{.RequestURI}}"')
  t.same(bare.log, { user: 'none' })
  t.match(bare.remarks, [{ grade: 'differs', text: /JSON/ }])
})

void t.test('oauth2-proxy: the id of a request is read from X-Request-Id alone', async (t) => {
  t.match(migrated('request_id_header = "X-Request-ID"').remarks, [{ grade: 'builtin' }])
  t.match(migrated('request_id_header = "X-Correlation-Id"').remarks, [{ grade: 'gap', text: /\{request\.id\}/ }])
  t.match(migrated('auth_logging = false').remarks, [{ grade: 'differs' }])
})

void t.test('mod_auth_openidc: UNIQUE_ID becomes the id of the request', async (t) => {
  const text = [
    'OIDCProviderMetadataURL https://login.example.com/.well-known/openid-configuration',
    'OIDCClientID a',
    'OIDCRedirectURI https://orders.example.com/oauth2/callback',
    '<Location />',
    '  AuthType openid-connect',
    '  Require valid-user',
    '  RequestHeader set X-Correlation-Id "%{UNIQUE_ID}e"',
    '</Location>',
    'ProxyPass / http://app:80/',
  ].join('\n')
  const written: Written = parse(writeYaml(migrateFiles([{ name: 'apache.conf', text }])))
  t.match(written.routes, [{ headers: { set: { 'X-Correlation-Id': '{request.id}' } } }])
})
