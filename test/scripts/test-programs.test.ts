import { spawnSync } from 'node:child_process'
import { mkdtempSync, symlinkSync } from 'node:fs'
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

void t.test('the script names the packages to install if there is no apt-get', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  t.teardown(() => spawnSync('rm', ['-r', path]))
  for (const program of ['id', 'mktemp', 'wrk']) symlinkSync(`/usr/bin/${program}`, join(path, program))
  const { status, stderr } = run(path)
  t.equal(status, 1)
  t.match(stderr, /sudo apt-get install .*redis-server chromium/)
  t.notMatch(stderr, /\bwrk\b/, 'an installed program is left out')
})
