import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { startApplication } from '../../support/application.ts'
import { eventually } from '../../support/eventually.ts'
import { serveFile } from '../../support/served-file.ts'

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

void t.test('a response that arrived while the gateway was suspended is forwarded, after any pause', async (t) => {
  const application = await startApplication(t, (_req, res) => {
    setTimeout(() => res.end('in time'), 300)
  })
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { upstream: application.url, routes: [{ path: '/**', access: 'public', timeout: '1s' }] },
  )
  const answer = fetch(`${gateway.url}/`)
  await eventually(() => application.requests.length === 1)
  gateway.pause()
  await sleep(1_500)
  gateway.goOn()
  const { status } = await answer
  t.equal(status, 200)
})
