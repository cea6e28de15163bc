import type { Word } from './readers/shell.ts'

/** A variable in the environment of a program. */
export interface Variable {
  readonly name: string
  readonly value: string
  readonly file: string
  readonly line: number
  readonly origin?: Origin
}

/** Where the value of a variable comes from, if it is not beside its name. */
export interface Origin {
  readonly text: string
  /** `valueFrom` of the variable in a Kubernetes container. */
  readonly valueFrom?: unknown
}

/** A file that a program can open. */
export interface MountedFile {
  readonly path: string
  readonly text: string
  /** The file that has the text, and how many of its lines precede the text. */
  readonly file: string
  readonly linesBefore: number
}

/** A source of settings that cannot be read, or is only read in part. */
export interface UnreadSource {
  /** Grade `security` if absent. */
  readonly grade?: 'differs'

  readonly written: string
  readonly file: string
  readonly line: number
  readonly text: string
  /** Whether the variables of the client may come from this source. */
  readonly hasVariables: boolean
}

/** How a program is started: its arguments, its environment and its files. */
export interface Invocation {
  readonly file: string
  readonly words: readonly Word[]
  readonly variables: readonly Variable[]
  readonly files: readonly MountedFile[]
  readonly unread: readonly UnreadSource[]
  /** The hosts of the Ingresses in the same file. */
  readonly hosts?: readonly Word[]
  /** The names of variables whose values the arguments or other variables contain. */
  readonly used?: ReadonlySet<string>
}

/** Recognizes a program by the name of its executable or of its image. */
export type IsProgram = (name: string) => boolean

/** The names of a program's flags and variables. */
export interface ProgramNames {
  keyOfFlag(flag: string): string
  /** Returns whether a flag of this key needs no value. */
  isSwitch(key: string): boolean
  /** Returns whether a repeated flag of this key adds items; otherwise the last value counts. */
  isList(key: string): boolean
  /** Returns `null` for variables of other programs. */
  keyOfVariable(name: string): string | null
  /** Returns whether the value of a key is only named, because it may be a secret. */
  isReferenced(key: string): boolean
}
