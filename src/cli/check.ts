import { toMaskedYaml } from '../config/masked-yaml.ts'
import type { Config } from '../config/schema.ts'
import { compileRoutes } from '../gate/match.ts'
import type { AccessRule } from '../gate/rules.ts'
import type { CompiledRoute } from '../gate/verdict.ts'
import { type Command, loadConfigFile, readArguments } from './command.ts'
import { otherKeysOf } from './explanation-text.ts'
import { registration } from './registration.ts'

export const check: Command = {
  help: `gatehouse check [--config FILE] [--online]

Validates the configuration and prints the result: every key with defaults and environment variables applied and secrets
masked, then the URLs to register at the provider, and the route table. Without --online the command opens no ports and
makes no network requests. If the configuration is invalid, the command prints every problem on stderr and exits with
status 2.

With --online the command asks the systems that the configuration names, and prints a line for each answer: ok, warn or
FAIL. It reads the provider's document and keys, compares the clocks, and asks whether the client may authenticate and,
if the provider supports pushed authorization requests, whether the redirect URIs are registered. It writes, reads and
deletes a key in Redis, and sends HEAD / to each upstream. No line contains a secret. If a line says FAIL, the command
exits with status 1. The command takes less than 5 seconds.
`,
  async run(args) {
    const { values } = readArguments({
      args: [...args],
      strict: true,
      options: { config: { type: 'string' }, online: { type: 'boolean', default: false } },
    })
    const { config, warnings } = loadConfigFile(values.config)
    for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`)
    if (values.online) return checkOnline(config)
    process.stdout.write(`${toMaskedYaml(config).trimEnd()}\n\n${registration(config)}\n${routeTable(config)}`)
    return 0
  },
}

async function checkOnline(config: Config): Promise<never> {
  // Only `--online` needs the code for providers, stores and upstreams.
  const [{ questionsFor }, { report }] = await Promise.all([
    import('./online/questions.ts'),
    import('./online/report.ts'),
  ])
  const progress = process.stderr.isTTY ? process.stderr : null
  // A reader such as `head` may close the pipe before the last answer.
  process.stdout.on('error', () => {})
  const status = (await report(questionsFor(config), process.stdout, progress)) ? 0 : 1
  await new Promise<void>((resolve) => {
    process.stdout.write('', () => {
      resolve()
    })
  })
  // Connections to systems that have not answered would keep the process alive.
  process.exit(status)
}

function routeTable(config: Config): string {
  const rows = compileRoutes(config.routes, config.basePath).routes.map((route) => [
    route.label,
    route.access,
    route.token.grant === 'none' ? 'no token' : `token: ${route.token.grant}`,
    upstreamOf(route),
    requirementsOf(route),
    otherKeysOf(route).join('; '),
  ])
  const hasOtherKeys = rows.some((row) => row.at(-1) !== '')
  const all = [
    ['ROUTE', 'ACCESS', 'TOKEN', 'UPSTREAM', 'REQUIRES', hasOtherKeys ? 'OTHER KEYS' : ''],
    [`${config.basePath}/**`, '-', '-', 'the gateway itself', '', ''],
    ...rows,
  ]
  const widths = all[0]?.map((_cell, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  const lines = all.map(
    (row) =>
      `# ${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()}`,
  )
  return `# The most specific path wins, regardless of order.\n${lines.join('\n')}\n`
}

function upstreamOf({ upstream, stripPrefix, rewritePrefix }: CompiledRoute): string {
  const target = upstream.socketPath === null ? upstream.origin : `unix:${upstream.socketPath}`
  const rewrite =
    stripPrefix !== null
      ? ` (without ${stripPrefix})`
      : rewritePrefix !== null
        ? ` (${rewritePrefix.from} → ${rewritePrefix.to})`
        : ''
  return target + rewrite
}

function requirementsOf({ require, provider, bearer }: CompiledRoute): string {
  const ofTokens = bearer?.require ?? null
  return [
    ...(provider === null ? [] : [`provider: ${provider.join(' | ')}`]),
    ...partsOf(require),
    ...(ofTokens === null ? [] : [`with a token: ${partsOf(ofTokens).join(', ')}`]),
  ].join('; ')
}

function partsOf(require: CompiledRoute['require']): string[] {
  return [
    ...rulePartsOf(require),
    ...(require.acr === null ? [] : [`acr: ${require.acr.join(' | ')}`]),
    ...(require.maxAge === null ? [] : [`login not older than ${require.maxAge / 1000} s`]),
  ]
}

/** Returns the parts of a rule in short: the alternatives of `any` only by their number. */
function rulePartsOf({ claims, networks, any = null, not = null }: AccessRule): string[] {
  return [
    ...Object.entries(claims).map(([name, values]) => `${name}: ${alternatives(values)}`),
    ...(networks === null ? [] : [`networks: ${alternatives(networks)}`]),
    ...(any === null ? [] : [`any of ${any.length}`]),
    ...(not === null ? [] : [`not ${rulePartsOf(not).join(' and ')}`]),
  ]
}

const MAX_VALUES = 4

function alternatives(values: readonly unknown[]): string {
  const some = values.slice(0, MAX_VALUES).join(' | ')
  return values.length > MAX_VALUES ? `${some} | … (${values.length})` : some
}
