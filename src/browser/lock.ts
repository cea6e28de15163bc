/** Does `work` while no other tab does work of that name; where the browser has no locks (without TLS), at once. */
export const oneAtATime = <T>(name: string, work: () => Promise<T>): Promise<T> =>
  'locks' in navigator ? navigator.locks.request(`gatehouse:${name}`, work) : work()

/** Does `work` unless another tab is at work of that name. */
export const unlessDone = async (name: string, work: () => Promise<unknown>): Promise<void> => {
  if (!('locks' in navigator)) await work()
  else
    await navigator.locks.request(`gatehouse:${name}`, { ifAvailable: true }, async (lock) => lock !== null && work())
}
