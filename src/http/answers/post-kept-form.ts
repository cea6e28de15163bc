import type { FastifyReply, FastifyRequest } from 'fastify'
import { contextOf } from '../context.ts'
import { startPage, type PageServices } from './actions.ts'
import { anySite, sendPage, scriptLiteral } from './pages.ts'
import type { Wording } from './wording.ts'

export const POST_KEPT_FORM_PATH = 'form'

export function storageKey(id: string): string {
  return `gatehouse:form:${id}`
}

export function postKeptForm(
  request: FastifyRequest,
  reply: FastifyReply,
  { config, routes }: PageServices,
): FastifyReply {
  const { facts } = contextOf(request)
  const id = new URLSearchParams(facts.query).get('id') ?? ''
  const key = scriptLiteral(storageKey(/^[A-Za-z0-9_-]{12}$/.test(id) ? id : ''))
  // A field may have the name of a form property, such as `action`. So the script sets the properties before it adds
  // the fields, and calls `submit` from the prototype.
  const script = (
    wording: Wording,
  ): string => `var k=${key},kept=null;try{kept=sessionStorage.getItem(k);sessionStorage.removeItem(k)}catch(e){}
if(kept){kept=JSON.parse(kept);var f=document.createElement("form"),all=document.createElement("div");
f.method="post";f.action=kept.action;f.enctype=kept.type;f.acceptCharset=kept.charset;f.hidden=true;f.appendChild(all);
document.body.appendChild(f);
kept.fields.forEach(function(p){var i=document.createElement(p[1]===null?"input":"textarea");
if(p[1]===null)i.type="file";else i.value=p[1];i.name=p[0];all.appendChild(i)});
HTMLFormElement.prototype.submit.call(f)}
else document.querySelector("h1+p").textContent=${scriptLiteral(wording.text('nothing_to_send'))}`
  const start = startPage({ config, routes }, facts.origin)
  contextOf(request).verdict = 'kept_form'
  return sendPage(
    request,
    reply,
    {
      text: 'posting_form',
      actions: start === null ? [] : [{ label: 'start_page', href: start }],
      script,
      // The application may answer with a redirect to another site, such as a payment provider.
      formTargets: anySite(facts.origin),
      isFramable: config.session.cookie.partitioned,
    },
    config.pages,
  )
}
