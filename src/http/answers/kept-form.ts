import { isUtf8 } from 'node:buffer'
import { randomBytes, randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { percentEncodeBytes } from '../../bytes.ts'
import type { Config } from '../../config/schema.ts'
import { Fault, type Code } from '../../errors.ts'
import type { TextName } from '../../texts/texts.ts'
import type { Answer } from '../../gate/challenge.ts'
import { isCrossOrigin } from '../../gate/csrf.ts'
import { WINDOWS_1252_UPPER } from '../../gate/path-variants.ts'
import { targetAtLogin } from '../../gate/return-target.ts'
import type { CompiledRoute, Facts } from '../../gate/verdict.ts'
import { contextOf } from '../context.ts'
import type { Cookies } from '../cookies/cookies.ts'
import { readBody } from '../server/read-body.ts'
import { pageRequest, renderPage, scriptLiteral, type Page } from './pages.ts'
import { POST_KEPT_FORM_PATH, storageKey } from './post-kept-form.ts'
import type { Wording } from './wording.ts'

const MAX_FORM_BYTES = 256 * 1024

/** Limits slow bodies, because senders without a session could otherwise occupy many connections. */
const BODY_TIMEOUT_MS = 30_000

/**
 * Envoy's header for a body that `max_request_bytes` has cut off.
 * @see https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/ext_authz/v3/ext_authz.proto
 */
const PARTIAL_BODY = 'x-envoy-auth-partial-body'

const KEPT_TYPES = /^(?:application\/x-www-form-urlencoded|multipart\/form-data)\s*(?:;|$)/i

/**
 * Returns whether a form that was posted without a session is kept during the login. A form from another site is not
 * kept, because it would be posted with the user's new session.
 */
export function mayKeepForm(facts: Facts, route: CompiledRoute | null): boolean {
  return (
    route?.preservePost === true &&
    facts.method === 'POST' &&
    KEPT_TYPES.test(facts.headers['content-type'] ?? '') &&
    !isCrossOrigin(facts)
  )
}

/**
 * Answers a posted form with a 401 page that keeps the fields in sessionStorage. A form with files, or larger than 256
 * kB, gets a 413 page that explains how to send it after the login. Throws `bad_request` for a body that is not a form
 * or takes longer than 30 s.
 */
export async function keepForm(
  request: FastifyRequest,
  reply: FastifyReply,
  answer: Answer,
  config: Config,
  cookies: Cookies,
): Promise<FastifyReply> {
  const { kind, route, original, ...context } = contextOf(request)
  const facts = original ?? context.facts
  const type = request.headers['content-type'] ?? ''
  const whole = request.headers[PARTIAL_BODY] !== 'true'
  const body = await readBody(request.raw, whole ? MAX_FORM_BYTES : 0, BODY_TIMEOUT_MS)
  const form =
    body === null
      ? null
      : await readFormFields(body, type).catch((cause: unknown) => {
          throw new Fault('bad_request', { cause })
        })
  const loginOrigin = config.loginHost ?? facts.origin
  const { partitioned } = config.session.cookie
  const top = kind === 'frame' && !partitioned
  const loginUrl = new URL(answer.loginUrl ?? `${loginOrigin}${config.basePath}/login`)
  const send = (status: number, code: Code, page: Page): FastifyReply => {
    const { headers, html } = renderPage({ ...page, isFramable: partitioned }, config.pages, pageRequest(request))
    contextOf(request).verdict = code
    if (answer.clearSession === true) reply.header('set-cookie', cookies.clearTicket())
    return reply
      .code(status)
      .headers({ ...headers, gatehouse: code, ...(status === 401 ? { 'www-authenticate': answer.authenticate } : {}) })
      .send(html)
  }
  if (form === null) {
    return send(413, 'payload_too_large', {
      text: 'form_too_large',
      before: answer.text ?? answer.code,
      actions: [
        { label: 'sign_in_in_a_new_tab', href: loginUrl.href, newTab: true },
        { label: 'go_back_to_the_form', back: true },
      ],
    })
  }
  const plainLoginUrl = loginUrl.href
  const id = randomBytes(9).toString('base64url')
  const kept = {
    action: facts.origin + percentEncodeBytes(facts.path + facts.query),
    type: type.split(';')[0]?.trim().toLowerCase(),
    ...form,
  }
  // The return URL does not show to which route the form will be posted.
  for (const name of route?.provider ?? []) loginUrl.searchParams.append('provider', name)
  const posting = `${config.basePath}/${POST_KEPT_FORM_PATH}?id=${id}`
  loginUrl.searchParams.set('redirect', targetAtLogin(posting, facts.origin, loginOrigin))
  return send(answer.status, answer.code, {
    text: 'kept_form',
    before: answer.text ?? answer.code,
    actions: [{ label: 'sign_in_and_send', href: loginUrl.href, top }],
    script: (wording) => storingScript(id, kept, kind === 'frame', plainLoginUrl, wording),
  })
}

/** Returns the script that stores the form. Without sessionStorage, the page offers to go back to the form. */
function storingScript(id: string, kept: object, inFrame: boolean, loginUrl: string, wording: Wording): string {
  const text = (name: TextName): string => scriptLiteral(wording.text(name))
  return `var kept=${scriptLiteral(kept)},link=document.querySelector(".actions a");
try{kept.action+=location.hash;sessionStorage.setItem(${scriptLiteral(storageKey(id))},JSON.stringify(kept));
${inFrame ? '' : REPLACE_HISTORY}}
catch(e){var back=document.createElement("button");back.textContent=${text('button.go_back_to_the_form')};
back.onclick=function(){history.back()};
document.querySelector("h1+p").textContent=${text('form_not_kept')};
link.textContent=${text('button.sign_in_in_a_new_tab')};link.href=${scriptLiteral(loginUrl)};
link.target="_blank";link.rel="noopener";link.after(back)}`
}

/** Replaces the history entry, so that the back button leads to the form, not to a page that would post it again. */
const REPLACE_HISTORY = 'link.onclick=function(e){e.preventDefault();location.replace(link.href)}'

export interface FormFields {
  /** The names and values in order. The value of an empty file field is `null`. */
  readonly fields: readonly (readonly [name: string, value: string | null])[]
  /** The `accept-charset` that produces the same bytes. */
  readonly charset: 'utf-8' | 'windows-1252'
}

/** Parsing and rendering more fields would delay other requests. */
const MAX_FIELDS = 5_000
const MAX_PARTS = 1_000

const WINDOWS_1252 = Uint16Array.from({ length: 256 }, (_, byte) =>
  byte < 0x80 || byte > 0x9f ? byte : WINDOWS_1252_UPPER.charCodeAt(byte - 0x80),
)

/**
 * Parses an urlencoded or multipart body. Returns `null` for a form with files or too many fields. Rejects if the body
 * is malformed.
 */
async function readFormFields(body: Buffer, contentType: string): Promise<FormFields | null> {
  return /^application\/x-www-form-urlencoded/i.test(contentType)
    ? readUrlencoded(body)
    : readMultipart(body, contentType)
}

function readUrlencoded(body: Buffer): FormFields | null {
  const pairs: [name: Buffer, value: Buffer][] = []
  for (let from = 0, end = 0; end <= body.length; end += 1) {
    if (end < body.length && body[end] !== AMPERSAND) continue
    if (end > from) {
      if (pairs.length === MAX_FIELDS) return null
      const pair = body.subarray(from, end)
      const equals = pair.indexOf('=')
      const middle = equals === -1 ? pair.length : equals
      pairs.push([bytesOf(pair.subarray(0, middle)), bytesOf(pair.subarray(middle + 1))])
    }
    from = end + 1
  }
  const unicode = pairs.every((pair) => pair.every((bytes) => isUtf8(bytes)))
  const text = unicode ? (bytes: Buffer) => bytes.toString('utf8') : fromWindows1252
  return {
    fields: pairs.map(([name, value]) => [text(name), text(value)]),
    charset: unicode ? 'utf-8' : 'windows-1252',
  }
}

async function readMultipart(body: Buffer, contentType: string): Promise<FormFields | null> {
  if (hasManyParts(body)) return null
  const unicode = isUtf8(body)
  const readable = unicode ? body : Buffer.from(fromWindows1252(body), 'utf8')
  const { bytes, type } = withUniqueBoundary(readable, contentType)
  const data = [...(await new Response(new Uint8Array(bytes), { headers: { 'content-type': type } }).formData())]
  if (data.some(([, value]) => isFile(value))) return null
  return {
    fields: data.map(([name, value]) => [name, typeof value === 'string' ? value : null]),
    charset: unicode ? 'utf-8' : 'windows-1252',
  }
}

/** Estimates the number of parts before parsing: each part follows a line that begins with two hyphens. */
function hasManyParts(body: Buffer): boolean {
  let count = 0
  for (let at = body.indexOf('\n--'); at !== -1 && count <= MAX_PARTS; at = body.indexOf('\n--', at + 3)) count += 1
  return count > MAX_PARTS
}

/**
 * Replaces the boundary by one that does not occur elsewhere in the body. Node's parser accepts a boundary as a
 * delimiter even in the middle of a line, contrary to https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1.
 */
function withUniqueBoundary(body: Buffer, contentType: string): { bytes: Buffer; type: string } {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]+)"|([^\s;"]+))/i.exec(contentType) ?? []
  const given = quoted ?? plain
  if (given === undefined) return { bytes: body, type: contentType }
  const own = `gatehouse-${randomUUID()}`
  const delimiter = new RegExp(
    `\\r\\n--${given.replaceAll(/[^\w]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`)}` +
      '(?=(?:--)?[ \\t]*(?:\\r\\n|$))',
    'g',
  )
  const text = `\r\n${body.toString('latin1')}`.replaceAll(delimiter, `\r\n--${own}`)
  return { bytes: Buffer.from(text.slice(2), 'latin1'), type: `multipart/form-data; boundary=${own}` }
}

/** Returns whether a value is a file. Browsers send an empty file field as an empty file without a name. */
function isFile(value: string | File): boolean {
  return typeof value !== 'string' && (value.size > 0 || (value.name !== '' && value.name !== 'blob'))
}

/**
 * Decodes a percent-encoded name or value in place.
 * @see https://url.spec.whatwg.org/#urlencoded-parsing
 */
function bytesOf(encoded: Buffer): Buffer {
  let to = 0
  for (let from = 0; from < encoded.length; from += 1) {
    const byte = encoded[from] ?? 0
    const [high, low] = byte === PERCENT ? [hexOf(encoded[from + 1]), hexOf(encoded[from + 2])] : NO_HEX
    if (high !== -1 && low !== -1) from += 2
    encoded[to] = high !== -1 && low !== -1 ? high * 16 + low : byte === PLUS ? SPACE : byte
    to += 1
  }
  return encoded.subarray(0, to)
}

const [SPACE, PERCENT, AMPERSAND, PLUS] = [0x20, 0x25, 0x26, 0x2b]
const NO_HEX = [-1, -1] as const

/** Returns the value of a hexadecimal digit, or -1. */
function hexOf(byte: number | undefined): number {
  if (byte === undefined) return -1
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

function fromWindows1252(bytes: Buffer): string {
  const codes = new Uint16Array(bytes.length)
  for (let i = 0; i < bytes.length; i += 1) codes[i] = WINDOWS_1252[bytes[i] ?? 0] ?? 0
  return Buffer.from(codes.buffer).toString('utf16le')
}
