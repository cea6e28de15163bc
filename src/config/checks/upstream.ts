import { formatKeyPath, type KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig, ResolvedRoute } from '../schema.ts'
import { findKeyMismatch, perRoute, type PlacedRoute, type Rule } from './rule.ts'

function findUpstream({ upstream }: ResolvedConfig, routes: readonly PlacedRoute[]): Finding[] {
  const lacking = routes.find(({ route }) => route.upstream === null)
  if (upstream !== null || lacking === undefined) return []
  return [
    {
      path: ['upstream'],
      part: 'key',
      message: `is required, because ${formatKeyPath(lacking.at)} has no upstream of its own`,
      instead: 'set it to an origin such as http://127.0.0.1:3000, or set GATEHOUSE_UPSTREAM',
    },
  ]
}

function findUpstreamTls({ upstreamTls, upstream }: ResolvedRoute, at: KeyPath): Finding[] {
  const { caFile, serverName, certFile, keyFile, insecureSkipVerify } = upstreamTls
  const path = [...at, 'upstreamTls']
  const given = [caFile, serverName, certFile, keyFile].some((value) => value !== null)
  if (!given && !insecureSkipVerify) return []
  // `findUpstream` reports a missing upstream.
  if (upstream !== null && !upstream.origin.startsWith('https:')) {
    const instead = 'use an https upstream, or leave this section out'
    return [{ path, part: 'key', message: 'has no effect: the upstream is not https', instead }]
  }
  return insecureSkipVerify
    ? [
        {
          path: [...path, 'insecureSkipVerify'],
          message: 'accepts any certificate: an attacker on the network path can read and change the traffic',
          instead: 'set caFile',
          warning: true,
        },
      ]
    : []
}

function findUpstreamProtocol({ upstreamProtocol, upstream }: ResolvedRoute, at: KeyPath): Finding[] {
  // `findUpstream` reports a missing upstream.
  if (upstreamProtocol === 'http1' || upstream === null) return []
  const path = [...at, 'upstreamProtocol']
  const isTls = upstream.origin.startsWith('https:')
  if (upstreamProtocol === 'h2' && !isTls)
    return [{ path, message: 'h2 is HTTP/2 with TLS, but the upstream is not https', instead: 'use h2c' }]
  if (upstreamProtocol === 'h2c' && isTls)
    return [{ path, message: 'h2c is HTTP/2 without TLS, but the upstream is https', instead: 'use h2' }]
  return []
}

function findUpstreamParser({ upstreamProtocol, upstreamParser }: ResolvedRoute, at: KeyPath): Finding[] {
  if (upstreamProtocol === 'http1' || upstreamParser === 'strict') return []
  const message = `has no effect with upstreamProtocol: ${upstreamProtocol}`
  return [{ path: [...at, 'upstreamParser'], part: 'key', message, instead: 'leave it out' }]
}

function findClientCertificate({ upstreamTls: { certFile, keyFile } }: ResolvedRoute, at: KeyPath): Finding[] {
  if (certFile === null && keyFile === null) return []
  const path = [...at, 'upstreamTls']
  if (certFile === null || keyFile === null) {
    const [key, missing] = certFile === null ? ['keyFile', 'certFile'] : ['certFile', 'keyFile']
    const instead = `set ${missing}, or leave ${key} out`
    return [{ path: [...path, key], part: 'key', message: `needs ${missing}`, instead }]
  }
  return findKeyMismatch(certFile, keyFile, path)
}

export const upstreamRules: readonly Rule[] = [
  { reads: ['upstream'], routeReads: ['upstream'], find: findUpstream },
  { reads: ['upstream'], routeReads: ['upstream', 'upstreamTls'], find: perRoute(findUpstreamTls) },
  { reads: ['upstream'], routeReads: ['upstream', 'upstreamProtocol'], find: perRoute(findUpstreamProtocol) },
  { reads: [], routeReads: ['upstreamProtocol', 'upstreamParser'], find: perRoute(findUpstreamParser) },
  { reads: [], routeReads: ['upstreamTls'], find: perRoute(findClientCertificate) },
]
