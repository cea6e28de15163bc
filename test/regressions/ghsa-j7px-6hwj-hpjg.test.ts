import t from 'tap'
import { returnTarget } from '../../src/gate/return-target.ts'

const origin = 'https://orders.example.com'

// oauth2-proxy (CVE-2020-11053) took a target with whitespace between its slashes for a path; browsers drop the
// whitespace.
void t.test('a return URL with whitespace between slashes is ignored', (t) => {
  for (const space of ['\t', '\n', '\v', '\f', '\r', '\r\n', '\0', '\t\t']) {
    for (const target of [
      `/${space}/evil.example`,
      `${space}//evil.example`,
      `/${space}\\evil.example`,
      `//${space}evil.example`,
      `https:${space}//evil.example`,
      `ht${space}tps://evil.example`,
    ]) {
      t.equal(returnTarget(target, origin), null, JSON.stringify(target))
    }
  }
  t.end()
})
