import { createCookieJar, type Cause, type CookieJar } from './cookie-jar.ts'
import { exchange, type Answer } from './exchange.ts'
import { htmlForms, htmlFrames, htmlLink, type HtmlForm } from './html-form.ts'

/**
 * The source of a request: `navigate` is the address bar, a link or a form; `script` a same-origin fetch; `frame` an
 * iframe; `none` a client that sends no Sec-Fetch headers and no Accept.
 */
type Kind = 'navigate' | 'script' | 'frame' | 'none'

export type RequestOptions = {
  /** Default `navigate`. */
  kind?: Kind
  headers?: Readonly<Record<string, string | readonly string[]>>
  body?: string | Buffer | URLSearchParams
  /** The page that causes the request; by default a navigation is typed, and a script runs on the target's origin. */
  from?: string
  /** The request target as sent; by default the path and query of the URL. */
  target?: string
  /** The timeout in ms; default 10,000. */
  timeout?: number
}

type Hop = { method: string; url: string; status: number }

type Journey = { answer: Answer; hops: Hop[] }

export type BrowserOptions = {
  /** Extra trust root, PEM. */
  ca?: string
  /** The real addresses of origins, e.g. `{ 'https://orders.example.com': 'http://127.0.0.1:8080' }`. */
  origins?: Readonly<Record<string, string>>
  /** The timeout of each request in ms; default 10,000. */
  timeout?: number
}

/**
 * A minimal browser for login flows: real sockets, cookies, Sec-Fetch headers. Only `follow`, `press` and `login` follow
 * redirects.
 */
export type Browser = {
  cookies: CookieJar
  request: (method: string, url: string, options?: RequestOptions) => Promise<Answer>
  get: (url: string, options?: RequestOptions) => Promise<Answer>
  post: (url: string, body: RequestOptions['body'], options?: RequestOptions) => Promise<Answer>
  /** Follows redirects, the link `#continue` and self-submitting forms, after the frames of their page. */
  follow: (answer: Answer) => Promise<Journey>
  /** Presses a button of a page's form, by the button's value or text, and follows the response. */
  press: (answer: Answer, button: string, fields?: Readonly<Record<string, string>>) => Promise<Journey>
  /** Opens a URL and logs in at the provider as that user, with the second factor if the provider asks for it. */
  login: (url: string, user: string) => Promise<Journey>
}

type Step = { answer: Answer; from: string | undefined }

const hopLimit = 30

const accepts: Readonly<Record<Kind, string | null>> = {
  navigate: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  frame: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  script: '*/*',
  none: null,
}

const site = (from: string | undefined, to: URL): string => {
  if (from === undefined) return 'none'
  const { origin, hostname, protocol } = new URL(from)
  if (origin === to.origin) return 'same-origin'
  return siteOf(hostname) === siteOf(to.hostname) && protocol === to.protocol ? 'same-site' : 'cross-site'
}

/** The last two labels: a browser would consult the public suffix list. An address is a site of its own. */
const siteOf = (hostname: string): string =>
  /^(?:\d+(?:\.\d+){3}|\[.*\])$/.test(hostname) ? hostname : hostname.split('.').slice(-2).join('.')

const referringPage = (url: URL, { kind, from }: RequestOptions): string | undefined =>
  from ?? (kind === 'script' ? url.href : undefined)

// The default policy of browsers: strict-origin-when-cross-origin.
const pageHeaders = (method: string, url: URL, page: string, isScript: boolean): Record<string, string> => {
  const { origin, pathname, search } = new URL(page)
  const sameOrigin = origin === url.origin
  const sendsOrigin = isScript ? !sameOrigin || method !== 'GET' : method !== 'GET'
  return {
    referer: sameOrigin ? origin + pathname + search : `${origin}/`,
    ...(sendsOrigin ? { origin } : {}),
  }
}

const browserHeaders = (method: string, url: URL, how: RequestOptions): Record<string, string> => {
  const { kind = 'navigate' } = how
  const accept = accepts[kind]
  if (accept === null) return {}
  const page = referringPage(url, how)
  return {
    accept,
    'accept-language': 'en',
    'user-agent': 'Mozilla/5.0 (test)',
    'sec-fetch-site': site(page, url),
    'sec-fetch-mode': kind === 'script' ? 'cors' : 'navigate',
    'sec-fetch-dest': { navigate: 'document', frame: 'iframe', script: 'empty', none: '' }[kind],
    ...(kind === 'navigate' ? { 'sec-fetch-user': '?1', 'upgrade-insecure-requests': '1' } : {}),
    ...(page === undefined ? {} : pageHeaders(method, url, page, kind === 'script')),
  }
}

const cookieCause = (method: string, url: URL, how: RequestOptions): Cause => ({
  crossSite: how.kind !== 'none' && site(referringPage(url, how), url) === 'cross-site',
  topLevelGet: (how.kind ?? 'navigate') === 'navigate' && (method === 'GET' || method === 'HEAD'),
})

const isHtml = ({ headers }: Answer): boolean => headers['content-type']?.startsWith('text/html') === true

const isRedirect = ({ status, headers }: Answer): boolean =>
  status >= 300 && status < 400 && headers.location !== undefined

const submitsItself = ({ body }: Answer): boolean => body.includes('document.forms[0].submit()')

const hasButton = (page: Answer, value: string): boolean =>
  isHtml(page) && htmlForms(page.body).some(({ buttons }) => buttons.some((button) => button.value === value))

export const createBrowser = (options: BrowserOptions = {}): Browser => {
  const cookies = createCookieJar()

  const connectTo = (url: URL): URL => {
    const realAddress = options.origins?.[url.origin]
    return realAddress === undefined ? url : new URL(realAddress)
  }

  const request: Browser['request'] = async (method, address, how = {}) => {
    const url = new URL(address)
    const cookie = cookies.header(url, cookieCause(method, url, how))
    const isForm = how.body instanceof URLSearchParams
    const body = how.body instanceof URLSearchParams ? how.body.toString() : how.body
    const timeout = how.timeout ?? options.timeout
    const answer = await exchange({
      method,
      url,
      connectTo: connectTo(url),
      headers: {
        ...browserHeaders(method, url, how),
        ...(isForm ? { 'content-type': 'application/x-www-form-urlencoded' } : {}),
        ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
        ...(cookie === '' ? {} : { cookie }),
        ...how.headers,
      },
      ...(body === undefined ? {} : { body }),
      ...(how.target === undefined ? {} : { target: how.target }),
      ...(options.ca === undefined ? {} : { ca: options.ca }),
      ...(timeout === undefined ? {} : { timeout }),
    })
    cookies.store(url, answer.headers['set-cookie'] ?? [])
    return answer
  }

  const submit = async (page: Answer, form: HtmlForm, extra: readonly [string, string][]): Promise<Answer> => {
    const fields = new URLSearchParams([...form.fields.filter(([name]) => name !== ''), ...extra])
    const action = new URL(form.action === '' ? page.url : form.action, page.url)
    if (form.method === 'POST') return request('POST', action.href, { body: fields, from: page.url })
    action.search = fields.toString()
    return request('GET', action.href, { from: page.url })
  }

  const redirected = async (answer: Answer, from: string | undefined): Promise<Answer> => {
    if ((answer.status === 307 || answer.status === 308) && answer.method !== 'GET') {
      throw new Error(
        `${answer.url} requires the ${answer.method} to be repeated (${answer.status}): send it in the test`,
      )
    }
    const url = new URL(answer.headers.location ?? '', answer.url)
    return request('GET', url.href, from === undefined ? {} : { from })
  }

  const step = async (answer: Answer, from: string | undefined): Promise<Step | null> => {
    if (isRedirect(answer)) return { answer: await redirected(answer, from), from }
    if (!isHtml(answer) || answer.status !== 200) return null
    const link = htmlLink(answer.body, 'continue')
    if (link !== null) {
      return { answer: await request('GET', new URL(link, answer.url).href, { from: answer.url }), from: answer.url }
    }
    const [form] = htmlForms(answer.body)
    if (form === undefined || !submitsItself(answer)) return null
    for (const src of htmlFrames(answer.body)) {
      await request('GET', new URL(src, answer.url).href, { kind: 'frame', from: answer.url })
    }
    return { answer: await submit(answer, form, []), from: answer.url }
  }

  const followFrom = async (first: Answer, cause: string | undefined): Promise<Journey> => {
    const hops: Hop[] = []
    let answer = first
    let from = cause
    for (;;) {
      hops.push({ method: answer.method, url: answer.url, status: answer.status })
      if (hops.length > hopLimit) throw new Error(`no end after ${hopLimit} hops, the last one at ${answer.url}`)
      const next = await step(answer, from)
      if (next === null) return { answer, hops }
      ;({ answer, from } = next)
    }
  }

  const press: Browser['press'] = async (page, name, fields = {}) => {
    for (const form of htmlForms(page.body)) {
      const button = form.buttons.find(({ value, text }) => value === name || text === name)
      if (button === undefined) continue
      const pressed: [string, string][] = button.name === '' ? [] : [[button.name, button.value]]
      const kept = { ...form, fields: form.fields.filter(([field]) => !Object.hasOwn(fields, field)) }
      return followFrom(await submit(page, kept, [...Object.entries(fields), ...pressed]), page.url)
    }
    throw new Error(`no button ${name} at ${page.url} (${page.status}): ${page.body.slice(0, 300)}`)
  }

  const login: Browser['login'] = async (url, user) => {
    const opened = await followFrom(await request('GET', url), undefined)
    let { answer } = opened
    const hops = [...opened.hops]
    for (const button of [user, 'confirmed']) {
      if (!hasButton(answer, button)) continue
      const journey = await press(answer, button)
      answer = journey.answer
      hops.push(...journey.hops)
    }
    return { answer, hops }
  }

  return {
    cookies,
    request,
    press,
    login,
    get: async (url, how) => request('GET', url, how),
    post: async (url, body, how) => request('POST', url, { ...how, ...(body === undefined ? {} : { body }) }),
    follow: async (answer) => followFrom(answer, undefined),
  }
}
