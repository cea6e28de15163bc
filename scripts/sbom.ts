import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'

const { status, stdout, stderr } = spawnSync(
  'npm',
  ['sbom', '--omit=dev', '--sbom-format=cyclonedx', '--sbom-type=application'],
  { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, timeout: 120_000 },
)
if (status !== 0) {
  process.stderr.write(stderr)
  process.exitCode = 1
} else {
  const list: { components: unknown[] } = JSON.parse(stdout)
  mkdirSync('dist', { recursive: true })
  writeFileSync('dist/sbom.cdx.json', stdout)
  process.stdout.write(`dist/sbom.cdx.json: ${list.components.length} packages\n`)
}
