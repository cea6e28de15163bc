import { Document, isMap, isPair, isScalar, Scalar } from 'yaml'
import { type Grade, place, type Remark } from './draft.ts'
import type { Entry } from './entry.ts'
import type { Migration } from './peer.ts'

const WIDTH = 110

const order = [
  'listen',
  'publicUrl',
  'basePath',
  'trustedProxies',
  'upstream',
  'tls',
  'admin',
  'provider',
  'session',
  'log',
  'pages',
  'rateLimit',
  'shutdown',
  'routes',
]

/** The new configuration as YAML, with the keys that each part comes from beside it. */
export function writeYaml({ peer, entries, draft }: Migration): string {
  const parts = draft.parts.toSorted((a, b) => order.indexOf(a.path[0] ?? '') - order.indexOf(b.path[0] ?? ''))
  const document = new Document({})
  for (const { path, value } of parts)
    document.setIn([...path], document.createNode(value, { aliasDuplicateObjects: false }))
  for (const { path, from } of parts) {
    if (from.length > 0) comment(document, path, from)
  }
  const files = [...new Set(entries.map(({ file }) => file))].join(', ')
  document.commentBefore = [
    ` Written by gatehouse migrate from ${files} (${peer}). Read what it said on stderr before you use this;`,
    ' then: gatehouse check --config FILE. The comments name the keys that a value comes from.',
    ...(draft.secrets.size === 0
      ? []
      : [
          ' Set these variables, or write ${file:/path} in their place:',
          ...[...draft.secrets].map(([name, how]) => `   ${name}: ${how}`),
        ]),
  ].join('\n')
  return document.toString({ lineWidth: 0 })
}

/** The keys with their lines, in lines of comment. */
function keysOf(from: readonly Entry[]): string[] {
  const lines = ['']
  for (const { written, line } of from) {
    const key = ` ${written} (${line})`
    const last = lines.at(-1) ?? ''
    if (last.length + key.length > WIDTH) lines.push(key)
    else lines[lines.length - 1] = last === '' ? key : `${last},${key}`
  }
  return lines
}

function comment(document: Document, path: readonly string[], from: readonly Entry[]): void {
  const node: unknown = document.getIn([...path], true)
  if (isScalar(node)) {
    node.comment = keysOf(from).join(',')
    return
  }
  const parent: unknown = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
  if (!isMap(parent)) return
  const pair = parent.items.find(
    (item) => isPair(item) && String(isScalar(item.key) ? item.key.value : item.key) === path.at(-1),
  )
  if (pair === undefined) return
  const key = isScalar(pair.key) ? pair.key : new Scalar(pair.key)
  key.commentBefore = keysOf(from).join('\n')
  pair.key = key
}

const headings: Readonly<Record<Grade, string>> = {
  security: 'SECURITY: look at each of these before anybody uses it',
  todo: 'TO FILL IN',
  differs: 'MEANS SOMETHING ELSE HERE',
  gap: 'HAS NO EQUAL',
  builtin: 'NEEDS NO KEY HERE',
}

/** What the operator has to know: what is less safe, missing, different or without an equal, each with its line. */
export function writeReport({ peer, entries, draft }: Migration): string {
  const grades: Grade[] = ['security', 'todo', 'differs', 'gap', 'builtin']
  const named = new Set(draft.remarks.flatMap(({ entry }) => entry ?? []))
  const files = [...new Set(entries.map(({ file }) => file))].join(', ')
  const sections = grades.flatMap((grade) => {
    const remarks = draft.remarks.filter((remark) => remark.grade === grade)
    return remarks.length === 0 ? [] : [`\n${headings[grade]}`, ...new Set(remarks.toSorted(byPlace).map(lineOf))]
  })
  const secrets = [...draft.secrets].map(([name, how]) => `  ${name}: ${how}`)
  return [
    `gatehouse migrate: ${files}: ${peer}, ${entries.length} keys, ${entries.length - named.size} of them ` +
      'carried over unchanged.',
    ...sections,
    ...(secrets.length === 0
      ? []
      : ['\nSECRETS: set these variables, or write ${file:/path} in their place', ...secrets]),
    '',
  ].join('\n')
}

function byPlace(a: Remark, b: Remark): number {
  return (a.entry?.file ?? '').localeCompare(b.entry?.file ?? '') || (a.entry?.line ?? 0) - (b.entry?.line ?? 0)
}

function lineOf({ entry, text }: Remark): string {
  return entry === null ? `  ${text}` : `  ${place(entry)}: ${entry.written}: ${text}`
}
