import { issuer } from '../value-types/address.ts'
import { duration, orOff } from '../value-types/amount.ts'
import { list, map, textual } from '../value-types/collection.ts'
import { scope } from '../value-types/http.ts'
import { choice, flag, text } from '../value-types/scalar.ts'
import { file, privateKey } from '../value-types/secret.ts'
import { group, leaf } from '../schema-nodes.ts'

export const provider = group('The OpenID provider that users log in at, and how the gateway is registered there.', {
  issuer: leaf(issuer, {
    default: undefined,
    description: 'The issuer identifier, exactly as in the discovery document. Changing it requires a restart.',
  }),
  clientId: leaf(text(), {
    default: undefined,
    description: 'The client ID registered for the gateway. Changing it requires a restart.',
  }),
  clientSecret: leaf(text({ secret: true }), {
    default: null,
    secret: 'whole',
    description: 'The client secret registered for the gateway.',
  }),
  clientAuthentication: leaf(choice(['auto', 'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none']), {
    default: 'auto',
    description:
      'How the gateway authenticates to the provider. `auto` selects `private_key_jwt` if `privateKey` is ' +
      'set, otherwise `client_secret_post` if the provider supports it, otherwise `client_secret_basic`. ' +
      '`none` makes the gateway a public client.',
  }),
  responseMode: leaf(choice(['query', 'form_post']), {
    default: 'query',
    description:
      'How the provider sends the authorization response to the callback. `form_post` requires an https ' +
      '`publicUrl`, because its login cookie is `SameSite=None`.',
  }),
  privateKey: leaf(privateKey, {
    default: null,
    secret: 'whole',
    description: 'The private key for `private_key_jwt`, in PEM without a passphrase.',
  }),
  scopes: leaf(list(scope, { min: 1 }), {
    default: null,
    defaultText: '`openid profile email`, and `offline_access` if needed',
    description:
      'The scopes that a login requests, exactly as written. `openid` must be one of them. The default adds ' +
      '`offline_access` if the provider lists it in `scopes_supported`. Keycloak is an exception: it issues ' +
      'refresh tokens without that scope, and a login with that scope ends single sign-on.',
  }),
  authorizationParameters: leaf(map(text(), textual(text())), {
    default: {},
    description: 'Additional parameters of the authorization request.',
  }),
  pushedAuthorization: leaf(choice(['auto', 'on', 'off']), {
    default: 'auto',
    description:
      'Whether the gateway uses pushed authorization requests (RFC 9126). `auto` uses them if the provider ' +
      'supports them, except for logins with a parameter that the provider ignores there, such as ' +
      '`acr_values` with Keycloak.',
  }),
  caFile: leaf(file('certificate'), {
    default: null,
    description:
      'A PEM file with CA certificates that the gateway trusts for the provider, in addition to the default ones.',
  }),
  allowHttp: leaf(flag, {
    default: false,
    description: 'Allows an http issuer on a host other than loopback. Tokens and secrets then travel unencrypted.',
  }),
  timeout: leaf(duration({ min: 1, timer: true }), {
    default: '10s',
    description: 'How long each request to the provider may take.',
  }),
  userinfo: leaf(flag, {
    default: false,
    description: 'Adds the claims of the userinfo endpoint to those of the ID token, at login and at each refresh.',
  }),
  sessionCheck: leaf(orOff(duration({ timer: true })), {
    default: 'off',
    description:
      'How often the browser scripts check with `prompt=none` that the user still has a session at the provider.',
  }),
})
