import { join } from 'node:path'
import t from 'tap'
import { startApplication } from '../support/application.ts'
import { createAuthority } from '../support/certificates.ts'
import { openChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { html } from './site.ts'
import { visit } from './visit.ts'

const chromium = await openChromium(t)

void t.test('Chromium loads what early hints name while the application prepares the page', async (t) => {
  const order: string[] = []
  let finish = (): void => {}
  const { url: upstream } = await startApplication(t, (req, res) => {
    order.push(req.url ?? '')
    if (req.url === '/hinted.css') {
      res
        .writeHead(200, { 'content-type': 'text/css', 'cache-control': 'max-age=60' })
        .end('body { color: rgb(1, 2, 3) }')
      finish()
      return
    }
    res.writeEarlyHints({ link: '</hinted.css>; rel=preload; as=style' })
    finish = () => {
      finish = () => {}
      order.push('the page')
      res.writeHead(200, { 'content-type': 'text/html' })
      res.end(html('<p>Ready</p>', '<link rel="stylesheet" href="/hinted.css">'))
    }
  })
  const { cert, key } = createAuthority().issue(['app.test'])
  const folder = t.testdir({ 'cert.pem': cert, 'key.pem': key })
  const port = await freePort()
  const publicUrl = `https://app.test:${port}`
  await startGateway(t, {
    port,
    publicUrl,
    config: {
      upstream,
      routes: [{ path: '/**', access: 'public' }],
      tls: { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') },
    },
  })
  const { page } = await visit(t, chromium, { ignoreHTTPSErrors: true })
  await page.goto(publicUrl)
  t.same(order.slice(0, 3), ['/', '/hinted.css', 'the page'])
  t.equal(await page.evaluate(() => getComputedStyle(document.body).color), 'rgb(1, 2, 3)')
})
