import { createPrivateKey, type KeyObject } from 'node:crypto'
import { importJWK } from 'jose'
import {
  ClientSecretBasic,
  ClientSecretJwt,
  ClientSecretPost,
  None,
  PrivateKeyJwt,
  TlsClientAuth,
  type ClientAuth,
  type ServerMetadata,
} from 'openid-client'
import type { ProviderSettings } from '../config/schema.ts'

const EC_ALGORITHMS: Record<string, string> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }

/**
 * Returns the client's authentication method for the token endpoint: the configured one, or one that the provider
 * supports.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-2.3
 * @see https://www.rfc-editor.org/rfc/rfc7523#section-2.2
 */
export async function clientAuthentication(provider: ProviderSettings, server: ServerMetadata): Promise<ClientAuth> {
  switch (resolveMethod(provider, server)) {
    case 'none':
      return None()
    case 'client_secret_basic':
      return provider.tolerate.includes('basic-unencoded')
        ? unencodedBasic(provider.clientSecret ?? '')
        : ClientSecretBasic(provider.clientSecret ?? '')
    case 'client_secret_post':
      return ClientSecretPost(provider.clientSecret ?? '')
    case 'client_secret_jwt':
      return ClientSecretJwt(provider.clientSecret ?? '')
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
      return TlsClientAuth()
    case 'private_key_jwt':
      return privateKeyJwt(provider.privateKey ?? '', server)
  }
}

/** Basic authentication for servers that do not form-decode the credentials, contrary to RFC 6749, section 2.3.1. */
function unencodedBasic(clientSecret: string): ClientAuth {
  return (_server, client, _body, headers) => {
    const credentials = Buffer.from(`${client.client_id}:${clientSecret}`).toString('base64')
    headers.set('authorization', `Basic ${credentials}`)
  }
}

function resolveMethod(provider: ProviderSettings, server: ServerMetadata) {
  const { clientAuthentication: method, clientSecret, privateKey, clientCertificate } = provider
  if (method !== 'auto') return method
  if (privateKey !== null) return 'private_key_jwt'
  // A request is the same for tls_client_auth and self_signed_tls_client_auth.
  if (clientSecret === null && clientCertificate !== null) return 'tls_client_auth'
  return server.token_endpoint_auth_methods_supported?.includes('client_secret_post')
    ? 'client_secret_post'
    : 'client_secret_basic'
}

async function privateKeyJwt(text: string, server: ServerMetadata): Promise<ClientAuth> {
  const key = createPrivateKey(text)
  const announced = server.token_endpoint_auth_signing_alg_values_supported
  const imported = await importJWK(key.export({ format: 'jwk' }), algorithmOf(key, announced))
  if (imported instanceof Uint8Array)
    throw new TypeError('provider.privateKey must be an RSA, EC or Ed25519 private key')
  return PrivateKeyJwt(imported)
}

function algorithmOf(key: KeyObject, announced: readonly string[] | undefined): string {
  if (key.asymmetricKeyType === 'ed25519') return announced?.includes('EdDSA') === false ? 'Ed25519' : 'EdDSA'
  if (key.asymmetricKeyType === 'ec') return EC_ALGORITHMS[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? 'ES256'
  const rsa = ['RS256', 'PS256', 'RS384', 'PS384', 'RS512', 'PS512']
  return rsa.find((algorithm) => announced?.includes(algorithm) ?? true) ?? 'RS256'
}
