import { X509Certificate, createHash } from 'node:crypto'
import { importJWK, SignJWT } from 'jose'
import {
  ClientSecretBasic,
  ClientSecretJwt,
  ClientSecretPost,
  None,
  PrivateKeyJwt,
  TlsClientAuth,
  modifyAssertion,
  type ClientAuth,
  type ModifyAssertionFunction,
  type PrivateKey,
  type ServerMetadata,
} from 'openid-client'
import { methodOfCredential } from '../config/presets/apply.ts'
import type { Preset } from '../config/presets/table.ts'
import { readPrivateKey } from '../config/private-key.ts'
import type { ProviderSettings } from '../config/schema.ts'
import { withSecondAlgorithm, type ClientAuthentication } from './assertion-algorithms.ts'
import { readClientAssertion } from './client-assertion-file.ts'
import { isTemplate } from './issuer.ts'

/** How long a client secret that is a JWT is valid. Each call has its own. */
const SECRET_LIFETIME_S = 300

/**
 * Returns the client's authentication method for the token endpoint: the configured one, or one that the provider
 * supports.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-2.3
 * @see https://www.rfc-editor.org/rfc/rfc7523#section-2.2
 */
export async function clientAuthentication(
  settings: ProviderSettings,
  server: ServerMetadata,
  preset: Preset | null,
): Promise<ClientAuthentication> {
  const secret = settings.clientSecret ?? ''
  const secretJwt = preset?.clientSecretJwt
  const method = resolveMethod(settings, server, preset)
  if (settings.clientSecret === null && secretJwt !== undefined && method.startsWith('client_secret'))
    return plain(await signedClientSecret(settings, secretJwt.audience))
  switch (method) {
    case 'none':
      return plain(None())
    case 'client_secret_basic':
      return plain(settings.tolerate.includes('basic-unencoded') ? unencodedBasic(secret) : ClientSecretBasic(secret))
    case 'client_secret_post':
      return plain(ClientSecretPost(secret))
    case 'client_secret_jwt':
      return plain(ClientSecretJwt(secret, { [modifyAssertion]: assertionFor(server) }))
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
      return plain(TlsClientAuth())
    case 'private_key_jwt':
      return settings.clientAssertionFile === null
        ? privateKeyJwt(settings, server)
        : plain(assertionFromFile(settings.clientAssertionFile))
  }
}

function plain(auth: ClientAuth): ClientAuthentication {
  return { auth, wrap: (fetch) => fetch }
}

/** Basic authentication for servers that do not form-decode the credentials, contrary to RFC 6749, section 2.3.1. */
function unencodedBasic(clientSecret: string): ClientAuth {
  return (_server, client, _body, headers) => {
    const credentials = Buffer.from(`${client.client_id}:${clientSecret}`).toString('base64')
    headers.set('authorization', `Basic ${credentials}`)
  }
}

function resolveMethod(settings: ProviderSettings, server: ServerMetadata, preset: Preset | null) {
  const { clientAuthentication: method } = settings
  if (method !== 'auto') return method
  const ofCredential = methodOfCredential(settings, preset)
  if (ofCredential !== null) return ofCredential
  return server.token_endpoint_auth_methods_supported?.includes('client_secret_post')
    ? 'client_secret_post'
    : 'client_secret_basic'
}

async function privateKeyJwt(settings: ProviderSettings, server: ServerMetadata): Promise<ClientAuthentication> {
  const announced = server.token_endpoint_auth_signing_alg_values_supported
  const authenticate = (key: SigningKey): ClientAuth =>
    PrivateKeyJwt(key, {
      [modifyAssertion]: assertionFor(server, { alg: key.algorithm, ...thumbprints(settings.certificate) }),
    })
  const first = await signingKey(settings, announced)
  const second = announced?.includes('PS256') === true ? await signingKey(settings, ['PS256']) : first
  return second.algorithm === first.algorithm
    ? plain(authenticate(first))
    : withSecondAlgorithm(authenticate(first), authenticate(second))
}

/**
 * Returns a function that adds members to an assertion's header and corrects its audience. openid-client writes the
 * issuer as audience, which is a template for a provider with many tenants.
 */
function assertionFor(server: ServerMetadata, members: Readonly<Record<string, string>> = {}): ModifyAssertionFunction {
  return (header, payload) => {
    Object.assign(header, members)
    if (isTemplate(server.issuer)) payload['aud'] = server.token_endpoint
  }
}

/**
 * Returns the header members with which Entra identifies the certificate of a client.
 * @see https://learn.microsoft.com/entra/identity-platform/certificate-credentials#assertion-format
 */
function thumbprints(certificate: string | null): Readonly<Record<string, string>> {
  if (certificate === null) return {}
  const { raw } = new X509Certificate(certificate)
  const digest = (algorithm: string): string => createHash(algorithm).update(raw).digest('base64url')
  return { 'typ': 'JWT', 'x5t': digest('sha1'), 'x5t#S256': digest('sha256') }
}

/**
 * Returns the key that signs request objects, or `null` if the settings do not ask for signed ones.
 * @see https://www.rfc-editor.org/rfc/rfc9101#section-5
 */
export async function requestObjectKey(settings: ProviderSettings, server: ServerMetadata): Promise<SigningKey | null> {
  if (settings.requestObjects !== 'signed') return null
  return signingKey(settings, server.request_object_signing_alg_values_supported)
}

export interface SigningKey extends PrivateKey {
  readonly algorithm: string
}

/** Imports the private key for the first of its algorithms that the provider announces, or for its first one. */
async function signingKey(
  { privateKey, keyId }: ProviderSettings,
  announced: readonly string[] | undefined,
): Promise<SigningKey> {
  const { key, id, algorithms } = readPrivateKey(privateKey ?? '', 'sign')
  const [first = ''] = algorithms
  const algorithm = algorithms.find((name) => announced?.includes(name)) ?? first
  const imported = await importJWK(key.export({ format: 'jwk' }), algorithm)
  if (imported instanceof Uint8Array) throw new TypeError('provider.privateKey must be an asymmetric key')
  const kid = keyId ?? id
  return { key: imported, algorithm, ...(kid === null ? {} : { kid }) }
}

/** @see https://www.rfc-editor.org/rfc/rfc7521#section-4.2 */
function assertionFromFile(path: string): ClientAuth {
  return withParameters(async () => ({
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await readClientAssertion(path),
  }))
}

/** @see https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret */
async function signedClientSecret(settings: ProviderSettings, audience: string): Promise<ClientAuth> {
  const { key, kid, algorithm } = await signingKey(settings, ['ES256'])
  return withParameters(async (clientId) => ({
    client_secret: await new SignJWT()
      .setProtectedHeader({ alg: algorithm, ...(kid === undefined ? {} : { kid }) })
      .setIssuer(settings.teamId ?? '')
      .setSubject(clientId)
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime(`${SECRET_LIFETIME_S}s`)
      .sign(key),
  }))
}

/** Returns the authentication that adds these parameters to the body of each call. */
function withParameters(parametersFor: (clientId: string) => Promise<Record<string, string>>): ClientAuth {
  // oxlint-disable-next-line typescript/no-misused-promises -- oauth4webapi awaits the result, openid-client's type omits that
  return async (_server, { client_id: clientId }, body) => {
    const parameters = { client_id: clientId, ...(await parametersFor(clientId)) }
    for (const [name, value] of Object.entries(parameters)) body.set(name, value)
  }
}
