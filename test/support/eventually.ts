import { setTimeout as sleep } from 'node:timers/promises'

const MAX_INTERVAL_MS = 50

/**
 * Resolves when `check` returns true, and retries a check that throws. Rejects after `timeoutMs`; the message contains
 * `what`, by default the source of `check`, and the cause is the last error of the check.
 */
export async function eventually(
  check: () => boolean | Promise<boolean>,
  { what = check.toString(), timeoutMs = 10_000 }: { readonly what?: string; readonly timeoutMs?: number } = {},
): Promise<void> {
  const end = Date.now() + timeoutMs
  let cause: unknown
  for (let intervalMs = 5; ; intervalMs = Math.min(2 * intervalMs, MAX_INTERVAL_MS)) {
    try {
      if (await check()) return
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (Date.now() > end) throw new Error(`timed out after ${timeoutMs} ms waiting for: ${what}`, { cause })
    await sleep(intervalMs)
  }
}
