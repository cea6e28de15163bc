import t from 'tap'
import { createNotices, type Notices } from '../../../src/store/redis/notices.ts'

/** Notices with a clock of their own; heartbeats go out into `sent` and come back when the test says so. */
const open = (masters: string[] = ['a']) => {
  const world = { now: 10_000, masters, sent: [] as string[], assured: 0, silent: 0, heard: [] as string[] }
  const notices: Notices = createNotices({
    self: 'me',
    listener: () => ({
      changed: (id, version) => {
        world.heard.push(`${id} ${version}`)
      },
      gone: (id) => {
        world.heard.push(`${id} gone`)
      },
      evicted: () => {},
      restored: () => {},
    }),
    masters: () => world.masters,
    publish: async (_master, message) => {
      world.sent.push(message)
    },
    onAssured: () => {
      world.assured += 1
    },
    onSilence: () => {
      world.silent += 1
    },
    clock: () => world.now,
  })
  const deliver = (message = world.sent.shift()): void => {
    notices.receive(message ?? '')
  }
  const beatAt = (now: number): void => {
    world.now = now
    notices.beat()
  }
  return { world, notices, deliver, beatAt }
}

void t.test('nothing is guaranteed before the first heartbeat returns', async (t) => {
  const { notices, deliver, beatAt, world } = open()
  t.equal(notices.assuredUntil(9_000), 9_000)
  beatAt(10_000)
  t.equal(notices.assuredUntil(10_000), 10_000)
  world.now = 10_050
  deliver()
  t.equal(world.assured, 1)
  t.equal(notices.assuredUntil(10_040), 10_040, 'an earlier read may have missed a notice')
  beatAt(10_200)
  world.now = 10_230
  deliver()
  t.equal(notices.assuredUntil(10_060), 10_200, 'all activity up to the sending time')
  t.equal(notices.assuredUntil(10_220), 10_220)
})

void t.test('after a possible loss the tracking restarts, and earlier guarantees stay', async (t) => {
  const { notices, deliver, beatAt, world } = open()
  for (const now of [10_000, 10_200, 10_400]) {
    beatAt(now)
    deliver()
  }
  notices.doubt()
  t.equal(notices.assuredUntil(10_100), 10_400)
  world.now = 20_000
  t.equal(notices.assuredUntil(10_100), 10_400)
  beatAt(20_000)
  deliver()
  beatAt(20_200)
  deliver()
  t.equal(notices.assuredUntil(10_100), 10_400, 'the gap stays a gap')
  t.equal(notices.assuredUntil(20_050), 20_200)
  t.equal(world.assured, 2)
})

void t.test('a gap without heartbeats is a possible loss, even without an error', async (t) => {
  const { notices, deliver, beatAt } = open()
  beatAt(10_000)
  deliver()
  beatAt(10_200)
  deliver()
  beatAt(11_500)
  deliver()
  t.equal(notices.assuredUntil(10_100), 10_200)
  t.equal(notices.assuredUntil(11_500), 11_500)
})

void t.test('each of several masters has to be heard, and the one heard last decides', async (t) => {
  const { notices, world, beatAt } = open(['a', 'b'])
  beatAt(10_000)
  t.same(world.sent, ['beat 10000 a', 'beat 10000 b'])
  notices.receive('beat 10000 a')
  t.equal(world.assured, 0)
  notices.receive('beat 10000 b')
  t.equal(world.assured, 1)
  beatAt(10_200)
  notices.receive('beat 10200 a')
  t.equal(notices.assuredUntil(10_000), 10_000)
  notices.receive('beat 10200 b')
  t.equal(notices.assuredUntil(10_000), 10_200)
  world.masters = ['a', 'c']
  beatAt(10_400)
  notices.receive('beat 10400 a')
  notices.receive('beat 10400 b')
  t.equal(notices.assuredUntil(10_300), 10_300, 'a new master has sent no heartbeat yet')
  notices.receive('beat 10400 c')
  beatAt(10_600)
  notices.receive('beat 10600 a')
  notices.receive('beat 10600 c')
  t.equal(notices.assuredUntil(10_450), 10_600)
})

void t.test('a heartbeat of another process proves nothing', async (t) => {
  const { notices, deliver, beatAt, world } = open()
  beatAt(10_000)
  for (const forged of ['beat x a', 'beat 99999999 a', 'beat NaN a', 'beat 10000 b']) notices.receive(forged)
  t.equal(world.assured, 0)
  deliver()
  notices.receive('beat 99999999 a')
  t.equal(notices.assuredUntil(10_000), 10_000)
})

void t.test('heartbeats that never return are reported repeatedly', async (t) => {
  const { world, beatAt } = open()
  for (let i = 0; i < 15; i += 1) beatAt(10_000 + 200 * i)
  t.equal(world.silent, 0)
  beatAt(13_000)
  t.equal(world.silent, 1)
  for (let i = 0; i < 16; i += 1) beatAt(14_000 + 200 * i)
  t.equal(world.silent, 2)
})

void t.test(
  'notices of other processes are passed on, and a process’s own and malformed notices are not',
  async (t) => {
    const { world, notices } = open()
    const other = createNotices({
      self: 'other',
      listener: () => null,
      masters: () => [],
      publish: async () => {},
      onAssured: () => {},
      onSilence: () => {},
    })
    notices.receive(other.changed('s1', 3))
    notices.receive(other.gone('s2'))
    notices.receive(notices.changed('s3', 4))
    notices.receive(notices.gone('s4'))
    for (const rubbish of [
      '',
      '{',
      'null',
      '[]',
      '"s5"',
      '{"id":1}',
      '{"id":"s5"}',
      '{"id":"s5","version":"2"}',
      'beat',
      'beat x a',
    ])
      notices.receive(rubbish)
    t.same(world.heard, ['s1 3', 's2 gone'])
  },
)
