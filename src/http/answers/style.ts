import type { Config } from '../../config/schema.ts'
import { CARD } from '../../config/value-types/color.ts'

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5a6675; --paper: #f5f6f8; --card: ${CARD.light};
  --line: #d9dee5; --accent: #1f5fbf; --on-accent: #fff; --link: var(--accent) }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ecf1; --soft: #a3aebb; --paper: #14181d; --card: ${CARD.dark}; --line: #343d48;
    --accent: #8ab8ff; --on-accent: #101820 }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
main { width: min(30rem, 100%); padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; overflow-wrap: anywhere }
h1 { margin: 0 0 .5rem; font-size: 1.4rem; line-height: 1.25 }
img { max-width: 10rem; max-height: 3rem; margin-bottom: 1rem }
p { margin: 0 }
p + p { margin-top: .75rem }
.site, .id { color: var(--soft); font-size: .875rem }
.site { margin-bottom: .25rem }
p.id { margin-top: 1.5rem }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.5rem }
.actions + p { margin-top: 1.5rem }
a, button { font: inherit; color: var(--link) }
.actions a, button { padding: .5rem 1rem; border: 1px solid var(--link); border-radius: .4rem; background: none;
  text-decoration: none; text-align: center; cursor: pointer }
.actions > a:first-child, .actions > form:first-child button { background: var(--accent); color: var(--on-accent) }
a:focus-visible, button:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
form { margin: 0 }
@media (max-width: 26rem) { main { padding: 1.5rem } .actions > *, form button { width: 100% } }`

/** Returns the style elements of a page: the built-in style with the accent color, then the operator's. */
export function styleElements({ accentColor, styleFile }: Config['pages'], nonce: string): string {
  const accent =
    accentColor === null
      ? ''
      : `
:root { --accent: ${accentColor.written}; --on-accent: ${accentColor.on}; --link: ${accentColor.link.light} }
@media (prefers-color-scheme: dark) { :root { --accent: ${accentColor.written}; --on-accent: ${accentColor.on};
  --link: ${accentColor.link.dark} } }`
  const element = (css: string): string => `<style nonce="${nonce}">${css}</style>`
  // `\/` is the same as `/` in CSS, but does not end the element.
  return element(STYLE + accent) + (styleFile === null ? '' : element(styleFile.content.replaceAll('</', '<\\/')))
}

/** Returns the URL of the icon: the operator's, or the built-in one in the accent color. */
export function iconUrl({ favicon, accentColor }: Config['pages']): string {
  if (favicon !== null) return favicon.url
  const { written, on } = accentColor ?? { written: '#1f5fbf', on: '#ffffff' }
  const image =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">' +
    `<rect width="32" height="32" rx="7" fill="${written}"/>` +
    `<path d="M8 25V15a8 8 0 0 1 16 0v10M13 25v-9m6 9v-9M8 20h16" fill="none" stroke="${on}" stroke-width="2.4" ` +
    'stroke-linecap="round"/></svg>'
  return `data:image/svg+xml,${encodeURIComponent(image)}`
}
