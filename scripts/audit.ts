import { spawnSync } from 'node:child_process'

// What npm says when the registry answers, but has no such service: mirrors often have packages alone.
const UNAVAILABLE = new Set([404, 405, 501])
// What npm says when nobody answers.
const UNREACHABLE = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'ENETUNREACH',
  'ENOAUDIT',
])

/** What an audit has come to: holes, none, or that nobody could be asked, with the reason. */
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

/** Reads what `npm audit --json` has printed; anything that is no clean report and no refusal is a failure. */
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
      text: [`${counts['total'] ?? 0} known holes, ${serious} of them high or critical`, ...list].join('\n  '),
    }
  }
  const code = report.error?.code ?? ''
  const reason = report.message ?? report.error?.summary ?? 'no reason is given'
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
    unasked: 'audit: NOT DONE, the registry has no audits to give',
    failed: 'audit: it went wrong',
  }[status]
  process.stdout.write(`${says}: ${text.replace(/https?:\/\/[^/\s]+/g, '…')}\n`)
  if (status === 'holes' || status === 'failed') process.exitCode = 1
}
