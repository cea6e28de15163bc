import { performance } from 'node:perf_hooks'
import { causesBeneath } from '../../errors.ts'
import { withDeadline } from '../../resilience/deadline.ts'

/** A result of a question: one line of the report. */
export interface Finding {
  readonly level: 'ok' | 'warn' | 'FAIL'
  readonly text: string
}

/** A question to one system. `ask` may reject; the report then has the causes. */
export interface Question {
  /** The subject of the lines, such as `provider` or `store`. */
  readonly subject: string
  ask(): Promise<readonly Finding[]>
}

/** The time limit of a single request or connection. */
export const REQUEST_TIMEOUT_MS = 3_500
/** The time limit of a question, which may need two requests, one after the other. All questions are asked at once. */
export const QUESTION_TIMEOUT_MS = 4_000
const PROGRESS_MS = 500
/** Moves the cursor to the start of the line, and erases the line. */
const CLEAR_LINE = '\r\u001B[2K'

export function ok(text: string): Finding {
  return { level: 'ok', text }
}

export function warn(text: string): Finding {
  return { level: 'warn', text }
}

/** Returns the text for a system that has not answered within `limitMs`. */
export function noAnswerWithin(limitMs: number): string {
  return `no answer within ${limitMs / 1000} s`
}

export function fail(text: string): Finding {
  return { level: 'FAIL', text }
}

interface Output {
  write(text: string): unknown
}

/**
 * Asks all questions at the same time, and writes their findings in the order of the questions, each as soon as it is
 * known. On a terminal, `progress` shows which questions have no answer yet. Resolves with `true` if no line says FAIL.
 */
export async function report(
  questions: readonly Question[],
  output: Output,
  progress: Output | null,
): Promise<boolean> {
  const startedAt = performance.now()
  const waiting = new Set(questions)
  const showProgress = (): void => {
    const subjects = [...new Set([...waiting].map(({ subject }) => subject))]
    const seconds = Math.round((performance.now() - startedAt) / 1000)
    progress?.write(`${CLEAR_LINE}waiting for ${subjects.join(', ')} (${seconds} s)`)
  }
  const ticks = setInterval(showProgress, PROGRESS_MS)
  const answers = questions.map(async (question) => {
    const findings = await answerOf(question)
    waiting.delete(question)
    return findings
  })
  let succeeded = true
  for (const [index, question] of questions.entries()) {
    if (waiting.size > 0) showProgress()
    const findings = (await answers[index]) ?? []
    progress?.write(CLEAR_LINE)
    for (const { level, text } of findings) {
      output.write(`${level.padEnd(4)}  ${question.subject}: ${text}\n`)
      if (level === 'FAIL') succeeded = false
    }
  }
  clearInterval(ticks)
  return succeeded
}

async function answerOf(question: Question): Promise<readonly Finding[]> {
  try {
    return await withDeadline(question.ask(), QUESTION_TIMEOUT_MS, () => [fail(noAnswerWithin(QUESTION_TIMEOUT_MS))])
  } catch (error) {
    return [fail(causesBeneath(error))]
  }
}
