import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { startPageOf } from '../../gate/return-target.ts'
import { contextOf } from '../context.ts'
import { anySite, sendPage, scriptLiteral } from './pages.ts'

export const POST_KEPT_FORM_PATH = 'form'

const NOTHING_KEPT = 'There is nothing to send: this form has been sent already, or was kept in another tab.'

export function storageKey(id: string): string {
  return `gatehouse:form:${id}`
}

export function postKeptForm(request: FastifyRequest, reply: FastifyReply, config: Config): FastifyReply {
  const { facts } = contextOf(request)
  const id = new URLSearchParams(facts.query).get('id') ?? ''
  const key = scriptLiteral(storageKey(/^[A-Za-z0-9_-]{12}$/.test(id) ? id : ''))
  // A field may have the name of a form property, such as `action`. So the script sets the properties before it adds
  // the fields, and calls `submit` from the prototype.
  const script = `var k=${key},kept=null;try{kept=sessionStorage.getItem(k);sessionStorage.removeItem(k)}catch(e){}
if(kept){kept=JSON.parse(kept);var f=document.createElement("form"),all=document.createElement("div");
f.method="post";f.action=kept.action;f.enctype=kept.type;f.acceptCharset=kept.charset;f.hidden=true;f.appendChild(all);
document.body.appendChild(f);
kept.fields.forEach(function(p){var i=document.createElement(p[1]===null?"input":"textarea");
if(p[1]===null)i.type="file";else i.value=p[1];i.name=p[0];all.appendChild(i)});
HTMLFormElement.prototype.submit.call(f)}
else document.querySelector("h1+p").textContent=${scriptLiteral(config.pages.texts['nothing_to_send'] ?? NOTHING_KEPT)}`
  contextOf(request).verdict = 'kept_form'
  return sendPage(
    request,
    reply,
    {
      name: 'posting_form',
      title: 'Sending your form',
      detail: 'You are signed in; your form is being sent.',
      actions: [{ label: 'Start page', href: startPageOf(config) }],
      script,
      // The application may answer with a redirect to another site, such as a payment provider.
      formTargets: anySite(facts.origin),
      isFramable: config.session.cookie.partitioned,
    },
    config.pages,
  )
}
