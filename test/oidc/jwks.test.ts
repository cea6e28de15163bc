import { errors, exportJWK, generateKeyPair, SignJWT, type JWK, type JWTPayload } from 'jose'
import t from 'tap'
import { createSigningKeys, KeysUnavailable } from '../../src/oidc/jwks.ts'

interface Pair {
  readonly jwk: JWK
  readonly sign: (claims?: JWTPayload, header?: { kid?: string }) => Promise<string>
}

const pair = async (kid: string): Promise<Pair> => {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  return {
    jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' },
    sign: async (claims = {}, header = { kid }) =>
      new SignJWT({ sub: 'alice', ...claims })
        .setProtectedHeader({ alg: 'ES256', ...header })
        .setExpirationTime('1h')
        .sign(privateKey),
  }
}

/** The key set's address: what it answers, how often it was asked, and what the metadata says of where it is. */
const address = () => {
  const state = {
    keys: [] as JWK[],
    status: 200,
    asked: 0,
    now: 0,
    /** Where the keys are, and where the metadata says that they are once it is read again. */
    at: 'https://idp.example.com/jwks',
    says: 'https://idp.example.com/jwks',
    next: 'https://idp.example.com/jwks',
    metadataRead: 0,
  }
  const keys = createSigningKeys({
    address: () => state.says,
    fetch: async (url) => {
      state.asked += 1
      return url === state.at
        ? new Response(JSON.stringify({ keys: state.keys }), { status: state.status })
        : new Response('not here', { status: 404 })
    },
    readAgain: async () => {
      state.metadataRead += 1
      state.says = state.next
    },
    clockTolerance: 120_000,
    clock: () => state.now,
  })
  return { state, keys }
}

void t.test('the keys are fetched once and cached for ten minutes', async (t) => {
  const one = await pair('one')
  const { state, keys } = address()
  state.keys = [one.jwk]
  t.match(await keys.verify(await one.sign(), {}), { sub: 'alice' })
  await keys.verify(await one.sign(), {})
  t.equal(state.asked, 1)
  state.now = 600_000
  await keys.verify(await one.sign(), {})
  t.equal(state.asked, 2)
})

void t.test('an unknown key is looked up at once, then at most every ten seconds', async (t) => {
  const [one, two] = [await pair('one'), await pair('two')]
  const { state, keys } = address()
  state.keys = [one.jwk]
  await keys.verify(await one.sign(), {})
  state.now = 1_000
  await t.rejects(keys.verify(await two.sign(), {}), errors.JWKSNoMatchingKey)
  t.equal(state.asked, 2)
  state.keys = [one.jwk, two.jwk]
  state.now = 10_999
  await t.rejects(keys.verify(await two.sign(), {}), errors.JWKSNoMatchingKey)
  t.equal(state.asked, 2)
  state.now = 11_000
  t.match(await keys.verify(await two.sign(), {}), { sub: 'alice' })
  t.equal(state.asked, 3)
})

void t.test('a bad signature with a known key does not consume the lookup of an unknown key', async (t) => {
  const [one, other, two] = [await pair('one'), await pair('one'), await pair('two')]
  const { state, keys } = address()
  state.keys = [one.jwk]
  await keys.verify(await one.sign(), {})
  for (const attempt of [1, 2, 3])
    await t.rejects(keys.verify(await other.sign(), {}), errors.JWSSignatureVerificationFailed, `attempt ${attempt}`)
  t.equal(state.asked, 2, 'bad signatures have their own pause')
  state.keys = [one.jwk, two.jwk]
  t.match(await keys.verify(await two.sign(), {}), { sub: 'alice' })
  t.equal(state.asked, 3)
})

void t.test('a replaced key with the same kid is found', async (t) => {
  const [old, fresh] = [await pair('same'), await pair('same')]
  const { state, keys } = address()
  state.keys = [old.jwk]
  await keys.verify(await old.sign(), {})
  state.keys = [fresh.jwk]
  t.match(await keys.verify(await fresh.sign(), {}), { sub: 'alice' })
  await t.rejects(keys.verify(await old.sign(), {}), errors.JWSSignatureVerificationFailed)
})

void t.test('a token without a kid is tried with each key', async (t) => {
  const [one, two, three] = [await pair('one'), await pair('two'), await pair('three')]
  const { state, keys } = address()
  state.keys = [one.jwk, two.jwk]
  for (const signer of [one, two]) t.match(await keys.verify(await signer.sign({}, {}), {}), { sub: 'alice' })
  await t.rejects(keys.verify(await three.sign({}, {}), {}), errors.JWSSignatureVerificationFailed)
})

void t.test('a request with an unknown key waits for a lookup in progress', async (t) => {
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

void t.test('keys at a new jwks_uri are found through the metadata', async (t) => {
  const [one, two] = [await pair('one'), await pair('two')]
  const { state, keys } = address()
  state.keys = [one.jwk]
  state.at = state.next = 'https://idp.example.com/keys'
  t.match(await keys.verify(await one.sign(), {}), { sub: 'alice' }, 'the first look')
  t.same([state.asked, state.metadataRead], [2, 1])
  state.keys = [two.jwk]
  state.at = state.next = 'https://idp.example.com/v2/keys'
  t.match(await keys.verify(await two.sign(), {}), { sub: 'alice' }, 'the look for an unknown key')
  t.equal(state.metadataRead, 2)
})

void t.test('keys at a new jwks_uri are found even if the old one still serves the old keys', async (t) => {
  const [one, two] = [await pair('one'), await pair('two')]
  const state = { says: 'https://idp.example.com/old', metadataRead: 0 }
  const keys = createSigningKeys({
    address: () => state.says,
    fetch: async (url) => Response.json({ keys: [url.endsWith('/old') ? one.jwk : two.jwk] }),
    readAgain: async () => {
      state.metadataRead += 1
      state.says = 'https://idp.example.com/new'
    },
    clockTolerance: 120_000,
  })
  await keys.verify(await one.sign(), {})
  t.match(await keys.verify(await two.sign(), {}), { sub: 'alice' })
  t.equal(state.metadataRead, 1)
})

void t.test('an unreachable key set is distinguished from a key set without the key', async (t) => {
  const one = await pair('one')
  const { state, keys } = address()
  for (const status of [500, 503, 429]) {
    state.status = status
    const jwt = await one.sign()
    t.ok((await keys.verify(jwt, {}).catch((error: unknown) => error)) instanceof KeysUnavailable)
  }
  state.status = 200
  state.keys = [one.jwk]
  t.match(await keys.verify(await one.sign(), {}), { sub: 'alice' }, 'the request is repeated')
})

void t.test('only the requested asymmetric signature algorithms are accepted', async (t) => {
  const one = await pair('one')
  const { state, keys } = address()
  state.keys = [one.jwk]
  const hmac = await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.alloc(32))
  await t.rejects(keys.verify(hmac, {}), errors.JOSEAlgNotAllowed)
  await t.rejects(keys.verify(hmac, { algorithms: ['HS256'] }), errors.JOSEAlgNotAllowed)
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`
  await t.rejects(keys.verify(none, {}), errors.JOSEAlgNotAllowed)
  await t.rejects(keys.verify(none, { algorithms: ['none'] }), errors.JOSEAlgNotAllowed)
  await t.rejects(keys.verify(await one.sign(), { algorithms: ['RS256'] }), errors.JOSEAlgNotAllowed)
})

void t.test('clocks may differ by two minutes, for each time in a token', async (t) => {
  const one = await pair('one')
  const { state, keys } = address()
  state.keys = [one.jwk]
  const now = Math.floor(Date.now() / 1000)
  for (const name of ['nbf', 'iat'] as const) {
    t.ok(await keys.verify(await one.sign({ [name]: now + 100 }), {}), `${name} 100 s ahead`)
    await t.rejects(keys.verify(await one.sign({ [name]: now + 180 }), {}), `${name} three minutes ahead`)
  }
  const later = Date.now() + 3_600_000
  t.ok(await keys.verify(await one.sign(), {}, later + 100_000), 'exp 100 s ago')
  await t.rejects(keys.verify(await one.sign(), {}, later + 180_000), 'exp three minutes ago')
})

void t.test('an issuer template is filled from the token’s own tid', async (t) => {
  const one = await pair('one')
  const { state, keys } = address()
  state.keys = [one.jwk]
  const issuer = 'https://login.example.com/{tenantid}/v2.0'
  const iss = 'https://login.example.com/t1/v2.0'
  t.match(await keys.verify(await one.sign({ iss, tid: 't1' }), { issuer }), { iss })
  const wrong = [{ iss, tid: 't2' }, { iss }, { iss: issuer }, { iss: issuer, tid: '{tenantid}' }, { iss, tid: ['t1'] }]
  for (const claims of wrong) await t.rejects(keys.verify(await one.sign(claims), { issuer }), JSON.stringify(claims))
})
