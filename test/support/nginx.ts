import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Certificate } from './certificates.ts'
import { until } from './until.ts'

const program = ['/usr/sbin/nginx', '/usr/bin/nginx'].find((path) => existsSync(path)) ?? 'nginx'

/** Where it keeps what it writes; it tries the usual places otherwise, which belong to the system. */
const temporary = (folder: string): string =>
  ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join('\n')

/**
 * Starts Debian's nginx with a configuration as it stands in `conf.d`, `orders.crt` and `orders.key` beside it;
 * resolves when it listens on `port`. It ends with the test.
 */
export const startNginx = async (t: Test, port: number, conf: string, { cert, key }: Certificate): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-nginx-'))
  // Its workers run as another user where it is started by root.
  chmodSync(folder, 0o711)
  writeFileSync(join(folder, 'orders.crt'), cert)
  writeFileSync(join(folder, 'orders.key'), key)
  writeFileSync(
    join(folder, 'nginx.conf'),
    `
daemon off;
worker_processes 1;
pid ${folder}/pid;
error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off;
  ${temporary(folder)}
  ${conf.replaceAll('/etc/nginx/', `${folder}/`)}
}
`,
  )
  const child = spawn(program, ['-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  child.on('error', (error) => {
    said += error.message
  })
  t.teardown(async () => {
    if (child.exitCode === null && child.pid !== undefined) {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    }
    rmSync(folder, { recursive: true })
  })
  await until('nginx listens', async () => {
    if (child.exitCode !== null || child.pid === undefined) throw new Error(`nginx has ended: ${said}`)
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return true
    } finally {
      socket.destroy()
    }
  })
}
