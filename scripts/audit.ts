import { spawnSync } from 'node:child_process'

// Statuses of registries without an audit service. Many mirrors serve only packages.
const UNAVAILABLE = new Set([404, 405, 501])
// Error codes of npm for an unreachable registry.
const UNREACHABLE = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'ENETUNREACH',
  'ENOAUDIT',
])

/** The outcome of an audit: its status, and a summary or the reason. `unavailable` means that the registry offers no audit. */
export type Outcome =
  | { readonly status: 'clean' | 'vulnerable'; readonly text: string }
  | { readonly status: 'unavailable' | 'failed'; readonly text: string }

interface Report {
  readonly metadata?: { readonly vulnerabilities?: Readonly<Record<string, number>> }
  readonly vulnerabilities?: Readonly<Record<string, { readonly severity: string; readonly range: string }>>
  readonly message?: string
  readonly statusCode?: number
  readonly error?: { readonly code?: string; readonly summary?: string }
}

/** Parses the output of `npm audit --json`. The outcome is `failed` if the output is neither a report nor a known error. */
export function readAudit(printed: string): Outcome {
  let report: Report
  try {
    report = JSON.parse(printed)
  } catch {
    return { status: 'failed', text: 'npm audit printed no report' }
  }
  const counts = report.metadata?.vulnerabilities
  if (counts !== undefined) {
    const serious = (counts['high'] ?? 0) + (counts['critical'] ?? 0)
    const list = Object.entries(report.vulnerabilities ?? {}).map(
      ([name, { severity, range }]) => `${severity}: ${name} ${range}`,
    )
    return {
      status: serious > 0 ? 'vulnerable' : 'clean',
      text: [`${counts['total'] ?? 0} known vulnerabilities, ${serious} of them high or critical`, ...list].join(
        '\n  ',
      ),
    }
  }
  const code = report.error?.code ?? ''
  const reason = report.message ?? report.error?.summary ?? 'no reason given'
  const isUnavailable =
    UNAVAILABLE.has(report.statusCode ?? 0) ||
    UNREACHABLE.has(code) ||
    [...UNREACHABLE].some((one) => reason.includes(one))
  return { status: isUnavailable ? 'unavailable' : 'failed', text: reason }
}

if (import.meta.main ?? process.argv[1]?.endsWith('audit.ts') === true) {
  const { stdout } = spawnSync('npm', ['audit', '--omit=dev', '--json'], { encoding: 'utf8', timeout: 120_000 })
  const { status, text } = readAudit(stdout)
  const label = {
    clean: 'audit',
    vulnerable: 'audit',
    unavailable: 'audit: SKIPPED, the registry offers no audit',
    failed: 'audit: failed',
  }[status]
  process.stdout.write(`${label}: ${text.replace(/https?:\/\/[^/\s]+/g, '…')}\n`)
  if (status === 'vulnerable' || status === 'failed') process.exitCode = 1
}
