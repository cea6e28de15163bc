import { chromium, type Browser } from 'playwright-core'
import type { Test } from 'tap'

// Debian's Chromium. The environment variable CHROMIUM overrides it.
const DEFAULT_PATH = '/usr/bin/chromium'

const FLAGS = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
  // Resolves only names of this machine. Browsers treat `app.test`, unlike localhost, as untrustworthy without TLS.
  '--host-resolver-rules=MAP app.test 127.0.0.1, MAP *.app.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
]

/**
 * Opens a headless Chromium, which closes when the test ends. `keepsPages` enables the back/forward cache,
 * `blocksThirdPartyCookies` blocks cookies in frames of other sites unless they are partitioned.
 */
export const openChromium = async (
  t: Test,
  { keepsPages = false, blocksThirdPartyCookies = false } = {},
): Promise<Browser> => {
  const flags = [...FLAGS, ...(blocksThirdPartyCookies ? ['--test-third-party-cookie-phaseout'] : [])]
  const browser = await chromium.launch({
    ignoreDefaultArgs: keepsPages ? ['--disable-back-forward-cache'] : [],
    executablePath: process.env['CHROMIUM'] ?? DEFAULT_PATH,
    // Chromium's sandbox does not work for root, the user of the tests in containers.
    args: process.getuid?.() === 0 ? ['--no-sandbox', ...flags] : flags,
  })
  t.teardown(async () => {
    await browser.close()
  })
  return browser
}
