/**
 * The cases of the differential test, as data. All text has one character per byte.
 *
 * The gateway passes a case unchanged, except for what each proxy must change and what the case lists as a difference.
 */

/** A response of the application, and how the gateway changes it. */
export interface ResponseCase {
  readonly name: string
  /** The method of the request; GET by default. */
  readonly method?: string
  /** The version of the request; 1.1 by default. */
  readonly version?: '1.0'
  /** Further fields of the request. */
  readonly request?: readonly string[]
  /** The first bytes of the request's body. */
  readonly upload?: string
  /** The response's bytes, in pieces that are sent some milliseconds apart. */
  readonly pieces: readonly string[]
  /** Whether the application answers before the request's body has arrived, which then never ends. */
  readonly early?: true
  readonly gateway?: ResponseDifference
  /** nginx passes the response, and the gateway does not. */
  readonly nginx?: 'passes'
  /** What the gateway changes with `upstreamParser: lenient`, if it passes the response only then. */
  readonly lenient?: ResponseDifference
  /** How the gateway changes the response for a client with HTTP/2, if that differs. */
  readonly http2?: ResponseDifference
}

export interface ResponseDifference {
  /** The gateway answers with this status itself, or breaks off the body. */
  readonly refused?: number | 'in the body'
  /** Fields that the gateway removes, in lower case. */
  readonly lacks?: readonly string[]
  /** Fields that the gateway moves to the end, in lower case. */
  readonly last?: readonly string[]
  /** Fields of which the gateway passes only the first, in lower case. */
  readonly once?: readonly string[]
  /** A field whose values the gateway joins, in lower case. */
  readonly joined?: string
  /** The interim responses that pass, by status; none by default. */
  readonly interim?: readonly number[]
  /** Whether the gateway closes the client's connection after the response. */
  readonly closes?: true
  /** How the gateway frames the body, if it does not use the application's framing. */
  readonly framing?: 'chunked' | 'close'
  readonly trailers?: readonly string[]
  readonly body?: string
}

/** A request of a client, and what the application receives through the gateway. */
export interface RequestCase {
  readonly name: string
  /** Method, target and version. */
  readonly line: string
  readonly fields?: readonly string[]
  /** The bytes behind the head, in pieces that are sent some milliseconds apart. */
  readonly body?: readonly string[]
  readonly gateway?: RequestDifference
  /** Further changes on a route with a session. */
  readonly session?: RequestDifference
  /** nginx passes the request, and the gateway does not. */
  readonly nginx?: 'passes'
  /** How the gateway changes the request of a client with HTTP/2, if that differs. */
  readonly http2?: RequestDifference | 'cannot be sent'
}

export interface RequestDifference {
  /** The gateway answers with this status, and the application receives nothing. */
  readonly refused?: number
  readonly line?: string
  readonly lacks?: readonly string[]
  /** How the gateway announces that there is no body, if it does so in another way than the client. */
  readonly empty?: 'length' | 'none'
}

const CRLF = '\r\n'

/** The bytes of a text in UTF-8, one character per byte. */
const utf8 = (text: string): string => Buffer.from(text).toString('latin1')

/** All bytes from 80 to FF. */
const HIGH_BYTES = Array.from({ length: 0x80 }, (_, i) => String.fromCharCode(0x80 + i)).join('')

/** Values in several encodings. */
const VALUES: Readonly<Record<string, string>> = {
  'Latin-1': 'Pr\xfcfung',
  'UTF-8': utf8('отчёт – 試験'),
  // 表 and ソ end with a backslash, 5C.
  'Shift-JIS': '\x95\\\x83\\\x8e\x8c',
  'all high bytes': HIGH_BYTES,
  'broken UTF-8': `${utf8('é')}\xe9\xc3`,
  'visible ASCII': Array.from({ length: 0x5f }, (_, i) => String.fromCharCode(0x20 + i))
    .join('')
    .trim(),
}

const TOKEN = "!#$%&'*+-.^_`|~09azAZ"

function head(first: string, fields: readonly string[]): string {
  return [first, ...fields, '', ''].join(CRLF)
}

/** A response with a body of two bytes. */
function ok(fields: readonly string[], first = 'HTTP/1.1 200 OK'): string {
  return `${head(first, [...fields, 'Content-Length: 2'])}ok`
}

function chunked(body: string, fields: readonly string[] = []): string {
  return head('HTTP/1.1 200 OK', [...fields, 'Transfer-Encoding: chunked']) + body
}

function numbered(count: number, field: (i: number) => string): string[] {
  return Array.from({ length: count }, (_, i) => field(i))
}

/** A text in two pieces, cut at each position. */
function everywhere(text: string): (readonly string[])[] {
  return numbered(text.length - 1, String).map((_, i) => [text.slice(0, i + 1), text.slice(i + 1)])
}

/** Before version 24, Node.js does not send two values of certain fields over HTTP/2. */
const SENDS_ONCE_ONLY = Number.parseInt(process.versions.node, 10) < 24
const SENT_ONCE_ONLY: ResponseDifference = SENDS_ONCE_ONLY ? { refused: 502 } : {}
const HOLDS_LENGTH_BACK: ResponseDifference = { last: ['content-length'] }

const headers: readonly ResponseCase[] = [
  ...Object.entries(VALUES).flatMap(([name, value]): ResponseCase[] => [
    { name: `${name} in a value`, pieces: [ok([`X-Name: ${value}`, `ETag: "${value}"`])] },
    { name: `${name} in a Location`, pieces: [ok([`Location: /${value}`], 'HTTP/1.1 302 Found')] },
    { name: `${name} in cookies`, pieces: [ok([`Set-Cookie: a=${value}; Path=/`, `set-cookie: b="${value}"`])] },
    { name: `${name} in a Content-Type`, pieces: [ok([`Content-Type: text/plain; name="${value}"`])] },
    { name: `${name} in a Link and a Refresh`, pieces: [ok([`Link: </${value}>`, `Refresh: 0; url=/${value}`])] },
    {
      name: `${name} in a file name`,
      pieces: [ok([`Content-Disposition: attachment; filename="${value}"`, 'X-Last: 1'])],
    },
    {
      name: `${name} in a file name behind the length`,
      pieces: [
        `${head('HTTP/1.1 200 OK', [
          'Content-Length: 2',
          `Content-Disposition: attachment; filename="${value}"`,
          'X-Last: 1',
        ])}ok`,
      ],
      ...(name === 'visible ASCII' ? {} : { gateway: HOLDS_LENGTH_BACK }),
    },
    {
      name: `${name} in a file name, chunked`,
      pieces: [chunked(`2${CRLF}ok${CRLF}0${CRLF}${CRLF}`, [`Content-Disposition: attachment; filename="${value}"`])],
    },
    { name: `${name} in a reason phrase`, pieces: [ok(['X-Name: 1'], `HTTP/1.1 200 ${value}`)] },
    { name: `${name} in a challenge`, pieces: [ok([`WWW-Authenticate: Basic realm="${value}"`], 'HTTP/1.1 401 No')] },
  ]),
  { name: 'empty values', pieces: [ok(['X-Empty:', 'X-Blank:   ', 'Set-Cookie:', 'Content-Type:', 'ETag: '])] },
  { name: 'blanks around a value', pieces: [ok(['X-A:a', 'X-B: \t b \t ', 'X-C:\tc\t'])] },
  { name: 'tabs and blanks inside of a value', pieces: [ok(['X-A: a \t  b\t\tc'])] },
  { name: 'no Content-Type', pieces: [ok([])] },
  {
    name: 'two Content-Type fields',
    pieces: [ok(['Content-Type: a/b', 'Content-Type: c/d'])],
    http2: SENT_ONCE_ONLY,
  },
  {
    name: 'an invalid Content-Type',
    pieces: [ok(['Content-Type: nonsense;;=', 'X-Content-Type-Options: nosniff'])],
  },
  {
    name: 'sixty Set-Cookie fields in order',
    pieces: [ok(numbered(60, (i) => `Set-Cookie: c${i % 7}=${i}; Path=/; Expires=Thu, 01 Jan 2099 00:00:00 GMT`))],
  },
  {
    name: 'odd cookies',
    pieces: [
      ok(['Set-Cookie: a="b\\c; d"', 'Set-Cookie: =x', 'Set-Cookie: n', 'Set-Cookie: a=b\xa0', 'Set-Cookie: ;']),
    ],
  },
  {
    name: 'repeated names in different cases',
    pieces: [ok(['x-A: 1', 'X-a: 2', 'X_A: 3', 'Vary: a', 'X-A: 1', 'vary: b', 'VARY: c', 'Link: <a>', 'Link: <b>'])],
  },
  {
    name: 'fields twice that usually occur once',
    pieces: [
      ok([
        'ETag: "a"',
        'ETag: "b"',
        'Location: /a',
        'Location: /b',
        'Server: a',
        'Server: b',
        'Last-Modified: x',
        'Last-Modified: y',
        'Age: 1',
        'Age: 2',
        'Retry-After: 1',
        'Retry-After: 2',
      ]),
    ],
    http2: SENT_ONCE_ONLY,
  },
  { name: 'every character of a name', pieces: [ok([`${TOKEN}: 1`, '1: 2', '-: 3', '_: 4', "': 5"])] },
  { name: 'names of objects', pieces: [ok(['__proto__: 1', 'constructor: 2', 'toString: 3', 'hasOwnProperty: 4'])] },
  { name: 'a name of 4 kB', pieces: [ok([`X-${'n'.repeat(4096)}: 1`])] },
  { name: 'a value of 16 kB', pieces: [ok([`X-Long: ${'v'.repeat(16 * 1024)}`])] },
  { name: 'a value of 60 kB', pieces: [ok([`X-Long: ${'v'.repeat(60 * 1024)}`])] },
  { name: 'hundreds of fields', pieces: [ok(numbered(900, (i) => `X-${i}: ${i}`))] },
  { name: 'thousands of fields', pieces: [ok(numbered(4000, (i) => `X-${i}: ${i}`))] },
  {
    name: 'a head above 64 kB',
    pieces: [ok([`X-Long: ${'v'.repeat(70 * 1024)}`])],
    gateway: { refused: 502 },
    nginx: 'passes',
  },
  { name: 'the length first', pieces: [`${head('HTTP/1.1 200 OK', ['content-length: 2', 'X-A: 1', 'Server: a'])}ok`] },
  { name: 'the length in the middle', pieces: [`${head('HTTP/1.1 200 OK', ['A: 1', 'CONTENT-LENGTH:2', 'B: 1'])}ok`] },
  { name: 'a length with zeros', pieces: [`${head('HTTP/1.1 200 OK', ['Content-Length: 0002'])}ok`] },
  {
    name: 'an own Date, Server, Via and X-Powered-By',
    pieces: [
      ok([
        'Date: Thu, 01 Jan 1970 00:00:00 GMT',
        'Server: a (b) c/1',
        'Via: 1.1 other',
        'X-Powered-By: x',
        'X-Forwarded-For: y',
        'Forwarded: for=z',
        'Host: h',
      ]),
    ],
  },
  { name: 'an invalid Date', pieces: [ok(['Date: yesterday'])] },
  {
    name: 'everything about caches',
    pieces: [
      ok([
        'Cache-Control: no-cache="a", private',
        'Pragma: no-cache',
        'Expires: 0',
        'Age: 0',
        'Warning: 199 - "x"',
        'Surrogate-Control: x',
        'Clear-Site-Data: "cache"',
        'Accept-Ranges: none',
      ]),
    ],
  },
  {
    name: 'fields for a browser',
    pieces: [
      ok([
        "Content-Security-Policy: default-src 'self'",
        'Content-Security-Policy: img-src *; report-uri /r',
        'Strict-Transport-Security: max-age=0',
        'X-Frame-Options: ALLOW-FROM https://a/',
        'Access-Control-Allow-Origin: null',
        'Timing-Allow-Origin: *',
        'Server-Timing: a;dur=1.2;desc="x, y"',
        'NEL: {"report_to":"a","max_age":0}',
        'Alt-Svc: clear',
        'SourceMap: a.map',
      ]),
    ],
  },
  {
    name: 'fields for other proxies',
    pieces: [ok(['X-Sendfile: /x', 'X-LiteSpeed-Cache: a', 'Surrogate-Key: a b', 'CDN-Cache-Control: x'])],
  },
  {
    name: 'hop-by-hop fields, and those that Connection names',
    pieces: [
      ok([
        'Connection: X-One, keep-alive',
        'X-One: 1',
        'Keep-Alive: timeout=1',
        'X-Two: 2',
        'Proxy-Connection: a',
        'X-3: 3',
      ]),
    ],
    gateway: { lacks: ['x-one'] },
    nginx: 'passes',
  },
  {
    name: 'a Trailer field without trailers',
    pieces: [ok(['Trailer: X-A'])],
    gateway: { lacks: ['trailer'] },
    nginx: 'passes',
  },
  {
    name: 'an Upgrade that is only offered',
    pieces: [ok(['Upgrade: h2c'])],
    gateway: { lacks: ['upgrade'] },
    nginx: 'passes',
  },
  {
    name: 'the gateway’s own field',
    pieces: [ok(['Gatehouse: forged', 'X-A: 1'])],
    gateway: { lacks: ['gatehouse'] },
    nginx: 'passes',
  },
  { name: 'a NUL in a value', pieces: [ok(['X-A: a\0b'])], gateway: { refused: 502 } },
  {
    name: 'a control character in a value',
    pieces: [ok(['X-A: a\x01b\x7f'])],
    gateway: { refused: 502 },
    nginx: 'passes',
  },
  { name: 'a blank before the colon', pieces: [ok(['X-A : 1'])], gateway: { refused: 502 } },
  { name: 'a name with a byte above 7F', pieces: [ok(['X-\xe9: 1'])], gateway: { refused: 502 }, nginx: 'passes' },
]

const statusLines: readonly ResponseCase[] = [
  { name: 'an empty reason phrase', pieces: [ok([], 'HTTP/1.1 200 ')] },
  { name: 'no reason phrase, and no blank', pieces: [ok([], 'HTTP/1.1 200')] },
  { name: 'an unknown status without a reason phrase', pieces: [ok([], 'HTTP/1.1 599 ')] },
  { name: 'a reason phrase with blanks and tabs', pieces: [ok([], 'HTTP/1.1 200 a  b\tc')] },
  { name: 'a reason phrase of 1 kB', pieces: [ok([], `HTTP/1.1 404 ${'x'.repeat(1024)}`)] },
  { name: 'a reason phrase like a header', pieces: [ok([], 'HTTP/1.1 200 Content-Length: 99')] },
  { name: 'a reason phrase of another status', pieces: [ok([], 'HTTP/1.1 404 OK')] },
  {
    name: 'a reason phrase in pieces',
    pieces: ['HTTP/1.1 404 Not ', 'Fo', `und${CRLF}Content-Length: 2${CRLF}${CRLF}ok`],
  },
  { name: 'a 204', pieces: [head('HTTP/1.1 204 No Content', ['X-A: 1'])] },
  {
    name: 'a 204 with a length of zero',
    pieces: [head('HTTP/1.1 204 No Content', ['Content-Length: 0'])],
    gateway: { lacks: ['content-length'] },
    nginx: 'passes',
  },
  {
    name: 'a 204 with the length of the resource',
    pieces: [head('HTTP/1.1 204 No Content', ['Content-Length: 4711', 'Content-Type: a/b'])],
    gateway: { lacks: ['content-length'] },
    nginx: 'passes',
  },
  { name: 'a 205', pieces: [head('HTTP/1.1 205 Reset Content', ['Content-Length: 0'])] },
  {
    name: 'a 205 with a body',
    pieces: [ok([], 'HTTP/1.1 205 Reset Content')],
    http2: { lacks: ['content-length'], body: '' },
  },
  { name: 'a 304', pieces: [head('HTTP/1.1 304 Not Modified', ['ETag: W/"\xe9"'])] },
  { name: 'a 304 with a length', pieces: [head('HTTP/1.1 304 Not Modified', ['Content-Length: 4711', 'ETag: "a"'])] },
  { name: 'a 304 without a phrase', pieces: [head('HTTP/1.1 304', [])] },
  { name: 'a 300 with choices', pieces: [ok(['Alternates: {"a" 1 {type a/b}}'], 'HTTP/1.1 300 Multiple Choices')] },
  { name: 'an empty Location', pieces: [ok(['Location: '], 'HTTP/1.1 301 Moved Permanently')] },
  { name: 'a relative redirect', pieces: [ok(['Location: ../a?b#c'], 'HTTP/1.1 307 Temporary Redirect')] },
  { name: 'a 416', pieces: [ok(['Content-Range: bytes */2'], 'HTTP/1.1 416 Range Not Satisfiable')] },
  {
    name: 'a part',
    pieces: [ok(['Content-Range: bytes 0-1/9'], 'HTTP/1.1 206 Partial Content')],
    request: ['Range: bytes=0-1'],
  },
  { name: 'an application’s own 502', pieces: [ok(['Retry-After: 1'], 'HTTP/1.1 502 Bad Gateway')] },
  { name: 'an application’s own 400', pieces: [ok(['Connection: close'], 'HTTP/1.1 400 Bad Request')] },
  { name: 'an application’s own 407', pieces: [ok(['Proxy-Authenticate: Basic realm="x"'], 'HTTP/1.1 407 Proxy')] },
  { name: 'a response to HTTP/1.0', version: '1.0', pieces: [ok(['X-A: \xe9'])], gateway: { closes: true } },
  {
    name: 'chunks to HTTP/1.0',
    version: '1.0',
    pieces: [chunked(`2${CRLF}ok${CRLF}0${CRLF}${CRLF}`, ['X-A: \xe9'])],
    gateway: { closes: true, framing: 'close' },
  },
  { name: 'a status of two digits', pieces: [ok([], 'HTTP/1.1 99 Low')], gateway: { refused: 502 }, nginx: 'passes' },
  { name: 'a status below 100', pieces: [ok([], 'HTTP/1.1 099 Low')], gateway: { refused: 502 }, nginx: 'passes' },
  {
    name: 'a 101 that was not asked for',
    pieces: [head('HTTP/1.1 101 Yes', ['Upgrade: x', 'Connection: upgrade'])],
    gateway: { refused: 502 },
    nginx: 'passes',
  },
]

const interim: readonly ResponseCase[] = [
  { name: 'a 100 before it', pieces: [`HTTP/1.1 100 Continue${CRLF}${CRLF}`, ok([])] },
  { name: 'a 100 in the same packet', pieces: [`HTTP/1.1 100 Continue${CRLF}X-A: 1${CRLF}${CRLF}${ok([])}`] },
  {
    name: 'a 102, a 103 and a 199 before it',
    pieces: [102, 103, 199].map((n) => `HTTP/1.1 ${n} x${CRLF}${CRLF}`).concat(ok([])),
  },
  { name: 'fifty 102 responses before it', pieces: [`HTTP/1.1 102 x${CRLF}${CRLF}`.repeat(50), ok([])] },
  {
    name: 'a 103 for a navigation',
    request: ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Accept: text/html'],
    pieces: [
      head('HTTP/1.1 103 Early Hints', ['Link: </\xe9>; rel=preload', 'Link: </b>; rel=preload']),
      ok(['Link: </a>']),
    ],
    gateway: { interim: [103] },
  },
  { name: 'a 103 for a script', pieces: [head('HTTP/1.1 103 Early', ['Link: </a>; rel=preload']), ok(['Link: </a>'])] },
]

const GZIP = Buffer.from('H4sIAAAAAAAAA8vPBgBGy5mRAgAAAA==', 'base64').toString('latin1')

const bodies: readonly ResponseCase[] = [
  { name: 'an empty body with a length', pieces: [head('HTTP/1.1 200 OK', ['Content-Length: 0'])] },
  { name: 'an empty body in chunks', pieces: [chunked(`0${CRLF}${CRLF}`)] },
  {
    name: 'all bytes',
    pieces: [
      `${head('HTTP/1.1 200 OK', ['Content-Length: 256'])}${numbered(256, (i) => String.fromCharCode(i)).join('')}`,
    ],
  },
  { name: 'a body later', pieces: [head('HTTP/1.1 200 OK', ['Content-Length: 2']), 'o', 'k'] },
  {
    name: 'a body of 300 kB',
    pieces: [`${head('HTTP/1.1 200 OK', ['Content-Length: 300000'])}${'0123456789'.repeat(30_000)}`],
  },
  {
    name: 'a body like a response',
    pieces: [`${head('HTTP/1.1 200 OK', ['Content-Length: 38'])}HTTP/1.1 200 OK${CRLF}Content-Length: 0${CRLF}${CRLF}`],
  },
  {
    name: 'gzip with its label',
    pieces: [`${head('HTTP/1.1 200 OK', ['Content-Encoding: gzip', `Content-Length: ${GZIP.length}`])}${GZIP}`],
  },
  {
    name: 'gzip with the label br',
    pieces: [`${head('HTTP/1.1 200 OK', ['Content-Encoding: br', `Content-Length: ${GZIP.length}`])}${GZIP}`],
  },
  { name: 'gzip without a label', pieces: [`${head('HTTP/1.1 200 OK', [`Content-Length: ${GZIP.length}`])}${GZIP}`] },
  { name: 'text with the label gzip', pieces: [ok(['Content-Encoding: gzip'])] },
  {
    name: 'an unknown content coding',
    pieces: [ok(['Content-Encoding: aws-chunked, nonsense', 'Content-Encoding: x'])],
    http2: SENDS_ONCE_ONLY ? { joined: 'content-encoding' } : {},
  },
  {
    name: 'HTTP/1.0 to its end',
    pieces: [head('HTTP/1.0 200 OK', ['X-A: \xe9']), 'o', 'k'],
    gateway: { framing: 'chunked' },
  },
  { name: 'HTTP/1.0 with a length', pieces: [ok(['X-A: \xe9'], 'HTTP/1.0 200 OK')] },
  { name: 'HTTP/1.0 with keep-alive', pieces: [ok(['Connection: keep-alive'], 'HTTP/1.0 200 OK')] },
  { name: 'HTTP/1.0 with an empty body', pieces: [head('HTTP/1.0 200 OK', [])], gateway: { framing: 'chunked' } },
  {
    name: 'HTTP/1.1 without a length to its end',
    pieces: [head('HTTP/1.1 200 OK', ['X-A: 1']), 'ok'],
    gateway: { framing: 'chunked' },
  },
  {
    name: 'HTTP/1.1 with Connection: close to its end',
    pieces: [`${head('HTTP/1.1 200 OK', ['Connection: close'])}ok`],
    gateway: { framing: 'chunked' },
  },
  {
    name: 'a multipart body with its own lines',
    pieces: [
      `${head('HTTP/1.1 200 OK', ['Content-Type: multipart/byteranges; boundary=a', 'Content-Length: 18'])}--a${CRLF}${CRLF}x\n${CRLF}y${CRLF}--a--`,
    ],
  },
  {
    name: 'an event stream',
    pieces: [chunked('', ['Content-Type: text/event-stream']), `9${CRLF}data: \xe9\n\n${CRLF}`, `0${CRLF}${CRLF}`],
  },
  {
    name: 'one byte a chunk',
    pieces: [
      chunked(
        `${'odd chunks'
          .split('')
          .map((c) => `1${CRLF}${c}${CRLF}`)
          .join('')}0${CRLF}${CRLF}`,
      ),
    ],
  },
  { name: 'a size with zeros', pieces: [chunked(`0000000002${CRLF}ok${CRLF}000${CRLF}${CRLF}`)] },
  { name: 'a size in upper case', pieces: [chunked(`1A${CRLF}${'x'.repeat(26)}${CRLF}0${CRLF}${CRLF}`)] },
  { name: 'a size in lower case', pieces: [chunked(`ff${CRLF}${'x'.repeat(255)}${CRLF}0${CRLF}${CRLF}`)] },
  {
    name: 'chunk extensions',
    pieces: [chunked(`2;a=b;c="d e;f"${CRLF}ok${CRLF}1;x${CRLF}!${CRLF}0;y=z${CRLF}${CRLF}`)],
  },
  { name: 'a long chunk extension', pieces: [chunked(`2;a=${'b'.repeat(4000)}${CRLF}ok${CRLF}0${CRLF}${CRLF}`)] },
  { name: 'chunks in three packets', pieces: [chunked(''), `2${CRLF}ok`, `${CRLF}0${CRLF}${CRLF}`] },
  { name: 'thousands of chunks', pieces: [chunked(`${`3${CRLF}abc${CRLF}`.repeat(3000)}0${CRLF}${CRLF}`)] },
  {
    name: 'Transfer-Encoding: Chunked',
    pieces: [`${head('HTTP/1.1 200 OK', ['transfer-encoding: Chunked'])}2${CRLF}ok${CRLF}0${CRLF}${CRLF}`],
  },
  {
    name: 'a transfer coding besides chunked',
    pieces: [`${head('HTTP/1.1 200 OK', ['Transfer-Encoding: gzip, chunked'])}2${CRLF}ok${CRLF}0${CRLF}${CRLF}`],
    gateway: { refused: 502 },
    nginx: 'passes',
  },
  { name: 'a body behind a HEAD’s head', method: 'HEAD', pieces: [ok([])] },
  {
    name: 'a HEAD with a length',
    method: 'HEAD',
    pieces: [head('HTTP/1.1 200 OK', ['Content-Length: 4711', 'X-A: 1'])],
  },
  { name: 'a HEAD with a length of zero', method: 'HEAD', pieces: [head('HTTP/1.1 200 OK', ['Content-Length: 0'])] },
  { name: 'a HEAD with chunks', method: 'HEAD', pieces: [head('HTTP/1.1 200 OK', ['Transfer-Encoding: chunked'])] },
  { name: 'a HEAD with neither', method: 'HEAD', pieces: [head('HTTP/1.1 200 OK', ['X-A: 1'])] },
  { name: 'a HEAD with 404', method: 'HEAD', pieces: [head('HTTP/1.1 404 Not Found', ['Content-Length: 4711'])] },
  { name: 'a response to POST without a body', method: 'POST', request: ['Content-Length: 0'], pieces: [ok([])] },
  { name: 'a response to OPTIONS', method: 'OPTIONS', pieces: [ok(['Allow: GET, X', 'DAV: 1, 2'])] },
  {
    name: 'a response before the upload',
    method: 'POST',
    request: ['Content-Length: 100000'],
    upload: 'begin',
    early: true,
    pieces: [ok(['X-A: 1'], 'HTTP/1.1 413 Too Large')],
    gateway: { closes: true },
  },
  {
    name: 'a response before the chunks',
    method: 'PUT',
    request: ['Transfer-Encoding: chunked'],
    upload: `5${CRLF}begin`,
    early: true,
    pieces: [ok(['X-A: 1'], 'HTTP/1.1 403 No')],
    gateway: { closes: true },
  },
  { name: 'more bytes than the length', pieces: [`${ok([])}surplus`] },
  { name: 'two responses to one request', pieces: [`${ok([])}${ok(['X-Second: 1'])}`] },
  {
    name: 'a length and chunks',
    pieces: [
      `${head('HTTP/1.1 200 OK', ['Content-Length: 2', 'Transfer-Encoding: chunked'])}2${CRLF}ok${CRLF}0${CRLF}${CRLF}`,
    ],
    gateway: { refused: 502 },
  },
  {
    name: 'two lengths',
    pieces: [`${head('HTTP/1.1 200 OK', ['Content-Length: 2', 'Content-Length: 3'])}ok!`],
    gateway: { refused: 502 },
  },
  {
    name: 'an invalid length',
    pieces: [`${head('HTTP/1.1 200 OK', ['Content-Length: 0x2'])}ok`],
    gateway: { refused: 502 },
  },
]

const WHOLE = chunked(`2;a=b${CRLF}ok${CRLF}0A${CRLF}0123456789${CRLF}0${CRLF}${CRLF}`, [
  'X-Name: \xc3\xa9 \xe9',
  'Vary:',
])

/** A response cut into two packets at each position, and sent byte by byte. */
const split: readonly ResponseCase[] = [
  ...everywhere(WHOLE).map((pieces, i) => ({ name: `chunks cut at byte ${i + 1}`, pieces })),
  ...everywhere(ok(['X-Name: \xc3\xa9 \xe9'], 'HTTP/1.1 404 N\xe9')).map((pieces, i) => ({
    name: `a length cut at byte ${i + 1}`,
    pieces,
  })),
  { name: 'chunks byte by byte', pieces: WHOLE.split('') },
]

const trailers: readonly ResponseCase[] = [
  {
    name: 'trailers',
    pieces: [
      chunked(`2${CRLF}ok${CRLF}0${CRLF}X-Sum: \xe9${CRLF}X-Sum: 2${CRLF}Server-Timing: a;dur=1${CRLF}${CRLF}`, [
        'Trailer: X-Sum, Server-Timing',
      ]),
    ],
  },
  {
    name: 'trailers that are not announced, in pieces',
    pieces: [chunked(`2${CRLF}ok${CRLF}`), `0${CRLF}X-Sum:`, ` 1${CRLF}Digest: a=b${CRLF}`, CRLF],
  },
  {
    name: 'fields that may not be trailers',
    pieces: [
      chunked(`0${CRLF}Content-Type: a/b${CRLF}Set-Cookie: a=b${CRLF}X-A: 1${CRLF}Location: /${CRLF}${CRLF}`, [
        'Trailer: Set-Cookie',
      ]),
    ],
    gateway: { lacks: ['trailer'], trailers: ['X-A: 1'] },
  },
]

/** Responses that pass with `upstreamParser: lenient`, and are refused otherwise. */
const LENIENT = { gateway: { refused: 502 }, nginx: 'passes', lenient: {} } as const

const lenient: readonly ResponseCase[] = [
  { name: 'lines that end with LF', pieces: ['HTTP/1.1 200 OK\nX-A: \xe9\nContent-Length: 2\n\nok'], ...LENIENT },
  {
    name: 'chunks behind lines that end with LF',
    pieces: [`HTTP/1.1 200 OK\nX-A: 1\nTransfer-Encoding: chunked\n\n2${CRLF}ok${CRLF}0${CRLF}${CRLF}`],
    ...LENIENT,
  },
  {
    name: 'a blank behind a chunk size',
    pieces: [chunked(`2  ${CRLF}ok${CRLF}0${CRLF}${CRLF}`)],
    ...LENIENT,
    gateway: { refused: 'in the body' },
  },
  {
    name: 'the same length twice',
    pieces: [`${head('HTTP/1.1 200 OK', ['X-A: 1', 'Content-Length: 2', 'Content-Length: 2'])}ok`],
    gateway: { refused: 502 },
    lenient: { once: ['content-length'] },
  },
]

const statuses: readonly ResponseCase[] = numbered(800, (i) => String(200 + i))
  .filter((status) => !['204', '205', '304'].includes(status))
  .map((status): ResponseCase => {
    const one = { name: `the status ${status}`, pieces: [ok([], `HTTP/1.1 ${status} S${status}`)] }
    return status < '600' ? one : { ...one, http2: { refused: 502 } }
  })

export const RESPONSES: readonly ResponseCase[] = [
  ...headers,
  ...statusLines,
  ...interim,
  ...bodies,
  ...trailers,
  ...lenient,
  ...split,
  ...statuses,
]

const targets = [
  '/',
  '//a',
  '/a//b',
  '/a/',
  '/a;x=y/b;z',
  '/a?',
  '/a??',
  '/?',
  '/?a=b?c',
  '/a%20b',
  '/a+b?c+d',
  '/%41%7e%2D',
  '/a%2fb',
  '/a%2Fb%5C',
  '/%25',
  '/[]',
  '/a|b',
  "/a'b",
  '/a"b',
  '/a<b>',
  '/a^b`c{d}',
  '/-._~',
  "/!$&'()*+,;=:@",
  '/a:b@c',
  '/:80',
  '/@a',
  '/a=b',
  '/.a',
  '/a.',
  '/...',
  '/a/...',
  '/.well-known/x',
  '/%C3%A9',
  '/a?%',
  '/a?%zz',
  '/a?%00',
  '/a?/../b',
  '/a?[]{}|\\^`"<>',
  '/a?a=1&a=2&&=&',
  '/a?http://x/../y',
  '/caf\xc3\xa9',
  '/caf\xe9?\xe9',
  '/%E9',
  '/a?%E9%00%C0%AF',
  `/${'a/'.repeat(1000)}`,
  `/?${'q'.repeat(8000)}`,
]

const methods = ['GET', 'HEAD', 'OPTIONS', 'DELETE', 'REPORT', 'MKCOL', 'LOCK', 'SEARCH', 'PURGE', 'M-SEARCH']
/** Methods for which undici announces an empty body: https://www.rfc-editor.org/rfc/rfc9110#section-8.6 */
const methodsWithLength = ['POST', 'PUT', 'PATCH', 'PROPFIND', 'QUERY']

const LENGTH_OF_TWO = ['Content-Length: 2']
const CHUNKS = ['Transfer-Encoding: chunked']

export const REQUESTS: readonly RequestCase[] = [
  ...targets.map((target) => ({ name: `the target ${target.slice(0, 40)}`, line: `GET ${target} HTTP/1.1` })),
  ...methods.map((method) => ({ name: `the method ${method}`, line: `${method} /a HTTP/1.1` })),
  ...methodsWithLength.map((method): RequestCase => ({
    name: `the method ${method}`,
    line: `${method} /a HTTP/1.1`,
    gateway: { empty: 'length' },
  })),
  ...Object.entries(VALUES).flatMap(([name, value]): RequestCase[] => [
    {
      name: `${name} in headers`,
      line: 'GET / HTTP/1.1',
      fields: [`X-Name: ${value}`, `x-NAME: ${value}`, `Referer: http://a/${value}`, `User-Agent: ${value}`],
    },
    {
      name: `${name} in a form’s headers`,
      line: 'POST / HTTP/1.1',
      fields: [`Content-Disposition: form-data; name="${value}"`, `Content-Type: a/b; c="${value}"`, ...LENGTH_OF_TWO],
      body: ['ok'],
    },
    { name: `${name} in a cookie`, line: 'GET / HTTP/1.1', fields: [`Cookie: a="${value.replaceAll(';', '')}"`] },
  ]),
  { name: 'empty values', line: 'GET / HTTP/1.1', fields: ['X-Empty:', 'X-Blank:   ', 'Accept:', 'User-Agent: '] },
  { name: 'blanks', line: 'GET / HTTP/1.1', fields: ['X-A:a', 'X-B: \t b \t ', 'X-C: c \t d'] },
  { name: 'names twice', line: 'GET / HTTP/1.1', fields: ['x-A: 1', 'X-a: 2', 'Accept: a/b', 'Accept: c/d', 'X-A: 1'] },
  {
    name: 'fields twice that usually occur once',
    line: 'GET / HTTP/1.1',
    fields: [
      'Referer: a',
      'Referer: b',
      'User-Agent: a',
      'User-Agent: b',
      'If-None-Match: "a"',
      'If-None-Match: "b"',
      'Range: a',
      'Range: b',
    ],
    http2: 'cannot be sent',
  },
  { name: 'every character of a name', line: 'GET / HTTP/1.1', fields: [`${TOKEN}: 1`, '1: 2', '-: 3'] },
  { name: 'names of objects', line: 'GET / HTTP/1.1', fields: ['__proto__: 1', 'constructor: 2', 'toString: 3'] },
  { name: 'ninety fields', line: 'GET / HTTP/1.1', fields: numbered(90, (i) => `X-${i}: ${i}`) },
  { name: 'a value of 20 kB', line: 'GET / HTTP/1.1', fields: [`X-Long: ${'v'.repeat(20_000)}`] },
  {
    name: 'everything that a browser sends',
    line: 'GET / HTTP/1.1',
    fields: [
      'Accept-Encoding: gzip, br',
      'Accept-Language: de',
      'DNT: 1',
      'Sec-GPC: 1',
      'Priority: u=0, i',
      'Cache-Control: no-cache',
      'Pragma: no-cache',
      'If-Modified-Since: x',
      'Upgrade-Insecure-Requests: 1',
      'Sec-CH-UA: "a";v="1"',
      'Save-Data: on',
      'Early-Data: 1',
      'From: a@b',
      'Max-Forwards: 3',
      'Depth: infinity',
      'Destination: /b',
      'Overwrite: F',
      'If: (<x>)',
      'Lock-Token: <y>',
      'Timeout: Infinite',
      'SOAPAction: ""',
      'MIME-Version: 1.0',
      'Prefer: return=minimal',
      'Want-Digest: sha-256',
    ],
  },
  {
    name: 'hop-by-hop fields, and those that Connection names',
    line: 'GET / HTTP/1.1',
    fields: [
      'Connection: X-One, keep-alive',
      'X-One: 1',
      'Keep-Alive: timeout=1',
      'Proxy-Connection: a',
      'X-Two: 2',
      'TE: gzip',
    ],
    gateway: { lacks: ['x-one', 'te'] },
    // HTTP/2 has no Connection.
    http2: { lacks: ['te'] },
  },
  { name: 'cookies in odd forms', line: 'GET / HTTP/1.1', fields: ['Cookie: a=b; c; =d; e="f\\g"; h=\xe0\xa0; a=c'] },
  { name: 'a body on GET', line: 'GET / HTTP/1.1', fields: LENGTH_OF_TWO, body: ['ok'] },
  { name: 'a body on DELETE', line: 'DELETE / HTTP/1.1', fields: LENGTH_OF_TWO, body: ['ok'] },
  { name: 'a body on OPTIONS', line: 'OPTIONS / HTTP/1.1', fields: LENGTH_OF_TWO, body: ['ok'] },
  { name: 'a body on PROPFIND', line: 'PROPFIND / HTTP/1.1', fields: LENGTH_OF_TWO, body: ['ok'] },
  { name: 'chunks on GET', line: 'GET / HTTP/1.1', fields: CHUNKS, body: [`2${CRLF}ok${CRLF}0${CRLF}${CRLF}`] },
  { name: 'a length of zero on POST', line: 'POST / HTTP/1.1', fields: ['Content-Length: 0'] },
  {
    name: 'a length of zero on GET',
    line: 'GET / HTTP/1.1',
    fields: ['Content-Length: 0'],
    gateway: { empty: 'none' },
  },
  {
    name: 'no chunk on POST',
    line: 'POST / HTTP/1.1',
    fields: CHUNKS,
    body: [`0${CRLF}${CRLF}`],
    gateway: { empty: 'length' },
  },
  { name: 'a body in pieces', line: 'POST / HTTP/1.1', fields: ['Content-Length: 4'], body: ['a', '\0', '\r', '\n'] },
  {
    name: 'all bytes',
    line: 'PUT / HTTP/1.1',
    fields: ['Content-Length: 256'],
    body: [numbered(256, (i) => String.fromCharCode(i)).join('')],
  },
  {
    name: 'a body of 300 kB',
    line: 'PUT / HTTP/1.1',
    fields: ['Content-Length: 300000'],
    body: ['0123456789'.repeat(30_000)],
  },
  {
    name: 'one byte a chunk',
    line: 'POST / HTTP/1.1',
    fields: CHUNKS,
    body: [
      'odd chunks'
        .split('')
        .map((c) => `1${CRLF}${c}${CRLF}`)
        .join(''),
      `0${CRLF}${CRLF}`,
    ],
  },
  {
    name: 'chunk sizes with zeros and in upper case',
    line: 'POST / HTTP/1.1',
    fields: CHUNKS,
    body: [`0001A${CRLF}${'x'.repeat(26)}${CRLF}00${CRLF}${CRLF}`],
  },
  {
    name: 'chunk extensions',
    line: 'POST / HTTP/1.1',
    fields: CHUNKS,
    body: [`2;a=b;c="d"${CRLF}ok${CRLF}0;e${CRLF}${CRLF}`],
  },
  {
    name: 'a chunk byte by byte',
    line: 'POST / HTTP/1.1',
    fields: CHUNKS,
    body: `2;a=b${CRLF}ok${CRLF}0${CRLF}${CRLF}`.split(''),
  },
  {
    name: 'Expect: 100-continue',
    line: 'POST / HTTP/1.1',
    fields: [...LENGTH_OF_TWO, 'Expect: 100-continue'],
    body: ['ok'],
    gateway: { lacks: ['expect'] },
  },
  { name: 'HTTP/1.0', line: 'GET /a HTTP/1.0', gateway: { line: 'GET /a HTTP/1.1' } },
  {
    name: 'HTTP/1.0 with a body',
    line: 'POST /a HTTP/1.0',
    fields: LENGTH_OF_TWO,
    body: ['ok'],
    gateway: { line: 'POST /a HTTP/1.1' },
  },
  {
    name: 'a malformed Content-Type',
    line: 'POST / HTTP/1.1',
    fields: ['Content-Type: ;;', ...LENGTH_OF_TWO],
    body: ['ok'],
  },
  {
    name: 'an unknown Content-Encoding',
    line: 'POST / HTTP/1.1',
    fields: ['Content-Encoding: x', ...LENGTH_OF_TWO],
    body: ['ok'],
  },
  {
    name: 'an Authorization of the client',
    line: 'GET / HTTP/1.1',
    fields: ['Authorization: Basic w6k6w6k='],
    session: { lacks: ['authorization'] },
  },
  {
    name: 'trailers',
    line: 'POST / HTTP/1.1',
    fields: [...CHUNKS, 'Trailer: X-Sum'],
    body: [`2${CRLF}ok${CRLF}0${CRLF}X-Sum: \xe9${CRLF}X-Sum: 2${CRLF}${CRLF}`],
  },
]
