/**
 * Resolves with the name of the first signal that asks the process to end. `again` is called when somebody at a
 * terminal asks once more; that another SIGTERM comes says nothing, since some send it to every process of a group.
 */
export async function stopSignal(again: () => unknown): Promise<NodeJS.Signals> {
  let asked = false
  return new Promise((resolve) => {
    const listener = (signal: NodeJS.Signals): void => {
      if (asked && signal === 'SIGINT') void again()
      asked = true
      resolve(signal)
    }
    process.on('SIGTERM', listener)
    process.on('SIGINT', listener)
  })
}
