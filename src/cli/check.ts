import type { Config } from '../config/schema.ts'
import { describeConfig } from '../config/describe.ts'
import { compileRoutes } from '../gate/match.ts'
import type { CompiledRoute } from '../gate/verdict.ts'
import type { Command } from './command.ts'
import { configuredBy } from './configured.ts'

/** `gatehouse check`. */
export const check: Command = {
  help: `gatehouse check [--config FILE]

Validates the configuration and prints the result: every key with defaults and environment variables applied and secrets
masked, then the route table. The command opens no ports and makes no network requests. If the configuration is invalid,
the command prints every problem on stderr and exits with status 2.
`,
  async run(args) {
    const { config, warnings } = configuredBy(args)
    for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`)
    process.stdout.write(`${describeConfig(config).trimEnd()}\n\n${routeTable(config)}`)
    return 0
  },
}

function routeTable(config: Config): string {
  const rows = compileRoutes(config.routes, config.basePath).routes.map((route) => [
    route.label,
    route.access,
    route.token.grant === 'none' ? 'no token' : `token: ${route.token.grant}`,
    targetOf(route),
    demandsOf(route),
  ])
  const all = [
    ['ROUTE', 'ACCESS', 'TOKEN', 'UPSTREAM', 'REQUIRES'],
    [`${config.basePath}/**`, '-', '-', 'the gateway itself', ''],
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
  return `# The most specific path wins, whatever the order.\n${lines.join('\n')}\n`
}

function targetOf({ upstream, stripPrefix, rewritePrefix }: CompiledRoute): string {
  const where =
    upstream?.socketPath === null || upstream === null ? (upstream?.origin ?? '') : `unix:${upstream.socketPath}`
  const how =
    stripPrefix !== null
      ? ` (without ${stripPrefix})`
      : rewritePrefix !== null
        ? ` (${rewritePrefix.from} → ${rewritePrefix.to})`
        : ''
  return where + how
}

function demandsOf({ require }: CompiledRoute): string {
  const claims = Object.entries(require.claims).map(([name, values]) => `${name}: ${values.join(' | ')}`)
  return [
    ...claims,
    ...(require.acr === null ? [] : [`acr: ${require.acr.join(' | ')}`]),
    ...(require.maxAge === null ? [] : [`login not older than ${require.maxAge / 1000} s`]),
  ].join('; ')
}
