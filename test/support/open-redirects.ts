import { existsSync, readFileSync } from 'node:fs'

const corpus = '../shared/corpus/open-redirects.txt'

const few = [
  '//evil.example',
  '///evil.example',
  '/\\evil.example',
  '\\\\evil.example',
  '/\t/evil.example',
  '/%09/evil.example',
  '/%5cevil.example',
  '/%2f%2fevil.example',
  'https:evil.example',
  'https:///evil.example',
  'https://evil.example',
  '//evil.example@orders.example.com',
  'javascript:alert(1)',
  '/.//evil.example',
  '/x/..//evil.example',
  '\u3000//evil.example',
  '//evil\u3002example',
  '.evil.example',
  '@evil.example',
  '/\u0000/evil.example',
  'data:text/html,x',
]

/**
 * Returns redirect targets known from open redirects: the lines of the project's corpus, or a short list if the corpus is
 * missing.
 */
export const openRedirects = (): string[] => {
  // In CI a missing corpus must fail the tests.
  if (!existsSync(corpus) && process.env['CI'] !== 'true') return few
  return readFileSync(corpus, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
}
