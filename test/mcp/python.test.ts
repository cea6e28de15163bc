import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import { startMcp, type Mcp } from './harness.ts'
import { clientMetadata } from './login.ts'

const python = fileURLToPath(new URL('../../node_modules/.cache/python/bin/python', import.meta.url))
const script = fileURLToPath(new URL('client.py', import.meta.url))

type Event = { readonly event: string; readonly [detail: string]: unknown }

type Options = {
  readonly mode?: 'legacy' | 'auto'
  readonly clientId?: string
  readonly metadataUrl?: string
}

type Result = { readonly text: string; readonly progress: number; readonly ahead: number }

type Connected = {
  readonly connected: Event
  /** The requests of the client, such as `POST /mcp 401`; the path of requests to the provider begins with `idp`. */
  readonly requests: string[]
  /** The URLs at which the user had to log in. */
  readonly redirects: URL[]
  readonly messages: string[]
  readonly call: (tool: string, toolArguments?: Record<string, string>) => Promise<Result>
  /** Ends the client; resolves with its exit status. */
  readonly end: () => Promise<number | null>
}

/** Starts a client, which logs in and connects. */
const connect = async (t: Test, { url, callback, logIn, idp }: Mcp, options: Options = {}): Promise<Connected> => {
  const settings = { url, metadata: clientMetadata(callback), mode: 'legacy', ...options }
  const child = spawn(python, [script, JSON.stringify(settings)], { stdio: ['pipe', 'pipe', 'pipe'] })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const browser = createBrowser()
  const requests: string[] = []
  const redirects: URL[] = []
  const messages: string[] = []
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const send = (value: object): void => {
    child.stdin.write(`${JSON.stringify(value)}\n`)
  }
  /** Reads events until the first one of this name. */
  const next = async (name: string): Promise<Event> => {
    for (;;) {
      const { value } = await lines.next()
      if (value === undefined) throw new Error(`the client ended before the event ${name}: ${errors}`)
      const event: Event = JSON.parse(value)
      if (event.event === name) return event
      if (event.event === 'login') {
        redirects.push(new URL(String(event['url'])))
        send(Object.fromEntries(await logIn(new URL(String(event['url'])), browser)))
      } else if (event.event === 'message') messages.push(String(event['type']))
      else {
        const { origin, pathname } = new URL(String(event['url']))
        requests.push(
          `${String(event['method'])} ${origin === idp.issuer ? 'idp' : ''}${pathname} ${String(event['status'])}`,
        )
      }
    }
  }
  const connected = await next('connected')
  return {
    connected,
    requests,
    redirects,
    messages,
    call: async (tool, toolArguments = {}) => {
      send({ tool, arguments: toolArguments })
      const { text, progress, ahead } = await next('result')
      return { text: String(text), progress: Number(progress), ahead: Number(ahead) }
    },
    end: async () => {
      const exited = once(child, 'exit')
      child.stdin.end()
      await next('end').catch(() => {})
      await exited
      return child.exitCode
    },
  }
}

const scopesOf = (url: URL | undefined): string[] => url?.searchParams.get('scope')?.split(' ').toSorted() ?? []

void t.test('the client of the SDK for Python', async (t) => {
  if (!existsSync(python)) throw new Error('the SDK for Python is not installed: run scripts/test-programs.sh')
  const mcp = await startMcp(t)
  const { idp, callback } = mcp

  await t.test('a client registers itself, calls tools, receives progress, and ends its session', async (t) => {
    const { connected, requests, redirects, call, end } = await connect(t, mcp)
    t.match(connected, { version: '2025-11-25', tools: ['list_orders', 'export_orders', 'cancel_order'] })
    t.same(requests.slice(0, 6), [
      'POST /mcp 401',
      'GET /.well-known/oauth-protected-resource/mcp 200',
      'GET idp/.well-known/oauth-authorization-server 200',
      'POST idp/register 201',
      'POST idp/token 200',
      'POST /mcp 200',
    ])
    t.equal(redirects[0]?.searchParams.get('resource'), mcp.url.href)
    t.same(scopesOf(redirects[0]), ['offline_access', 'orders.read'])
    t.match(JSON.parse((await call('list_orders')).text), { user: 'alice', orders: { 'A-1001': {} } })
    const { progress, ahead } = await call('export_orders')
    t.equal(progress, 3)
    t.ok(ahead > 0.3, 'the first report arrived long before the result')
    t.equal(await end(), 0)
    t.equal(requests.at(-1), 'DELETE /mcp 200')
  })

  await t.test('a client of revision 2026-07-28 works, and can be registered by hand', async (t) => {
    await idp.registerClient({ clientId: 'by-hand', redirectUris: [callback], metadata: { require_auth_time: false } })
    const { connected, requests, call } = await connect(t, mcp, { mode: 'auto', clientId: 'by-hand' })
    t.equal(connected['version'], '2026-07-28')
    t.notOk(requests.includes('POST idp/register 201'))
    t.match(JSON.parse((await call('list_orders')).text), { user: 'alice' })
    t.equal((await call('export_orders')).progress, 3)
  })

  await t.test('a client steps up, refreshes, and logs in again after its grant was revoked', async (t) => {
    const { requests, redirects, messages, call } = await connect(t, mcp, { metadataUrl: mcp.metadataUrl })
    t.equal(redirects[0]?.searchParams.get('client_id'), mcp.metadataUrl)
    idp.settings.lifetimes.accessToken = 2
    t.equal((await call('cancel_order', { id: 'A-1003' })).text, 'alice canceled order A-1003')
    t.ok(requests.includes('POST /mcp 403'))
    t.same(scopesOf(redirects[1]), ['offline_access', 'orders.read', 'orders.write'])
    t.same(messages, ['ResourceUpdatedNotification'], 'the open GET stream told of the change')

    await sleep(2100)
    requests.length = 0
    t.match((await call('list_orders')).text, 'alice')
    t.same(requests, ['POST idp/token 200', 'POST /mcp 200'])

    await sleep(2100)
    idp.revokeGrantsOf('alice')
    idp.settings.lifetimes.accessToken = 300
    t.match((await call('list_orders')).text, 'alice')
    t.equal(redirects.length, 3)
  })
})
