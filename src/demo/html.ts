import type { ServerResponse } from 'node:http'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
}

/** Returns an HTML document; `title` is text, `css` a style sheet, `head` and `body` are HTML. */
export function htmlDocument({
  title,
  css,
  head = '',
  body,
}: {
  readonly title: string
  readonly css: string
  readonly head?: string
  readonly body: string
}): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
${head}<style>${css}</style>
</head>
<body>
${body}
</body>
</html>
`
}

/** Sends a page that must not be cached. */
export function sendPage(res: ServerResponse, status: number, html: string): void {
  res.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(html)
}
