import { errors, exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose'
import t from 'tap'
import { createSigningKeys, KeysUnavailable } from '../../src/oidc/keys.ts'

const pair = async (kid: string): Promise<{ jwk: JWK; sign: () => Promise<string> }> => {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  return {
    jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' },
    sign: async () =>
      new SignJWT({ sub: 'alice' }).setProtectedHeader({ alg: 'ES256', kid }).setExpirationTime('1h').sign(privateKey),
  }
}

/** The key set's address: what it answers, and how often it was asked. */
const address = () => {
  const state = { keys: [] as JWK[], status: 200, asked: 0 }
  const keys = createSigningKeys(
    'https://idp.example.com/jwks',
    async () => {
      state.asked += 1
      return new Response(JSON.stringify({ keys: state.keys }), { status: state.status })
    },
    1000,
  )
  return { state, keys }
}

void t.test('the keys are fetched once and kept', async (t) => {
  const one = await pair('one')
  const { state, keys } = address()
  state.keys = [one.jwk]
  t.match(await keys.verify(await one.sign(), {}), { sub: 'alice' })
  await keys.verify(await one.sign(), {})
  t.equal(state.asked, 1)
})

void t.test('an unknown key is looked for at once, then at most every ten seconds', async (t) => {
  const [one, two] = [await pair('one'), await pair('two')]
  const { state, keys } = address()
  state.keys = [one.jwk]
  await keys.verify(await one.sign(), {}, 0)
  await t.rejects(keys.verify(await two.sign(), {}, 1_000), errors.JWKSNoMatchingKey)
  t.equal(state.asked, 2)
  state.keys = [one.jwk, two.jwk]
  await t.rejects(keys.verify(await two.sign(), {}, 10_999), errors.JWKSNoMatchingKey)
  t.equal(state.asked, 2)
  t.match(await keys.verify(await two.sign(), {}, 11_000), { sub: 'alice' })
  t.equal(state.asked, 3)
})

void t.test('another key under a known name is found, too', async (t) => {
  const [old, fresh] = [await pair('same'), await pair('same')]
  const { state, keys } = address()
  state.keys = [old.jwk]
  await keys.verify(await old.sign(), {})
  state.keys = [fresh.jwk]
  t.match(await keys.verify(await fresh.sign(), {}), { sub: 'alice' })
  await t.rejects(keys.verify(await old.sign(), {}), errors.JWSSignatureVerificationFailed)
})

void t.test('who meets an unknown key while it is looked for waits for that', async (t) => {
  const [one, two] = [await pair('one'), await pair('two')]
  const { state, keys } = address()
  state.keys = [one.jwk]
  await keys.verify(await one.sign(), {})
  state.keys = [two.jwk]
  const jwt = await two.sign()
  const all = await Promise.all(Array.from({ length: 10 }, async () => keys.verify(jwt, {})))
  t.equal(all.length, 10)
  t.equal(state.asked, 2)
})

void t.test('a key set that can’t be had is told from one that has not the key', async (t) => {
  const one = await pair('one')
  const { state, keys } = address()
  for (const status of [500, 503, 429]) {
    state.status = status
    const jwt = await one.sign()
    t.ok((await keys.verify(jwt, {}).catch((error: unknown) => error)) instanceof KeysUnavailable)
  }
  state.status = 200
  state.keys = [one.jwk]
  t.match(await keys.verify(await one.sign(), {}), { sub: 'alice' }, 'and asked again')
})

void t.test('no algorithm but signatures with a key pair', async (t) => {
  const { keys } = address()
  const hmac = await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.alloc(32))
  await t.rejects(keys.verify(hmac, {}), errors.JOSEAlgNotAllowed)
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`
  await t.rejects(keys.verify(none, {}), errors.JOSEAlgNotAllowed)
})
