import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { explanationFor } from '../../src/cli/explain.ts'
import { loadConfig } from '../../src/config/load.ts'
import { key } from '../config/configuration.ts'
import { asFile } from '../support/gateway.ts'

const page = readFileSync(new URL('../../docs/access.md', import.meta.url), 'utf8')

/** What an example adds its keys to. */
const BASE = {
  publicUrl: 'https://app.example.com',
  upstream: 'http://127.0.0.1:3000',
  provider: { issuer: 'https://login.example.com', clientId: 'app', clientSecret: 'hush' },
  session: { keys: [key] },
}

interface Example {
  readonly heading: string
  readonly yaml: string
  readonly runs: readonly { readonly command: string; readonly answer: string }[]
}

/** Returns the configurations of the page in order, each with the commands and answers that follow it. */
function examplesOf(text: string): Example[] {
  const examples: Example[] = []
  let heading = ''
  for (const [, title, language = '', block = ''] of text.matchAll(/^#{2,3} (.*)$|^```(\w+)\n([^]*?)^```$/gm)) {
    heading = title ?? heading
    const last = examples.at(-1)
    if (language === 'yaml') examples.push({ heading, yaml: block, runs: [] })
    else if (language === 'console' && last !== undefined)
      examples[examples.length - 1] = { ...last, runs: [...last.runs, ...runsOf(block)] }
  }
  return examples
}

function runsOf(block: string): Example['runs'] {
  return block
    .split(/^\$ /m)
    .filter((run) => run !== '')
    .map((run) => {
      const [, command = '', answer = ''] = /^(.*?)\n(.*)$/s.exec(run) ?? []
      return { command, answer }
    })
}

/** Splits a command as a shell does, with the time in place of `$(date +%s)`. */
function wordsOf(command: string): string[] {
  const words = command.replace('$(date +%s)', String(Math.floor(Date.now() / 1000))).match(/(?:'[^']*'|[^\s'])+/g)
  return (words ?? []).map((word) => word.replaceAll("'", ''))
}

/** Returns the name of a line of the answer. An example shows some of the headers, and all other lines of a name. */
function nameOf(line: string): string {
  return /^(?:header +)?\S+/.exec(line)?.[0] ?? ''
}

const examples = examplesOf(page)

t.ok(examples.filter(({ runs }) => runs.length > 1).length > 10, 'most examples have answers')

void t.test('each example loads without warnings', async (t) => {
  for (const { heading, yaml } of examples) {
    const { warnings } = loadConfig({ file: asFile(t, { ...BASE, ...parse(yaml) }), env: {} })
    t.same(warnings, [], heading)
  }
})

for (const { heading, yaml, runs } of examples) {
  for (const { command, answer } of runs) {
    void t.test(`${heading}: ${command}`, async (t) => {
      const file = asFile(t, { ...BASE, ...parse(yaml) })
      const [program, name, ...args] = wordsOf(command)
      t.same([program, name], ['gatehouse', 'explain'])
      const documented = answer.trimEnd().split('\n')
      const names = new Set(documented.map(nameOf))
      const printed = await explanationFor([...args, '--config', file])
      t.same(
        printed
          .replace(/the login is \d s old/, 'the login is 0 s old')
          .split('\n')
          .filter((line) => names.has(nameOf(line))),
        documented,
      )
    })
  }
}
