import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { fill, isTextName, type ButtonName, type TextName, type TextValues } from '../../texts/texts.ts'
import { iconUrl, styleElements } from './style.ts'
import { wordingFor, type Wording } from './wording.ts'

export interface Page {
  /** The text of the page. The text `TEXT.title` is the title. */
  readonly text: TextName
  /** The name in `pages.texts` that also replaces the text; `NAME.title` also replaces the title. */
  readonly name?: string
  /** A sentence before the text. Its title is that of the page if the text has no title. */
  readonly before?: TextName
  /** A sentence after the text. */
  readonly more?: TextName
  readonly values?: TextValues
  /** The name of the signed-in user, to show on the page. */
  readonly user?: string
  /** Whether the page shows where the user finds help. */
  readonly hasContact?: boolean
  readonly actions: readonly Action[]
  /** An inline script. */
  readonly script?: string | ((wording: Wording) => string)
  /** The sources for `form-action` in addition to this origin. They must include the targets of redirects. */
  readonly formTargets?: readonly string[]
  /**
   * Whether pages of other sites may show this page in a frame. `anywhere` includes pages of schemes that `*` does not
   * match, such as those of mobile apps.
   * @see https://www.w3.org/TR/CSP3/#match-url-to-source-expression
   */
  readonly isFramable?: boolean | 'anywhere'
}

/** The name of a button's text, or a label of its own. */
type Label = ButtonName | { readonly written: string }

export type Action =
  | {
      readonly label: Label
      readonly href: string
      readonly id?: string
      readonly top?: boolean
      readonly newTab?: boolean
    }
  | { readonly label: Label; readonly post: string; readonly fields: Readonly<Record<string, string>> }
  | { readonly label: Label; readonly back: true }

/** The request that a page answers. */
export interface PageRequest {
  readonly id: string
  readonly acceptLanguage: string | undefined
}

export interface RenderedPage {
  readonly html: string
  readonly headers: Readonly<Record<string, string>>
}

/** Sends a page with status 200. */
export function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  page: Page,
  settings: Config['pages'],
): FastifyReply {
  const { headers, html } = renderPage(page, settings, pageRequest(request))
  return reply.headers(headers).send(html)
}

export function pageRequest({ id, headers }: FastifyRequest): PageRequest {
  return { id, acceptLanguage: headers['accept-language'] }
}

/**
 * Renders a page in the language of the browser. The page works without scripts, is not cached, and can be framed only
 * by this origin unless `isFramable`.
 */
export function renderPage(page: Page, settings: Config['pages'], { id, acceptLanguage }: PageRequest): RenderedPage {
  const nonce = randomBytes(16).toString('base64')
  const wording = wordingFor(settings, acceptLanguage)
  const title = escapeHtml(titleOf(page, wording))
  const site = settings.title === null ? '' : `<p class="site">${escapeHtml(settings.title)}</p>`
  const ofSite = settings.title === null ? '' : ` – ${escapeHtml(settings.title)}`
  const logo = settings.logo === null ? '' : `<img src="${escapeHtml(settings.logo)}" alt="">`
  const user = page.user === undefined ? '' : userLine(page.user, wording)
  const contact = settings.contact === null || page.hasContact !== true ? '' : contactLine(settings.contact, wording)
  const code = [
    typeof page.script === 'function' ? page.script(wording) : page.script,
    page.actions.some((action) => 'back' in action) ? GO_BACK : undefined,
  ]
    .filter((part) => part !== undefined)
    .join(';')
  const script = code === '' ? '' : `<script nonce="${nonce}">${code}</script>`
  const buttons = page.actions.map((action) => renderAction(action, escapeHtml(labelOf(action, wording))))
  const actions = buttons.length === 0 ? '' : `<div class="actions">${buttons.join('')}</div>`
  return {
    html: `<!doctype html>
<html lang="${wording.language}"${wording.direction === 'rtl' ? ' dir="rtl"' : ''}>
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><link rel="icon" href="${escapeHtml(iconUrl(settings))}">
<title>${title}${ofSite}</title>${styleElements(settings, nonce)}</head>
<body><main>${logo}${site}<h1>${title}</h1><p>${escapeHtml(detailOf(page, wording))}</p>${user}${actions}${contact}<p class="id">${escapeHtml(`${wording.text('request')} ${id}`)}</p></main>${script}</body>
</html>
`,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-language': wording.language,
      'cache-control': 'no-store',
      'content-security-policy': [
        "default-src 'none'",
        `style-src 'nonce-${nonce}'`,
        script === '' ? "script-src 'none'" : `script-src 'nonce-${nonce}'`,
        `img-src ${imageSources(settings).join(' ')}`,
        ...(settings.styleFile === null ? [] : ["font-src 'self' data:"]),
        `form-action ${["'self'", ...(page.formTargets ?? [])].join(' ')}`,
        ...(page.isFramable === 'anywhere' ? [] : [`frame-ancestors ${page.isFramable === true ? '*' : "'self'"}`]),
        "base-uri 'none'",
      ].join('; '),
      'referrer-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
    },
  }
}

function titleOf({ text, name = text, before = text }: Page, wording: Wording): string {
  const names = [text, name, before].map((one) => `${one}.title`)
  const builtIn = names.find(isTextName)
  return wording.own(...names) ?? (builtIn === undefined ? '' : wording.text(builtIn))
}

function detailOf({ text, name = text, before, more, values }: Page, wording: Wording): string {
  const own = wording.own(text, name)
  if (own !== null) return fill(own, (placeholder) => values?.[placeholder])
  return [before, text, more].flatMap((one) => (one === undefined ? [] : wording.text(one, values))).join(' ')
}

function userLine(user: string, wording: Wording): string {
  const name = `<strong><bdi>${escapeHtml(user)}</bdi></strong>`
  return `<p>${escapeHtml(wording.text('signed_in_as')).replaceAll('{user}', () => name)}</p>`
}

const CONTACT_URL = /^(?:mailto:|tel:|https?:\/\/)\S+$/i
const EMAIL_ADDRESS = /^[^\s@:/<>]+@[^\s@:/<>]+$/

function contactLine(contact: string, wording: Wording): string {
  const url = CONTACT_URL.test(contact) ? contact : EMAIL_ADDRESS.test(contact) ? `mailto:${contact}` : null
  const shown = url === null ? contact : url.replace(/^(?:mailto:|tel:|https?:\/\/)/i, '').replace(/\/$|\?.*$/, '')
  const text = `<bdi>${escapeHtml(shown)}</bdi>`
  const link = url === null ? text : `<a href="${escapeHtml(url)}" target="_top">${text}</a>`
  return `<p>${escapeHtml(wording.text('contact')).replaceAll('{contact}', () => link)}</p>`
}

function labelOf({ label }: Action, wording: Wording): string {
  return typeof label === 'string' ? wording.text(`button.${label}`) : label.written
}

/** Returns the `form-action` sources for a form that may be redirected to any site. */
export function anySite(origin: string): string[] {
  return ['https:', ...(origin.startsWith('http:') ? ['http:'] : [])]
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Escapes text for HTML content and for quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
}

/** Returns a value as a literal for an inline script, with HTML characters and line separators escaped. */
export function scriptLiteral(value: unknown): string {
  // A single replacement by a function is so slow for a large form that it would delay other requests.
  return JSON.stringify(value)
    .replaceAll('<', '\\u003c')
    .replaceAll('>', '\\u003e')
    .replaceAll('&', '\\u0026')
    .replaceAll('\u2028', '\\u2028')
    .replaceAll('\u2029', '\\u2029')
}

/** Shows the back button, which the page hides because the button has no effect without scripts or without a history. */
const GO_BACK = 'var b=document.getElementById("back");b.hidden=history.length<2;b.onclick=function(){history.back()}'

function renderAction(action: Action, label: string): string {
  if ('back' in action) return `<button type="button" id="back" hidden>${label}</button>`
  if ('href' in action) {
    const id = action.id === undefined ? '' : ` id="${escapeHtml(action.id)}"`
    const target =
      action.top === true ? ' target="_top"' : action.newTab === true ? ' target="_blank" rel="noopener"' : ''
    return `<a${id} href="${escapeHtml(action.href)}"${target}>${label}</a>`
  }
  const fields = Object.entries(action.fields).map(
    ([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`,
  )
  return `<form method="post" action="${escapeHtml(action.post)}">${fields.join('')}<button>${label}</button></form>`
}

/** The icon is always a `data:` URL. The operator's style may use images of this origin. */
function imageSources({ logo, styleFile }: Config['pages']): string[] {
  const ofLogo =
    logo === null || logo.startsWith('data:') ? [] : [logo.startsWith('/') ? "'self'" : new URL(logo).origin]
  return [...new Set(['data:', ...ofLogo, ...(styleFile === null ? [] : ["'self'"])])]
}
