import type { Answer } from '../gate/challenge.ts'

/** The media type of a problem. */
export const PROBLEM_TYPE = 'application/problem+json'

/** A problem (RFC 9457) as JSON, with more members where there are some. */
export function problem(
  { status, code, title, detail }: Pick<Answer, 'status' | 'code' | 'title' | 'detail'>,
  more: Readonly<Record<string, string>> = {},
): string {
  return JSON.stringify({ type: 'about:blank', title, status, code, detail, ...more })
}
