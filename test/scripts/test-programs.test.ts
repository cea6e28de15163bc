import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const script = fileURLToPath(new URL('../../scripts/test-programs.sh', import.meta.url))

const run = (path: string): { status: number | null; stdout: string; stderr: string } =>
  spawnSync('/bin/bash', [script], { encoding: 'utf8', env: { PATH: path } })

void t.test('the script prints nothing if every program is installed', async (t) => {
  const { status, stdout, stderr } = run(process.env['PATH'] ?? '')
  t.same({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' })
})

void t.test('the script installs every program that the tests start by its name', async (t) => {
  const listed = new Set(readFileSync(script, 'utf8').match(/^[\w-]+(?= [\w-]+$)/gm))
  // These are part of Debian and Node.js.
  const always = new Set(['env', 'rm', 'npm', 'npx', 'node', 'tar'])
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const started = ['test', 'bench', 'scripts'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) => [
        ...readFileSync(join(root, folder, name), 'utf8').matchAll(
          /(?:spawn|spawnSync|execFile|execFileSync)\)?\(\s*'([\w-]+)'/g,
        ),
      ]),
  )
  const names = new Set(started.map(([, name = '']) => name))
  t.ok(names.has('ps'), 'the search finds calls')
  t.same(
    [...names].filter((name) => !listed.has(name) && !always.has(name)),
    [],
  )
})

void t.test('the script names the packages to install if there is no apt-get', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  t.teardown(() => spawnSync('rm', ['-r', path]))
  for (const program of ['id', 'mktemp', 'wrk']) symlinkSync(`/usr/bin/${program}`, join(path, program))
  const { status, stderr } = run(path)
  t.equal(status, 1)
  const sudo = process.getuid?.() === 0 ? '' : 'sudo '
  t.match(stderr, new RegExp(`^  ${sudo}apt-get update && ${sudo}apt-get install .*redis-server chromium`, 'm'))
  t.notMatch(stderr, /\bwrk\b/, 'an installed program is left out')
})
