import { escapeHtml, htmlDocument } from '../html.ts'

const CSS = `
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6877; --paper: #f5f7f4; --card: #fff; --line: #d5dcd3;
  --accent: #17683f; --on-accent: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9e4; --soft: #9aa79d; --paper: #111512; --card: #191f1b; --line: #323c35; --accent: #6fcf9a;
    --on-accent: #0c2116 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
header, main { max-width: 60rem; margin: 0 auto; padding: 1rem 1.5rem }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: baseline;
  border-bottom: 1px solid var(--line) }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem }
header strong { font-size: 1.25rem; margin-right: auto }
section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem 1.25rem;
  margin: 1rem 0 }
h1 { font-size: 1.5rem; margin: .5rem 0 } h2 { font-size: 1.05rem; margin: 0 0 .5rem }
table { width: 100%; border-collapse: collapse; font-size: .9rem } .scroll { overflow-x: auto }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; border-top: 1px solid var(--line) }
tbody th { width: 30% } .headers td { overflow-wrap: anywhere }
code, pre, .headers td { font-family: ui-monospace, monospace }
summary { cursor: pointer; margin-top: 1rem } li { margin: .35rem 0 } ul { margin: 0; padding-left: 1.25rem }
pre { white-space: pre-wrap; margin: .5rem 0 0 }
a { color: var(--accent) } .soft { color: var(--soft) }
button { font: inherit; padding: .45rem .9rem; border: 0; border-radius: .5rem; background: var(--accent);
  color: var(--on-accent); cursor: pointer }
button.quiet { background: none; color: var(--accent); border: 1px solid var(--accent); margin: 0 .5rem .5rem 0 }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
textarea, input { font: inherit; width: 100%; padding: .5rem; border: 1px solid var(--line); border-radius: .5rem;
  background: transparent; color: inherit }
`

/**
 * Returns an HTML document in the style of the sample application; `body` and `head` are HTML; `title` and `user` are
 * text.
 */
export function layout(title: string, user: string | null, body: string, head = ''): string {
  const main = `<header>
<strong>Orders</strong>
<span id="user">${user === null ? 'Not signed in' : `Signed in as ${escapeHtml(user)}`}</span>
<nav><a href="/">Orders</a> <a href="/report">A long form</a> <a href="/admin/">Administration</a>
<a href="/public/">Public page</a></nav>
${user === null ? '' : '<a href="/oauth2/logout">Log out</a>'}
</header>
<main>
<h1>${escapeHtml(title)}</h1>
${body}
</main>`
  return htmlDocument({ title, css: CSS, head, body: main })
}
