/** Where the provider answers, by the name that its controls use. */
export const endpointPaths = {
  discovery: '/.well-known/openid-configuration',
  jwks: '/jwks',
  authorization: '/authorize',
  token: '/token',
  userinfo: '/userinfo',
  revocation: '/revoke',
  par: '/par',
  end_session: '/logout',
} as const

/** One of the provider's endpoints. */
export type Endpoint = keyof typeof endpointPaths

const isEndpoint = (name: string): name is Endpoint => Object.hasOwn(endpointPaths, name)

const endpoints = Object.keys(endpointPaths).filter(isEndpoint)

/** The path of a request target in origin form (RFC 9112, section 3.2.1). */
export const pathOf = (target: string): string => target.split('?', 1)[0] ?? ''

/** The endpoint that a request target names, or null for other pages of the provider. */
export const endpointOf = (target: string): Endpoint | null =>
  endpoints.find((name) => endpointPaths[name] === pathOf(target)) ?? null
