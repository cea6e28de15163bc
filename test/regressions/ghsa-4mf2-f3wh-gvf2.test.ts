import t from 'tap'
import { returnTarget } from '../../src/gate/return-target.ts'

// oauth2-proxy (CVE-2021-21291) allowed a domain that only ended like an allowed one.
void t.test('a host that resembles the gateway’s is not accepted', (t) => {
  const origin = 'https://example.com'
  for (const host of [
    'evilexample.com',
    'evil.example.com',
    'example.com.evil',
    'example.com:8443',
    'example.com%2eevil',
    'example.com@evil',
    'xn--example-com',
    'exаmple.com',
    'example.com。evil',
  ]) {
    t.equal(returnTarget(`https://${host}/x`, origin), null, host)
    t.equal(returnTarget(`//${host}/x`, origin), null, host)
  }
  t.equal(returnTarget('https://example.com/x', origin), '/x')
  t.end()
})
