import { issuer } from '../value-types/address.ts'
import { duration, orOff } from '../value-types/amount.ts'
import { list, map, textual } from '../value-types/collection.ts'
import { scope } from '../value-types/http.ts'
import { choice, flag, text } from '../value-types/scalar.ts'
import { file, privateKey } from '../value-types/secret.ts'
import { group, leaf } from '../schema-nodes.ts'

/** The OpenID provider, and this gateway as its client. */
export const provider = group('The OpenID provider that users log in at, and this gateway as its client.', {
  issuer: leaf(issuer, {
    default: undefined,
    description: 'Its issuer identifier, exactly as its discovery document has it. A change needs a restart.',
  }),
  clientId: leaf(text(), {
    default: undefined,
    description: 'The client identifier registered for this gateway. A change needs a restart.',
  }),
  clientSecret: leaf(text({ secret: true }), {
    default: null,
    secret: 'whole',
    description: 'The client secret registered for this gateway.',
  }),
  clientAuthentication: leaf(choice(['auto', 'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none']), {
    default: 'auto',
    description:
      'How the gateway proves to the provider who it is. `auto`: `private_key_jwt` with a `privateKey`, ' +
      'else `client_secret_post` where the provider announces it, else `client_secret_basic`. ' +
      '`none`: a public client.',
  }),
  responseMode: leaf(choice(['query', 'form_post']), {
    default: 'query',
    description:
      'How the provider hands the answer to the callback. `form_post` needs an https `publicUrl`, ' +
      'because its login cookie is SameSite=None.',
  }),
  privateKey: leaf(privateKey, {
    default: null,
    secret: 'whole',
    description: 'The private key for `private_key_jwt`, in PEM without a passphrase.',
  }),
  scopes: leaf(list(scope, { min: 1 }), {
    default: null,
    defaultText: '`openid profile email`, and `offline_access` where it is needed',
    description:
      'The scopes that a login asks for, exactly as they are written here; `openid` must be among them. ' +
      'Without the key `offline_access` is added where the provider’s `scopes_supported` has it, but never at ' +
      'Keycloak, which gives refresh tokens without it and ends single sign-on with it.',
  }),
  authorizationParameters: leaf(map(text(), textual(text())), {
    default: {},
    description: 'Parameters added to the authorization request.',
  }),
  pushedAuthorization: leaf(choice(['auto', 'on', 'off']), {
    default: 'auto',
    description:
      'Pushed authorization requests (RFC 9126). `auto`: where the provider announces them, but for logins with a ' +
      'parameter that it loses in them, as Keycloak does `acr_values`.',
  }),
  caFile: leaf(file('certificate'), {
    default: null,
    description: 'Certificates in PEM that are trusted for the provider beside the usual ones.',
  }),
  allowHttp: leaf(flag, {
    default: false,
    description: 'Lets the issuer be plain http elsewhere than on loopback. Tokens and secrets then travel in clear.',
  }),
  timeout: leaf(duration({ min: 1, timer: true }), {
    default: '10s',
    description: 'How long each call to the provider may take.',
  }),
  userinfo: leaf(flag, {
    default: false,
    description: 'Adds the claims of the userinfo endpoint, at login and at each refresh.',
  }),
  sessionCheck: leaf(orOff(duration({ timer: true })), {
    default: 'off',
    description: 'How often the browser scripts ask the provider with prompt=none whether its session lives.',
  }),
})
