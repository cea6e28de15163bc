import t from 'tap'
import { clientHeaders } from '../../src/http/proxy/response-headers.ts'

const isOwn = (name: string): boolean => name === 'gatehouse'

// Browsers keep `Set-Cookie: =gatehouse=x` as a cookie without a name, and send it as `gatehouse=x`.
void t.test('an application can’t set a gateway cookie by omitting the cookie’s name', (t) => {
  for (const line of [
    '=gatehouse=x',
    ' = gatehouse=x',
    '==gatehouse=x',
    'gatehouse',
    'gatehouse =x',
    '\tgatehouse=x; Path=/',
  ]) {
    t.same(clientHeaders(['Set-Cookie', line], isOwn).headers, [], line)
  }
  t.same(clientHeaders(['Set-Cookie', '=other=x'], isOwn).headers, ['Set-Cookie', '=other=x'])
  t.end()
})
