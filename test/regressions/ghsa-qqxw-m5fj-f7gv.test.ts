import t from 'tap'
import { returnTarget } from '../../src/gate/return-target.ts'

const origin = 'https://orders.example.com'

// oauth2_proxy (CVE-2020-5233, and again CVE-2020-4037) recognized a path by its first slash; browsers read more forms
// as hosts.
void t.test('a return URL that starts like a path but is read as a host is ignored', (t) => {
  for (const target of [
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '/\\/evil.example',
    '\\/evil.example',
    '\\\\evil.example',
    '/./\\evil.example',
    '/.//evil.example',
    '/a/..//evil.example',
    '/a/../\\evil.example',
  ]) {
    t.equal(returnTarget(target, origin), null, target)
  }
  t.end()
})
