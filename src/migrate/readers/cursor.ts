import { isAlias, isMap, isScalar, isSeq, LineCounter, type Document, parseAllDocuments } from 'yaml'

/** A place in a YAML document. */
export class Cursor {
  readonly #document: Document
  readonly #lines: LineCounter
  readonly #node: unknown
  /** The line of the key or the item, counted from 1. */
  readonly line: number
  readonly file: string
  /** The mapping whose members this one adds to and overrides. */
  readonly #below: Cursor | null

  constructor(
    document: Document,
    lines: LineCounter,
    node: unknown,
    line: number,
    file: string,
    below: Cursor | null = null,
  ) {
    this.#document = document
    this.#lines = lines
    this.#node = isAlias(node) ? node.resolve(document) : node
    this.line = line
    this.file = file
    this.#below = below
  }

  /** Returns this mapping over another one: members of both are combined, as Helm combines files of values. */
  over(below: Cursor): Cursor {
    return this.isMapping() && below.isMapping()
      ? new Cursor(this.#document, this.#lines, this.#node, this.line, this.file, below)
      : this
  }

  /** Returns the members of a mapping, with those of merge keys (`<<`) that it does not have itself. */
  entries(): [string, Cursor][] {
    if (!isMap(this.#node)) return []
    const own: [string, Cursor][] = []
    const merged: [string, Cursor][] = []
    for (const { key, value } of this.#node.items) {
      const name = isScalar(key) ? String(key.value) : ''
      const member = this.#at(value, this.#lineOf(key))
      if (name === '<<') merged.push(...[member, ...member.items()].flatMap((one) => one.entries()))
      else own.push([name, member])
    }
    const all = [...own, ...merged.filter(([name]) => !own.some(([other]) => other === name))]
    const below = new Map(this.#below?.entries())
    const combined = all.map(([name, member]): [string, Cursor] => {
      const lower = below.get(name)
      below.delete(name)
      return [name, lower === undefined ? member : member.over(lower)]
    })
    return [...below, ...combined]
  }

  get(...names: readonly string[]): Cursor | undefined {
    const [first, ...rest] = names
    if (first === undefined) return this
    return this.entries()
      .find(([name]) => name === first)?.[1]
      .get(...rest)
  }

  /** Returns the items of a list. */
  items(): Cursor[] {
    return isSeq(this.#node) ? this.#node.items.map((item) => this.#at(item, this.#lineOf(item))) : []
  }

  /** Returns the text of a scalar; `undefined` for lists, mappings and null. */
  text(): string | undefined {
    if (!isScalar(this.#node) || this.#node.value === null) return undefined
    return typeof this.#node.value === 'string' ? this.#node.value : this.#node.source
  }

  /** The number of lines before the first line of the text; a block scalar begins below its key. */
  get linesBefore(): number {
    const isBlock = isScalar(this.#node) && this.#node.type?.startsWith('BLOCK') === true
    return isBlock ? this.#lineOf(this.#node) : this.#lineOf(this.#node) - 1
  }

  isMapping(): boolean {
    return isMap(this.#node)
  }

  isList(): boolean {
    return isSeq(this.#node)
  }

  toJS(): unknown {
    if (this.#below !== null) return Object.fromEntries(this.entries().map(([name, member]) => [name, member.toJS()]))
    const node = this.#node
    return isMap(node) || isSeq(node) || isScalar(node) ? node.toJS(this.#document) : null
  }

  #at(node: unknown, line: number): Cursor {
    return new Cursor(this.#document, this.#lines, node, line, this.file)
  }

  #lineOf(node: unknown): number {
    const range = isMap(node) || isSeq(node) || isScalar(node) || isAlias(node) ? node.range : undefined
    return range === undefined || range === null ? this.line : this.#lines.linePos(range[0]).line
  }
}

/** Returns the documents of a YAML text; `null` if it cannot be parsed, such as a template. */
export function cursorsOf(text: string, file = ''): Cursor[] | null {
  const lines = new LineCounter()
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, logLevel: 'silent' })
  const found: Cursor[] = []
  for (const document of documents) {
    if (!('contents' in document) || document.errors.length > 0) return null
    found.push(new Cursor(document, lines, document.contents, 1, file))
  }
  return found
}
