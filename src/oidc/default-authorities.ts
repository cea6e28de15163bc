import { readFileSync } from 'node:fs'
import tls from 'node:tls'

/** Returns what Node.js trusts without `ca`: its own certificates and those in NODE_EXTRA_CA_CERTS. */
export function defaultAuthorities(): readonly string[] {
  // Node.js 20 does not have this function.
  const { getCACertificates }: Partial<typeof tls> = tls
  if (getCACertificates !== undefined) return getCACertificates('default')
  const { NODE_EXTRA_CA_CERTS: file = '' } = process.env
  try {
    return file === '' ? tls.rootCertificates : [...tls.rootCertificates, readFileSync(file, 'utf8')]
  } catch {
    // Node.js has warned about the file at its start.
    return tls.rootCertificates
  }
}
