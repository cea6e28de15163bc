import { chromium, type Browser } from 'playwright-core'
import type { Test } from 'tap'

// Debian's; CHROMIUM names another one.
const usual = '/usr/bin/chromium'

const quiet = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
  // Resolves only this machine, for any name in a page, and under one more name, which no browser trusts without
  // TLS.
  '--host-resolver-rules=MAP app.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
]

/** A headless Chromium, closed when the test ends; with `keepsPages` it keeps a page that was left for the way back. */
export const openChromium = async (t: Test, { keepsPages = false } = {}): Promise<Browser> => {
  const browser = await chromium.launch({
    ignoreDefaultArgs: keepsPages ? ['--disable-back-forward-cache'] : [],
    executablePath: process.env['CHROMIUM'] ?? usual,
    // Its sandbox does not work for root, as whom containers and test machines run it.
    args: process.getuid?.() === 0 ? ['--no-sandbox', ...quiet] : quiet,
  })
  t.teardown(async () => {
    await browser.close()
  })
  return browser
}
