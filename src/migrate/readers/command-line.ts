import { basename } from 'node:path'
import type { Invocation, IsProgram, MountedFile, UnreadSource, Variable } from '../invocation.ts'
import type { ReadFile } from '../migration.ts'
import { variableToken } from '../variable.ts'
import { variablesOf } from './environment.ts'
import { BRACED_OR_BARE, commandsOf, expanded, type Lookup, type Word, wordsOf } from './shell.ts'

const ASSIGNMENT = /^([A-Za-z_][A-Za-z0-9_]*)=([^]*)$/
const SHELLS = new Set(['sh', 'bash', 'ash', 'dash', 'zsh'])
const CONTAINER_TOOLS = new Set(['docker', 'podman', 'nerdctl'])

/** The options of `docker run` that have no value. */
const CONTAINER_SWITCHES =
  /^(?:-[dit]+|-P|-q|--(?:detach|interactive|tty|rm|init|privileged|read-only|publish-all|quiet|no-healthcheck|oom-kill-disable|sig-proxy|disable-content-trust|replace|tls-verify)(?:=.*)?)$/

/** Returns the words after the program's name. Without the name, all words belong to the program. */
function programWords(words: readonly Word[], isProgram: IsProgram): Word[] {
  if (isStartedIn(words, isProgram)) return words.slice(programAt(words, isProgram) + 1)
  const first = words.findIndex(({ text }) => text.startsWith('-'))
  return first === -1 ? [] : words.slice(first)
}

/** Returns whether the words contain the program's name before the first flag, and not as the value of a flag. */
export function isStartedIn(words: readonly Word[], isProgram: IsProgram): boolean {
  const at = programAt(words, isProgram)
  return at !== -1 && !words.slice(0, at).some(({ text }) => /^--?[a-z]{2}/.test(text))
}

function programAt(words: readonly Word[], isProgram: IsProgram): number {
  return words.findIndex(({ text }) => isProgram(text))
}

/** Returns the script of `sh -c SCRIPT`, or `null` for other commands. */
export function scriptOf(words: readonly Word[]): Word | null {
  const shell = words.findIndex(({ text }) => SHELLS.has(basename(text)))
  if (shell === -1) return null
  const option = words.findIndex(({ text }, index) => index > shell && /^-[a-z]*c$/.test(text))
  return option === -1 ? null : (words[option + 1] ?? null)
}

/** Adds what a script sets and starts to an invocation. */
function withScript(invocation: Invocation, script: Word, isProgram: IsProgram, readFile: ReadFile): Invocation {
  const lookup: Lookup = (name) => {
    const variable = invocation.variables.find((one) => one.name === name)
    return variable?.origin === undefined ? variable?.value : variableToken(name)
  }
  const found = readScript(script.text, invocation.file, isProgram, readFile, { lookup, firstLine: script.line })
  return {
    ...invocation,
    words: found?.words ?? [],
    variables: [...invocation.variables, ...(found?.variables ?? [])],
    used: new Set([...(invocation.used ?? []), ...(found?.used ?? [])]),
    files: [...invocation.files, ...(found?.files ?? [])],
    unread: [...invocation.unread, ...(found?.unread ?? [])],
  }
}

/** Keeps only the words of the program, also of one that a shell starts (`sh -c`). */
export function onlyProgram(invocation: Invocation, isProgram: IsProgram, readFile: ReadFile): Invocation {
  const script = scriptOf(invocation.words)
  return script === null
    ? { ...invocation, words: programWords(invocation.words, isProgram) }
    : withScript(invocation, script, isProgram, readFile)
}

/**
 * Reads a shell script or a command line that starts the program, also with `docker run`. Returns `null` if it starts no
 * such program.
 */
export function readScript(
  text: string,
  file: string,
  isProgram: IsProgram,
  readFile: ReadFile,
  { lookup, firstLine = 1 }: { readonly lookup?: Lookup; readonly firstLine?: number } = {},
): Invocation | null {
  const assigned = new Map<string, Variable>()
  const files: MountedFile[] = []
  const unread: UnreadSource[] = []
  let words: readonly Word[] | null = null
  const valueOf: Lookup = (name) => assigned.get(name)?.value ?? lookup?.(name)
  const used = new Set<string>()
  const use: Lookup = (name) => {
    used.add(name)
    return valueOf(name)
  }
  const withDefault = (name: string, line: number): void => {
    if (/^[A-Z]/.test(name)) unread.push(defaultOf(name, line, file))
  }
  const assign = ({ text: word, line }: Word): boolean => {
    const [, name, value] = ASSIGNMENT.exec(word) ?? []
    if (name === undefined || value === undefined) return false
    assigned.set(name, { name, value, file, line })
    return true
  }
  const readVariables = (path: string, written: string, line: number): void => {
    const found = readFile(path, file)
    if (found === null) unread.push(unreadFile(path, written, line, file))
    else for (const variable of variablesOf(found, path)) assigned.set(variable.name, variable)
  }
  for (const command of commandsOf(text, use, firstLine, withDefault)) {
    const [first, second] = command
    if (first === undefined) continue
    if ((first.text === 'source' || first.text === '.') && second !== undefined) {
      readVariables(second.text, first.text, second.line)
      continue
    }
    let at = 0
    while (at < command.length) {
      const word = command[at]
      if (
        word === undefined ||
        !(assign(word) || /^(?:export|declare|set|env|exec|sudo|nohup|time|-[a-z]+)$/.test(word.text))
      )
        break
      at += 1
    }
    const rest = command.slice(at)
    const [tool, action] = rest
    if (tool === undefined) continue
    if (CONTAINER_TOOLS.has(basename(tool.text)) && rest.some(({ text: word }) => isProgram(word))) {
      const container = containerOf(rest.slice(action?.text === 'container' ? 3 : 2))
      if (!isProgram(container.image)) continue
      words ??= container.words
      for (const { text: path, line } of container.envFiles) readVariables(path, '--env-file', line)
      for (const { text: word, line } of container.variables) {
        if (!assign({ text: word, line }))
          assigned.set(word, { name: word, value: valueOf(word) ?? variableToken(word), file, line })
      }
      for (const { text: volume } of container.volumes) {
        const [source = '', path = ''] = volume.split(':')
        const content = readFile(source, file)
        if (content !== null) files.push({ path, text: content, file: source, linesBefore: 0 })
      }
    } else if (SHELLS.has(basename(tool.text))) {
      const script = scriptOf(rest)
      if (script === null) continue
      const inner = readScript(script.text, file, isProgram, readFile, { lookup: valueOf, firstLine: script.line })
      words ??= inner?.words ?? null
      for (const variable of inner?.variables ?? []) assigned.set(variable.name, variable)
    } else if (isProgram(tool.text)) words ??= rest.slice(1)
  }
  return words === null ? null : { file, words, variables: [...assigned.values()], files, unread, used }
}

interface Container {
  readonly image: string
  readonly words: readonly Word[]
  readonly variables: readonly Word[]
  readonly envFiles: readonly Word[]
  readonly volumes: readonly Word[]
}

/** Reads the words after `docker run`. */
function containerOf(words: readonly Word[]): Container {
  const lists: Record<'variables' | 'envFiles' | 'volumes', Word[]> = { variables: [], envFiles: [], volumes: [] }
  const listOf = (option: string): Word[] | null => {
    if (option === '-e' || option === '--env') return lists.variables
    if (option === '--env-file') return lists.envFiles
    return option === '-v' || option === '--volume' ? lists.volumes : null
  }
  let at = 0
  for (; at < words.length; at += 1) {
    const word = words[at]
    if (word === undefined || !word.text.startsWith('-')) break
    const [, option = '', , inline] = /^(--[a-z-]+|-[a-zA-Z])(=?([^]*))$/.exec(word.text) ?? []
    if (CONTAINER_SWITCHES.test(word.text)) continue
    const isInline = inline !== undefined && inline !== ''
    const value = isInline ? { text: inline, line: word.line } : words[at + 1]
    if (!isInline) at += 1
    if (value !== undefined) listOf(option)?.push(value)
  }
  return { image: words[at]?.text ?? '', words: words.slice(at + 1), ...lists }
}

/** Reads a systemd unit; `null` if it does not start the program. */
export function readUnit(text: string, file: string, isProgram: IsProgram, readFile: ReadFile): Invocation | null {
  if (!/^\s*\[Service\]/m.test(text)) return null
  const variables = new Map<string, Variable>()
  const unread: UnreadSource[] = []
  const commands: Word[] = []
  for (const { key, value, line } of directivesOf(text)) {
    if (key === 'Environment') {
      for (const { text: word } of wordsOf(value, line)) {
        const [, name, content = ''] = ASSIGNMENT.exec(word) ?? []
        if (name !== undefined) variables.set(name, { name, value: content.replaceAll('%%', '%'), file, line })
      }
    } else if (key === 'EnvironmentFile') {
      const path = value.replace(/^-/, '')
      const found = readFile(path, file)
      if (found === null) unread.push(unreadFile(path, key, line, file))
      // A file overrides `Environment`, wherever it is in the unit.
      for (const one of found === null ? [] : variablesOf(found, path)) variables.set(one.name, one)
    } else if (key === 'ExecStart' && value !== '') commands.push({ text: value, line })
  }
  const lookup: Lookup = (name) => variables.get(name)?.value
  for (const command of commands) {
    const plain = command.text.replace(/^[-@:+!]+/, '').replaceAll('%%', '%')
    const found = wordsOf(plain, command.line).map((word) => ({
      ...word,
      text: word.text.replace(BRACED_OR_BARE, (_, braced: string | undefined, ...rest: (string | undefined)[]) => {
        const name = braced ?? rest[2]
        return name === undefined ? '$' : expanded(name, undefined, lookup)
      }),
    }))
    const invocation = { file, words: found, variables: [...variables.values()], files: [], unread }
    const script = scriptOf(found)
    if (script !== null) return withScript(invocation, script, isProgram, readFile)
    if (CONTAINER_TOOLS.has(basename(found[0]?.text ?? '')))
      return withScript(invocation, { text: plain, line: command.line }, isProgram, readFile)
    if (isStartedIn(found, isProgram)) return { ...invocation, words: programWords(found, isProgram) }
  }
  return null
}

/** Returns the directives of a unit. A backslash at the end of a line continues it, which keeps the line number. */
function directivesOf(text: string): { key: string; value: string; line: number }[] {
  const found: { key: string; value: string; line: number }[] = []
  let isContinued = false
  text.split(/\r?\n/).forEach((line, index) => {
    const last = found.at(-1)
    const content = line.replace(/\\\s*$/, '')
    if (isContinued && last !== undefined) last.value += `\n${content}`
    else {
      const [, key, value = ''] = /^\s*([A-Za-z]+)\s*=\s*(.*)$/.exec(content) ?? []
      if (key !== undefined) found.push({ key, value, line: index + 1 })
    }
    isContinued = content !== line
  })
  return found
}

/** Returns the remark that a value is the default of a variable, which no file sets. */
export function defaultOf(name: string, line: number, file: string): UnreadSource {
  return {
    grade: 'differs',
    written: name,
    file,
    line,
    hasVariables: false,
    text: 'no file sets this variable, and the default beside its name is carried over: set the value if it is another one',
  }
}

/** Returns the source of a file with variables that cannot be read. */
export function unreadFile(path: string, written: string, line: number, file: string): UnreadSource {
  return {
    written,
    file,
    line,
    hasVariables: true,
    text: `${path} cannot be read: what it sets or protects is not carried over; name this file as well`,
  }
}
