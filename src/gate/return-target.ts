/** With a longer target, `state` would exceed the limit of some providers and proxies. */
const MAX_LENGTH = 2048

/** Browsers drop or replace these characters, so a URL that contains one could lead to another destination. */
// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f\\]/

/**
 * Returns the path, query and fragment of a return URL, or `null` if it leads away from `origin` or could be understood
 * to do so. Parses the URL like a browser.
 */
export function returnTarget(target: string | null | undefined, origin: string): string | null {
  if (target === null || target === undefined || target === '' || target.length > MAX_LENGTH || UNSAFE.test(target))
    return null
  if (!URL.canParse(target, origin)) return null
  const url = new URL(target, origin)
  // The `origin` of a `blob:` URL is that of the URL inside it, and its `pathname` is the whole URL inside it.
  if (url.origin !== origin || url.username !== '' || url.password !== '' || !/^\/(?!\/)/.test(url.pathname))
    return null
  return url.pathname + url.search + url.hash
}
