import { Document, isMap, isPair, isScalar, Scalar } from 'yaml'
import type { Grade, Migration, Remark } from './migration.ts'
import { positionOf, type Setting } from './setting.ts'

const MAX_COMMENT_WIDTH = 110

const KEY_ORDER = [
  'listen',
  'publicUrl',
  'loginHost',
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

export function writeYaml({ product, settings, parts, secrets }: Migration): string {
  const sorted = parts.toSorted((a, b) => KEY_ORDER.indexOf(a.path[0] ?? '') - KEY_ORDER.indexOf(b.path[0] ?? ''))
  const document = new Document({})
  for (const { path, value } of sorted)
    document.setIn([...path], document.createNode(value, { aliasDuplicateObjects: false }))
  for (const { path, from } of sorted) {
    if (from.length > 0) addComment(document, path, from)
  }
  const files = [...new Set(settings.map(({ file }) => file))].join(', ')
  document.commentBefore = [
    ` Written by gatehouse migrate from ${files} (${product}). Read its report on stderr before you use this;`,
    ' then run gatehouse check --config FILE. Comments name the settings that a value comes from, with their lines.',
    ...(secrets.size === 0
      ? []
      : [
          ' Set these variables, or write ${file:/path} in their place:',
          ...[...secrets].map(([name, how]) => `   ${name}: ${how}`),
        ]),
  ].join('\n')
  return document.toString({ lineWidth: 0 })
}

function commentLines(from: readonly Setting[]): string[] {
  const lines = ['']
  for (const { written, line } of from) {
    const key = ` ${written} (${line})`
    const last = lines.at(-1) ?? ''
    if (last.length + key.length > MAX_COMMENT_WIDTH) lines.push(key)
    else lines[lines.length - 1] = last === '' ? key : `${last},${key}`
  }
  return lines
}

function addComment(document: Document, path: readonly string[], from: readonly Setting[]): void {
  const node: unknown = document.getIn([...path], true)
  if (isScalar(node)) {
    node.comment = commentLines(from).join(',')
    return
  }
  const parent: unknown = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
  if (!isMap(parent)) return
  const pair = parent.items.find(
    (item) => isPair(item) && String(isScalar(item.key) ? item.key.value : item.key) === path.at(-1),
  )
  if (pair === undefined) return
  const key = isScalar(pair.key) ? pair.key : new Scalar(pair.key)
  key.commentBefore = commentLines(from).join('\n')
  pair.key = key
}

const HEADINGS: Readonly<Record<Grade, string>> = {
  security: 'SECURITY: check each of these before users reach the gateway',
  todo: 'TO FILL IN',
  differs: 'MEANS SOMETHING ELSE HERE',
  gap: 'HAS NO EQUAL',
  builtin: 'NEEDS NO KEY HERE',
}

const GRADES: readonly Grade[] = ['security', 'todo', 'differs', 'gap', 'builtin']

export function writeReport({ product, settings, remarks, secrets }: Migration): string {
  const named = new Set(remarks.flatMap(({ setting }) => setting ?? []))
  const files = [...new Set(settings.map(({ file }) => file))].join(', ')
  const sections = GRADES.flatMap((grade) => {
    const ofGrade = remarks.filter((remark) => remark.grade === grade)
    return ofGrade.length === 0 ? [] : [`\n${HEADINGS[grade]}`, ...linesOf(ofGrade.toSorted(byPosition))]
  })
  const secretLines = [...secrets].map(([name, how]) => `  ${name}: ${how}`)
  return [
    `gatehouse migrate: ${files}: ${product}, ${settings.length} keys, ${settings.length - named.size} of them ` +
      'carried over unchanged.',
    ...sections,
    ...(secretLines.length === 0
      ? []
      : ['\nSECRETS: set these variables, or write ${file:/path} in their place', ...secretLines]),
    '',
  ].join('\n')
}

function byPosition(a: Remark, b: Remark): number {
  return (a.setting?.file ?? '').localeCompare(b.setting?.file ?? '') || (a.setting?.line ?? 0) - (b.setting?.line ?? 0)
}

/** Returns a line for each remark; those that say the same about one key share a line with all their positions. */
function linesOf(remarks: readonly Remark[]): string[] {
  const lines = new Map<string, { readonly position: string; readonly others: Set<number>; readonly rest: string }>()
  for (const { setting, text } of remarks) {
    const rest = setting === null ? text : `: ${setting.written}: ${text}`
    const id = `${setting?.file ?? ''}\n${rest}`
    const known = lines.get(id)
    if (known === undefined)
      lines.set(id, { position: setting === null ? '' : positionOf(setting), others: new Set(), rest })
    else if (setting !== null && !known.position.endsWith(`:${setting.line}`)) known.others.add(setting.line)
  }
  return [...lines.values()].map(({ position, others, rest }) => `  ${[position, ...others].join(', ')}${rest}`)
}
