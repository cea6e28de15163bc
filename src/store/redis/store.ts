import { randomBytes, type KeyObject } from 'node:crypto'
import { timeFrom } from '../../config/numbers.ts'
import { Fault, causes } from '../../errors.ts'
import type { Log } from '../../telemetry/log.ts'
import {
  criteriaOf,
  type Count,
  type Criterion,
  type Locked,
  type Owner,
  type Replaced,
  type Store,
  type StoreListener,
  type StoredRecord,
} from '../store.ts'
import type { Connect } from './connections.ts'
import { openRedisLink, type RedisLink, type Script } from './link.ts'
import { createNotices, type Notices } from './notices.ts'
import { expectPermissions } from './permissions.ts'
import {
  indexKey,
  lockKey,
  noteKey,
  onceKey,
  rateKey,
  recordKey,
  COUNT,
  CREATE,
  ENLIST,
  LOCK,
  REMOVE,
  RELIST,
  REPLACE,
  TOUCH,
  UNLOCK,
} from './scripts.ts'

const CHANNEL = 'gatehouse:notices'

interface RedisStoreOptions {
  readonly connect: Connect
  /** Returns the MAC keys from which index names are derived. New entries use the first key; searches use all keys. */
  readonly indexKeys: () => readonly KeyObject[]
  /** Returns the longest lifetime of a session, in ms. */
  readonly lifetime: () => number
  readonly log: Log
}

export class RedisStore implements Store {
  readonly #link: RedisLink
  readonly #indexKeys: () => readonly KeyObject[]
  readonly #lifetime: () => number
  readonly #notices: Notices
  #listener: StoreListener | null = null
  /** The last logged error and the beginning of the outage; `null` while Redis is reachable. */
  #outage: { readonly cause: string; readonly since: number } | null = { cause: '', since: performance.now() }

  /** Connects in the background. Until the store is connected, every method rejects. */
  constructor({ connect, indexKeys, lifetime, log }: RedisStoreOptions) {
    this.#indexKeys = indexKeys
    this.#lifetime = lifetime
    const self = randomBytes(9).toString('base64url')
    const own = `${CHANNEL}:${self}`
    const reportOutage = (error: unknown): void => {
      const cause = causes(error)
      // During an outage, the same error occurs many times.
      if (cause !== this.#outage?.cause)
        log.error({ event: 'store_unavailable', cause }, 'the connection to Redis has failed')
      this.#outage = { cause, since: this.#outage?.since ?? performance.now() }
    }
    this.#notices = createNotices({
      self,
      listener: () => this.#listener,
      masters: () => this.#link.masters(),
      publish: (master, message) => this.#link.publish(master, own, message),
      onAssured: () => {
        if (this.#outage === null) return
        const { since } = this.#outage
        this.#outage = null
        log.info({ event: 'store_connected' }, 'connected to Redis')
        this.#listener?.restored(since)
      },
      onSilence: () => {
        reportOutage(new Error('heartbeats do not come back'))
        this.#link.renew()
      },
    })
    this.#link = openRedisLink({
      connect,
      channels: [CHANNEL, own],
      onMessage: (message) => {
        this.#notices.receive(message)
      },
      check: (connections) => expectPermissions(connections, own),
      onConnected: () => {
        this.#notices.doubt()
        this.#notices.beat()
      },
      onTrouble: (error) => {
        this.#notices.doubt()
        reportOutage(error)
      },
    })
    this.#notices.start()
  }

  async read(id: string): Promise<StoredRecord | null> {
    const reply = await this.#command(recordKey(id), ['HMGET', recordKey(id), 'd', 'v', 'c', 'e', 's'])
    const [sealed, ...numbers] = texts(reply)
    if (sealed === undefined || sealed === '') return null
    const [version, createdAt, endsAt, seenAt] = numbers.map(timeFrom)
    // The gateway writes only numbers, so a record with any other value counts as missing.
    if (typeof version !== 'number' || typeof createdAt !== 'number') return null
    if (typeof endsAt !== 'number' || typeof seenAt !== 'number') return null
    return { sealed: Buffer.from(sealed, 'base64'), version, createdAt, endsAt, seenAt }
  }

  async create(id: string, record: StoredRecord, owner: Owner, ttl: number): Promise<void> {
    const indexes = await this.#enlist(id, owner)
    await this.#run(
      CREATE,
      [recordKey(id)],
      [
        record.sealed.toString('base64'),
        String(record.version),
        String(record.createdAt),
        String(record.endsAt),
        String(record.seenAt),
        indexes.join(' '),
        String(ttl),
      ],
    )
  }

  async relist(id: string, owner: Owner): Promise<void> {
    const indexes = await this.#enlist(id, owner)
    await this.#run(RELIST, [recordKey(id)], [indexes.join(' ')])
  }

  async replace(id: string, record: StoredRecord, ttl: number): Promise<Replaced> {
    const reply = await this.#run(
      REPLACE,
      [recordKey(id)],
      [
        record.sealed.toString('base64'),
        String(record.version),
        String(record.endsAt),
        String(ttl),
        CHANNEL,
        this.#notices.changed(id, record.version),
      ],
    )
    return reply === 1 ? 'replaced' : reply === 0 ? 'stale' : 'gone'
  }

  async touch(id: string, seenAt: number, ttl: number): Promise<void> {
    await this.#run(TOUCH, [recordKey(id)], [String(seenAt), String(ttl)])
  }

  async remove(id: string): Promise<boolean> {
    const indexes = await this.#run(REMOVE, [recordKey(id)], [CHANNEL, this.#notices.gone(id)])
    if (typeof indexes !== 'string') return false
    await Promise.all(
      indexes
        .split(' ')
        .filter((index) => index !== '')
        .map((index) =>
          // An index entry without a record is ignored, and it expires.
          this.#command(index, ['ZREM', index, id]).catch(() => null),
        ),
    )
    return true
  }

  async find(criterion: Criterion): Promise<string[]> {
    const names = this.#indexKeys().map((key) => indexKey(key, criterion))
    const lists = await Promise.all(names.map((name) => this.#command(name, ['ZRANGE', name, '0', '-1', 'WITHSCORES'])))
    const enlistedAt = new Map<string, number>()
    for (const list of lists) {
      const flat = texts(list)
      for (let i = 0; i + 1 < flat.length; i += 2) enlistedAt.set(flat[i] ?? '', Number(flat[i + 1]))
    }
    const ids = [...enlistedAt.keys()].toSorted((a, b) => (enlistedAt.get(a) ?? 0) - (enlistedAt.get(b) ?? 0))
    const living = await Promise.all(ids.map((id) => this.#command(recordKey(id), ['EXISTS', recordKey(id)])))
    return ids.filter((_id, i) => living[i] === 1)
  }

  async claimOnce(value: string, ttl: number): Promise<boolean> {
    const key = onceKey(value)
    return (await this.#command(key, ['SET', key, '1', 'NX', 'PX', String(ttl)])) === 'OK'
  }

  async setNote(name: string, note: string, ttl: number): Promise<void> {
    const [key] = this.#indexKeys()
    if (key === undefined) return
    const named = noteKey(key, name)
    await this.#command(named, ['SET', named, note, 'PX', String(ttl)])
  }

  async getNote(name: string): Promise<string | null> {
    const notes = await Promise.all(
      this.#indexKeys().map((key) => {
        const named = noteKey(key, name)
        return this.#command(named, ['GET', named])
      }),
    )
    return notes.find((note) => typeof note === 'string') ?? null
  }

  async lock(id: string, holder: string, ttl: number): Promise<Locked> {
    const reply = await this.#run(LOCK, [lockKey(id), recordKey(id)], [holder, String(ttl)])
    return { acquired: reply === 1 || reply === 2, abandoned: reply === 2 }
  }

  async unlock(id: string, holder: string): Promise<void> {
    await this.#run(UNLOCK, [lockKey(id), recordKey(id)], [holder])
  }

  async ping(): Promise<void> {
    await this.#command('gatehouse:ping', ['EXISTS', 'gatehouse:ping'])
  }

  count(name: string, window: number): Promise<Count> | null {
    const [key] = this.#indexKeys()
    return key === undefined ? null : this.#countUnder(rateKey(key, name), window)
  }

  size(): null {
    return null
  }

  listen(listener: StoreListener): void {
    this.#listener = listener
  }

  reconnect(): void {
    this.#link.renew()
  }

  assuredUntil(readAt: number): number {
    return this.#notices.assuredUntil(readAt)
  }

  async close(): Promise<void> {
    this.#notices.stop()
    this.#link.close()
  }

  async #countUnder(key: string, window: number): Promise<Count> {
    const reply = await this.#run(COUNT, [key], [String(window)])
    const [current = 0, ttl = 0] = Array.isArray(reply) ? reply.map(Number) : []
    return { current, ttl }
  }

  async #command(key: string, args: readonly string[]): Promise<unknown> {
    return orUnavailable(this.#link.command(key, args))
  }

  async #run(script: Script, keys: readonly [string, ...string[]], args: readonly string[]): Promise<unknown> {
    return orUnavailable(this.#link.run(script, keys, args))
  }

  /** Adds index entries. They must exist before the record, because a session without an entry cannot be found. */
  async #enlist(id: string, owner: Owner): Promise<string[]> {
    const indexes = this.#indexNames(owner)
    await Promise.all(indexes.map((index) => this.#run(ENLIST, [index], [id, String(this.#lifetime())])))
    return indexes
  }

  #indexNames(owner: Owner): string[] {
    const [key] = this.#indexKeys()
    return key === undefined ? [] : criteriaOf(owner).map((criterion) => indexKey(key, criterion))
  }
}

async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw new Fault('store_unavailable', { cause: error })
  }
}

/** Returns a reply as strings, with an empty string for each missing value. */
function texts(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map((value: unknown) => (typeof value === 'string' ? value : '')) : []
}
