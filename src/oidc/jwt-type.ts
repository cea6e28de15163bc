import { decodeProtectedHeader } from 'jose'

/** The `typ` of a JWT in lower case, `jwt` where it says none (RFC 7519, section 5.1); `null` for what is no JWT. */
export function jwtType(token: string): string | null {
  try {
    const { typ = 'jwt' } = decodeProtectedHeader(token)
    return typ.toLowerCase()
  } catch {
    return null
  }
}
