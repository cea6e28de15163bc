import { Document, isMap, isPair, isScalar, Scalar } from 'yaml'
import type { Migration, Remark } from './migration.ts'
import type { Grade, Setting } from './setting.ts'
import { withVariables } from './variable.ts'

const MAX_COMMENT_WIDTH = 110

const KEY_ORDER = [
  'listen',
  'listenMode',
  'forwardAuth',
  'publicUrl',
  'loginHost',
  'basePath',
  'trustedProxies',
  'upstream',
  'tls',
  'admin',
  'provider',
  'providers',
  'session',
  'log',
  'pages',
  'rateLimit',
  'shutdown',
  'routes',
]

/** Writes the configuration. */
export function writeYaml(migration: Migration): string {
  const document = configDocument(migration)
  document.commentBefore = [
    ...introduction(migration),
    ' then run gatehouse check --config FILE. Comments name the settings that a value comes from, with their lines.',
    ...secretComments(migration, 'Set these variables, or write ${file:/path} in their place'),
  ].join('\n')
  return textOf(document)
}

/** Writes values of the Helm chart, with the configuration in `config`. */
export function writeValues(migration: Migration): string {
  const { values } = migration
  const config = textOf(configDocument(migration, YAML_OF_HELM)).replace(/^(?=.)/gm, '  ')
  const document = new Document({}, YAML_OF_HELM)
  for (const [name, value] of values) document.set(name, document.createNode(value, { aliasDuplicateObjects: false }))
  const comment = [
    ...introduction(migration),
    ' then run helm install --values FILE. Comments name the settings that a value comes from, with their lines.',
    ...secretComments(migration, 'The pods have these variables from extraEnv and existingSecret'),
  ]
  return `${comment.map((line) => `#${line}\n`).join('')}\nconfig:\n${config}${values.size === 0 ? '' : textOf(document)}`
}

function textOf(document: Document): string {
  return withVariables(document.toString({ lineWidth: 0 }))
}

/** Quotes texts such as `off`, which are booleans for Helm. */
const YAML_OF_HELM = { compat: 'yaml-1.1' } as const

function configDocument({ parts }: Migration, options: { readonly compat?: 'yaml-1.1' } = {}): Document {
  const sorted = parts.toSorted((a, b) => KEY_ORDER.indexOf(a.path[0] ?? '') - KEY_ORDER.indexOf(b.path[0] ?? ''))
  const document = new Document({}, options)
  for (const { path, value } of sorted)
    document.setIn([...path], document.createNode(value, { aliasDuplicateObjects: false }))
  for (const { path, from } of sorted) {
    if (from.length > 0) addComment(document, path, from)
  }
  return document
}

function introduction({ product, settings }: Migration): string[] {
  const files = [...new Set(settings.map(({ file }) => file))].join(', ')
  return [` Written by gatehouse migrate from ${files} (${product}). Read its report on stderr before you use this;`]
}

function secretComments({ secrets }: Migration, how: string): string[] {
  if (secrets.size === 0) return []
  const lines = [...secrets].map(([name, where]) => `   ${name}: ${where}`)
  return [` ${how}:`, ...lines]
}

function commentLines(from: readonly Setting[]): string[] {
  const lines = ['']
  const names = from.flatMap(({ written, line, lines: itemLines }) =>
    [...new Set(itemLines ?? [line])].map((number) => ` ${written} (${number})`),
  )
  for (const name of names) {
    const last = lines.at(-1) ?? ''
    if (last.length + name.length > MAX_COMMENT_WIDTH) lines.push(name)
    else lines[lines.length - 1] = last === '' ? name : `${last},${name}`
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

export function writeReport({ product, settings, remarks, secrets, values }: Migration): string {
  const named = new Set(remarks.flatMap(({ setting }) => setting ?? []))
  const files = [...new Set(settings.map(({ file }) => file))].join(', ')
  const sections = GRADES.flatMap((grade) => {
    const ofGrade = remarks.filter((remark) => remark.grade === grade)
    return ofGrade.length === 0 ? [] : [`\n${HEADINGS[grade]}`, ...linesOf(ofGrade.toSorted(byPosition))]
  })
  const secretLines = [...secrets].map(([name, how]) => `  ${name}: ${how}`)
  const report = [
    `gatehouse migrate: ${files}: ${product}, ${settings.length} keys, ${settings.length - named.size} of them ` +
      'carried over unchanged.',
    ...sections,
    ...(secretLines.length === 0
      ? []
      : [
          values.size > 0
            ? '\nSECRETS: the pods have these variables from extraEnv and existingSecret'
            : '\nSECRETS: set these variables, or write ${file:/path} in their place',
          ...secretLines,
        ]),
    '',
  ].join('\n')
  return withVariables(report)
}

function byPosition(a: Remark, b: Remark): number {
  return (a.setting?.file ?? '').localeCompare(b.setting?.file ?? '') || lineNumberOf(a) - lineNumberOf(b)
}

function lineNumberOf({ setting, line }: Remark): number {
  return line ?? setting?.line ?? 0
}

/** Returns a line for each remark; those that say the same about one key share a line with all their positions. */
function linesOf(remarks: readonly Remark[]): string[] {
  const positions = new Map<string, { readonly file: string; readonly numbers: Set<number>; readonly rest: string }>()
  for (const remark of remarks) {
    const { setting, text } = remark
    const rest = setting === null ? text : `${setting.written}: ${text}`
    const id = `${setting?.file ?? ''}\n${rest}`
    const known = positions.get(id) ?? { file: setting?.file ?? '', numbers: new Set(), rest }
    known.numbers.add(lineNumberOf(remark))
    positions.set(id, known)
  }
  return [...positions.values()].map(({ file, numbers, rest }) =>
    file === '' ? `  ${rest}` : `  ${file}:${[...numbers].join(', ')}: ${rest}`,
  )
}
