import t from 'tap'
import { startGateway } from '../support/gateway.ts'
import { ask } from '../support/raw-http.ts'

// oauth2-proxy (CVE-2026-34457) answered any client that called itself a health check, on any path.
void t.test('no User-Agent gives access', async (t) => {
  const { url, upstream } = await startGateway(t)
  for (const agent of ['GoogleHC/1.0', 'kube-probe/1.30', 'ELB-HealthChecker/2.0', '']) {
    for (const path of ['/', '/ping', '/healthz', '/ready', '/robots.txt', '/livez', '/readyz', '/metrics']) {
      t.equal((await ask(url, 'GET', path, [`User-Agent: ${agent}`])).status, 401, `${agent} at ${path}`)
    }
  }
  t.equal(upstream.requests.length, 0)
})
