import { put, remark } from '../migration.ts'
import { always, becomes, noEquivalent, type Rule, type Rules } from '../rule.ts'
import { flagOf, listOf, literal, textOf } from '../setting.ts'

const LOGS = 'logs are JSON lines on stdout: set log.level, and leave files, formats and rotation to the log collector'
const EVENTS = 'logins, logouts and denied requests are always logged, as JSON lines with their name in `event`'
const REQUEST_ID = 'X-Request-Id'

/** The fields of a request log format that access lines have only if `log.fields` lists them. */
const FIELDS = { ResponseSize: 'bytes', UserAgent: 'user_agent' }

const requestLog = becomes('log.exclude', (setting, migration) => {
  if (flagOf(setting) === false) put(migration, 'log.exclude', ['/**'], setting)
  else remark(migration, 'builtin', setting, 'each request has an access line')
})

const format = becomes(
  'log.user, log.fields',
  (setting, migration) => {
    const named = (field: string): boolean => new RegExp(`\\.${field}\\b`).test(textOf(setting))
    const fields = Object.entries(FIELDS).flatMap(([name, field]) => (named(name) ? [field] : []))
    put(migration, 'log.user', named('Username') ? 'email' : 'none', setting)
    if (fields.length > 0) put(migration, 'log.fields', fields, setting)
  },
  'access lines are JSON with fixed names; the user, the user agent and the size of the response are carried over',
)

const excluded = becomes('log.exclude', (setting, migration) => {
  const off = migration.effective.get('request_logging')
  if (off !== undefined && flagOf(off) === false) return put(migration, 'log.exclude', ['/**'], off, setting)
  const paths = listOf(setting)
  const usable = paths.filter((path) => /^\/[^*?#%\\\s]*$/.test(path))
  if (usable.length > 0) put(migration, 'log.exclude', usable.map(literal), setting)
  if (usable.length < paths.length || paths.length === 0)
    remark(migration, 'gap', setting, 'some paths are left out: write them under log.exclude, percent-encoded')
})

const requestIdHeader: Rule = becomes('trustedProxies', (setting, migration) => {
  if (textOf(setting).toLowerCase() === REQUEST_ID.toLowerCase())
    remark(migration, 'builtin', setting, 'the X-Request-Id of a proxy in trustedProxies is the id of the request')
  else
    remark(
      migration,
      'gap',
      setting,
      `the id is read from ${REQUEST_ID} only: let the proxy in front send it there; headers.set with {request.id} ` +
        'sends it to the application under another name',
    )
})

export const logs: Rules = {
  auth_logging: always(true, EVENTS, 'differs'),
  auth_logging_format: noEquivalent(LOGS),
  request_logging: requestLog,
  request_logging_format: format,
  standard_logging: noEquivalent(LOGS),
  standard_logging_format: noEquivalent(LOGS),
  errors_to_info_log: noEquivalent(LOGS),
  exclude_logging_paths: excluded,
  logging_local_time: noEquivalent('times are in UTC'),
  silence_ping_logging: noEquivalent('requests to the admin listener, which has the health, have no lines', 'builtin'),
  logging_filename: noEquivalent(LOGS),
  logging_max_size: noEquivalent(LOGS),
  logging_max_age: noEquivalent(LOGS),
  logging_max_backups: noEquivalent(LOGS),
  logging_compress: noEquivalent(LOGS),
  request_id_header: requestIdHeader,
}
