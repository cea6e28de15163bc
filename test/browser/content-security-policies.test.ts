import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { arrive, endSessions, save, saved, signIn, visit } from './visit.ts'

const script = `
document.getElementById('save').onclick = async () => {
  const answer = await fetch('/api/save', { method: 'POST', body: document.getElementById('work').value })
  document.getElementById('out').textContent = answer.status + ' ' + (answer.ok ? (await answer.json()).body : '')
}
addEventListener('gatehouse:login-needed', ({ detail }) => { document.getElementById('again').onclick = detail.login })
window.said = []
document.addEventListener('securitypolicyviolation', ({ effectiveDirective, disposition }) => { said.push(disposition + ' ' + effectiveDirective) })`
const page = (nonce = ''): string =>
  html(
    '<input id="work"><button id="save">Save</button><button id="again">Sign in again</button><p ' +
      `id="out"></p><script ${nonce} src="/saving.js"></script>`,
    `<script ${nonce} src="/oauth2/auto.js"></script><script ${nonce} type="module" src="/module.js"></script>`,
  )
const frames = "frame-src 'self' http://127.0.0.1:*"
const policies: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '/self': { 'content-security-policy': "default-src 'self'; img-src data:" },
  '/framed': { 'content-security-policy': `default-src 'self'; img-src data:; ${frames}` },
  '/nonce': {
    'content-security-policy':
      `default-src 'none'; script-src 'nonce-abc123' 'strict-dynamic'; img-src data:; ` +
      `connect-src 'self'; base-uri 'none'; ${frames}`,
  },
  '/types': {
    'content-security-policy': `default-src 'self'; img-src data:; ${frames}; require-trusted-types-for 'script'; trusted-types 'none'`,
  },
  '/reporting': { 'content-security-policy-report-only': "default-src 'self'; img-src data:" },
  '/isolated': { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' },
}

const chromium = await openChromium(t)
const site = await startSite(t, {
  '/plain': page(),
  '/saving.js': { headers: { 'content-type': 'text/javascript' }, body: script },
  '/module.js': {
    headers: { 'content-type': 'text/javascript' },
    body: 'import { session } from "/oauth2/client.js"; await session(); document.title = "module"',
  },
  ...Object.fromEntries(
    Object.entries(policies).map(([path, headers]) => [
      path,
      {
        headers: { 'content-type': 'text/html; charset=utf-8', ...headers },
        body: page(path === '/nonce' ? 'nonce="abc123"' : ''),
      },
    ]),
  ),
})
const config = { upstream: site.url, admin: { listen: '127.0.0.1:0', sessions: 'loopback' } }
const running = await startGateway(t, { config })
const { url, idp } = running

declare global {
  interface Window {
    said: string[]
  }
}

for (const path of ['/framed', '/nonce', '/types', '/reporting']) {
  void t.test(`both scripts run under the policy of ${path}, and a session is renewed silently`, async (t) => {
    const { page, context, said } = await arrive(t, chromium, url + path)
    await page.waitForFunction(() => document.title === 'module')
    await endSessions(running)
    const begun = idp.requests.authorization
    await save(page, 'strictly')
    t.equal(await saved(page), '200 strictly')
    t.equal(idp.requests.authorization, begun + 1)
    t.equal(context.pages().length, 1, 'no window')
    t.same(
      (await page.evaluate(() => window.said)).filter((violation) => violation.startsWith('enforce')),
      [],
    )
    t.notMatch(said.join('\n'), /Trusted/i)
  })
}

for (const path of ['/self', '/isolated']) {
  void t.test(
    `the policy of ${path} forbids the frame, so the window opens at once, while the click still allows it`,
    async (t) => {
      const { page, context } = await arrive(t, chromium, url + path)
      await page.waitForFunction(() => document.title === 'module')
      t.equal(await page.evaluate(() => crossOriginIsolated), path === '/isolated')
      // A test's pages all believe that the user is at them.
      await page.evaluate(() => {
        document.hasFocus = () => false
      })
      await endSessions(running)
      const opened = context.waitForEvent('page')
      const clickedAt = Date.now()
      await save(page, 'in a window')
      await opened
      t.ok(Date.now() - clickedAt < 9_000, `${Date.now() - clickedAt} ms`)
      t.equal(await saved(page), '200 in a window')
      t.equal(page.url(), url + path)
    },
  )
}

void t.test(
  'a page without TLS, where browsers offer no locks and send no Sec-Fetch headers, works the same',
  async (t) => {
    const port = await freePort()
    const plain = await startGateway(t, { config, idp, port, publicUrl: `http://app.test:${port}` })
    const { page, context } = await visit(t, chromium)
    await signIn(page, `${plain.url}/plain`)
    t.same(await page.evaluate(() => [isSecureContext, 'locks' in navigator]), [false, false])
    await page.waitForFunction(() => document.title === 'module')
    await endSessions(plain)
    // A frame of another site: without the provider's cookies.
    const opened = context.waitForEvent('page')
    await save(page, 'in plain text')
    await opened
    t.equal(await saved(page), '200 in plain text')
  },
)
