import { readFileSync } from 'node:fs'
import { parse, stringify } from 'yaml'
import { cell } from './reference.ts'

interface Node {
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly $ref?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, Node>>
}

const chart = (path: string): string => readFileSync(new URL(`../helm/gatehouse/${path}`, import.meta.url), 'utf8')

/** Fills the README of the chart with the tables of its values, and of the keys of oauth2-proxy's chart. */
export function withChartTables(text: string): string {
  const { properties = {} }: Node = JSON.parse(chart('values.schema.json'))
  const rows = rowsOf(properties, '', parse(chart('values.yaml')))
  const { refused, ignored }: Record<string, Record<string, string>> = parse(chart('oauth2-proxy.yaml'))
  const others = Object.entries({ ...refused, ...ignored }).map(([key, note]) => `| \`${key}\` | ${cell(note)} |`)
  return text
    .replace(...table('values', '| Value | Default | What it does |\n| --- | --- | --- |', rows))
    .replace(...table('oauth2-proxy', '| Key | What to do |\n| --- | --- |', others))
}

function table(name: string, head: string, rows: readonly string[]): [RegExp, () => string] {
  const [start, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`]
  return [new RegExp(`${start}\n[^]*?${end}`), () => `${start}\n\n${head}\n${rows.join('\n')}\n\n${end}`]
}

/** Returns a row for each value that has a type. The others are keys of oauth2-proxy's chart, which have a table. */
function rowsOf(nodes: Readonly<Record<string, Node>>, parent: string, defaults: object): string[] {
  return Object.entries(nodes).flatMap(([name, node]) => {
    const path = `${parent}${name}`
    const standard: unknown = Object.entries(defaults).find(([key]) => key === name)?.[1]
    if (node.type === undefined && node.enum === undefined && node.$ref === undefined) return []
    const row = `| \`${path}\` | ${node.properties === undefined ? defaultText(standard) : ''} | ${noteOf(node)} |`
    return [row, ...rowsOf(node.properties ?? {}, `${path}.`, isMap(standard) ? standard : {})]
  })
}

function isMap(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function noteOf({ description = '' }: Node): string {
  return cell(description).replaceAll('](', '](../../docs/')
}

function defaultText(value: unknown): string {
  if (value === undefined || value === null || value === '') return ''
  if (typeof value === 'object' && Object.keys(value).length === 0) return ''
  const yaml = stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim()
  return `\`${(typeof value === 'string' ? value : yaml).replaceAll('|', '\\|')}\``
}
