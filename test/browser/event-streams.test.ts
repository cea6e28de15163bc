import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway } from '../support/gateway.ts'
import { arrive } from './visit.ts'

declare global {
  interface Window {
    stream: EventSource
    ticks: number
    failures: number
  }
}

const chromium = await openChromium(t)
const running = await startGateway(t, {})
const { url, upstream } = running

void t.test(
  'an event stream goes on through a new login, and ends with the session: its next try is refused',
  async (t) => {
    const { page } = await arrive(t, chromium, `${url}/report`)
    await page.evaluate(() => {
      window.ticks = 0
      window.failures = 0
      window.stream = new EventSource('/api/stream?ms=100')
      window.stream.addEventListener('tick', () => {
        window.ticks += 1
      })
      window.stream.onerror = () => {
        window.failures += 1
      }
    })
    await page.waitForFunction(() => window.ticks > 2)
    const begun = running.events('login').length
    await page.evaluate(
      async () =>
        new Promise<void>((resolve) => {
          const frame = document.createElement('iframe')
          addEventListener('message', ({ data }) => {
            if (data.outcome === 'ok') resolve()
          })
          frame.src = '/oauth2/silent'
          document.body.append(frame)
        }),
    )
    t.equal(running.events('login').length, begun + 1)
    const ticks = await page.evaluate(() => window.ticks)
    await page.waitForFunction((before) => window.ticks > before + 3, ticks)
    t.equal(await page.evaluate(() => window.failures), 0)
    t.equal(upstream.openStreams(), 1)

    await page.evaluate(async () => fetch('/oauth2/logout/local', { method: 'POST' }))
    await eventually(() => upstream.openStreams() === 0)
    await page.waitForFunction(() => window.stream.readyState === EventSource.CLOSED)
    t.ok(
      running.events('request').some(({ path, status }) => path === '/api/stream' && status === 401),
      'it has tried again, once',
    )
  },
)
