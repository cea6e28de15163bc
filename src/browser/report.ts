/** What a login in a frame or a window came to. */
export type Outcome = 'ok' | 'login_required' | 'interaction_required' | 'error'

const OUTCOMES: readonly unknown[] = ['ok', 'login_required', 'interaction_required', 'error'] satisfies Outcome[]

/** Calls back with the outcome that a window or frame of ours reports; returns how to stop. */
export const onReport = (from: () => Window | null, heard: (outcome: Outcome) => void): (() => void) => {
  const listener = ({ origin, source, data }: MessageEvent): void => {
    const ours = origin === location.origin && source === from() && data?.type === 'gatehouse'
    if (ours && OUTCOMES.includes(data.outcome)) heard(data.outcome)
  }
  addEventListener('message', listener)
  return () => {
    removeEventListener('message', listener)
  }
}
