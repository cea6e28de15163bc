import { type Draft, type Grade, put, remark } from './draft.ts'
import { type Entry, flagOf, literal, textOf } from './entry.ts'

/** What becomes of one key of a peer's; the tables of docs/migrating.md are made of these. */
export interface Rule {
  /** The key of ours that it becomes; `null` where it has no equal. */
  readonly ours: string | null
  /** What is different, or what to do instead; empty where it means the same. */
  readonly says: string
  readonly apply: (entry: Entry, draft: Draft) => void
}

/** The rules of one peer, by key. */
export type Rules = Readonly<Record<string, Rule>>

/** A key that becomes one of ours; with a sentence, it means something else there, which is said. */
export function to(ours: string, apply: Rule['apply'], says = ''): Rule {
  return {
    ours,
    says,
    apply(entry, draft) {
      const before = draft.remarks.length
      apply(entry, draft)
      if (says !== '' && draft.remarks.length === before) remark(draft, 'differs', entry, says)
    },
  }
}

/** A key whose text is one of ours as it stands. */
export function text(ours: string, says = ''): Rule {
  return to(
    ours,
    (entry, draft) => {
      if (textOf(entry) === '') remark(draft, 'builtin', entry, 'it is empty, and left out')
      else put(draft, ours, literal(textOf(entry)), entry)
    },
    says,
  )
}

/** A key without an equal: what to do instead. */
export function none(says: string, grade: Grade = 'gap'): Rule {
  return {
    ours: null,
    says,
    apply: (entry, draft) => {
      remark(draft, grade, entry, says)
    },
  }
}

/** A key that others are read together with; `says` is the difference that is told there. */
export function together(ours: string, says = ''): Rule {
  return { ours, says, apply: () => {} }
}

/**
 * A switch for what is always so here; `wanted` is the position that agrees with that, and the other one is a
 * difference.
 */
export function always(wanted: boolean, says: string, grade: Grade = 'security'): Rule {
  return {
    ours: null,
    says,
    apply(entry, draft) {
      remark(draft, flagOf(entry) === wanted ? 'builtin' : grade, entry, says)
    },
  }
}

/** A switch that asks for something that is not to be had; off, it asks for nothing. */
export function never(says: string, grade: Grade = 'security'): Rule {
  return {
    ours: null,
    says,
    apply(entry, draft) {
      if (flagOf(entry) === false) remark(draft, 'builtin', entry, 'it is off, as it always is here')
      else remark(draft, grade, entry, says)
    },
  }
}

/** Applies the rules to all keys; a key that no rule knows, or that a rule has left unmentioned, is named as a gap. */
export function applyRules(
  rules: Rules,
  entries: readonly Entry[],
  draft: Draft,
  unknown: (key: string) => string,
): void {
  for (const entry of entries) {
    if (draft.done.has(entry)) continue
    const rule = Object.hasOwn(rules, entry.key) ? rules[entry.key] : undefined
    if (rule === undefined) {
      remark(draft, 'gap', entry, unknown(entry.key))
      continue
    }
    const last = draft.given.get(entry.key)
    if (last !== undefined && last !== entry && last.written === entry.written) {
      remark(draft, 'differs', entry, `it is given again in line ${last.line}, and the last one counts`)
      continue
    }
    rule.apply(entry, draft)
  }
}

/** Names every key that has gone nowhere. */
export function nameTheRest(rules: Rules, entries: readonly Entry[], draft: Draft): void {
  for (const entry of entries) {
    if (draft.done.has(entry)) continue
    const says = Object.hasOwn(rules, entry.key) ? (rules[entry.key]?.says ?? '') : ''
    remark(draft, 'gap', entry, says === '' ? 'it has no effect together with the other keys, and is left out' : says)
  }
}
