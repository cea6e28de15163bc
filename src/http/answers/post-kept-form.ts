import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { contextOf } from '../context.ts'
import { anywhere, renderPage, scriptLiteral } from './pages.ts'

/** The page under the base path that posts a kept form. */
export const POST_KEPT_FORM_PATH = 'form'

const NOTHING_KEPT = 'There is nothing to send: this form has been sent already, or was kept in another tab.'

/** Under which key the browser's sessionStorage keeps a form. */
export function storageKey(id: string): string {
  return `gatehouse:form:${id}`
}

/** The page that posts a kept form, once: what is taken out of the storage is gone from there. */
export function postKeptForm(request: FastifyRequest, reply: FastifyReply, config: Config): FastifyReply {
  const { facts } = contextOf(request)
  const id = new URLSearchParams(facts.query).get('id') ?? ''
  const key = scriptLiteral(storageKey(/^[A-Za-z0-9_-]{12}$/.test(id) ? id : ''))
  // A field may have any name, also that of what a form can do: fields come in last, and from the side.
  const script = `var k=${key},kept=null;try{kept=sessionStorage.getItem(k);sessionStorage.removeItem(k)}catch(e){}
if(kept){kept=JSON.parse(kept);var f=document.createElement("form"),all=document.createElement("div");
f.method="post";f.action=kept.action;f.enctype=kept.type;f.acceptCharset=kept.charset;f.hidden=true;f.appendChild(all);
document.body.appendChild(f);
kept.fields.forEach(function(p){var i=document.createElement(p[1]===null?"input":"textarea");
if(p[1]===null)i.type="file";else i.value=p[1];i.name=p[0];all.appendChild(i)});
HTMLFormElement.prototype.submit.call(f)}
else document.querySelector("h1+p").textContent=${scriptLiteral(config.pages.texts['nothing_to_send'] ?? NOTHING_KEPT)}`
  const page = renderPage(
    {
      name: 'posting_form',
      title: 'Sending your form',
      detail: 'You are signed in; your form is being sent.',
      actions: [{ label: 'Start page', href: '/' }],
      requestId: request.id,
      script,
      // The application may answer with a redirect, to whoever takes the money.
      formTargets: anywhere(facts.origin),
    },
    config.pages,
  )
  contextOf(request).verdict = 'kept_form'
  return reply.headers(page.headers).send(page.html)
}
