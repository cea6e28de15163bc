import { duration, sizeWithin } from '../value-types/amount.ts'
import { integer } from '../value-types/scalar.ts'
import { group, leaf } from '../schema-nodes.ts'

/** What one client or one answer may take up. */
export const limits = group('What one client may take up, and how large the head of an answer may be.', {
  headers: leaf(sizeWithin('1kb', '1mb'), {
    default: '32kb',
    description: 'How large the head of a request may be, the URL included; a larger one is a 431.',
  }),
  headerFields: leaf(integer(1), {
    default: 100,
    description: 'How many header fields a request may have, and how many trailer fields; more is a 431.',
  }),
  answerHeaders: leaf(sizeWithin('1kb', '1mb'), {
    default: '64kb',
    description: 'How large the head of an application’s answer may be; a larger one is a 502.',
  }),
  keepAlive: leaf(duration({ timer: true }), {
    default: '75s',
    description:
      'How long an idle connection stays open. Give it more than the proxy in front keeps its idle connections.',
  }),
  headersTimeout: leaf(duration({ timer: true }), {
    default: '60s',
    description: 'How long the head of a request may take.',
  }),
  idleRead: leaf(duration({ timer: true }), {
    default: '60s',
    description: 'How long a client may read nothing of an answer that waits for it before it is cut.',
  }),
  connections: leaf(integer(1), {
    default: null,
    defaultText: '20000',
    description: 'How many connections each process takes; further ones are refused.',
  }),
})
