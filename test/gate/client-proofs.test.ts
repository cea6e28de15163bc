import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { createClientProofs } from '../../src/gate/client-proofs.ts'
import { createUsedProofs } from '../../src/gate/used-proofs.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { factsOf, now, origin } from './request.ts'

const MINUTE = 60_000

const store = new MemoryStore(10)
t.teardown(async () => store.close())

const encoded = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')

void t.test('a proof is remembered for as long as its nonce is accepted, and the memory is bounded', async (t) => {
  const used = createUsedProofs(store, { outageGrace: 0 }, 100)
  t.equal(await used.markUsed('first', now), true)
  t.equal(await used.markUsed('second', now + 5 * MINUTE), true)
  t.equal(await used.markUsed('first', now + 5 * MINUTE), false)
  t.equal(await used.markUsed('second', now + 11 * MINUTE), false)
  t.equal(await used.markUsed('first', now + 20 * MINUTE), true, 'a proof this old has no accepted nonce')
  const many = Array.from({ length: 100 }, async (_, i) => used.markUsed(`many ${i}`, now + 20 * MINUTE))
  t.ok((await Promise.all(many)).every(Boolean))
  t.equal(await used.markUsed('first', now + 20 * MINUTE), false, 'the last 100 are remembered')
  const more = Array.from({ length: 100 }, async (_, i) => used.markUsed(`more ${i}`, now + 20 * MINUTE))
  await Promise.all(more)
  t.equal(await used.markUsed('first', now + 20 * MINUTE), true, 'with many more, the oldest are forgotten')
})

void t.test('gateways with a common session key accept each other’s nonces, also with clocks that differ', (t) => {
  const used = createUsedProofs(store, { outageGrace: 0 })
  const [common, own] = [randomBytes(32), randomBytes(32)]
  const one = createClientProofs([common], used)
  const other = createClientProofs([own, common], used)
  const third = createClientProofs([own], used)
  const token = 'token'
  const ath = createHash('sha256').update(token).digest('base64url')
  const isAccepted = (by: typeof one, nonce: string, at: number): boolean => {
    const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: { kty: 'EC' } }
    const claims = { htm: 'GET', htu: `${origin}/`, iat: at / 1000, ath, jti: 'x', nonce }
    const read = by.read(factsOf({ headers: { DPoP: `${encoded(header)}.${encoded(claims)}.AA` } }), token, at)
    if ('error' in read) t.equal(read.error, 'use_dpop_nonce', read.why)
    return !('error' in read)
  }
  const nonce = one.nonce(now)
  t.not(nonce, other.nonce(now), 'each gives out a nonce of its first key')
  for (const minutes of [-2, 0, 2]) t.equal(isAccepted(other, nonce, now + minutes * MINUTE), true, String(minutes))
  for (const minutes of [-4, 4]) t.equal(isAccepted(other, nonce, now + minutes * MINUTE), false, String(minutes))
  t.equal(isAccepted(third, nonce, now), false, 'the keys have nothing in common')
  t.end()
})
