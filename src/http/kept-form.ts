import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config/schema.ts'
import { Fault } from '../errors.ts'
import type { Answer } from '../gate/challenge.ts'
import { isCrossOrigin } from '../gate/origin.ts'
import type { CompiledRoute } from '../gate/verdict.ts'
import { contextOf } from './context.ts'
import type { Cookies } from './cookies.ts'
import { renderPage, scriptLiteral } from './pages.ts'

/** A larger form is not kept, bytes. */
const MAX_FORM_BYTES = 256 * 1024

const KEPT_TYPES = /^(?:application\/x-www-form-urlencoded|multipart\/form-data)\s*(?:;|$)/i
const TOO_MUCH = 'You are not signed in any more, and this form is too large to be kept until you are, or has files. '
  + 'Go back (your entries are still there), sign in at another tab, then send it again.'

/** The page behind `form`, where a kept form is posted from. */
export const KEPT_FORM_PATH = 'form'

/**
 * Whether a form that was posted without a session is kept through the login: only one that this origin's own page sent.
 * Another site's would be posted with the user's new session.
 */
export function keepsForm(request: FastifyRequest, route: CompiledRoute | null): boolean {
  return route?.preservePost === true && KEPT_TYPES.test(request.headers['content-type'] ?? '') && !isCrossOrigin(contextOf(request).facts)
}

/**
 * Answers a posted form with the 401 page that keeps its fields in the browser's own sessionStorage. Throws
 * `payload_too_large` for files and for more than 256 kB.
 */
export async function keepForm(request: FastifyRequest, reply: FastifyReply, answer: Answer, config: Config, cookies: Cookies): Promise<FastifyReply> {
  const { facts } = contextOf(request)
  const fields = await readFields(request)
  const id = randomBytes(9).toString('base64url')
  const form = { action: facts.path + facts.query, type: String(request.headers['content-type']).split(';')[0]?.trim().toLowerCase(), fields }
  const loginUrl = new URL(answer.loginUrl ?? `${facts.origin}${config.basePath}/login`)
  loginUrl.searchParams.set('redirect', `${config.basePath}/${KEPT_FORM_PATH}?id=${id}`)
  const page = renderPage({
    name: 'kept_form', title: answer.title, requestId: request.id,
    detail: `${answer.detail} What you entered is kept in this browser tab and sent once you are signed in.`,
    actions: [{ label: 'Sign in and send', href: loginUrl.href }],
    script: `sessionStorage.setItem(${scriptLiteral(storageKey(id))},${scriptLiteral(JSON.stringify(form))})`,
  }, config.pages)
  contextOf(request).verdict = answer.code
  if (answer.clearSession === true) reply.header('set-cookie', cookies.clearTicket())
  return reply.code(answer.status).headers({ ...page.headers, 'gatehouse': answer.code, 'www-authenticate': 'Bearer' }).send(page.html)
}

/** The page that posts a kept form, once: what is taken out of the storage is gone from there. */
export function postKeptForm(request: FastifyRequest, reply: FastifyReply, config: Config): FastifyReply {
  const id = new URLSearchParams(contextOf(request).facts.query).get('id') ?? ''
  const key = scriptLiteral(storageKey(/^[A-Za-z0-9_-]{12}$/.test(id) ? id : ''))
  const script = `var k=${key},kept=sessionStorage.getItem(k);sessionStorage.removeItem(k);
if(kept){kept=JSON.parse(kept);var f=document.createElement("form");f.method="post";f.action=kept.action;f.enctype=kept.type;f.hidden=true;
kept.fields.forEach(function(p){var i=document.createElement("textarea");i.name=p[0];i.value=p[1];f.appendChild(i)});
document.body.appendChild(f);HTMLFormElement.prototype.submit.call(f)}
else document.querySelector("main p:not(.site):not(.id)").textContent="There is nothing to send: this form has been sent already, or was kept in another tab."`
  const page = renderPage({
    name: 'posting_form', title: 'Sending your form', detail: 'You are signed in; your form is being sent.', requestId: request.id,
    actions: [{ label: 'Start page', href: '/' }], script,
  }, config.pages)
  contextOf(request).verdict = 'kept_form'
  return reply.headers(page.headers).send(page.html)
}

function storageKey(id: string): string {
  return `gatehouse:form:${id}`
}

async function readFields(request: FastifyRequest): Promise<readonly (readonly [string, string])[]> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_FORM_BYTES) throw tooLarge()
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request.raw.iterator({ destroyOnReturn: false })) {
    if (!Buffer.isBuffer(chunk)) throw new Fault('bad_request')
    size += chunk.length
    if (size > MAX_FORM_BYTES) throw tooLarge()
    chunks.push(chunk)
  }
  const body = Buffer.concat(chunks)
  if (/^application\/x-www/i.test(request.headers['content-type'] ?? '')) return [...new URLSearchParams(body.toString('utf8'))]
  const data = await new Response(body, { headers: { 'content-type': request.headers['content-type'] ?? '' } }).formData().catch((cause: unknown) => {
    throw new Fault('bad_request', { cause })
  })
  return [...data].flatMap(([name, value]) => {
    if (typeof value === 'string') return [[name, value] as const]
    // A file field that was left empty is sent as a nameless empty file.
    if (value.size > 0 || (value.name !== '' && value.name !== 'blob')) throw tooLarge()
    return []
  })
}

function tooLarge(): Fault {
  return new Fault('payload_too_large', { detail: TOO_MUCH })
}
