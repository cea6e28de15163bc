import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config/schema.ts'
import { Fault, type Code } from '../errors.ts'
import type { Answer } from '../gate/challenge.ts'
import { isCrossOrigin } from '../gate/origin.ts'
import type { CompiledRoute } from '../gate/verdict.ts'
import { contextOf } from './context.ts'
import type { Cookies } from './cookies.ts'
import { readFormFields } from './form-fields.ts'
import { renderPage, scriptLiteral, type Page } from './pages.ts'
import { readBody } from './read-body.ts'

/** A larger form is not kept, bytes. */
const MAX_FORM_BYTES = 256 * 1024

/** A longer wait for it helps nobody, ms: who sends it is not known, and may be many. */
const BODY_WITHIN = 30_000

const KEPT_TYPES = /^(?:application\/x-www-form-urlencoded|multipart\/form-data)\s*(?:;|$)/i

/** The page behind `form`, where a kept form is posted from. */
export const KEPT_FORM_PATH = 'form'

/**
 * Whether a form that was posted without a session is kept through the login: only one that this origin's own page sent.
 * Another site's would be posted with the user's new session.
 */
export function keepsForm(request: FastifyRequest, route: CompiledRoute | null): boolean {
  return route?.preservePost === true && request.method === 'POST' && KEPT_TYPES.test(request.headers['content-type'] ?? '')
    && !isCrossOrigin(contextOf(request).facts)
}

/**
 * Answers a posted form with the 401 page that keeps its fields in the browser's own sessionStorage; files, and more than
 * 256 kB, with a 413 page that tells how to send them all the same. Throws `bad_request` for a body that is no form, or has
 * not come within 30 s.
 */
export async function keepForm(request: FastifyRequest, reply: FastifyReply, answer: Answer, config: Config, cookies: Cookies): Promise<FastifyReply> {
  const { facts, kind } = contextOf(request)
  const type = request.headers['content-type'] ?? ''
  const body = await readBody(request.raw, MAX_FORM_BYTES, BODY_WITHIN)
  const form = body === null ? null : await readFormFields(body, type).catch((cause: unknown) => { throw new Fault('bad_request', { cause }) })
  const loginUrl = new URL(answer.loginUrl ?? `${facts.origin}${config.basePath}/login`)
  const send = (status: number, code: Code, page: Omit<Page, 'requestId'>): FastifyReply => {
    const { headers, html } = renderPage({ ...page, requestId: request.id }, config.pages)
    contextOf(request).verdict = code
    if (answer.clearSession === true) reply.header('set-cookie', cookies.clearTicket())
    return reply.code(status).headers({ ...headers, gatehouse: code, ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}) }).send(html)
  }
  if (form === null) {
    return send(413, 'payload_too_large', {
      name: 'form_too_large', title: 'Not sent yet',
      detail: `${answer.detail} This form has files or is too large to be kept until then. Nothing is lost: sign in in a new tab, `
        + 'come back to this one and go back to your form. What you entered is still there; send it again.',
      actions: [{ label: 'Sign in in a new tab', href: loginUrl.href, newTab: true }, { label: 'Go back to the form', back: true }],
    })
  }
  const id = randomBytes(9).toString('base64url')
  const kept = { action: facts.origin + facts.path + facts.query, type: type.split(';')[0]?.trim().toLowerCase(), ...form }
  loginUrl.searchParams.set('redirect', `${config.basePath}/${KEPT_FORM_PATH}?id=${id}`)
  return send(answer.status, answer.code, {
    name: 'kept_form', title: answer.title,
    detail: `${answer.detail} What you entered is kept in this browser tab and sent once you are signed in.`,
    actions: [{ label: 'Sign in and send', href: loginUrl.href, top: kind === 'frame' }],
    script: `try{sessionStorage.setItem(${scriptLiteral(storageKey(id))},${scriptLiteral(JSON.stringify(kept))})}`
      + `catch(e){document.querySelector("h1+p").textContent=${scriptLiteral(config.pages.texts['form_not_kept'] ?? NOT_KEPT)}}`
      // Who goes back after that comes to the form, not to a page that would post it once more.
      + (kind === 'frame' ? '' : ';document.querySelector(".actions a").onclick=function(e){e.preventDefault();location.replace(this.href)}'),
  })
}

const NOT_KEPT = 'This browser keeps nothing for this site. Go back: what you entered is still there. Sign in in another tab, then send it again.'
const NOTHING_KEPT = 'There is nothing to send: this form has been sent already, or was kept in another tab.'

/** The page that posts a kept form, once: what is taken out of the storage is gone from there. */
export function postKeptForm(request: FastifyRequest, reply: FastifyReply, config: Config): FastifyReply {
  const id = new URLSearchParams(contextOf(request).facts.query).get('id') ?? ''
  const key = scriptLiteral(storageKey(/^[A-Za-z0-9_-]{12}$/.test(id) ? id : ''))
  // A field may have any name, also that of what a form can do: fields come in last, and from the side.
  const script = `var k=${key},kept=sessionStorage.getItem(k);sessionStorage.removeItem(k);
if(kept){kept=JSON.parse(kept);var f=document.createElement("form"),all=document.createElement("div");
f.method="post";f.action=kept.action;f.enctype=kept.type;f.acceptCharset=kept.charset;f.hidden=true;f.appendChild(all);
document.body.appendChild(f);kept.fields.forEach(function(p){var i=document.createElement(p[1]===null?"input":"textarea");
if(p[1]===null)i.type="file";else i.value=p[1];i.name=p[0];all.appendChild(i)});HTMLFormElement.prototype.submit.call(f)}
else document.querySelector("h1+p").textContent=${scriptLiteral(config.pages.texts['nothing_to_send'] ?? NOTHING_KEPT)}`
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
