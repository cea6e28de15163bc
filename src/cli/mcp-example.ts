import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { UsageError } from './command.ts'

const PACKAGES = ['tsx', '@modelcontextprotocol/client', '@modelcontextprotocol/node', '@modelcontextprotocol/server']

// Ends a program when the demo has ended, even if the demo was killed and could not stop the program.
const END_WITH_DEMO = "data:text/javascript,process.on('disconnect',()=>process.exit());process.channel.unref()"

/** Starts a program of `examples/mcp`. The packages that the program imports are not part of an installation. */
function startExample(name: 'server' | 'client', args: readonly string[], onlyErrors: boolean): ChildProcess {
  const file = fileURLToPath(import.meta.resolve(`#examples/mcp/${name}.ts`))
  return spawn(process.execPath, ['--import=tsx', `--import=${END_WITH_DEMO}`, file, ...args], {
    cwd: dirname(file),
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', onlyErrors ? 'pipe' : 'inherit', 'inherit', 'ipc'],
  })
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}

/**
 * Checks that the example and the packages that it imports are there.
 * @throws {UsageError}
 */
export function requireExample(): void {
  if (existsSync(fileURLToPath(import.meta.resolve('#examples/mcp/server.ts'))) && PACKAGES.every(isInstalled)) return
  throw new UsageError(
    'demo --mcp runs the programs in examples/mcp, which need a checkout of Gatehouse with its development ' +
      'dependencies: run npm install and npm run demo -- --mcp there',
  )
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill()
  await exited
}

/** Starts the MCP server, and resolves with its origin. Adds a function that stops the server to `running`. */
export async function startMcpServer(running: (() => Promise<void>)[]): Promise<string> {
  const child = startExample('server', [], true)
  running.push(async () => stop(child))
  if (child.stdout === null) throw new Error('the MCP server has no output')
  for await (const line of createInterface(child.stdout)) {
    const url = /^MCP server: (.*)$/.exec(line)?.[1]
    if (url !== undefined) return new URL(url).origin
  }
  throw new Error('the MCP server did not start')
}

/**
 * Runs the client, and resolves with whether it has ended by itself. Adds a function that stops the client to `running`.
 */
export async function runMcpClient(serverUrl: string, running: (() => Promise<void>)[]): Promise<boolean> {
  const child = startExample('client', [serverUrl], false)
  running.push(async () => stop(child))
  await once(child, 'exit')
  if (child.exitCode !== null && child.exitCode !== 0) throw new Error('the MCP client failed')
  return child.exitCode === 0
}
