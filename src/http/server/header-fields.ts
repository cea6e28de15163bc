import { Fault } from '../../errors.ts'

/**
 * What a request with more than `most` header or trailer fields gets (RFC 6585, section 5). Node's own limit drops the
 * rest without a word, a Content-Length or a Host among it.
 */
export function tooManyFields(what: 'header' | 'trailer', most: number): Fault {
  return new Fault('bad_request', {
    status: 431,
    detail: `This request has too many ${what} fields.`,
    cause: new Error(`more than ${most} ${what} fields (limits.headerFields)`),
  })
}
