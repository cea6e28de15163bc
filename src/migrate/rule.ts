import { type Migration, put, remark } from './migration.ts'
import { flagOf, type Grade, literal, positionOf, type Setting, textOf, UNREAD, UNREAD_VARIABLES } from './setting.ts'

/** What one key of another gateway becomes. The tables of docs/migrating.md are generated from the rules. */
export interface Rule {
  /** The Gatehouse key; `null` if there is no equivalent. */
  readonly target: string | null
  /** What differs, or what to do instead; empty if the meaning is the same. */
  readonly note: string
  apply(setting: Setting, migration: Migration): void
}

export type Rules = Readonly<Record<string, Rule>>

/** Creates a rule for a key with an equivalent. The note is reported unless `apply` makes a remark of its own. */
export function becomes(target: string, apply: Rule['apply'], note = ''): Rule {
  return {
    target,
    note,
    apply(setting, migration) {
      const before = migration.remarks.length
      apply(setting, migration)
      if (note !== '' && migration.remarks.length === before) remark(migration, 'differs', setting, note)
    },
  }
}

export function copied(target: string, note = ''): Rule {
  return becomes(
    target,
    (setting, migration) => {
      if (textOf(setting) === '') remark(migration, 'builtin', setting, 'it is empty, and left out')
      else put(migration, target, literal(textOf(setting)), setting)
    },
    note,
  )
}

/** Creates a rule for a key without an equivalent; the note says what to do instead. */
export function noEquivalent(note: string, grade: Grade = 'gap'): Rule {
  return {
    target: null,
    note,
    apply(setting, migration) {
      remark(migration, grade, setting, note)
    },
  }
}

/** Creates a rule for a key that only has a meaning together with other keys, which a later step reads. */
export function combined(target: string, note = ''): Rule {
  return { target, note, apply: () => {} }
}

/** Creates a rule for a switch that Gatehouse does not have, because it always behaves as if set to `value`. */
export function always(value: boolean, note: string, grade: Grade = 'security'): Rule {
  return {
    target: null,
    note,
    apply(setting, migration) {
      remark(migration, flagOf(setting) === value ? 'builtin' : grade, setting, note)
    },
  }
}

/** Creates a rule for a switch that turns on a feature that Gatehouse does not have. */
export function unavailable(note: string, grade: Grade = 'security'): Rule {
  return {
    target: null,
    note,
    apply(setting, migration) {
      if (flagOf(setting) === false) remark(migration, 'builtin', setting, 'it is off, as always in Gatehouse')
      else remark(migration, grade, setting, note)
    },
  }
}

/** How a remark about a repeated key begins. */
export const SET_AGAIN = 'it is set again in line'

/** Applies the rules to all settings. Unknown keys and repeated ones are reported. */
export function applyRules(
  rules: Rules,
  migration: Migration,
  unknown: (key: string) => string,
  gradeOfUnknown: (key: string) => Grade = () => 'gap',
): void {
  for (const setting of migration.settings) {
    if (migration.handled.has(setting)) continue
    if (setting.note !== undefined) migration.remarks.push({ ...setting.note, setting })
    if (setting.key === UNREAD || setting.key === UNREAD_VARIABLES) {
      migration.handled.add(setting)
      continue
    }
    const rule = Object.hasOwn(rules, setting.key) ? rules[setting.key] : undefined
    if (rule === undefined) {
      remark(migration, gradeOfUnknown(setting.key), setting, unknown(setting.key))
      continue
    }
    const last = migration.effective.get(setting.key)
    if (last !== undefined && last !== setting && last.written === setting.written) {
      remark(migration, 'differs', setting, `${SET_AGAIN} ${last.line}, and the last value counts`)
      continue
    }
    rule.apply(setting, migration)
  }
}

export function reportUnhandled(rules: Rules, migration: Migration): void {
  for (const setting of migration.settings) {
    if (migration.handled.has(setting)) continue
    const note = Object.hasOwn(rules, setting.key) ? (rules[setting.key]?.note ?? '') : ''
    const text = note === '' ? 'it has no effect together with the other keys, and is left out' : note
    remark(migration, 'gap', setting, text)
  }
}

/** Reports settings that another source overrides. The programs use one of the values and do not merge them. */
export function reportOverridden(migration: Migration): void {
  for (const setting of migration.settings) {
    const last = migration.effective.get(setting.key)
    if (last !== undefined && last !== setting && last.written !== setting.written && setting.note === undefined) {
      const text = `${last.written} (${positionOf(last)}) takes precedence, and this setting is left out`
      remark(migration, 'differs', setting, text)
    }
  }
}

export function unknownKey(product: string, key: string): string {
  if (/^(?:https?|no|all)_proxy$/i.test(key))
    return 'the gateway reads this variable as well (provider.proxy): set it there'
  return /^(?!WONDERWALL_)[A-Z]/.test(key) && !key.startsWith('OIDC')
    ? 'it is a variable of another program, and is left out'
    : `it is not a key of ${product} that this command knows: look up what it does, and whether you need it`
}
