import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, type RedisClientOptions } from '@keyv/redis'
import type { Test } from 'tap'
import { freePort } from './free-port.ts'
import { eventually } from './eventually.ts'

export type Redis = {
  readonly port: number
  readonly url: string
  readonly command: (...args: string[]) => Promise<unknown>
  /** Returns all keys of the first database. */
  readonly keys: () => Promise<string[]>
  /** Returns the number of calls of each command by lower-case name, including calls from scripts. */
  readonly calls: () => Promise<Record<string, number>>
  readonly kill: () => Promise<void>
  readonly start: () => Promise<void>
  readonly pause: () => void
  readonly goOn: () => void
}

type Options = {
  readonly port?: number
  /** Arguments of `redis-server` besides port and folder. */
  readonly args?: readonly string[]
  readonly client?: RedisClientOptions
  readonly config?: string
}

/** The documented permissions of the gateway on a single Redis. */
export const PERMISSIONS = [
  '~gatehouse:*',
  '&gatehouse:*',
  '+hmget',
  '+hget',
  '+hset',
  '+hdel',
  '+exists',
  '+del',
  '+pexpire',
  '+set',
  '+get',
  '+zadd',
  '+zrem',
  '+zrange',
  '+zremrangebyscore',
  '+time',
  '+evalsha',
  '+eval',
  '+publish',
  '+subscribe',
  '+select',
]

const folderOf = (t: Test): string => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-redis-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  return folder
}

/** Starts `redis-server`, which ends with the test. By default it writes nothing to disk. */
export const startRedis = async (t: Test, options: Options = {}): Promise<Redis> => {
  const port = options.port ?? (await freePort())
  const folder = folderOf(t)
  const { args = ['--save', '', '--appendonly', 'no'], client = {}, config } = options
  const file = join(folder, 'redis.conf')
  if (config !== undefined) writeFileSync(file, config)
  let child: ChildProcess | null = null
  t.teardown(() => {
    child?.kill('SIGKILL')
  })

  const command = async (...words: string[]): Promise<unknown> => {
    const connection = createClient({
      ...client,
      socket: { host: '127.0.0.1', port, reconnectStrategy: false, ...client.socket },
    }).on('error', () => {})
    await connection.connect()
    try {
      return await connection.sendCommand(words)
    } finally {
      connection.destroy()
    }
  }
  const start = async (): Promise<void> => {
    child = spawn(
      'redis-server',
      [
        ...(config === undefined ? [] : [file]),
        ...(args.includes('--port') ? [] : ['--port', String(port)]),
        '--bind',
        '127.0.0.1',
        '--dir',
        folder,
        '--loglevel',
        'warning',
        ...args,
      ],
      { stdio: 'ignore' },
    )
    await eventually(async () => (await command('PING')) === 'PONG', { what: 'Redis answers' })
  }
  await start()
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    command,
    start,
    keys: async () => texts(await command('KEYS', '*')).toSorted(),
    async calls() {
      const text = String(await command('INFO', 'commandstats'))
      return Object.fromEntries(
        [...text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name = '', count]) => [name, Number(count)]),
      )
    },
    async kill() {
      const dying = child
      if (dying === null || dying.exitCode !== null || dying.signalCode !== null) return
      const exited = once(dying, 'exit')
      dying.kill('SIGKILL')
      await exited
    },
    pause() {
      child?.kill('SIGSTOP')
    },
    goOn() {
      child?.kill('SIGCONT')
    },
  }
}

const texts = (reply: unknown): string[] => (Array.isArray(reply) ? reply.map(String) : [])

/** A master with a replica, watched by three sentinels under the name `main`. */
export type Watched = {
  readonly url: string
  readonly master: Redis
  readonly replica: Redis
  readonly sentinels: readonly Redis[]
}

/** Starts a master, a replica and three sentinels that fail over after a second. */
export const startSentinels = async (t: Test): Promise<Watched> => {
  const master = await startRedis(t)
  const replica = await startRedis(t, {
    args: ['--save', '', '--appendonly', 'no', '--replicaof', '127.0.0.1', String(master.port)],
  })
  const sentinels = await Promise.all(
    [1, 2, 3].map(async () =>
      startRedis(t, {
        args: ['--sentinel'],
        config: [
          `sentinel monitor main 127.0.0.1 ${master.port} 2`,
          'sentinel down-after-milliseconds main 1000',
          'sentinel failover-timeout main 5000',
          '',
        ].join('\n'),
      }),
    ),
  )
  await eventually(
    async () => {
      const counted = await Promise.all(
        sentinels.map(async (sentinel) =>
          [
            texts(await sentinel.command('SENTINEL', 'SENTINELS', 'main')).length,
            texts(await sentinel.command('SENTINEL', 'REPLICAS', 'main')).length,
          ].join(),
        ),
      )
      return counted.every((counts) => counts === '2,1')
    },
    { what: 'the sentinels know each other and the replica', timeoutMs: 20_000 },
  )
  await eventually(async () => String(await replica.command('INFO', 'replication')).includes('master_link_status:up'), {
    what: 'the replica follows',
    timeoutMs: 20_000,
  })
  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/main`,
    master,
    replica,
    sentinels,
  }
}

/** A cluster whose masters share the slots equally, optionally with one replica for each master. */
export type Cluster = { readonly url: string; readonly masters: readonly Redis[]; readonly replicas: readonly Redis[] }

const SLOTS = 16_384

/** Starts a cluster of three masters. With replicas, it fails over once a master has been unreachable for four seconds. */
export const startCluster = async (t: Test, { withReplicas = false } = {}): Promise<Cluster> => {
  const startNode = async (): Promise<Redis> =>
    startRedis(t, {
      args: [
        '--save',
        '',
        '--appendonly',
        'yes',
        // What a killed server has written stays in the operating system's cache, so nothing is lost without an fsync.
        '--appendfsync',
        'no',
        '--cluster-enabled',
        'yes',
        '--cluster-node-timeout',
        '4000',
        '--cluster-port',
        String(await freePort()),
        '--cluster-require-full-coverage',
        'no',
        '--repl-diskless-sync-delay',
        '0',
      ],
    })
  const nodes: Redis[] = []
  for (let i = 0; i < (withReplicas ? 6 : 3); i += 1) nodes.push(await startNode())
  const [masters, replicas] = [nodes.slice(0, 3), nodes.slice(3)]
  const [first] = masters
  if (first === undefined) throw new Error('no node')
  const busPorts = await Promise.all(
    nodes.map(async (node) => {
      const [, port = ''] = /@(\d+)/.exec(String(await node.command('CLUSTER', 'NODES'))) ?? []
      return port
    }),
  )
  await Promise.all(
    masters.map(async (node, i) =>
      node.command(
        'CLUSTER',
        'ADDSLOTSRANGE',
        String(Math.ceil((i * SLOTS) / 3)),
        String(Math.ceil(((i + 1) * SLOTS) / 3) - 1),
      ),
    ),
  )
  await Promise.all(
    nodes
      .slice(1)
      .map(async (node, i) => first.command('CLUSTER', 'MEET', '127.0.0.1', String(node.port), busPorts[i + 1] ?? '')),
  )
  const isComplete = async (node: Redis): Promise<boolean> => {
    const info = String(await node.command('CLUSTER', 'INFO'))
    return (
      info.includes('cluster_state:ok') &&
      info.includes(`cluster_slots_ok:${SLOTS}`) &&
      info.includes(`cluster_known_nodes:${nodes.length}`)
    )
  }
  await eventually(async () => (await Promise.all(nodes.map(isComplete))).every(Boolean), {
    what: 'the nodes are a cluster',
    timeoutMs: 20_000,
  })
  await Promise.all(
    replicas.map(async (node, i) =>
      node.command('CLUSTER', 'REPLICATE', String(await masters[i]?.command('CLUSTER', 'MYID'))),
    ),
  )
  for (const node of replicas) {
    await eventually(async () => String(await node.command('INFO', 'replication')).includes('master_link_status:up'), {
      what: 'the replicas follow',
      timeoutMs: 20_000,
    })
  }
  await sleep(replicas.length === 0 ? 0 : 500)
  return { url: `redis+cluster://${masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`, masters, replicas }
}
