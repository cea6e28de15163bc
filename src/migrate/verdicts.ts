import { type Draft, put, remark } from './draft.ts'
import { type Entry, literal } from './entry.ts'

const KEY = 'forwardAuth.listen'
const ports = ['8081', '8082', '8083']

/** Gives the gateway a listener for verdicts: the entry shows that a proxy asks the peer for them. */
export function giveVerdicts(draft: Draft, entry: Entry): void {
  put(draft, KEY, literal(`127.0.0.1:${ports[0]}`), entry)
}

/** Once all addresses are known: the listener for verdicts gets one of its own, and a sentence. */
export function finishVerdicts(draft: Draft): void {
  const part = draft.parts.find(({ path }) => path.join('.') === KEY)
  if (part === undefined) return
  const taken = draft.parts.filter(({ path }) => path.at(-1) === 'listen' && path[0] !== 'forwardAuth')
  const free = ports.find((port) => !taken.some(({ value }) => String(value).endsWith(`:${port}`))) ?? '8081'
  put(draft, KEY, literal(`127.0.0.1:${free}`))
  remark(
    draft,
    'security',
    part.from[0] ?? null,
    `a proxy that asks (nginx auth_request, Traefik forwardAuth) gets its verdicts at http://127.0.0.1:${free}/auth, ` +
      'which the browser must not reach: they carry the access token; docs/forward-auth.md has what the proxy sends. ' +
      'Take forwardAuth out where no proxy asks',
  )
}
