import t from 'tap'
import { fillTemplate, parseTemplate } from '../../src/gate/header-template.ts'

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
  'mixed': ['x', 1, { y: 2 }],
  '__proto__x': 'fine',
  'long': 'x'.repeat(8192),
  'longer': 'x'.repeat(8193),
  'many': Array.from({ length: 3000 }, () => 'xyz'),
}

const filled = (template: string, encoding: 'rfc8187' | 'base64' = 'rfc8187') =>
  fillTemplate(parseTemplate(template), claims, encoding)

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
    ['{claims.realm_access}', '{"roles":["editor"]}'],
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
  t.equal(filled('{claims.mixed}'), 'x,1,{"y":2}')
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
    for (const encoding of ['rfc8187', 'base64'] as const)
      t.match(filled(`{claims.${name}}`, encoding), /^[\x21-\x7e]+$/, `${name} in ${encoding}`)
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
