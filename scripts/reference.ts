import type { TSchema } from 'typebox'
import { parse, stringify } from 'yaml'
import { variableName, variables } from '../src/config/environment.ts'
import type { KeyPath } from '../src/config/key-path.ts'
import { type Leaf, shapeOf } from '../src/config/schema-nodes.ts'
import { schema } from '../src/config/schema.ts'

const settable = new Set(variables(schema).map(({ name }) => name))

export function cell(text: string): string {
  return withLinks(text).replaceAll('|', '\\|').replaceAll('\n', ' ')
}

function withLinks(text: string): string {
  return text
    .replace(/\bRFC (\d+)\b/g, '[RFC $1](https://www.rfc-editor.org/rfc/rfc$1)')
    .replace(/\bdocs\/(\w[\w-]*\.md)\b/g, '[$1]($1)')
}

function defaultText({ default: defaultValue, defaultText: text }: Leaf): string {
  if (text !== undefined) return text
  if (defaultValue === null) return 'none'
  if (defaultValue === undefined) return '**required**'
  const yaml = stringify(defaultValue, { collectionStyle: 'flow', lineWidth: 0 })
  return `\`${(typeof defaultValue === 'string' ? defaultValue : yaml).trim()}\``
}

function note({ secret }: Leaf): string {
  const notes = []
  if (secret === 'whole') notes.push('A secret: `gatehouse check` masks it.')
  if (secret === 'password') notes.push('`gatehouse check` masks a password in it.')
  if (secret === 'constants') notes.push('`gatehouse check` masks fixed values, which may be credentials.')
  return notes.length === 0 ? '' : ` ${notes.join(' ')}`
}

function variableCell(path: KeyPath, inList: boolean): string {
  const name = variableName(path)
  return !inList && settable.has(name) ? `\`${name}\`` : ''
}

interface Section {
  title: string
  description: string
  rows: string[]
}

function sections(): Section[] {
  const top: Section = { title: 'The top level', description: '', rows: [] }
  const all = [top]
  /** The labels of the keys that have a row. */
  const labels = new Map<TSchema, string>()
  const addRows = (into: Section, node: TSchema, path: KeyPath, label: string, inList: boolean): void => {
    const shape = shapeOf(node)
    if (shape.type === 'leaf') {
      const { valueType, description } = shape.leaf
      labels.set(node, label)
      const cells = [
        `\`${label}\``,
        valueType.name,
        defaultText(shape.leaf),
        ...(inList ? [] : [variableCell(path, false)]),
      ]
      into.rows.push(`| ${[...cells, description + note(shape.leaf)].map(cell).join(' | ')} |`)
      return
    }
    const known = inList ? Object.values(children(node)).find((inner) => labels.has(inner)) : undefined
    if (shape.type === 'list' || known !== undefined) {
      const section = labels.get(known ?? node)?.replace(/\.[^.]+$/, '')
      const keys = Object.keys(children(node)).map((key) => `\`${key}\``)
      const cells = [
        `\`${label}\``,
        shape.type === 'list' ? 'list of maps' : 'map',
        shape.type === 'list' && shape.defaultList !== null ? '`[]`' : 'none',
        ...(inList ? [] : [shape.type === 'list' ? variableCell(path, inList) : '']),
        section === undefined
          ? shape.description
          : `${shape.description} Keys as in \`${section}\`: ${keys.join(', ')}.`,
      ]
      into.rows.push(`| ${cells.map(cell).join(' | ')} |`)
      if (section !== undefined) return
    }
    for (const [key, inner] of Object.entries(children(node))) {
      addRows(into, inner, [...path, key], `${label}${shape.type === 'list' ? '[]' : ''}.${key}`, inList)
    }
  }
  for (const [key, node] of Object.entries(children(schema))) {
    const shape = shapeOf(node)
    if (shape.type === 'leaf') {
      addRows(top, node, [key], key, false)
      continue
    }
    const section: Section = { title: `\`${key}\``, description: shape.description, rows: [] }
    all.push(section)
    const inList = shape.type === 'list' || shape.type === 'map'
    for (const [name, inner] of Object.entries(ownChildren(node))) addRows(section, inner, [key, name], name, inList)
  }
  return all
}

function children(node: TSchema): Record<string, TSchema> {
  const shape = shapeOf(node)
  if (shape.type === 'leaf') return {}
  if (shape.type === 'list') return children(shape.items)
  return shape.type === 'map' ? children(shape.entries) : shape.properties
}

/** Returns the keys of a section. Those of the entries of a map are listed only if no other section has them. */
function ownChildren(node: TSchema): Record<string, TSchema> {
  if (shapeOf(node).type !== 'map') return children(node)
  const others = new Set(
    Object.values(children(schema)).flatMap((other) => (other === node ? [] : Object.values(children(other)))),
  )
  return Object.fromEntries(Object.entries(children(node)).filter(([, inner]) => !others.has(inner)))
}

function table({ title, description, rows }: Section): string {
  const isRoutes = title === '`routes`'
  const isProviders = title === '`providers`'
  const head =
    isRoutes || isProviders
      ? '| Key | Value | Default | What it does |\n| --- | --- | --- | --- |'
      : '| Key | Value | Default | Variable | What it does |\n| --- | --- | --- | --- | --- |'
  const intro = isRoutes
    ? `${description} \`routes\` is a list. By default it has one route, \`/**\`, which requires a login. ` +
      'The variable `GATEHOUSE_ROUTES` sets the whole list.'
    : isProviders
      ? `${withLinks(description)} Names consist of lower-case letters, digits and hyphens. Each entry has the keys of ` +
        '`provider` and the key below. The variable `GATEHOUSE_PROVIDERS` sets the whole map.'
      : withLinks(description)
  return [`## ${title}`, ...(intro === '' ? [] : [wrapped(intro)]), `${head}\n${rows.join('\n')}`].join('\n\n')
}

function wrapped(text: string): string {
  return text.replace(/(.{1,120})(?: |$)/g, '$1\n').trimEnd()
}

const introduction = (example: string): string => `# Configuration

<!-- Written by scripts/generate.ts from src/config/schema.ts. Change it there. -->

Gatehouse reads one YAML file, environment variables, or both. \`--config FILE\` or \`GATEHOUSE_CONFIG\` names the file.
This is the smallest useful file, \`config/gatehouse.yaml\`:

\`\`\`yaml
${example.trim()}
\`\`\`

\`gatehouse check --config FILE\` prints the resolved configuration with secrets masked, or every mistake with its line,
its column and what to write instead. An unknown key is a mistake. Editors that support JSON Schema check and complete
the file: the first line of the example names \`config/gatehouse.schema.json\`.

## Placeholders

The gateway replaces placeholders inside string values after it has parsed the YAML:

| Placeholder | Value |
| --- | --- |
| \`\${NAME}\` | the environment variable; an unset variable is a mistake |
| \`\${NAME:-default}\` | the environment variable, or \`default\` if it is unset or empty |
| \`\${file:/run/secrets/x}\` | the content of the file |
| \`$\${\` | a literal \`\${\` |

The gateway removes newlines at the end of a variable or a file. The inserted text is not parsed again: it cannot
contain further placeholders or YAML. Where a key takes a number, a duration or \`true\`, the inserted text is read as
such a value. Placeholders in keys are not replaced.

Relative paths in the file are relative to the directory of the file. Relative paths in variables are relative to the
working directory.

## Environment variables

Every key below has a variable, except keys inside lists and inside \`providers\`. Its name is \`GATEHOUSE_\` and the path
of the key in upper snake case: \`provider.clientId\` is \`GATEHOUSE_PROVIDER_CLIENT_ID\`. A variable overrides the file.
With variables alone, no file is needed. An empty variable counts as unset.

- \`_FILE\` after the name of a variable makes the gateway read the value from a file:
  \`GATEHOUSE_PROVIDER_CLIENT_SECRET_FILE=/run/secrets/oidc\`. The gateway removes newlines at
  the end of values, whether they come from a file or from the variable itself.
- Commas or newlines separate the items of a list: \`GATEHOUSE_PUBLIC_URL=https://a.example.com,https://b.example.com\`.
- Maps, \`scripts.headers\`, \`providers\` and \`routes\` are YAML on one line:
  \`GATEHOUSE_ROUTES='[{ path: /assets/**, access: public }, { path: /** }]'\`. The gateway replaces placeholders in these
  variables only.
- Any other variable that begins with \`GATEHOUSE_\` causes a warning, except the variables that Kubernetes creates for a
  Service named \`gatehouse\`.

## Units

A duration is a whole number followed by \`ms\`, \`s\`, \`m\`, \`h\` or \`d\`: \`500ms\`, \`30s\`, \`15m\`, \`10h\`, \`7d\`. A size is a
whole number followed by \`b\`, \`kb\`, \`mb\` or \`gb\`, where 1 kb is 1024 bytes: \`64kb\`, \`1mb\`. A rate is a number of requests
and a duration: \`300/1m\`. Where \`off\` is allowed, \`false\` means the same.`

/** Returns docs/configuration.md, with `example` as its first YAML block. */
export function reference(example: string): string {
  parse(example)
  return `${[introduction(example), ...sections().map(table)].join('\n\n')}\n`
}
