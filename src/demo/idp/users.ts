/** Someone who can sign in at the demo's provider; `claims` come with the scope `profile`, like name and groups. */
export type User = {
  sub: string
  name: string
  email: string
  groups: readonly string[]
  claims?: Readonly<Record<string, unknown>>
}

/** The people of the demo: an administrator, a member of staff, someone in no group, and a name that is not ASCII. */
export const demoUsers: readonly User[] = [
  { sub: 'alice', name: 'Alice Archer', email: 'alice@example.com', groups: ['staff', 'admin'] },
  { sub: 'bob', name: 'Bob Baker', email: 'bob@example.com', groups: ['staff'] },
  { sub: 'carol', name: 'Carol Cook', email: 'carol@example.com', groups: [] },
  { sub: 'zoe', name: 'Zoë', email: 'zoe@example.com', groups: ['staff'] },
]
