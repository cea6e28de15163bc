/**
 * Returns the result of `work`, or the result of `onDeadline` if `work` takes longer than `ms`. `onDeadline` may throw. A
 * later result of `work` is dropped.
 */
export async function withDeadline<Result, Late>(
  work: Promise<Result>,
  ms: number,
  onDeadline: () => Late,
): Promise<Result | Late> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  try {
    return await Promise.race([work, deadline.then(onDeadline)])
  } finally {
    // A pending timer would keep the process alive.
    clearTimeout(timer)
  }
}
