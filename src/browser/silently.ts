import type { Gateway } from './gateway.ts'
import { onReport, type Outcome } from './report.ts'

const FRAME_TIMEOUT = 10_000

/**
 * Asks the provider for a login without the user, in a hidden frame (`prompt=none`). Given up after 10 s, and at once
 * where the page's own policy (CSP, COEP) forbids the frame. With `keep` the session stays the one that it is; only its
 * tokens are renewed where they can't be refreshed.
 */
export const loginSilently = ({ base, user }: Gateway, keep: boolean): Promise<Outcome> =>
  new Promise((resolve) => {
    const frame = document.createElement('iframe')
    frame.style.display = 'none'
    frame.title = 'Session renewal'
    // A provider that shows its login page all the same must not take the whole page there.
    frame.setAttribute('sandbox', 'allow-scripts allow-same-origin allow-forms')
    frame.src = `${base}/silent?user=${user}${keep ? '&keep' : ''}`
    const finish = (outcome: Outcome): void => {
      clearTimeout(timer)
      stop()
      document.removeEventListener('securitypolicyviolation', refused)
      frame.remove()
      resolve(outcome)
    }
    const refused = ({ effectiveDirective, disposition }: SecurityPolicyViolationEvent): void => {
      if (effectiveDirective === 'frame-src' && disposition === 'enforce') finish('error')
    }
    const stop = onReport(() => frame.contentWindow, finish)
    const timer = setTimeout(() => {
      finish('error')
    }, FRAME_TIMEOUT)
    document.addEventListener('securitypolicyviolation', refused)
    // Such a page shows frames of those alone who take part in it (COEP).
    if (crossOriginIsolated) finish('error')
    else document.documentElement.append(frame)
  })
