import { createSecureContext } from 'node:tls'
import { quote, type ValueType } from '../value-type.ts'
import { list } from './collection.ts'
import { text } from './scalar.ts'

/** The names of suites without encryption or without authentication of the server, and of their groups. */
const UNSAFE = /^(?:[AE]?NULL|COMPLEMENTOFALL|ADH|AECDH)$|(?:^|-)NULL-|^(?:ADH|AECDH)-/i

const written = list(text(), { min: 1, single: true })

/** Cipher suites in the format of OpenSSL, or a list of them. Names of IANA become those of OpenSSL. */
export const ciphers: ValueType<string> = {
  ...written,
  name: 'cipher string, or a list',
  parse(value, context) {
    const names = written
      .parse(value, context)
      ?.flatMap((part) => part.split(/[:, ]+/))
      .filter((name) => name !== '')
      .map(opensslName)
    if (names === undefined) return undefined
    const unsafe = names.find((name) => UNSAFE.test(name))
    if (unsafe !== undefined) return context.refuse(`must not allow connections without protection: ${quote(unsafe)}`)
    const problem = problemOf(names.join(':'))
    if (problem !== null) return context.refuse(`must be cipher suites that OpenSSL has: ${problem}`)
    // OpenSSL ignores the names that it does not know next to one that it knows.
    const unknown = names.filter((name) => /^[\w-]+$/.test(name) && !name.startsWith('-') && problemOf(name) !== null)
    if (unknown.length > 0)
      context.warn(`names cipher suites that OpenSSL does not have: ${unknown.join(', ')}`, 'remove them')
    return names.join(':')
  },
  format: (value) => value,
}

/** Returns why OpenSSL does not accept a cipher string, or `null` if it does. */
function problemOf(cipherString: string): string | null {
  try {
    createSecureContext({ ciphers: cipherString })
    return null
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error:[\dA-F]+:SSL routines:[^:]*:/, '') : ''
    return `${reason} in ${quote(cipherString)}`
  }
}

/**
 * Returns OpenSSL's name of a suite before TLS 1.3, such as `ECDHE-RSA-AES128-GCM-SHA256` for
 * `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`, and any other text as it is. Node.js takes each name that begins with `TLS_`
 * for a suite of TLS 1.3.
 */
function opensslName(name: string): string {
  const [, exchange, cipher] = /^TLS_(\w+?)_WITH_(\w+)$/.exec(name) ?? []
  if (exchange === undefined || cipher === undefined) return name
  const parts = cipher
    .replace(/^AES_(\d+)_/, 'AES$1_')
    .replace(/^(AES\d+)_CBC_/, '$1_')
    .replace(/^CHACHA20_POLY1305_SHA256$/, 'CHACHA20_POLY1305')
    .replace(/^3DES_EDE_CBC_/, 'DES_CBC3_')
  return `${exchange === 'RSA' ? '' : `${exchange}-`}${parts}`.replaceAll('_', '-')
}
