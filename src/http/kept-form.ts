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
import { buttonText, renderPage, scriptLiteral, type Page } from './pages.ts'
import { POST_KEPT_FORM_PATH, storageKey } from './post-kept-form.ts'
import { readBody } from './read-body.ts'

/** A larger form is not kept, bytes. */
const MAX_FORM_BYTES = 256 * 1024

/** A longer wait for it helps nobody, ms: who sends it is not known, and may be many. */
const BODY_WITHIN = 30_000

const KEPT_TYPES = /^(?:application\/x-www-form-urlencoded|multipart\/form-data)\s*(?:;|$)/i

/**
 * Whether a form that was posted without a session is kept through the login: only one that this origin's own page
 * sent. Another site's would be posted with the user's new session.
 */
export function keepsForm(request: FastifyRequest, route: CompiledRoute | null): boolean {
  return (
    route?.preservePost === true &&
    request.method === 'POST' &&
    KEPT_TYPES.test(request.headers['content-type'] ?? '') &&
    !isCrossOrigin(contextOf(request).facts)
  )
}

/**
 * Answers a posted form with the 401 page that keeps its fields in the browser's own sessionStorage; files, and more
 * than 256 kB, with a 413 page that tells how to send them all the same. Throws `bad_request` for a body that is no
 * form, or has not come within 30 s.
 */
export async function keepForm(
  request: FastifyRequest,
  reply: FastifyReply,
  answer: Answer,
  config: Config,
  cookies: Cookies,
): Promise<FastifyReply> {
  const { facts, kind } = contextOf(request)
  const type = request.headers['content-type'] ?? ''
  const body = await readBody(request.raw, MAX_FORM_BYTES, BODY_WITHIN)
  const form =
    body === null
      ? null
      : await readFormFields(body, type).catch((cause: unknown) => {
          throw new Fault('bad_request', { cause })
        })
  const loginUrl = new URL(answer.loginUrl ?? `${facts.origin}${config.basePath}/login`)
  const send = (status: number, code: Code, page: Omit<Page, 'requestId'>): FastifyReply => {
    const { headers, html } = renderPage({ ...page, requestId: request.id }, config.pages)
    contextOf(request).verdict = code
    if (answer.clearSession === true) reply.header('set-cookie', cookies.clearTicket())
    return reply
      .code(status)
      .headers({ ...headers, gatehouse: code, ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}) })
      .send(html)
  }
  if (form === null) {
    return send(413, 'payload_too_large', {
      name: 'form_too_large',
      title: 'Not sent yet',
      detail:
        `${answer.detail} This form has files or is too large to be kept until then. Nothing is lost: sign in ` +
        'in a new tab, ' +
        'come back to this one and go back to your form. What you entered is still there; send it again.',
      actions: [
        { label: 'Sign in in a new tab', href: loginUrl.href, newTab: true },
        { label: 'Go back to the form', back: true },
      ],
    })
  }
  const plainLoginUrl = loginUrl.href
  const id = randomBytes(9).toString('base64url')
  const kept = {
    action: facts.origin + facts.path + facts.query,
    type: type.split(';')[0]?.trim().toLowerCase(),
    ...form,
  }
  loginUrl.searchParams.set('redirect', `${config.basePath}/${POST_KEPT_FORM_PATH}?id=${id}`)
  return send(answer.status, answer.code, {
    name: 'kept_form',
    title: answer.title,
    detail: `${answer.detail} What you entered is kept in this browser tab and sent once you are signed in.`,
    actions: [{ label: 'Sign in and send', href: loginUrl.href, top: kind === 'frame' }],
    script: keepingScript(id, kept, kind === 'frame', plainLoginUrl, config.pages),
  })
}

const NOT_KEPT =
  'This browser keeps nothing for this site. Go back: what you entered is still there. Sign in in another tab, ' +
  'then send it again.'

/** Puts the form away; where the browser keeps nothing, the page becomes one that leads back to the form. */
function keepingScript(id: string, kept: object, inFrame: boolean, loginUrl: string, pages: Config['pages']): string {
  const word = (text: string): string => scriptLiteral(buttonText(text, pages))
  return `var kept=${scriptLiteral(kept)},link=document.querySelector(".actions a");
try{kept.action+=location.hash;sessionStorage.setItem(${scriptLiteral(storageKey(id))},JSON.stringify(kept));
${inFrame ? '' : LEAVE_FOR_GOOD}}
catch(e){var back=document.createElement("button");back.textContent=${word('Go back to the form')};
back.onclick=function(){history.back()};
document.querySelector("h1+p").textContent=${scriptLiteral(pages.texts['form_not_kept'] ?? NOT_KEPT)};
link.textContent=${word('Sign in in a new tab')};link.href=${scriptLiteral(loginUrl)};
link.target="_blank";link.rel="noopener";link.after(back)}`
}

/** Who goes back after that comes to the form, not to a page that would post it once more. */
const LEAVE_FOR_GOOD = 'link.onclick=function(e){e.preventDefault();location.replace(link.href)}'
