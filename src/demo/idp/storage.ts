import type { Adapter, AdapterFactory, AdapterPayload } from 'oidc-provider'

/** All that the provider remembers, kept outside of it: a test can forget parts, and new signing keys lose nothing. */
export type Storage = {
  adapter: AdapterFactory
  /** What is stored under the provider's name for a kind of thing, e.g. `Session`, `Grant`, `RefreshToken`. */
  entries: (model: string) => AdapterPayload[]
  /** Forgets what matches and tells how many that were. */
  remove: (model: string, matches: (payload: AdapterPayload) => boolean) => number
}

type Entry = { payload: AdapterPayload; expiresAt: number }

const sweepEvery = 1000

const alive = (entry: Entry | undefined): AdapterPayload | undefined =>
  entry !== undefined && entry.expiresAt > Date.now() ? entry.payload : undefined

/** A storage in this process's memory; an entry is gone once its lifetime is over. */
export const createStorage = (): Storage => {
  const models = new Map<string, Map<string, Entry>>()
  let writes = 0

  const entriesOf = (model: string): Map<string, Entry> => {
    const known = models.get(model)
    if (known !== undefined) return known
    const fresh = new Map<string, Entry>()
    models.set(model, fresh)
    return fresh
  }

  const remove = (model: string, matches: (payload: AdapterPayload) => boolean): number => {
    const entries = entriesOf(model)
    let removed = 0
    for (const [id, { payload }] of entries) {
      if (matches(payload) && entries.delete(id)) removed += 1
    }
    return removed
  }

  const sweep = (): void => {
    const now = Date.now()
    for (const entries of models.values()) {
      for (const [id, { expiresAt }] of entries) if (expiresAt <= now) entries.delete(id)
    }
  }

  const adapter = (model: string): Adapter => {
    const entries = entriesOf(model)

    const findBy = (matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined => {
      for (const entry of entries.values()) if (matches(entry.payload)) return alive(entry)
      return undefined
    }

    return {
      upsert: async (id, payload, expiresIn) => {
        writes += 1
        if (writes % sweepEvery === 0) sweep()
        entries.set(id, { payload, expiresAt: expiresIn === undefined ? Infinity : Date.now() + expiresIn * 1000 })
      },
      find: async (id) => alive(entries.get(id)),
      findByUid: async (uid) => findBy((payload) => payload.uid === uid),
      findByUserCode: async (userCode) => findBy((payload) => payload.userCode === userCode),
      consume: async (id) => {
        const entry = entries.get(id)
        if (entry !== undefined) entry.payload.consumed = Math.floor(Date.now() / 1000)
      },
      destroy: async (id) => {
        entries.delete(id)
      },
      revokeByGrantId: async (grantId) => {
        remove(model, (payload) => payload.grantId === grantId)
      },
    }
  }

  return { adapter, remove, entries: (model) => [...entriesOf(model).values()].map(({ payload }) => payload) }
}
