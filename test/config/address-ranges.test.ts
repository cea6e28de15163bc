import t from 'tap'
import {
  clientNetwork,
  compileRanges,
  coversRanges,
  EVERY_ADDRESS,
  intersection,
} from '../../src/config/address-ranges.ts'

const NOT_ADDRESSES = [
  '',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.256',
  '01.2.3.4',
  '1..2.3',
  '1.2.3.4 ',
  'a',
  '::g',
  '1.2.3.4:80',
]

void t.test('a range contains the addresses with its prefix', (t) => {
  const rows: [range: string, inside: string[], outside: string[]][] = [
    ['10.0.0.0/8', ['10.0.0.0', '10.255.255.255'], ['9.255.255.255', '11.0.0.0', '::a00:1']],
    ['10.1.2.3/8', ['10.200.0.1'], ['11.1.2.3']],
    ['192.0.2.7/32', ['192.0.2.7'], ['192.0.2.6', '192.0.2.8']],
    ['192.0.2.7', ['192.0.2.7'], ['192.0.2.6']],
    ['192.0.2.128/25', ['192.0.2.128', '192.0.2.255'], ['192.0.2.127']],
    ['0.0.0.0/0', ['0.0.0.0', '255.255.255.255'], ['::', '2001:db8::1']],
    ['::/0', ['::', '2001:db8::1', 'fe80::1%eth0'], ['10.0.0.1', '::ffff:10.0.0.1']],
    [
      '2001:db8::/32',
      ['2001:db8::', '2001:0DB8:ffff::1', '2001:db8:1:2:3:4:5:6', '2001:db8::192.0.2.1'],
      ['2001:db9::', '2001::db8', '::2001:db8:0'],
    ],
    ['2001:db8:0:8000::/49', ['2001:db8:0:8000::1', '2001:db8:0:ffff:1::'], ['2001:db8:0:7fff::1']],
    ['::1/128', ['::1', '0:0:0:0:0:0:0:1', '::0.0.0.1'], ['::2', '1::1', '127.0.0.1']],
    ['1:2:3:4:5:6:7:8', ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:0.7.0.8'], ['1:2:3:4:5:6:7:9']],
    ['1:2::7:8/128', ['1:2::7:8', '1:2:0:0:0:0:7:8'], ['1:2:7:8::']],
    ['fe80::/10', ['fe80::1%eth0', 'febf::1'], ['fec0::1']],
  ]
  for (const [range, inside, outside] of rows) {
    const ranges = compileRanges([range])
    for (const address of inside) t.equal(ranges.contains(address), true, `${address} is in ${range}`)
    for (const address of [...outside, ...NOT_ADDRESSES])
      t.equal(ranges.contains(address), false, `${address} is not in ${range}`)
  }
  t.end()
})

void t.test('an IPv4-mapped IPv6 address is an IPv4 address', (t) => {
  for (const range of ['10.0.0.0/8', '::ffff:10.0.0.0/104', '::ffff:a00:0/104']) {
    const ranges = compileRanges([range])
    for (const address of ['10.1.2.3', '::ffff:10.1.2.3', '::ffff:a01:203', '0:0:0:0:0:FFFF:0a01:0203'])
      t.equal(ranges.contains(address), true, `${address} is in ${range}`)
    for (const address of ['11.1.2.3', '::ffff:11.1.2.3', '::10.1.2.3', '::fffe:10.1.2.3'])
      t.equal(ranges.contains(address), false, `${address} is not in ${range}`)
  }
  t.end()
})

void t.test('the first range that contains an address is found', (t) => {
  const ranges = compileRanges(['192.0.2.0/24', '10.0.0.0/8', '10.1.0.0/16'])
  t.equal(ranges.find('10.1.2.3'), '10.0.0.0/8')
  t.equal(ranges.find('198.51.100.1'), null)
  t.equal(compileRanges([]).find('10.1.2.3'), null)
  t.throws(() => compileRanges(['example.com/8']), /example\.com\/8 is not a range/)
  t.end()
})

void t.test('ranges are intersected, and several ranges cover a wider one', (t) => {
  t.same(intersection(['10.0.0.0/8', '2001:db8::/32'], ['10.1.0.0/16', '2001::/16', '192.0.2.1/32']), [
    '10.1.0.0/16',
    '2001:db8::/32',
  ])
  t.same(intersection(['10.0.0.0/8'], ['11.0.0.0/8', '::/0']), [])
  const covered: [wide: string[], narrow: string[], expected: boolean][] = [
    [['10.0.0.0/8'], ['10.1.0.0/16', '10.2.3.4/32'], true],
    [['10.0.0.0/9', '10.128.0.0/9'], ['10.0.0.0/8'], true],
    [['10.0.0.0/9', '10.128.0.0/10', '10.192.0.0/10'], ['10.0.0.0/8'], true],
    [['10.0.0.0/9', '10.192.0.0/10'], ['10.0.0.0/8'], false],
    [['2001:db8::/33', '2001:db8:8000::/33'], ['2001:db8::/32'], true],
    [['0.0.0.0/0', '::/1', '8000::/1'], EVERY_ADDRESS, true],
    [['0.0.0.0/0'], EVERY_ADDRESS, false],
    [['10.0.0.1/32'], ['10.0.0.0/31'], false],
  ]
  for (const [wide, narrow, expected] of covered)
    t.equal(coversRanges(wide, narrow), expected, `${wide.join(' ')} ⊇ ${narrow.join(' ')}`)
  t.end()
})

void t.test('a client is counted by its IPv4 address, or by the first 64 bits of its IPv6 address', (t) => {
  const rows: [address: string, counted: string][] = [
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.200', '192.0.2.200'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::9', '2001:db8:1:2::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['', ''],
    ['unix:', 'unix:'],
  ]
  for (const [address, counted] of rows) t.equal(clientNetwork(address), counted, address)
  t.end()
})
