/**
 * An address to listen on in our spelling, from `host:port`, `:port`, `http://host:port` or `unix:///path`; `null` for
 * others.
 */
export function listen(address: string): string | null {
  const socket = /^unix:(?:\/\/)?(\/[^,]+)/.exec(address)?.[1]
  if (socket !== undefined) return `unix:${socket}`
  const [, host = '', port] = /^(?:https?:\/\/)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]*):(\d{1,5})\/?$/.exec(address) ?? []
  return port === undefined ? null : `${host === '' ? '0.0.0.0' : host}:${port}`
}
