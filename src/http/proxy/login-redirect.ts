import type { Provider } from '../../oidc/provider.ts'
import type { CompiledRoute } from '../../gate/verdict.ts'

/** Tells upstream redirects that mean "log in" from all others. */
export interface LoginRedirects {
  matches(route: CompiledRoute, status: number, location: string | null): boolean
}

/** Recognizes the routes' `loginRedirects` and the provider's own authorization endpoint. */
export function compileLoginRedirects(routes: readonly CompiledRoute[], provider: Provider): LoginRedirects {
  const patterns = routes.map((route) => route.loginRedirects.map(toPattern))
  return {
    matches(route, status, location) {
      if (location === null || status < 300 || status > 399) return false
      // As written, and as a browser reads it: a host in capitals or with its usual port is the same.
      const written = URL.canParse(location) ? [location, new URL(location).href] : [location]
      return (
        (patterns[route.index] ?? []).some((pattern) => written.some((one) => pattern.test(one))) ||
        isAuthorizationEndpoint(provider, location)
      )
    },
  }
}

function isAuthorizationEndpoint(provider: Provider, location: string): boolean {
  const endpoint = provider.peek()?.configuration.serverMetadata().authorization_endpoint
  if (endpoint === undefined || !URL.canParse(location)) return false
  const [theirs, ours] = [new URL(location), new URL(endpoint)]
  return theirs.origin === ours.origin && theirs.pathname === ours.pathname
}

/**
 * `**` stands for anything, `*` for anything within one segment; `/**` at the end also for nothing; a query never
 * matters.
 */
function toPattern(pattern: string): RegExp {
  const source = pattern.split(/(\/?\*\*$|\*\*|\*)/).map((part) => {
    if (part === '/**') return '(?:[/?#].*)?'
    if (part === '**') return '.*'
    if (part === '*') return '[^/?#]*'
    return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  })
  return new RegExp(`^${source.join('')}(?:[?#].*)?$`, 's')
}
