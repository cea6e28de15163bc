import { readFileSync } from 'node:fs'

/** Returns the code blocks of one language in a page of `docs/`, in order. */
export const documented = (page: string, language: string): string[] => {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8')
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, block = '']) => block)
}
