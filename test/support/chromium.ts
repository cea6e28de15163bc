import { chromium, type Browser } from 'playwright-core'
import type { Test } from 'tap'

// Debian's Chromium; CHROMIUM names another one.
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

/** Opens a headless Chromium, closed when the test ends; `keepsPages` enables the back-forward cache. */
export const openChromium = async (t: Test, { keepsPages = false } = {}): Promise<Browser> => {
  const browser = await chromium.launch({
    ignoreDefaultArgs: keepsPages ? ['--disable-back-forward-cache'] : [],
    executablePath: process.env['CHROMIUM'] ?? usual,
    // Chromium's sandbox does not work for root, who runs the tests in containers.
    args: process.getuid?.() === 0 ? ['--no-sandbox', ...quiet] : quiet,
  })
  t.teardown(async () => {
    await browser.close()
  })
  return browser
}
