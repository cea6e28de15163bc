import t from 'tap'
import { suggest } from '../../src/config/suggest.ts'

const keys = ['clientId', 'clientSecret', 'issuer', 'scopes', 'timeout', 'listen', 'publicUrl']
const table: [string, string | null][] = [
  ['client_id', 'clientId'],
  ['clientid', 'clientId'],
  ['isuer', 'issuer'],
  ['timoeut', 'timeout'],
  ['lsten', 'listen'],
  ['PublicURL', 'publicUrl'],
  ['nothing-like-it', null],
  ['x', null],
  ['', null],
]

for (const [word, expected] of table) t.equal(suggest(word, keys), expected, `${word || 'nothing'} → ${expected}`)
