import { escapeHtml } from '../escape-html.ts'
import { page } from './page.ts'
import type { User } from './users.ts'

const cancel = '<button class="quiet" name="cancel" value="yes">Cancel</button>'

const isHinted = (user: User, hint: unknown): boolean => hint === user.sub || hint === user.email

/** The page with one button for each user; the one whom `login_hint` names comes first. */
export const loginPage = (users: Iterable<User>, clientName: string, loginHint: unknown): string => {
  const inOrder = [...users].toSorted((a, b) => Number(isHinted(b, loginHint)) - Number(isHinted(a, loginHint)))
  const buttons = inOrder.map((user) => {
    const groups = user.groups.length === 0 ? 'no groups' : user.groups.join(', ')
    const hinted = isHinted(user, loginHint) ? ' class="hinted" autofocus' : ''
    const label = escapeHtml(`Sign in as ${user.sub} (${groups})`)
    return `<button name="login" value="${escapeHtml(user.sub)}"${hinted}>${label}</button>`
  })
  return page(
    'Demo sign-in',
    `
<p>Who would you like to be at ${escapeHtml(clientName)}?</p>
<form method="post">
${buttons.join('\n')}
${cancel}
</form>`,
  )
}

/** The page that asks a user, already known by password, for the second factor: one click here. */
export const secondFactorPage = (sub: string): string =>
  page(
    'Second factor',
    `
<p>This needs a stronger sign-in of ${escapeHtml(sub)}.</p>
<form method="post">
<input type="hidden" name="login" value="${escapeHtml(sub)}">
<button name="factor" value="confirmed" autofocus>Confirm second factor</button>
${cancel}
</form>`,
  )
