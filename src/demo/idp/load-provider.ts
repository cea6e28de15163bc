import { isRecord } from '../is-record.ts'

/* oxlint-disable no-console -- the module speaks through the console, and only there can its words be held back */

const fillInUrlParse = (): void => {
  if (typeof URL.parse === 'function') return
  URL.parse = (url, base) => (URL.canParse(url, base) ? new URL(url, base) : null)
}

/** The module `oidc-provider`, loaded when it is first needed; throws a plain sentence when it is not installed. */
export const loadProvider = async () => {
  fillInUrlParse()
  const warn = console.warn
  // On Node 20 the module says at import that it wants 22; with URL.parse filled in, all that is used here works.
  console.warn = (...said: unknown[]): void => {
    if (!String(said[0]).includes('Unsupported runtime')) warn(...said)
  }
  try {
    return await import('oidc-provider')
  } catch (error) {
    if (!isRecord(error) || error.code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Error('the demo needs the optional package oidc-provider: run npm install without --omit=optional', {
      cause: error,
    })
  } finally {
    console.warn = warn
  }
}
