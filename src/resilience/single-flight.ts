/** Lets concurrent callers with the same key share one call. */
export interface SingleFlight<Key, Result> {
  run(key: Key, work: () => Promise<Result>): Promise<Result>
  current(key: Key): Promise<Result> | null
  all(): Promise<Result>[]
}

/** Creates a single flight. A call is no longer pending when its callers get its result. */
export function singleFlight<Key, Result>(): SingleFlight<Key, Result> {
  const flights = new Map<Key, Promise<Result>>()

  return {
    run(key, work) {
      const current = flights.get(key)
      if (current !== undefined) return current
      const flight = work().finally(() => {
        flights.delete(key)
      })
      flights.set(key, flight)
      return flight
    },
    current: (key) => flights.get(key) ?? null,
    all: () => [...flights.values()],
  }
}
