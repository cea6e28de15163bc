import { Fault } from '../../errors.ts'

/**
 * Creates the fault for a request with more than `most` header or trailer fields. Node.js's own limit silently drops the
 * other fields, even Content-Length or Host.
 * @see https://www.rfc-editor.org/rfc/rfc6585#section-5
 */
export function tooManyFields(what: 'header' | 'trailer', most: number): Fault {
  return new Fault('bad_request', {
    status: 431,
    detail: `This request has too many ${what} fields.`,
    cause: new Error(`more than ${most} ${what} fields (limits.headerFields)`),
  })
}
