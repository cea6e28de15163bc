import t from 'tap'
import { store } from '../../../src/config/value-types/store.ts'

const input = {
  refuse: () => undefined,
  warn: () => {},
  read: () => 'no such file',
  locate: (path: string) => ({ path, problem: null }),
}

const table: [string, unknown][] = [
  ['redis://a', { kind: 'redis', url: 'redis://a' }],
  ['rediss://user:secret@a:6380/3', { kind: 'redis', url: 'rediss://user:secret@a:6380/3' }],
  ['redis+cluster://a:1,b:2,c', { kind: 'redis-cluster', urls: ['redis://a:1', 'redis://b:2', 'redis://c'] }],
  ['rediss+cluster://u:p@a,b', { kind: 'redis-cluster', urls: ['rediss://u:p@a', 'rediss://u:p@b'] }],
  [
    'redis+sentinel://a:26379,b:26379/main',
    { kind: 'redis-sentinel', urls: ['redis://a:26379', 'redis://b:26379'], name: 'main' },
  ],
]

await t.test('Redis locations are parsed and printed back', async (t) => {
  for (const [text, expected] of table) {
    const location = store.parse(text, input)
    t.same(location, expected, text)
    t.equal(location && store.format(location), text, `${text} back`)
  }
})

await t.test('invalid Redis locations are refused', async (t) => {
  const odd = ['redis://u:100%@a', 'redis+cluster://u:%zz@a,b', 'redis://a/b/c', 'redis://a b', 'redis://', '']
  for (const text of ['redis+cluster://a,,b', 'redis+cluster://a/main', 'redis+sentinel://a,b', ...odd]) {
    t.equal(store.parse(text, input), undefined, text)
  }
})
