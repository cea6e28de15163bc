import t from 'tap'
import type { Config } from '../../../src/config/schema.ts'
import { escapeHtml, renderPage, scriptLiteral, type Page } from '../../../src/http/answers/pages.ts'

const page: Page = { name: 'forbidden', title: 'Not allowed', detail: 'You may not.', actions: [], requestId: 'r-1' }
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

void t.test('a page shows what happened, why, and the request id', (t) => {
  const { html, headers } = renderPage(page, plain)
  t.match(html, /<h1>Not allowed<\/h1><p>You may not\.<\/p>/)
  t.match(html, /Request r-1/)
  t.match(html, /<html lang="en">/)
  t.match(html, /<meta name="viewport"/)
  t.match(headers, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  t.end()
})

void t.test('values on a page never become markup', (t) => {
  const evil = '<script>alert(1)</script>"\'&'
  const { html } = renderPage(
    {
      ...page,
      title: evil,
      detail: evil,
      requestId: evil,
      actions: [
        { label: evil, href: `https://x/${evil}` },
        { label: evil, post: evil, fields: { [evil]: evil } },
      ],
    },
    { ...plain, title: evil },
  )
  t.notMatch(html, /<script>alert/)
  t.equal(escapeHtml(evil), '&#60;script&#62;alert(1)&#60;/script&#62;&#34;&#39;&#38;')
  t.end()
})

void t.test('a value in a script can’t end the script', (t) => {
  const evil = '</script><!--\u2028\u2029&"\\'
  const literal = scriptLiteral(evil)
  t.notMatch(literal, /[<>&\u2028\u2029]/)
  t.equal(JSON.parse(literal), evil)
  t.end()
})

void t.test('the policy allows only the page’s own resources', (t) => {
  const policy = (p: Page, settings = plain): string => renderPage(p, settings).headers['content-security-policy'] ?? ''
  t.match(
    policy(page),
    /^default-src 'none'; style-src 'nonce-[^']+'; script-src 'none'; img-src 'none'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'$/,
  )
  const scripted = renderPage({ ...page, script: 'go()' }, plain)
  const [, nonce = ''] = /script-src 'nonce-([^']+)'/.exec(scripted.headers['content-security-policy'] ?? '') ?? []
  t.ok(scripted.html.includes(`<script nonce="${nonce}">go()</script>`))
  t.not(policy(page), policy(page), 'each page has its own nonce')
  t.match(policy(page, { ...plain, logo: 'https://cdn.example.com/logo.svg' }), /img-src https:\/\/cdn\.example\.com;/)
  t.match(policy(page, { ...plain, logo: '/logo.svg' }), /img-src 'self';/)
  t.match(policy(page, { ...plain, logo: 'data:image/png;base64,AA==' }), /img-src data:;/)
  t.end()
})

void t.test('the operator’s title, logo and texts replace the built-in ones', (t) => {
  const { html } = renderPage(page, {
    ...plain,
    title: 'Order desk',
    logo: '/logo.svg',
    texts: { forbidden: 'Ask the desk.' },
  })
  t.match(html, /<title>Not allowed – Order desk<\/title>/)
  t.match(html, /<img src="\/logo\.svg" alt="">/)
  t.match(html, /<p>Ask the desk\.<\/p>/)
  t.notMatch(html, /You may not/)
  t.end()
})

void t.test('an action is a link or a button, and targets the top window if needed', (t) => {
  const { html } = renderPage(
    {
      ...page,
      actions: [
        { label: 'Sign in', href: '/oauth2/login?redirect=%2F&x=1', top: true },
        { label: 'Sign out', post: '/oauth2/logout', fields: { redirect: '/a' } },
      ],
    },
    plain,
  )
  t.match(html, /<a href="\/oauth2\/login\?redirect=%2F&#38;x=1" target="_top">Sign in<\/a>/)
  t.match(
    html,
    /<form method="post" action="\/oauth2\/logout"><input type="hidden" name="redirect" value="\/a"><button>Sign out<\/button><\/form>/,
  )
  t.end()
})
