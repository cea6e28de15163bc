import type { Adapter, AdapterFactory, AdapterPayload } from 'oidc-provider'

export interface Storage {
  readonly adapter: AdapterFactory
  /** Returns the entries of a model such as `Session`, `Grant` or `RefreshToken`. */
  entries(model: string): AdapterPayload[]
  remove(model: string, matches: (payload: AdapterPayload) => boolean): number
}

interface Entry {
  readonly payload: AdapterPayload
  /** In milliseconds since the epoch. */
  readonly expiresAt: number
}

const WRITES_BETWEEN_SWEEPS = 1000

function payloadIfAlive(entry: Entry | undefined): AdapterPayload | undefined {
  return entry !== undefined && entry.expiresAt > Date.now() ? entry.payload : undefined
}

export function createStorage(): Storage {
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
      for (const entry of entries.values()) if (matches(entry.payload)) return payloadIfAlive(entry)
      return undefined
    }

    return {
      upsert: async (id, payload, expiresIn) => {
        writes += 1
        if (writes % WRITES_BETWEEN_SWEEPS === 0) sweep()
        entries.set(id, { payload, expiresAt: expiresIn === undefined ? Infinity : Date.now() + expiresIn * 1000 })
      },
      find: async (id) => payloadIfAlive(entries.get(id)),
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
