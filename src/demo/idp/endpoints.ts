export const ENDPOINT_PATHS = {
  discovery: '/.well-known/openid-configuration',
  jwks: '/jwks',
  authorization: '/authorize',
  token: '/token',
  userinfo: '/userinfo',
  revocation: '/revoke',
  introspection: '/introspect',
  par: '/par',
  registration: '/register',
  end_session: '/logout',
} as const

export type Endpoint = keyof typeof ENDPOINT_PATHS

function isEndpoint(name: string): name is Endpoint {
  return Object.hasOwn(ENDPOINT_PATHS, name)
}

const ENDPOINTS = Object.keys(ENDPOINT_PATHS).filter(isEndpoint)

export function pathOf(target: string): string {
  return target.split('?', 1)[0] ?? ''
}

/** Returns the endpoint of a request target; `null` for other pages. */
export function endpointOf(target: string): Endpoint | null {
  return ENDPOINTS.find((name) => ENDPOINT_PATHS[name] === pathOf(target)) ?? null
}
