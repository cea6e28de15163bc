import t from 'tap'
import { fillTemplate, parseTemplate, whyNoHeader, type Values } from '../../src/gate/header-template.ts'
import type { Route } from '../../src/config/schema.ts'

const claims = {
  'email': 'alice@example.com',
  'groups': ['staff', 'admin'],
  'odd': ['a,b', 'c'],
  'names': ['Zoë', 'Bob', 'Łu,kasz'],
  'name': 'Zoë Ångström',
  'empty': '',
  'none': [],
  'level': 3,
  'active': false,
  'realm_access': { roles: ['editor'] },
  'address': { city: 'Köln' },
  'nothing': null,
  'a.b': 'outright',
  'holes': ['x', null, 'y'],
  'broken': 'line\r\nX-Injected: yes',
  'nul': 'a\0b',
  'tab': 'a\tb',
  'spaces': ' padded ',
  'quote': "it's (fine)*",
  'lone': '\ud800',
  'place': { city: 'Bern' },
  'perms': { write: true, read: false, list: 1, share: null },
  'denied': { write: false },
  'nothingSet': {},
  'mixed': ['x', 1, { y: 2 }],
  '__proto__x': 'fine',
  'long': 'x'.repeat(8192),
  'longer': 'x'.repeat(8193),
  'many': Array.from({ length: 3000 }, () => 'xyz'),
}

type Encoding = Route['headers']['encoding']

const filled = (template: string, encoding: Encoding = 'rfc8187', values: Values = {}) =>
  fillTemplate(parseTemplate(template), claims, encoding, values)

void t.test('claims are filled in, alone and among text', (t) => {
  const rows: [template: string, value: string | null][] = [
    ['fixed', 'fixed'],
    ['', ''],
    ['{claims.email}', 'alice@example.com'],
    ['mailto:{claims.email}?x', 'mailto:alice@example.com?x'],
    ['{claims.level}', '3'],
    ['{claims.active}', 'false'],
    ['{claims.empty}', ''],
    ['{claims.realm_access.roles}', 'editor'],
    ['{claims.a.b}', 'outright'],
    ['{claims.address.city}', "UTF-8''K%C3%B6ln"],
    ['{claims.realm_access}', 'roles'],
    ['{claims.perms}', 'write,list'],
    ['{claims.place}', '{"city":"Bern"}'],
    ['{claims.denied}', null],
    ['{claims.nothingSet}', null],
    ['{claims.level}/{claims.email}', '3/alice@example.com'],
  ]
  for (const [template, value] of rows) t.equal(filled(template), value, template)
  t.end()
})

void t.test('lists are joined with commas, and a comma inside an item becomes %2C', (t) => {
  t.equal(filled('{claims.groups}'), 'staff,admin')
  t.equal(filled('{claims.odd}'), 'a%2Cb,c')
  t.equal(filled('roles={claims.odd}'), 'roles=a%2Cb,c')
  t.equal(filled('{claims.holes}'), 'x,y')
  t.equal(filled('{claims.mixed}'), 'x,1,y')
  t.equal(filled('{claims.none}'), '')
  t.end()
})

void t.test('a template with a missing claim yields no header', (t) => {
  for (const template of [
    '{claims.missing}',
    'x {claims.missing}',
    '{claims.email}{claims.missing}',
    '{claims.nothing}',
    '{claims.address.zip}',
    '{claims.constructor}',
  ]) {
    t.equal(filled(template), null, template)
    t.equal(filled(template, 'base64'), null, template)
  }
  t.end()
})

void t.test('a value that is not printable ASCII becomes an ext-value, in a list item by item', (t) => {
  t.equal(filled('{claims.name}'), "UTF-8''Zo%C3%AB%20%C3%85ngstr%C3%B6m")
  t.equal(filled('Hello {claims.name}'), "UTF-8''Hello%20Zo%C3%AB%20%C3%85ngstr%C3%B6m")
  t.equal(filled('{claims.names}'), "UTF-8''Zo%C3%AB,Bob,UTF-8''%C5%81u%252Ckasz")
  t.equal(filled('{claims.quote}'), "it's (fine)*", 'a printable value is unchanged')
  t.equal(filled('{claims.lone}'), "UTF-8''%EF%BF%BD", 'a lone surrogate does not fail')
  t.end()
})

void t.test('no claim can break out of its header', (t) => {
  for (const name of ['broken', 'nul', 'tab', 'spaces']) {
    for (const encoding of ['rfc8187', 'base64', 'percent'] as const)
      t.match(filled(`{claims.${name}}`, encoding), /^[\x20-\x7e]+$/, `${name} in ${encoding}`)
    t.equal(filled(`{claims.${name}}`, 'utf-8'), null, `${name} cannot be expressed in utf-8`)
  }
  t.equal(filled('{claims.broken}'), "UTF-8''line%0D%0AX-Injected%3A%20yes")
  t.end()
})

const text = (value: string | null): string => Buffer.from(value ?? '', 'base64').toString()

void t.test('base64 always encodes the whole value', (t) => {
  t.equal(text(filled('{claims.email}', 'base64')), 'alice@example.com')
  t.equal(text(filled('Hello {claims.name}', 'base64')), 'Hello Zoë Ångström')
  t.equal(text(filled('{claims.names}', 'base64')), 'Zoë,Bob,Łu%2Ckasz')
  t.equal(text(filled('fixed', 'base64')), 'fixed')
  t.end()
})

void t.test('a value longer than 8 kB is omitted, not truncated', (t) => {
  t.equal(filled('{claims.long}')?.length, 8192)
  t.equal(filled('{claims.longer}'), null)
  t.equal(filled('{claims.many}'), null)
  t.equal(filled('{claims.long}', 'base64'), null, 'the encoded length counts')
  t.end()
})

void t.test('utf-8 sends the bytes of the text', (t) => {
  const bytes = (value: string | null): string => Buffer.from(value ?? '', 'latin1').toString()
  t.equal(filled('{claims.name}', 'utf-8'), 'Zo\u00c3\u00ab \u00c3\u0085ngstr\u00c3\u00b6m')
  t.equal(bytes(filled('Hello {claims.name}', 'utf-8')), 'Hello Zoë Ångström')
  t.equal(bytes(filled('{claims.names}', 'utf-8')), 'Zoë,Bob,Łu%2Ckasz')
  t.equal(bytes(filled('{claims.lone}', 'utf-8')), '\ufffd')
  t.equal(filled('{claims.empty}', 'utf-8'), '')
  t.end()
})

void t.test('utf-8 sends no header for text that would break lines or that servers would trim', (t) => {
  const utf8 = (template: string, name: unknown) => fillTemplate(parseTemplate(template), { name }, 'utf-8')
  for (const character of '\r\n\0\t\v\f\x1b\x7f\u0085\u009b\u2028\u2029') {
    const text = `alice${character}X-Injected: yes`
    for (const name of [text, ['staff', text], ['staff', text, 'sales']]) {
      t.equal(utf8('{claims.name}', name), null, encodeURI(JSON.stringify(name)))
      t.equal(utf8('user={claims.name};', name), null)
    }
  }
  for (const space of ' \u00a0\u3000\ufeff') {
    for (const text of [`${space}admin`, `admin${space}`]) {
      for (const name of [text, ['staff', text], ['staff', text, 'sales']])
        t.equal(utf8('{claims.name}', name), null, encodeURI(JSON.stringify(name)))
      t.type(utf8('user={claims.name};', text), 'string', 'only outer spaces are trimmed')
    }
  }
  t.match(whyNoHeader(parseTemplate('{claims.name}'), { name: 'a\nb' }, 'utf-8', {}), /cannot express/)
  t.end()
})

void t.test('decoding a percent-encoded value returns the claim', (t) => {
  t.equal(filled('{claims.email}', 'percent'), 'alice@example.com')
  t.equal(filled('{claims.name}', 'percent'), 'Zo%C3%AB %C3%85ngstr%C3%B6m')
  t.equal(filled('{claims.names}', 'percent'), 'Zo%C3%AB,Bob,%C5%81u%2Ckasz')
  t.equal(filled('roles={claims.odd}', 'percent'), 'roles=a%2Cb,c')
  const texts = [
    '100%',
    '%41',
    'a,b',
    ' padded ',
    '   ',
    '\u00a0x',
    'a\r\nX: y',
    'Zoë',
    '😀',
    '"quoted"',
    "UTF-8''x",
    '',
  ]
  for (const text of texts) {
    const alone = fillTemplate(parseTemplate('{claims.x}'), { x: text }, 'percent') ?? 'none'
    t.match(alone, /^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/, 'survives a server that trims')
    t.equal(decodeURIComponent(alone), text)
    t.equal(
      decodeURIComponent(fillTemplate(parseTemplate('50% {claims.x}.'), { x: text }, 'percent') ?? ''),
      `50% ${text}.`,
    )
  }
  const items = fillTemplate(parseTemplate('{claims.x}'), { x: texts }, 'percent') ?? ''
  t.same(
    items.split(',').map((item) => decodeURIComponent(item.trim())),
    texts,
  )
  t.equal(filled('{claims.lone}', 'percent'), '%EF%BF%BD')
  t.end()
})

void t.test('encoding a long claim takes linear time', (t) => {
  const started = performance.now()
  for (const text of [`${' '.repeat(300_000)}x`, `x${' '.repeat(300_000)}x`, '%'.repeat(300_000), 'ë'.repeat(300_000)])
    for (const encoding of ['rfc8187', 'base64', 'utf-8', 'percent'] as const)
      t.equal(fillTemplate(parseTemplate('{claims.x}{claims.x}'), { x: text }, encoding), null)
  t.ok(performance.now() - started < 2_000)
  t.end()
})

const values: Values = {
  'provider': 'staff',
  'session.id': 'AAAAAAAAAAAAAAAAAAAAAA',
  'request.id': '0190-a',
  'idToken': 'an.id.token',
  'accessToken': 'an.access.token',
  'assertion': 'an.assertion.jwt',
}

void t.test('other placeholders are filled in too, and a missing value means no header', (t) => {
  const rows: [template: string, value: string][] = [
    ['{provider}:{claims.level}', 'staff:3'],
    ['{session.id}', 'AAAAAAAAAAAAAAAAAAAAAA'],
    ['req {request.id}/{session.id}', 'req 0190-a/AAAAAAAAAAAAAAAAAAAAAA'],
    ['{idToken}', 'an.id.token'],
    ['Bearer {idToken}', 'Bearer an.id.token'],
    ['{accessToken}', 'an.access.token'],
    ['Bearer {accessToken}', 'Bearer an.access.token'],
    ['{assertion}', 'an.assertion.jwt'],
    ['jwt={assertion}', 'jwt=an.assertion.jwt'],
  ]
  for (const [template, value] of rows) {
    t.equal(filled(template, 'rfc8187', values), value, template)
    t.equal(filled(template), null, `${template} without values`)
    t.type(whyNoHeader(parseTemplate(template), claims, 'rfc8187', {}), 'string')
  }
  t.equal(fillTemplate(parseTemplate('{sub}'), { sub: 'alice' }, 'rfc8187'), 'alice')
  t.equal(whyNoHeader(parseTemplate('{sub}'), {}, 'rfc8187', {}), 'the claim sub is missing')
  t.end()
})

void t.test('a token alone or behind its scheme is sent as it is in every encoding, however long', (t) => {
  const long = { ...values, accessToken: 'x'.repeat(20_000) }
  for (const encoding of ['rfc8187', 'base64', 'utf-8', 'percent'] as const) {
    t.equal(filled('Bearer {idToken}', encoding, values), 'Bearer an.id.token')
    t.equal(filled('{assertion}', encoding, values), 'an.assertion.jwt')
    t.equal(filled('{accessToken}', encoding, long)?.length, 20_000)
  }
  t.equal(text(filled('jwt={assertion}', 'base64', values)), 'jwt=an.assertion.jwt')
  t.end()
})
