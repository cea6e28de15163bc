import t from 'tap'
import { isCrossOrigin, passesCsrfCheck } from '../../src/gate/csrf.ts'
import { compiled, factsOf, origin, sessionOf } from './request.ts'

const rows: [headers: Record<string, string>, cross: boolean][] = [
  [{}, false],
  [{ 'sec-fetch-site': 'same-origin' }, false],
  [{ 'sec-fetch-site': 'none' }, false],
  [{ 'sec-fetch-site': 'same-site' }, true],
  [{ 'sec-fetch-site': 'cross-site' }, true],
  [{ 'sec-fetch-site': 'cross-site', origin }, true],
  [{ 'sec-fetch-site': 'same-origin', 'origin': 'https://evil.example' }, false],
  [{ 'sec-fetch-site': 'garbage', 'origin': 'https://evil.example' }, true],
  [{ origin }, false],
  [{ origin: 'https://evil.example' }, true],
  [{ origin: 'http://orders.example.com' }, true],
  [{ origin: `${origin}:8443` }, true],
  [{ origin: `${origin}.evil.example` }, true],
  [{ origin: 'null' }, true],
  [{ origin: '' }, true],
]

void t.test('Sec-Fetch-Site, otherwise Origin, tells whether another origin sent a request', (t) => {
  for (const [headers, cross] of rows) t.equal(isCrossOrigin(factsOf({ headers })), cross, JSON.stringify(headers))
  t.end()
})

const foreign = { 'sec-fetch-site': 'cross-site' }

void t.test('with a session every unsafe method has to prove its origin', (t) => {
  for (const method of ['GET', 'HEAD', 'OPTIONS'])
    t.ok(passesCsrfCheck(factsOf({ method, headers: foreign }), compiled(), sessionOf()), method)
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'QUERY', 'get']) {
    t.notOk(passesCsrfCheck(factsOf({ method, headers: foreign }), compiled(), sessionOf()), method)
    t.ok(passesCsrfCheck(factsOf({ method, headers: { origin } }), compiled(), sessionOf()), `${method} from here`)
  }
  t.end()
})

void t.test('a WebSocket counts as unsafe; without Origin it passes', (t) => {
  const upgrade = { upgrade: 'websocket', connection: 'Upgrade' }
  t.notOk(
    passesCsrfCheck(factsOf({ headers: { ...upgrade, origin: 'https://evil.example' } }), compiled(), sessionOf()),
  )
  t.ok(passesCsrfCheck(factsOf({ headers: { ...upgrade, origin } }), compiled(), sessionOf()))
  t.ok(passesCsrfCheck(factsOf({ headers: upgrade }), compiled(), sessionOf()))
  for (const site of ['same-origin', 'none']) {
    const headers = { ...upgrade, 'origin': 'https://evil.example', 'sec-fetch-site': site }
    t.notOk(passesCsrfCheck(factsOf({ headers }), compiled(), sessionOf()), `a foreign Origin outweighs ${site}`)
    t.ok(passesCsrfCheck(factsOf({ headers: { ...headers, origin } }), compiled(), sessionOf()))
  }
  t.end()
})

void t.test('without a session, or with csrf: off, every request passes', (t) => {
  t.ok(passesCsrfCheck(factsOf({ method: 'POST', headers: foreign }), compiled(), null))
  t.ok(passesCsrfCheck(factsOf({ method: 'POST', headers: foreign }), compiled({ csrf: 'off' }), sessionOf()))
  t.end()
})
