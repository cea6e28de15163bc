import t from 'tap'
import { kindOfError, readAuthorizationResponse } from '../../src/oidc/authorization-response.ts'

const read = (query: string) => readAuthorizationResponse(new URLSearchParams(query))

void t.test('a response with one code or one error is accepted', (t) => {
  t.match(read('code=abc&state=s&iss=https%3A%2F%2Fidp'), { type: 'code', code: 'abc', iss: 'https://idp' })
  t.match(read('code=a%20b.~%2F%2B%3D'), { type: 'code', iss: null })
  t.match(read('code=x&session_state=y&scope=openid&authuser=0'), { type: 'code' }, 'other parameters are ignored')
  t.match(read('error=access_denied&error_description=no&state=s'), { type: 'error', error: 'access_denied' })
  t.match(
    read('error=&code=x'),
    { type: 'code' },
    'a parameter without a value counts as omitted (RFC 6749, section 3.1)',
  )
  t.end()
})

void t.test('any other response is malformed', (t) => {
  const queries = [
    '',
    'state=s',
    'code=',
    'error=&code=',
    'code=a&code=b',
    'code=a&code=a',
    'code=a&state=s&state=s',
    'code=a&iss=x&iss=x',
    'error=a&error=b',
    'error=a&error_description=b&error_description=c',
    'code=a&error=b',
    'code=a&id_token=x',
    'code=a&id_token=',
    'code=a&response=x',
    'code=a&token=x',
    'code=a&access_token=x',
    'error=access_denied&response=x',
    'code=%00',
    'code=a%0d%0ab',
    'code=%C3%A9',
    'code=%FF',
    `code=${'x'.repeat(8193)}`,
  ]
  for (const query of queries) t.match(read(query), { type: 'malformed', problem: /^the c/ }, query.slice(0, 60))
  t.end()
})

void t.test('an error is read with its description', (t) => {
  const rows: [error: string, description: string, promptNone: boolean, kind: string][] = [
    ['access_denied', '', false, 'canceled'],
    ['user_cancelled_authorize', '', false, 'canceled'],
    ['user_cancelled_login', '', false, 'canceled'],
    ['user_canceled', '', false, 'canceled'],
    ['user_denied', '', false, 'canceled'],
    ['temporarily_unavailable', '', false, 'passing'],
    ['temporarily_unavailable', 'authentication_expired', false, 'passing'],
    ['authentication_expired', '', false, 'passing'],
    ['login_required', '', false, 'passing'],
    ['login_required', '', true, 'needs-user'],
    ['interaction_required', '', false, 'needs-user'],
    ['consent_required', '', true, 'needs-user'],
    ['account_selection_required', '', true, 'needs-user'],
    ['unmet_authentication_requirements', '', false, 'unmet'],
    ['server_error', '', false, 'server'],
    ['invalid_request', '', false, 'refused'],
    ['invalid_scope', '', false, 'refused'],
    ['unauthorized_client', '', false, 'refused'],
    ['<svg onload=alert(1)>', '', false, 'refused'],
    ['a\r\nSet-Cookie: b', '', false, 'refused'],
  ]
  for (const [error, description, promptNone, kind] of rows)
    t.equal(kindOfError({ type: 'error', error, description, iss: null }, promptNone), kind, `${error} ${description}`)
  t.end()
})
