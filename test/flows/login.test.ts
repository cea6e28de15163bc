import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { startGateway } from '../support/gateway.ts'

void t.test('a browser logs in and comes back to the page it wanted', async (t) => {
  const { url, upstream } = await startGateway(t)
  const browser = createBrowser()
  const { answer } = await browser.login(`${url}/orders?page=2`, 'alice')
  t.equal(answer.url, `${url}/orders?page=2`)
  const seen = upstream.requests.at(-1)
  t.equal(seen?.url, '/orders?page=2')
  t.match(seen?.headers.authorization, /^Bearer \S+$/)
  t.notMatch(seen?.headers.cookie ?? '', /gatehouse/)
})
