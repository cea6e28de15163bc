/** The host part of a public origin, as routes name it. */
export function hostOf(origin: string): string {
  return origin.slice(origin.indexOf('//') + 2)
}
