import type { Entry } from './entry.ts'

/** How serious it is that something is not as it was. */
export type Grade = 'security' | 'differs' | 'gap' | 'builtin' | 'todo'

/** One sentence to the operator about a key, or about the whole file. */
export interface Remark {
  readonly grade: Grade
  readonly entry: Entry | null
  readonly text: string
}

/** A part of the new configuration, and the keys that it comes from. */
export interface Part {
  readonly path: readonly string[]
  readonly value: unknown
  readonly from: readonly Entry[]
}

/** What all routes share that ask for a session. */
export interface Shared {
  challenge?: string
  claims: Record<string, (string | boolean)[]>
  acr?: string[]
  token?: { grant?: string; header?: string }
  set: Record<string, string>
  /** Headers that are taken from clients on every route, whether the application gets a value of ours or none. */
  remove: string[]
  bearer?: string[]
  preservePost?: boolean
}

/** Requests that go to one upstream. */
export interface Base {
  readonly path: string
  readonly access?: 'required' | 'optional' | 'public'
  readonly challenge?: string
  /** Beside what all routes ask for. */
  readonly claims?: Readonly<Record<string, (string | boolean)[]>>
  readonly acr?: readonly string[]
  readonly upstream: string | null
  readonly rewritePrefix?: { readonly from: string; readonly to: string }
  readonly timeout?: string
  readonly insecure?: boolean
  readonly denialForMissingToken?: boolean
  readonly from: readonly Entry[]
}

/** Requests within a base that are treated in another way than its other requests. */
export interface Exception {
  readonly path: string
  readonly methods: readonly string[] | null
  readonly access: 'required' | 'optional' | 'public'
  readonly challenge?: string
  /** Nobody gets in until somebody has looked at it. */
  readonly closed?: true
  readonly from: Entry
}

/** The new configuration while the peer's keys are read one by one. */
export interface Draft {
  readonly parts: Part[]
  readonly shared: Shared
  readonly bases: Base[]
  readonly exceptions: Exception[]
  /** Lets OPTIONS pass everywhere without a session. */
  preflight: Entry | null
  readonly remarks: Remark[]
  /** How each variable that the configuration names is to be set. */
  readonly secrets: Map<string, string>
  /** The keys that the routes come from. */
  readonly routeKeys: Set<Entry>
  /** The last value of each key. */
  readonly given: ReadonlyMap<string, Entry>
  readonly done: Set<Entry>
}

/** An empty draft over the peer's keys. */
export function newDraft(entries: readonly Entry[]): Draft {
  return {
    parts: [],
    shared: { claims: {}, set: {}, remove: [] },
    bases: [],
    exceptions: [],
    preflight: null,
    remarks: [],
    secrets: new Map(),
    routeKeys: new Set(),
    given: new Map(entries.map((entry) => [entry.key, entry])),
    done: new Set(),
  }
}

/** Sets a key of the new configuration; the last word counts. */
export function put(draft: Draft, path: string, value: unknown, ...from: Entry[]): void {
  const steps = path.split('.')
  const index = draft.parts.findIndex((part) => part.path.join('.') === path)
  const before = index === -1 ? [] : (draft.parts[index]?.from ?? [])
  if (index !== -1) draft.parts.splice(index, 1)
  draft.parts.push({ path: steps, value, from: [...new Set([...before, ...from])] })
  for (const entry of from) draft.done.add(entry)
}

/** Whether a key of the new configuration has been set. */
export function has(draft: Draft, path: string): boolean {
  return draft.parts.some((part) => part.path.join('.') === path)
}

/** Says something about a key, which is herewith named. */
export function remark(draft: Draft, grade: Grade, entry: Entry | null, text: string): void {
  draft.remarks.push({ grade, entry, text })
  if (entry !== null) draft.done.add(entry)
}

/** Notes that the routes follow a key. */
export function routed(draft: Draft, ...entries: Entry[]): void {
  for (const entry of entries) {
    draft.routeKeys.add(entry)
    draft.done.add(entry)
  }
}

/** Names the variable that a secret is to be given in; the secret itself goes nowhere. */
export function secret(draft: Draft, name: string, how: string): string {
  draft.secrets.set(name, how)
  return `\${${name}}`
}

/** The variable for a secret; one that the peer itself takes from a variable stays in that one. */
export function secretOf(draft: Draft, entry: Entry, name: string): string {
  const own = /^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(String(entry.value))?.[1]
  if (own !== undefined) return secret(draft, own, `the variable that ${entry.key} names already (${place(entry)})`)
  return secret(draft, name, `the value of ${entry.written} (${place(entry)})`)
}

/** Where a key stands: `file:line`. */
export function place({ file, line }: Entry): string {
  return `${file}:${line}`
}

/** Asks all routes for one of these values of a claim, beside what they ask for already. */
export function demand(draft: Draft, claim: string, values: readonly (string | boolean)[], entry: Entry): void {
  draft.shared.claims[claim] = [...new Set([...(draft.shared.claims[claim] ?? []), ...values])]
  routed(draft, entry)
}

/** Sets a header on all routes that have a session; the last word counts, whatever its case. */
export function setHeader({ shared }: Draft, name: string, template: string): void {
  for (const other of Object.keys(shared.set)) {
    if (other.toLowerCase() === name.toLowerCase()) delete shared.set[other]
  }
  shared.set[name] = template
}

/** The claim that no token has: what asks for it lets nobody in until somebody has looked at it. */
export const NOBODY = 'not_migrated'
