import { duration, sizeWithin } from '../value-types/amount.ts'
import { integer } from '../value-types/scalar.ts'
import { group, leaf } from '../schema-nodes.ts'

export const limits = group('Limits for each client, and for the response headers of applications.', {
  headers: leaf(sizeWithin('1kb', '1mb'), {
    default: '32kb',
    description:
      'The maximum size of the URL and headers of a request. A larger request gets a 431. An application that speaks ' +
      'HTTP/2 gets at most 128kb.',
  }),
  headerFields: leaf(integer(1), {
    default: 100,
    description:
      'The maximum number of header fields in a request, and of its trailer fields. A request with more of ' +
      'either gets a 431.',
  }),
  answerHeaders: leaf(sizeWithin('1kb', '1mb'), {
    default: '64kb',
    description:
      "The maximum size of the headers in an application's response, with HTTP/2 at most 128kb. Larger headers become " +
      'a 502.',
  }),
  keepAlive: leaf(duration({ timer: true }), {
    default: '75s',
    description:
      'How long an idle client connection stays open. Make it longer than the idle timeout of the proxy in front.',
  }),
  headersTimeout: leaf(duration({ timer: true }), {
    default: '60s',
    description: 'How long a client may take to send the headers of a request.',
  }),
  idleRead: leaf(duration({ timer: true }), {
    default: '60s',
    description: 'How long a client may read nothing of its response before the gateway closes the connection.',
  }),
  connections: leaf(integer(1), {
    default: null,
    defaultText: '20000',
    description: 'The maximum number of connections per process. The gateway refuses further connections.',
  }),
})
