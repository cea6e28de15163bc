import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { loggedIn } from '../../support/logged-in.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

void t.test('after five logins in a row for an application that keeps asking, a page explains the loop', async (t) => {
  const application = await startApplication(t, (req, res) => {
    res.writeHead(302, { location: `/oauth2/login?redirect=${encodeURIComponent(req.url ?? '/')}` }).end()
  })
  const { url, events } = await startGateway(t, { idp, config: { upstream: application.url } })
  const browser = createBrowser()
  const { answer } = await browser.login(`${url}/orders`, 'alice')
  t.equal(answer.status, 400)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.match(answer.body, /You were signed in 5 times in a row/)
  t.equal(application.requests.length, 5)
  t.match(events('login_failed'), [{ cause: /the application sends the browser here/ }])
  t.equal((await browser.get(`${url}/oauth2/login?redirect=/orders`)).status, 200, 'the user can try again manually')
})

void t.test('logging out and in again does not count as a loop', async (t) => {
  const { url, browser } = await loggedIn(t, { idp })
  for (let i = 0; i < 7; i += 1) {
    await browser.post(`${url}/oauth2/logout/local`, '', { from: `${url}/` })
    t.equal((await browser.login(`${url}/`, 'alice')).answer.status, 200)
  }
})

void t.test(
  'different ignored targets do not count as a loop, and repeating the same ignored target does',
  async (t) => {
    const { url } = await startGateway(t, { idp })
    const browser = createBrowser()
    const login = async (target: string): Promise<number> =>
      (await browser.login(`${url}/oauth2/login?redirect=${encodeURIComponent(target)}`, 'alice')).answer.status
    for (let i = 0; i < 12; i += 1) t.equal(await login(`https://evil${i}.example/`), 200)
    for (let i = 0; i < 5; i += 1) await login('//evil.example')
    t.equal(await login('//evil.example'), 400)
  },
)
