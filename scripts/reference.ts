import type { TSchema } from 'typebox'
import { parse, stringify } from 'yaml'
import { variableName, variables } from '../src/config/environment.ts'
import type { KeyPath } from '../src/config/key-path.ts'
import { type Leaf, shapeOf } from '../src/config/schema-nodes.ts'
import { schema } from '../src/config/schema.ts'

const settable = new Set(variables(schema).map(({ name }) => name))
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

function defaultText({ default: defaultValue, defaultText: said }: Leaf): string {
  if (said !== undefined) return said
  if (defaultValue === null) return 'none'
  if (defaultValue === undefined) return '**required**'
  const yaml = stringify(defaultValue, { collectionStyle: 'flow', lineWidth: 0 })
  return `\`${(typeof defaultValue === 'string' ? defaultValue : yaml).trim()}\``
}

function note({ secret }: Leaf): string {
  const notes = []
  if (secret === 'whole') notes.push('Secret: never shown.')
  if (secret === 'password') notes.push('A password in it is never shown.')
  if (secret === 'constants') notes.push('`gatehouse check` shows templates only: fixed values may be credentials.')
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

/** One section for the top, and one for each key there that has keys of its own. */
function sections(): Section[] {
  const top: Section = { title: 'The top level', description: '', rows: [] }
  const found = [top]
  const addRows = (into: Section, node: TSchema, path: KeyPath, label: string, inList: boolean): void => {
    const shape = shapeOf(node)
    if (shape.type === 'leaf') {
      const { valueType, description } = shape.leaf
      const cells = [
        `\`${label}\``,
        valueType.name,
        defaultText(shape.leaf),
        ...(inList ? [] : [variableCell(path, false)]),
      ]
      into.rows.push(`| ${[...cells, description + note(shape.leaf)].map(cell).join(' | ')} |`)
      return
    }
    const own = shape.type === 'list' ? variableCell(path, inList) : ''
    if (shape.type === 'list') {
      const cells = [`\`${label}\``, 'list of maps', '`[]`', own, shape.description]
      into.rows.push(`| ${cells.map(cell).join(' | ')} |`)
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
    found.push(section)
    const inList = shape.type === 'list'
    for (const [name, inner] of Object.entries(children(node))) addRows(section, inner, [key, name], name, inList)
  }
  return found
}

function children(node: TSchema): Record<string, TSchema> {
  const shape = shapeOf(node)
  if (shape.type === 'leaf') return {}
  return shape.type === 'list' ? children(shape.items) : shape.properties
}

function table({ title, description, rows }: Section): string {
  const isRoutes = title === '`routes`'
  const head = isRoutes
    ? '| Key | Value | Default | What it does |\n| --- | --- | --- | --- |'
    : '| Key | Value | Default | Variable | What it does |\n| --- | --- | --- | --- | --- |'
  const intro = isRoutes
    ? `${description} A list; without it there is one route, \`/**\`, that needs a login. As a whole it can be given ` +
      'in `GATEHOUSE_ROUTES`.'
    : description
  return [`## ${title}`, ...(intro === '' ? [] : [intro]), `${head}\n${rows.join('\n')}`].join('\n\n')
}

const introduction = (example: string): string => `# Configuration

<!-- Written by scripts/generate.ts from src/config/schema.ts. Change it there. -->

One YAML file, given with \`--config FILE\` or named by \`GATEHOUSE_CONFIG\`, or environment variables, or both. This is
the smallest file that is of use, \`config/gatehouse.yaml\`:

\`\`\`yaml
${example.trim()}
\`\`\`

\`gatehouse check --config FILE\` prints what comes out of it with secrets masked, or every mistake with its line, its
column and what to write instead. Unknown keys are mistakes. Editors that know JSON Schema check and complete while you
type, by the first line of the example and \`config/gatehouse.schema.json\`.

## Texts that are filled in

Inside text values, after the YAML has been read:

| Written | Becomes |
| --- | --- |
| \`\${NAME}\` | the environment variable; one that is not set is a mistake |
| \`\${NAME:-default}\` | the same, or \`default\` where it is not set or empty |
| \`\${file:/run/secrets/x}\` | what the file holds, without newlines at its end |
| \`$\${\` | \`\${\` as it stands |

What is filled in is never read again: it cannot bring further \`\${…}\`, and no YAML. Where a number, a duration or
\`true\` is asked for, the text that comes out counts as one. Keys are not filled in.

Relative paths in the file start at the file's own directory, those in variables at the working directory.

## Environment variables

Every key below has a variable, those inside lists apart: its path in upper snake case behind \`GATEHOUSE_\`, so that
\`provider.clientId\` is \`GATEHOUSE_PROVIDER_CLIENT_ID\`. A variable wins over the file, and with variables alone no
file is needed. An empty one counts as not set.

- With \`_FILE\` behind its name, a variable names a file to read the value from:
  \`GATEHOUSE_PROVIDER_CLIENT_SECRET_FILE=/run/secrets/oidc\`. Newlines at the end do not count.
- Lists are separated by commas: \`GATEHOUSE_PUBLIC_URL=https://a.example.com,https://b.example.com\`.
- Maps, \`scripts.headers\` and \`routes\` are YAML in one line:
  \`GATEHOUSE_ROUTES='[{ path: /assets/**, access: public }, { path: /** }]'\`. \`\${…}\` is filled in there; in all
  other variables it is not.
- A variable that begins with \`GATEHOUSE_\` and is none of these is a warning; those that Kubernetes makes for a
  service are passed over.

## Units

Durations are a whole number and \`ms\`, \`s\`, \`m\`, \`h\` or \`d\`: \`500ms\`, \`30s\`, \`15m\`, \`10h\`,
\`7d\`. Sizes are a whole number and \`b\`, \`kb\`, \`mb\` or \`gb\`, in steps of 1024: \`64kb\`, \`1mb\`. Rates are
a number and a duration: \`300/1m\`. Where \`off\` is allowed, \`false\` means the same.`

/** The reference of the configuration in Markdown, with the given YAML as its first example. */
export function reference(example: string): string {
  parse(example)
  return `${[introduction(example), ...sections().map(table)].join('\n\n')}\n`
}
