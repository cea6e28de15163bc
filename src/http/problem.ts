import type { Answer } from '../gate/challenge.ts'

export const PROBLEM_TYPE = 'application/problem+json'

/** Returns a problem as JSON. @see https://www.rfc-editor.org/rfc/rfc9457#section-3 */
export function problem(
  { status, code, title, detail }: Pick<Answer, 'status' | 'code' | 'title' | 'detail'>,
  more: Readonly<Record<string, string>> = {},
): string {
  return JSON.stringify({ type: 'about:blank', title, status, code, detail, ...more })
}
