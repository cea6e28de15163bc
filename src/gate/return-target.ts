/** Longer targets would make the `state` longer than some providers and proxies take. */
const MAX_LENGTH = 2048

/** What must not be in a target: a browser would drop or turn it, and so go elsewhere. */
// oxlint-disable-next-line no-control-regex
const TREACHEROUS = /[\u0000-\u001f\u007f\\]/

/**
 * The same-origin part of a redirect target (path, query, fragment), or `null` for anything that leads away from
 * `origin` or can be read so. Judged by where a browser would go, not by how it looks.
 */
export function returnTarget(target: string | null | undefined, origin: string): string | null {
  if (
    target === null ||
    target === undefined ||
    target === '' ||
    target.length > MAX_LENGTH ||
    TREACHEROUS.test(target)
  )
    return null
  if (!URL.canParse(target, origin)) return null
  const url = new URL(target, origin)
  // The origin of a `blob:` URL is that of the URL inside, which is all that its path is.
  if (url.origin !== origin || url.username !== '' || url.password !== '' || !/^\/(?!\/)/.test(url.pathname))
    return null
  return url.pathname + url.search + url.hash
}
