import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { VERSION } from '../../src/version.ts'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

void t.test('package, lock file, program, chart and image have one version', async (t) => {
  const { version }: { version: string } = JSON.parse(read('package.json'))
  t.equal(VERSION, version, 'src/version.ts')
  t.match(JSON.parse(read('package-lock.json')), { version, packages: { '': { version } } })
  t.match(parse(read('helm/gatehouse/Chart.yaml')), { version, appVersion: version })
  t.equal(/^ARG VERSION=(.*)$/m.exec(read('Dockerfile'))?.[1], version)
})

void t.test('the changelog names the version, and its newest entry says what users get', async (t) => {
  const changelog = read('CHANGELOG.md')
  t.ok(changelog.includes(VERSION))
  const [, newest = ''] = changelog.split(/^## \[/m)
  t.match(newest, /^### (Added|Changed|Deprecated|Removed|Fixed|Security)\n\n- /m)
})
