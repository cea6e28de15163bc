import t from 'tap'
import type { Config } from '../../../src/config/schema.ts'
import { accentColor } from '../../../src/config/value-types/color.ts'
import { escapeHtml, renderPage, scriptLiteral, type Page } from '../../../src/http/answers/pages.ts'

const page: Page = { text: 'forbidden', actions: [] }
const plain: Config['pages'] = {
  title: null,
  logo: null,
  texts: {},
  languages: {},
  accentColor: null,
  styleFile: null,
  favicon: null,
  contact: null,
}
const evil = '<script>alert(1)</script>"\'&{user}$&'

const rendered = (
  changes: Partial<Page> = {},
  settings: Partial<Config['pages']> = {},
  acceptLanguage?: string,
): { html: string; headers: Readonly<Record<string, string>>; policy: string } => {
  const result = renderPage({ ...page, ...changes }, { ...plain, ...settings }, { id: 'r-1', acceptLanguage })
  return { ...result, policy: result.headers['content-security-policy'] ?? '' }
}

void t.test('a page shows what happened, why, and the request id', (t) => {
  const { html, headers } = rendered()
  t.match(html, /<h1>Not allowed<\/h1><p>You are not allowed to open this\.<\/p>/)
  t.match(html, /Request r-1/)
  t.match(html, /<html lang="en">/)
  t.match(html, /<meta name="viewport"/)
  t.match(headers, {
    'content-type': 'text/html; charset=utf-8',
    'content-language': 'en',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  t.end()
})

void t.test('values on a page never become markup', (t) => {
  const { html } = renderPage(
    {
      text: 'method_not_allowed.others',
      values: { methods: evil },
      user: evil,
      hasContact: true,
      actions: [
        { label: { written: evil }, href: `https://x/${evil}` },
        { label: 'sign_out', post: evil, fields: { [evil]: evil } },
      ],
    },
    {
      ...plain,
      title: evil,
      texts: { 'method_not_allowed.title': evil, 'request': evil },
      contact: `https://x/${evil}`,
    },
    { id: evil, acceptLanguage: evil },
  )
  t.notMatch(html, /<script>alert/)
  t.equal(escapeHtml('<a href="\'">&'), '&lt;a href=&quot;&#39;&quot;&gt;&amp;')
  t.end()
})

void t.test('a value in a script can’t end the script', (t) => {
  const inScript = '</script><!--\u2028\u2029&"\\'
  const literal = scriptLiteral(inScript)
  t.notMatch(literal, /[<>&\u2028\u2029]/)
  t.equal(JSON.parse(literal), inScript)
  t.end()
})

void t.test('the policy allows only the page’s own resources', (t) => {
  t.match(
    rendered().policy,
    /^default-src 'none'; style-src 'nonce-[^']+'; script-src 'none'; img-src data:; form-action 'self'; frame-ancestors 'self'; base-uri 'none'$/,
  )
  const { html, policy } = rendered({ script: 'go()' })
  const [, nonce = ''] = /script-src 'nonce-([^']+)'/.exec(policy) ?? []
  t.ok(html.includes(`<script nonce="${nonce}">go()</script>`))
  t.not(rendered().policy, rendered().policy, 'each page has its own nonce')
  const images = (settings: Partial<Config['pages']>): string | undefined =>
    /img-src ([^;]+);/.exec(rendered({}, settings).policy)?.[1]
  t.equal(images({ logo: 'https://cdn.example.com/logo.svg' }), 'data: https://cdn.example.com')
  t.equal(images({ logo: '/logo.svg' }), "data: 'self'")
  t.equal(images({ logo: 'data:image/png;base64,AA==' }), 'data:')
  t.equal(images({ logo: '/logo.svg', styleFile: { path: 'a.css', content: '' } }), "data: 'self'")
  t.end()
})

void t.test('the operator’s title, logo and texts replace the built-in ones', (t) => {
  const { html } = rendered({}, { title: 'Order desk', logo: '/logo.svg', texts: { forbidden: 'Ask the desk.' } })
  t.match(html, /<title>Not allowed – Order desk<\/title>/)
  t.match(html, /<img src="\/logo\.svg" alt="">/)
  t.match(html, /<p>Ask the desk\.<\/p>/)
  t.notMatch(html, /You are not allowed/)
  t.end()
})

void t.test('an operator’s text for a code replaces those of its cases, unless a case has its own', (t) => {
  const detail = (texts: Record<string, string>, changes: Partial<Page> = {}): string | undefined =>
    /<h1>.*?<\/h1><p>(.*?)<\/p>/.exec(
      rendered({ text: 'login_failed.loop', name: 'login_failed', values: { count: '5' }, ...changes }, { texts }).html,
    )?.[1]
  t.match(detail({}), /^You were signed in 5 times in a row/)
  t.equal(detail({ login_failed: 'It failed.' }), 'It failed.')
  t.equal(
    detail({ 'login_failed': 'It failed.', 'login_failed.loop': 'It failed {count} times.' }),
    'It failed 5 times.',
  )
  const keptForm = { text: 'kept_form', before: 'session_expired', name: 'kept_form' } as const
  t.match(detail({}, keptForm), /^Your session has ended\. .* What you entered is kept/)
  t.match(detail({ session_expired: 'Time is up.' }, keptForm), /^Time is up\. What you entered is kept/)
  t.equal(detail({ kept_form: 'Kept.' }, keptForm), 'Kept.')
  t.match(detail({}, { more: 'still_signed_in' }), /You are still signed in\.$/)
  t.end()
})

void t.test('an action is a link or a button, and targets the top window if needed', (t) => {
  const { html } = rendered({
    actions: [
      { label: 'sign_in', href: '/oauth2/login?redirect=%2F&x=1', top: true },
      { label: 'sign_out', post: '/oauth2/logout', fields: { redirect: '/a' } },
    ],
  })
  t.match(html, /<a href="\/oauth2\/login\?redirect=%2F&amp;x=1" target="_top">Sign in<\/a>/)
  t.match(
    html,
    /<form method="post" action="\/oauth2\/logout"><input type="hidden" name="redirect" value="\/a"><button>Sign out<\/button><\/form>/,
  )
  t.end()
})

void t.test('a page shows who is signed in and where to find help', (t) => {
  const { html } = rendered(
    { user: 'Zoë (zoe@example.com)', hasContact: true },
    { contact: 'mailto:it@example.com?subject=x' },
  )
  t.match(html, '<p>You are signed in as <strong><bdi>Zoë (zoe@example.com)</bdi></strong>.</p>')
  t.match(html, '<p>Help: <a href="mailto:it@example.com?subject=x" target="_top"><bdi>it@example.com</bdi></a></p>')
  for (const [contact, shown] of [
    ['https://help.example.com/', '<a href="https://help.example.com/" target="_top"><bdi>help.example.com</bdi></a>'],
    ['it@example.com', '<a href="mailto:it@example.com" target="_top"><bdi>it@example.com</bdi></a>'],
    ['tel:+49-30-1', '<a href="tel:+49-30-1" target="_top"><bdi>+49-30-1</bdi></a>'],
    ['Ask <Ann>, ann@example.com', '<bdi>Ask &lt;Ann&gt;, ann@example.com</bdi>'],
    ['javascript:alert(1)', '<bdi>javascript:alert(1)</bdi>'],
  ] as const)
    t.match(rendered({ hasContact: true }, { contact }).html, `<p>Help: ${shown}</p>`)
  t.notMatch(rendered({}, { contact: 'https://help.example.com/' }).html, 'help.example.com')
  t.end()
})

void t.test('every page names its icon: the operator’s, or the built-in one in the accent color', (t) => {
  const icon = (settings: Partial<Config['pages']>): string =>
    decodeURIComponent(/<link rel="icon" href="(data:[^"]+)">/.exec(rendered({}, settings).html)?.[1] ?? '')
  t.match(icon({}), /^data:image\/svg\+xml,<svg .*#1f5fbf/)
  const accent = accentColor.parse('#FC0', { refuse: () => undefined, warn() {}, read: () => '', locate: unused })
  t.match(icon({ accentColor: accent ?? null }), /^data:image\/svg\+xml,<svg .*#FC0/)
  t.equal(
    icon({ favicon: { written: 'a.ico', url: 'data:image/x-icon;base64,AA==' } }),
    'data:image/x-icon;base64,AA==',
  )
  t.end()
})

void t.test('the operator’s style can’t end its element', (t) => {
  const { html, policy } = rendered(
    {},
    { styleFile: { path: 'a.css', content: 'p::after { content: "</style><script>" }' } },
  )
  t.match(html, 'content: "<\\/style><script>"')
  t.equal(html.match(/<\/style>/g)?.length, 2)
  const [, nonce = ''] = /style-src 'nonce-([^']+)'/.exec(policy) ?? []
  t.equal(html.split(`<style nonce="${nonce}">`).length, 3)
  t.match(policy, "font-src 'self' data:;")
  t.end()
})

function unused(): never {
  throw new Error('not used')
}
