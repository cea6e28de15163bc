import type { Invocation, MountedFile, Origin, ProgramNames } from './invocation.ts'
import type { ReadFile } from './migration.ts'
import { flagsOf, unreadWords } from './readers/flags.ts'
import type { Word } from './readers/shell.ts'
import { type Setting, UNREAD, UNREAD_VARIABLES } from './setting.ts'
import { variableToken } from './variable.ts'

/** The order in which the programs read their sources: a later one overrides an earlier one. */
export const RANKS = { file: 0, alpha: 1, variables: 2, flags: 3 } as const

export interface Source {
  readonly rank: number
  readonly settings: readonly Setting[]
}

/** What a file of the old gateway contains. */
export interface Reading {
  readonly sources: readonly Source[]
  /** Files that the settings may name. */
  readonly files?: readonly MountedFile[]
  /** Where the values of variables come from. */
  readonly origins?: ReadonlyMap<string, Origin>
  /** The hosts of an Ingress, as a setting. */
  readonly hosts?: Setting
  /** The values of the Helm chart of the old gateway. */
  readonly chart?: ChartValues
}

export interface ChartValues {
  /** What the chart sets by default; empty if the values have a configuration file. */
  readonly defaults: readonly Setting[]
}

/** Returns the settings of a program that is started in this way; the files that it opens are not read. */
export function readInvocation(
  { file, words, variables, files, unread, used, hosts = [] }: Invocation,
  names: ProgramNames,
): Reading {
  const own = variables.filter(({ name }) => names.keyOfVariable(name) !== null || used?.has(name) !== true)
  const ofVariables = own.map(({ name, value, origin, file: from, line }): Setting => {
    const key = names.keyOfVariable(name) ?? name
    const at = { key, written: name, file: from, line }
    if (origin === undefined) return { ...at, value }
    return { ...at, value: names.isReferenced(key) ? variableToken(name) : value, origin: origin.text }
  })
  const sourcesUnread = unread.map(({ written, text, hasVariables, file: from, line, grade }): Setting => ({
    key: hasVariables ? UNREAD_VARIABLES : UNREAD,
    written,
    value: '',
    file: from,
    line,
    note: { grade: grade ?? 'security', text },
  }))
  const argumentsUnread = unreadWords(words, names).map(({ text, line }): Setting => ({
    key: UNREAD,
    written: text,
    value: '',
    file,
    line,
    note: {
      grade: 'security',
      text: 'these arguments are not in this file: what they set or protect is not carried over',
    },
  }))
  return {
    sources: [
      { rank: RANKS.file, settings: [...sourcesUnread, ...argumentsUnread] },
      { rank: RANKS.variables, settings: ofVariables },
      { rank: RANKS.flags, settings: flagsOf(words, file, names) },
    ],
    files,
    ...(hosts.length === 0 ? {} : { hosts: { ...hostsAt(hosts, file), value: hosts.map(({ text }) => text) } }),
    origins: new Map(variables.flatMap(({ name, origin }) => (origin === undefined ? [] : [[name, origin]]))),
  }
}

function hostsAt([first]: readonly Word[], file: string): Omit<Setting, 'value'> {
  return { key: 'ingress hosts', written: 'host', file, line: first?.line ?? 1 }
}

/** Returns a function that reads these files first, then those that `readFile` finds. */
export function withFiles(
  files: readonly MountedFile[],
  readFile: ReadFile,
): (path: string, besideFile: string) => MountedFile | null {
  return (path, besideFile) => {
    const found = files.find((file) => file.path === path)
    if (found !== undefined) return found
    const text = readFile(path, besideFile)
    return text === null ? null : { path, text, file: path, linesBefore: 0 }
  }
}
