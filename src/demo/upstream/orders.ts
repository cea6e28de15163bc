/** The orders that the sample application always has. */
export const orders = [
  { id: 'A-1001', item: 'Espresso beans, 1 kg', quantity: 3, state: 'packed' },
  { id: 'A-1002', item: 'Oat milk', quantity: 12, state: 'on its way' },
  { id: 'A-1003', item: 'Paper filters', quantity: 200, state: 'waiting' },
] as const
