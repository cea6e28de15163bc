import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'

void t.test(
  'the admin listener takes a DELETE whatever the client says of its body, and its errors are problems',
  async (t) => {
    const port = await freePort()
    await startGateway(t, { config: { admin: { listen: `127.0.0.1:${port}` } } })
    const ask = async (method: string, path: string, init: RequestInit = {}) =>
      fetch(`http://127.0.0.1:${port}${path}`, { method, ...init })

    for (const path of ['/sessions?sub=alice', '/sessions/nobody']) {
      for (const init of [{}, { body: '' }, { body: '{' }]) {
        const { status } = await ask('DELETE', path, { ...init, headers: { 'content-type': 'application/json' } })
        t.equal(status, 204, `${path} ${JSON.stringify(init)}`)
      }
    }
    for (const [method, path, status, code] of [
      ['GET', '/', 404, 'not_found'],
      ['POST', '/sessions', 404, 'not_found'],
      ['GET', '/sessions', 400, 'bad_request'],
    ] as const) {
      const answer = await ask(method, path)
      t.equal(answer.status, status)
      t.equal(answer.headers.get('content-type'), 'application/problem+json')
      t.equal(answer.headers.get('gatehouse'), code)
      t.equal(answer.headers.get('x-content-type-options'), 'nosniff')
      t.match(await answer.json(), { status, code })
    }
  },
)
