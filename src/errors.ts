import { english, isTextName, type TextName, type TextValues } from './texts/texts.ts'

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

interface FaultDefinition {
  readonly status: number
  readonly level: 'debug' | 'info' | 'warn' | 'error'
}

/** The faults. Their titles and texts are in `texts/`. */
export const faults = {
  bad_request: { status: 400, level: 'info' },
  login_failed: { status: 400, level: 'warn' },
  logout_refused: { status: 400, level: 'warn' },
  not_found: { status: 404, level: 'debug' },
  method_not_allowed: { status: 405, level: 'info' },
  payload_too_large: { status: 413, level: 'info' },
  rate_limited: { status: 429, level: 'info' },
  internal_error: { status: 500, level: 'error' },
  upstream_unreachable: { status: 502, level: 'error' },
  provider_unavailable: { status: 503, level: 'error' },
  store_unavailable: { status: 503, level: 'error' },
  upstream_timeout: { status: 504, level: 'error' },
} as const satisfies Partial<Record<Code, FaultDefinition>>

export type FaultCode = keyof typeof faults

/** What a response says: the names of its texts for a page, and its title and detail in English for a problem. */
export interface Words {
  readonly text: TextName
  /** A sentence after the text. */
  readonly more?: TextName
  readonly values?: TextValues
  readonly title: string
  readonly detail: string
}

/** Returns the words for a code: those of `text`, with the title of the code if the text has none of its own. */
export function wordsFor(code: Code, text: TextName = code, more?: TextName, values?: TextValues): Words {
  const title = `${text}.title`
  return {
    text,
    ...(more === undefined ? {} : { more }),
    ...(values === undefined ? {} : { values }),
    title: english(isTextName(title) ? title : `${code}.title`),
    detail: [text, ...(more === undefined ? [] : [more])].map((name) => english(name, values)).join(' '),
  }
}

interface FaultOptions {
  /** The underlying error, which is logged but never shown to users. */
  readonly cause?: unknown
  /** Whether a moment ago the log had the same error, which one client can cause in any number. It is then a line at `debug`. */
  readonly isRepeated?: boolean
  /** Overrides the HTTP status of the code. */
  readonly status?: number
  /** The text that the user sees, if not that of the code. */
  readonly text?: TextName
  /** A sentence after the text. */
  readonly more?: TextName
  /** The values of the placeholders in the text. */
  readonly values?: TextValues
  /** Whether the same request may succeed later. By default, a 5xx may. */
  readonly mayRetry?: boolean
  /** A text of its own, for a response that is never a page. */
  readonly detail?: string
  /**
   * Seconds after which to retry.
   * @see https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
   */
  readonly retryAfter?: number
}

/** An error that is answered as problem details or as a page. */
export class Fault extends Error {
  readonly code: FaultCode
  readonly status: number
  /** The texts, by name and in English. */
  readonly words: Words
  readonly retryAfter: number | null
  readonly mayRetry: boolean | undefined
  readonly isRepeated: boolean
  /** The URL at which the user can start another login, or `null` if it is not known. */
  loginUrl: string | null = null
  /** The name of the provider that the fault concerns, if there are several. */
  provider: string | undefined

  constructor(code: FaultCode, options: FaultOptions = {}) {
    super(code, { cause: options.cause })
    this.name = 'Fault'
    this.code = code
    this.status = options.status ?? faults[code].status
    const { text = code, more, values, detail } = options
    this.words = { ...wordsFor(code, text, more, values), ...(detail === undefined ? {} : { detail }) }
    this.mayRetry = options.mayRetry
    this.isRepeated = options.isRepeated ?? false
    this.retryAfter = options.retryAfter ?? (this.status === 503 ? 5 : null)
  }
}

const MAX_QUOTED_CHARACTERS = 200

/** Quotes an untrusted value for an error message: shortened, as JSON, or `missing` if there is none. */
export function quote(value: unknown): string {
  return (JSON.stringify(value) ?? 'missing').slice(0, MAX_QUOTED_CHARACTERS)
}

/** Lone surrogates, and characters that end a line, control a terminal, or change the direction of text. */
const CONTROLS = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/** Replaces each character of untrusted text that could change how the text around it is shown. */
export function replaceControls(text: string, replacement: string): string {
  return text.replace(CONTROLS, replacement)
}

const MAX_CAUSES = 6
const MAX_CHARACTERS = 1_000

/** Returns the chain of an error's causes as one line for the log, without stacks and without possible secrets. */
export function causes(error: unknown): string {
  const parts: string[] = []
  let current: unknown = error
  for (; current instanceof Error && parts.length < MAX_CAUSES; current = current.cause) {
    const code = 'code' in current && typeof current.code === 'string' ? `${current.code}: ` : ''
    const response =
      'response' in current && current.response instanceof Response ? ` ← ${describeResponse(current.response)}` : ''
    const oauth = oauthError(current)
    const message = `${code}${messageOf(current)}${oauth === '' ? '' : ` (${oauth})`}`
    parts.push(current instanceof Fault ? current.code : message + response)
  }
  if (current instanceof Response) parts.push(describeResponse(current))
  return replaceControls(parts.join(' ← ') || String(error), ' ').slice(0, MAX_CHARACTERS)
}

function messageOf({ name, message }: Error): string {
  if (name === 'TimeoutError') return 'timeout: no answer in time'
  // JSON.parse quotes the invalid text, which may be part of a token.
  if (name === 'SyntaxError' && message.includes('JSON')) return 'malformed JSON'
  // The message quotes the header's value, which may be a token.
  if (message.includes('invalid header value')) return 'invalid header value'
  // Redis repeats the arguments of a command that it rejects, passwords included.
  return message.replace(/,? with args beginning with.*/s, '')
}

/** Returns the causes of an error without the code of an outer fault, which says nothing about the system that failed. */
export function causesBeneath(error: unknown): string {
  return causes(error instanceof Fault && error.cause !== undefined ? error.cause : error)
}

/**
 * Returns the OAuth error of a provider's response with its description, and with secrets removed, or an empty text.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.2
 */
export function oauthError(error: object): string {
  if (!('error' in error) || typeof error.error !== 'string') return ''
  const description =
    'error_description' in error && typeof error.error_description === 'string' ? `: ${error.error_description}` : ''
  const code = /^[a-z_]{1,60}$/.test(error.error) ? error.error : withoutSecrets(error.error)
  return replaceControls(`${code}${withoutSecrets(description).slice(0, 300)}`, ' ')
}

/** Describes a response by status, URL and challenge. Omits the URL's query, which may contain a secret. */
function describeResponse({ status, url, headers }: Response): string {
  const [type, challenge] = [headers.get('content-type'), headers.get('www-authenticate')]
  return [
    String(status),
    url === '' ? '' : ` from ${url.replace(/[?#].*$/s, '')}`,
    type === null ? '' : `, ${withoutSecrets(type).slice(0, 100)}`,
    challenge === null ? '' : `, WWW-Authenticate: ${withoutSecrets(challenge).slice(0, 200)}`,
  ].join('')
}

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\.?$/i

/** Identifiers made of words, such as `authentication_expired` and `invalidRequestMessage`. */
const WORDS = /^(?:[A-Z]?[a-z]{1,18}|[A-Z]{1,18})(?:_+(?:[A-Z]?[a-z]{1,18}|[A-Z]{1,18})|[A-Z][a-z]{2,18})*\.?$/

/**
 * Replaces long runs of characters without spaces by `…`, because some providers repeat the tokens that they receive.
 * Keeps words, and UUIDs, which help to find the error in the provider's log.
 */
function withoutSecrets(text: string): string {
  return text.replace(/[\w.~+/=%-]{20,}/g, (run) => (UUID.test(run) || WORDS.test(run) ? run : '…'))
}
