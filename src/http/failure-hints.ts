import { causes } from '../errors.ts'
import { printable } from '../telemetry/log.ts'

interface Hint {
  /** Matches the text that `causes` returns. */
  readonly sign: RegExp
  readonly text: string | ((error: unknown) => string)
}

/** What to set when a connection fails for a reason that a key of the configuration can remove. */
const HINTS: readonly Hint[] = [
  {
    sign: /HPE_PAUSED_H2_UPGRADE/,
    text: 'the client speaks HTTP/2 without TLS: set listenH2c: true',
  },
  {
    sign: /connection begins with a PROXY protocol header/,
    text: 'a proxy sends the PROXY protocol, which only `listen` accepts, with listenProxyProtocol: true',
  },
  {
    sign: /begins with an HTTP\/2 frame/,
    text: 'the application speaks HTTP/2 without TLS: set upstreamProtocol: h2c',
  },
  {
    sign: /ALERT_NO_APPLICATION_PROTOCOL/,
    text: 'the application does not speak HTTP/1.1 over TLS: set upstreamProtocol: h2',
  },
  {
    sign: /Missing expected CR|ends with LF alone/,
    text: 'upstreamParser: lenient accepts lines that end with LF alone',
  },
  {
    sign: /Invalid character in chunk size/,
    text: 'upstreamParser: lenient accepts spaces after a chunk size, but no other character',
  },
  {
    sign: /Duplicate Content-Length/,
    text: 'upstreamParser: lenient accepts several fields with the same length, but no lengths that differ',
  },
  {
    sign: /ALERT_CERTIFICATE_REQUIRED/,
    text: 'the application demands a client certificate: set upstreamTls.certFile and upstreamTls.keyFile',
  },
  {
    sign: /ALERT_(?:UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_\w+|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED)/,
    text: 'the application demands a client certificate that it trusts: check upstreamTls.certFile',
  },
  {
    sign: /ALERT_HANDSHAKE_FAILURE|requested a client certificate|before secure TLS connection was established/,
    text:
      'the application ended the TLS connection: if it demands a client certificate, set upstreamTls.certFile and ' +
      'upstreamTls.keyFile to one that it trusts',
  },
  {
    sign: /ERR_TLS_CERT_ALTNAME_INVALID/,
    text: (error) =>
      `the application's certificate is for ${namesIn(error)}: set upstreamTls.serverName to one of its names`,
  },
  {
    sign: /SELF_SIGNED_CERT|UNABLE_TO_(?:VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT)/,
    text: "upstreamTls.caFile must contain the CA that issued the application's certificate",
  },
  {
    sign: /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/,
    text: 'the application does not speak TLS: use http in upstream',
  },
]

/** Returns the causes of an error as one line for the log. If a hint about what to set is known, the line begins with it. */
export function causesWithHint(error: unknown): string {
  const text = causes(error)
  const hint = HINTS.find(({ sign }) => sign.test(text))
  if (hint === undefined) return text
  return `${typeof hint.text === 'string' ? hint.text : hint.text(error)} ← ${text}`
}

const MAX_NAMES_CHARACTERS = 200

/** Returns the names of the certificate that an error of node:tls is about, such as `DNS:a.internal, DNS:b.internal`. */
function namesIn(error: unknown): string {
  const names =
    error instanceof Error && 'cert' in error && typeof error.cert === 'object' && error.cert !== null
      ? Reflect.get(error.cert, 'subjectaltname')
      : null
  return typeof names === 'string' ? printable(names).slice(0, MAX_NAMES_CHARACTERS) : 'another name'
}
