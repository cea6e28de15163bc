import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'

export interface Page {
  /**
   * The name in `pages.texts`: `NAME` replaces the detail and `NAME.title` the title. `button.LABEL` replaces a label;
   * `LABEL` is in lower case, with `_` for spaces. `request` and `lang` apply to all pages.
   */
  readonly name: string
  readonly title: string
  readonly detail: string
  readonly actions: readonly Action[]
  readonly requestId: string
  /** An inline script. */
  readonly script?: string
  /** The sources for `form-action` in addition to this origin. They must include the targets of redirects. */
  readonly formTargets?: readonly string[]
  /** Whether pages of other sites may show this page in a frame. */
  readonly isFramable?: boolean
}

export type Action =
  | {
      readonly label: string
      readonly href: string
      readonly id?: string
      readonly top?: boolean
      readonly newTab?: boolean
    }
  | { readonly label: string; readonly post: string; readonly fields: Readonly<Record<string, string>> }
  | { readonly label: string; readonly back: true }

export interface RenderedPage {
  readonly html: string
  readonly headers: Readonly<Record<string, string>>
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5a6675; --paper: #f5f6f8; --card: #fff; --line: #d9dee5;
  --accent: #1f5fbf; --on-accent: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ecf1; --soft: #a3aebb; --paper: #14181d; --card: #1d232b; --line: #343d48;
    --accent: #8ab8ff; --on-accent: #101820 }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
main { width: min(30rem, 100%); padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem }
h1 { margin: 0 0 .5rem; font-size: 1.4rem; line-height: 1.25 }
img { max-width: 10rem; max-height: 3rem; margin-bottom: 1rem }
.site, .id { color: var(--soft); font-size: .875rem }
.site { margin: 0 0 .25rem }
.id { margin: 1.5rem 0 0; overflow-wrap: anywhere }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.5rem }
a, button { font: inherit; color: var(--accent) }
.actions a, button { padding: .5rem 1rem; border: 1px solid var(--accent); border-radius: .4rem; background: none;
  text-decoration: none; text-align: center; cursor: pointer }
.actions > a:first-child, .actions > form:first-child button { background: var(--accent); color: var(--on-accent) }
a:focus-visible, button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
form { margin: 0 }
@media (max-width: 26rem) { main { padding: 1.5rem } .actions > *, form button { width: 100% } }`

/** Sends a page with status 200. */
export function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  page: Omit<Page, 'requestId'>,
  settings: Config['pages'],
): FastifyReply {
  const { headers, html } = renderPage({ ...page, requestId: request.id }, settings)
  return reply.headers(headers).send(html)
}

/**
 * Renders a page that works without scripts, is not cached, and can be framed only by this origin unless `isFramable`.
 */
export function renderPage(page: Page, settings: Config['pages']): RenderedPage {
  const nonce = randomBytes(16).toString('base64')
  const { texts } = settings
  const title = escapeHtml(texts[`${page.name}.title`] ?? page.title)
  const site = settings.title === null ? '' : `<p class="site">${escapeHtml(settings.title)}</p>`
  const ofSite = settings.title === null ? '' : ` – ${escapeHtml(settings.title)}`
  const request = escapeHtml(`${texts['request'] ?? 'Request'} ${page.requestId}`)
  const logo = settings.logo === null ? '' : `<img src="${escapeHtml(settings.logo)}" alt="">`
  const detail = escapeHtml(texts[page.name] ?? page.detail)
  const code = [page.script, page.actions.some((action) => 'back' in action) ? GO_BACK : undefined]
    .filter((part) => part !== undefined)
    .join(';')
  const script = code === '' ? '' : `<script nonce="${nonce}">${code}</script>`
  const buttons = page.actions.map((action) => renderAction(action, escapeHtml(buttonText(action.label, settings))))
  const actions = buttons.length === 0 ? '' : `<div class="actions">${buttons.join('')}</div>`
  return {
    html: `<!doctype html>
<html lang="${escapeHtml(texts['lang'] ?? 'en')}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title}${ofSite}</title><style nonce="${nonce}">${STYLE}</style></head>
<body><main>${logo}${site}<h1>${title}</h1><p>${detail}</p>${actions}<p class="id">${request}</p></main>${script}</body>
</html>
`,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'content-security-policy': [
        "default-src 'none'",
        `style-src 'nonce-${nonce}'`,
        script === '' ? "script-src 'none'" : `script-src 'nonce-${nonce}'`,
        settings.logo === null ? "img-src 'none'" : `img-src ${imageSource(settings.logo)}`,
        `form-action ${["'self'", ...(page.formTargets ?? [])].join(' ')}`,
        `frame-ancestors ${page.isFramable === true ? '*' : "'self'"}`,
        "base-uri 'none'",
      ].join('; '),
      'referrer-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
    },
  }
}

export function buttonText(label: string, { texts }: Config['pages']): string {
  return texts[`button.${label.toLowerCase().replaceAll(' ', '_')}`] ?? label
}

/** Returns the `form-action` sources for a form that may be redirected to any site. */
export function anySite(origin: string): string[] {
  return ['https:', ...(origin.startsWith('http:') ? ['http:'] : [])]
}

/** Escapes text for HTML content and for quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
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

/** Shows the back button, which the page hides because the button has no effect without scripts. */
const GO_BACK = 'var b=document.getElementById("back");b.hidden=false;b.onclick=function(){history.back()}'

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

function imageSource(logo: string): string {
  if (logo.startsWith('data:')) return 'data:'
  return logo.startsWith('/') ? "'self'" : new URL(logo).origin
}
