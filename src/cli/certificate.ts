import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { createSecureContext, type Server } from 'node:tls'
import type { Config } from '../config/schema.ts'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'

/** Mounted secrets change by moving symbolic links, which no file event tells reliably: looking is enough. */
const LOOK_EVERY_MS = 2_000

/** Takes up a new certificate when its files change; one that can't be used is logged and the old one stays. Returns how to stop. */
export function followCertificate(server: Server, tls: NonNullable<Config['tls']>, log: Log): () => void {
  const paths = [tls.certFile.path, tls.keyFile.path] as const
  const reload = (): void => {
    try {
      const [cert, key] = paths.map((path) => readFileSync(path))
      const context = { cert, key }
      createSecureContext(context)
      server.setSecureContext(context)
      log.info({ event: 'certificate_reloaded' }, 'the certificate has been read again')
    } catch (error) {
      log.error({ event: 'certificate_refused', cause: causes(error) }, 'the new certificate can’t be used; the old one stays')
    }
  }
  for (const path of paths) watchFile(path, { interval: LOOK_EVERY_MS, persistent: false }, reload)
  return () => { for (const path of paths) unwatchFile(path, reload) }
}
