/** Every word that an answer of the gateway's own can carry as `code`. */
export type Code =
  | 'login_required'
  | 'session_expired'
  | 'step_up_required'
  | 'upstream_login_required'
  | 'forbidden'
  | 'cross_origin'
  | 'not_found'
  | 'bad_request'
  | 'ambiguous_path'
  | 'rate_limited'
  | 'payload_too_large'
  | 'provider_unavailable'
  | 'store_unavailable'
  | 'upstream_unreachable'
  | 'upstream_timeout'
  | 'token_unavailable'
  | 'invalid_token'
  | 'method_not_allowed'
  | 'login_failed'
  | 'logout_refused'
  | 'internal_error'

interface FaultKind {
  readonly status: number
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly title: string
  readonly detail: string
}

/** What can go wrong, one line each: the status it answers, how loud the log is, and what the user reads. */
export const faults = {
  bad_request: { status: 400, level: 'info', title: 'Bad request', detail: 'This request can’t be understood.' },
  login_failed: { status: 400, level: 'warn', title: 'Sign-in failed', detail: 'The sign-in could not be completed.' },
  logout_refused: {
    status: 400,
    level: 'warn',
    title: 'Sign-out refused',
    detail: 'This sign-out request was refused.',
  },
  not_found: { status: 404, level: 'debug', title: 'Not found', detail: 'There is nothing at this address.' },
  method_not_allowed: {
    status: 405,
    level: 'info',
    title: 'Method not allowed',
    detail: 'This method can’t be used here.',
  },
  payload_too_large: {
    status: 413,
    level: 'info',
    title: 'Too large',
    detail: 'What was sent is larger than this address accepts.',
  },
  rate_limited: {
    status: 429,
    level: 'info',
    title: 'Too many requests',
    detail: 'Too many requests came from your address. Wait a moment, then try again.',
  },
  internal_error: {
    status: 500,
    level: 'error',
    title: 'Something went wrong',
    detail: 'The gateway met an error of its own. Try again in a moment.',
  },
  upstream_unreachable: {
    status: 502,
    level: 'error',
    title: 'Application unreachable',
    detail: 'The application behind this address can’t be reached right now.',
  },
  provider_unavailable: {
    status: 503,
    level: 'error',
    title: 'Sign-in unavailable',
    detail: 'The sign-in service can’t be reached right now. Try again in a moment.',
  },
  store_unavailable: {
    status: 503,
    level: 'error',
    title: 'Sessions unavailable',
    detail: 'Your session can’t be looked up right now. Try again in a moment.',
  },
  upstream_timeout: {
    status: 504,
    level: 'error',
    title: 'Application too slow',
    detail: 'The application behind this address did not answer in time.',
  },
} as const satisfies Partial<Record<Code, FaultKind>>

/** The codes that can be thrown. */
export type FaultCode = keyof typeof faults

interface FaultOptions {
  /** What really happened, for the log alone. */
  readonly cause?: unknown
  /** The HTTP status where it is not the code's usual one. */
  readonly status?: number
  /** A title and a plain sentence for the user in place of the code's own. */
  readonly title?: string
  readonly detail?: string
  /** Seconds after which trying again makes sense (RFC 9110, section 10.2.3). */
  readonly retryAfter?: number
}

/** Something that went wrong; the edge turns it into a problem or a page. */
export class Fault extends Error {
  readonly code: FaultCode
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly retryAfter: number | null
  /** Where the user can begin another login, once that is known. */
  loginUrl: string | null = null

  constructor(code: FaultCode, options: FaultOptions = {}) {
    super(code, { cause: options.cause })
    this.name = 'Fault'
    this.code = code
    this.status = options.status ?? faults[code].status
    this.title = options.title ?? faults[code].title
    this.detail = options.detail ?? faults[code].detail
    this.retryAfter = options.retryAfter ?? (this.status === 503 ? 5 : null)
  }
}

const MOST_CHARACTERS = 1_000

/** The chain of causes of an error as one line for the log, without stacks, and without what could be a secret. */
export function causes(error: unknown): string {
  const parts: string[] = []
  let at: unknown = error
  for (; at instanceof Error && parts.length < 6; at = at.cause) {
    const code = 'code' in at && typeof at.code === 'string' ? `${at.code}: ` : ''
    const answer = 'response' in at && at.response instanceof Response ? ` ← ${answerInWords(at.response)}` : ''
    parts.push(at instanceof Fault ? at.code : `${code}${messageOf(at)}${oauthWords(at)}${answer}`)
  }
  if (at instanceof Response) parts.push(answerInWords(at))
  return (parts.join(' ← ') || String(error)).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ').slice(0, MOST_CHARACTERS)
}

function messageOf({ name, message }: Error): string {
  // JSON.parse quotes what it stumbles over, and that may be a piece of a token.
  if (name === 'SyntaxError' && message.includes('JSON')) return 'malformed JSON'
  // A token that can't be sent as a header is quoted as a whole.
  if (message.includes('invalid header value')) return 'invalid header value'
  // What Redis does not understand it repeats, also a password.
  return message.replace(/,? with args beginning with.*/s, '')
}

/** What a provider said by way of an OAuth error (RFC 6749, sections 4.1.2.1 and 5.2). */
function oauthWords(error: object): string {
  if (!('error' in error) || typeof error.error !== 'string') return ''
  const description =
    'error_description' in error && typeof error.error_description === 'string' ? `: ${error.error_description}` : ''
  const code = /^[a-z_]{1,60}$/.test(error.error) ? error.error : withoutSecrets(error.error)
  return ` (${code}${withoutSecrets(description).slice(0, 300)})`
}

/** Which answer it was. The query of its URL may hold a secret. */
function answerInWords({ status, url, headers }: Response): string {
  const challenge = headers.get('www-authenticate')
  return [
    String(status),
    url === '' ? '' : ` from ${url.replace(/[?#].*$/s, '')}`,
    challenge === null ? '' : `, WWW-Authenticate: ${withoutSecrets(challenge).slice(0, 200)}`,
  ].join('')
}

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\.?$/i

/** Letters alone, in parts no longer than words are: `authentication_expired`, `invalidRequestMessage`. */
const WORDS = /^(?:[A-Z]?[a-z]{1,18}|[A-Z]{1,18})(?:_+(?:[A-Z]?[a-z]{1,18}|[A-Z]{1,18})|[A-Z][a-z]{2,18})*\.?$/

/**
 * Some providers repeat what they were sent. What is long and has no space may be a token, but for words, and the ids
 * that help to find a trace.
 */
function withoutSecrets(text: string): string {
  return text.replace(/[\w.~+/=%-]{20,}/g, (run) => (UUID.test(run) || WORDS.test(run) ? run : '…'))
}
