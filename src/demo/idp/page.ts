import { escapeHtml } from '../escape-html.ts'

const css = `
:root { color-scheme: light dark; --ink: #1c2430; --paper: #f4f6f9; --card: #fff; --line: #cfd6e0; --accent: #2456c7 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --paper: #12161c; --card: #1b212a; --line: #36404d; --accent: #8db0ff }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }
main { width: min(27rem, 100vw - 2rem); background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 1.5rem }
h1 { font-size: 1.25rem; margin: 0 0 .5rem } p { margin: 0 0 1rem }
button { display: block; width: 100%; margin: .5rem 0 0; padding: .6rem .8rem; font: inherit; text-align: left;
  color: inherit; background: transparent; border: 1px solid var(--line); border-radius: .5rem; cursor: pointer }
button:hover, button:focus-visible, button.hinted { border-color: var(--accent) }
button.quiet { border-color: transparent; text-align: center }
iframe { display: none }
`

/** A whole HTML document in the provider's look; `body` is HTML, `title` is text. */
export const page = (title: string, body: string): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<style>${css}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${body}
</main>
</body>
</html>
`
