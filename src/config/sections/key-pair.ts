import { leaf } from '../schema-nodes.ts'
import { file } from '../value-types/secret.ts'

/** The keys of a section that names a certificate and its private key. */
export const keyPair = {
  certFile: leaf(file('certificate'), {
    default: undefined,
    description: 'The PEM file with the certificate and its chain.',
  }),
  keyFile: leaf(file('private key'), {
    default: undefined,
    description: 'The PEM file with the private key of the certificate.',
  }),
}
