import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'
import { isIP } from 'node:net'

/** A certificate and its key, PEM. */
export type Certificate = { cert: string; key: string }

export type Authority = {
  /** The certificate of the authority, PEM, which clients trust. */
  ca: string
  /** Issues a server certificate for DNS names and IP addresses, valid for a day by default. `validity` is in ms since the epoch. */
  issue: (names: readonly string[], validity?: { from?: number; to?: number }) => Certificate
  /** Creates a server certificate that is signed with its own key. */
  selfSigned: (names: readonly string[]) => Certificate
}

const tlv = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts)
  const { length } = content
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content])
  const bytes = length > 0xff ? [0x82, length >> 8, length & 0xff] : [0x81, length]
  return Buffer.concat([Buffer.from([tag, ...bytes]), content])
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => tlv(0x30, ...parts)
const integer = (bytes: Uint8Array): Buffer => tlv(0x02, bytes)
const octets = (bytes: Uint8Array): Buffer => tlv(0x04, bytes)
const bits = (bytes: Uint8Array): Buffer => tlv(0x03, Buffer.of(0), bytes)
const critical = tlv(0x01, Buffer.of(0xff))

const oid = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const base128 = (value: number): number[] =>
    value < 0x80 ? [value] : [...base128(value >> 7).map((byte) => byte | 0x80), value & 0x7f]
  return tlv(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

const distinguishedName = (commonName: string): Buffer =>
  sequence(tlv(0x31, sequence(oid('2.5.4.3'), tlv(0x0c, Buffer.from(commonName)))))

const time = (ms: number): Buffer => tlv(0x18, Buffer.from(new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')))

const extension = (id: string, ...value: readonly Uint8Array[]): Buffer => sequence(oid(id), ...value)

const groups = (text: string | undefined): string[] => (text === undefined || text === '' ? [] : text.split(':'))

const address = (ip: string): Buffer => {
  if (isIP(ip) === 4) return Buffer.from(ip.split('.').map(Number))
  const [head = '', tail] = ip.split('::')
  const missing = 8 - groups(head).length - groups(tail).length
  const all = [...groups(head), ...Array.from({ length: missing }, () => '0'), ...groups(tail)]
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}

const subjectAltName = (names: readonly string[]): Buffer =>
  sequence(...names.map((name) => (isIP(name) === 0 ? tlv(0x82, Buffer.from(name)) : tlv(0x87, address(name)))))

const pem = (der: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`

const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'))

type Contents = {
  issuer: string
  subject: string
  publicKey: KeyObject
  extensions: readonly Buffer[]
  from: number
  to: number
}

// RFC 5280, section 4.1: TBSCertificate, then the algorithm and the signature over it.
const certificate = ({ issuer, subject, publicKey, extensions, from, to }: Contents, signingKey: KeyObject): string => {
  const toBeSigned = sequence(
    tlv(0xa0, integer(Buffer.of(2))),
    integer(Buffer.concat([Buffer.of(1), randomBytes(15)])),
    ecdsaWithSha256,
    distinguishedName(issuer),
    sequence(time(from), time(to)),
    distinguishedName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensions)),
  )
  return pem(sequence(toBeSigned, ecdsaWithSha256, bits(sign('sha256', toBeSigned, signingKey))))
}

const day = 86_400_000

export const createAuthority = (): Authority => {
  const name = 'Gatehouse test authority'
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const defaultValidity = { from: Date.now() - day, to: Date.now() + day }
  const isAuthority = extension('2.5.29.19', critical, octets(sequence(tlv(0x01, Buffer.of(0xff)))))
  const signsCertificates = extension('2.5.29.15', critical, octets(tlv(0x03, Buffer.of(2, 0x04))))
  const create = (
    names: readonly string[],
    signer: { name: string; key: KeyObject } | null,
    validity = {},
  ): Certificate => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const extensions = [extension('2.5.29.17', octets(subjectAltName(names)))]
    const subject = names[0] ?? 'server'
    const contents = { issuer: signer?.name ?? subject, subject, publicKey: pair.publicKey, extensions }
    return {
      cert: certificate({ ...contents, ...defaultValidity, ...validity }, signer?.key ?? pair.privateKey),
      key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    }
  }
  return {
    ca: certificate(
      { issuer: name, subject: name, publicKey, extensions: [isAuthority, signsCertificates], ...defaultValidity },
      privateKey,
    ),
    issue: (names, validity) => create(names, { name, key: privateKey }, validity),
    selfSigned: (names) => create(names, null),
  }
}
