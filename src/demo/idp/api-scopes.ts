/** The scopes that every API of the demo's provider knows. */
export const apiScopes = ['orders.read', 'orders.write'] as const
