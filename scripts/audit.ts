import { spawnSync } from 'node:child_process'

// Statuses of registries without an audit service; mirrors often serve packages only.
const UNAVAILABLE = new Set([404, 405, 501])
// Error codes of npm when the registry is unreachable.
const UNREACHABLE = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'ENETUNREACH',
  'ENOAUDIT',
])

/** The outcome of an audit: clean, with holes, or with no registry to ask; `text` says why. */
export type Outcome =
  | { readonly status: 'clean' | 'holes'; readonly text: string }
  | { readonly status: 'unasked' | 'failed'; readonly text: string }

interface Report {
  readonly metadata?: { readonly vulnerabilities?: Readonly<Record<string, number>> }
  readonly vulnerabilities?: Readonly<Record<string, { readonly severity: string; readonly range: string }>>
  readonly message?: string
  readonly statusCode?: number
  readonly error?: { readonly code?: string; readonly summary?: string }
}

/** Parses the output of `npm audit --json`. Output that is neither a report nor a refusal of the registry is `failed`. */
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
      status: serious > 0 ? 'holes' : 'clean',
      text: [`${counts['total'] ?? 0} known vulnerabilities, ${serious} of them high or critical`, ...list].join(
        '\n  ',
      ),
    }
  }
  const code = report.error?.code ?? ''
  const reason = report.message ?? report.error?.summary ?? 'no reason given'
  const refused =
    UNAVAILABLE.has(report.statusCode ?? 0) ||
    UNREACHABLE.has(code) ||
    [...UNREACHABLE].some((one) => reason.includes(one))
  return { status: refused ? 'unasked' : 'failed', text: reason }
}

if (import.meta.main ?? process.argv[1]?.endsWith('audit.ts') === true) {
  const { stdout } = spawnSync('npm', ['audit', '--omit=dev', '--json'], { encoding: 'utf8', timeout: 120_000 })
  const { status, text } = readAudit(stdout)
  const says = {
    clean: 'audit',
    holes: 'audit',
    unasked: 'audit: SKIPPED, the registry offers no audit',
    failed: 'audit: failed',
  }[status]
  process.stdout.write(`${says}: ${text.replace(/https?:\/\/[^/\s]+/g, '…')}\n`)
  if (status === 'holes' || status === 'failed') process.exitCode = 1
}
