import t from 'tap'
import { SlotList } from '../../src/http/slot-list.ts'

void t.test('a list keeps what was added and not removed, in any order of removals', (t) => {
  const list = new SlotList<{ name: number; slot: number }>()
  const items = Array.from({ length: 50 }, (_, name) => ({ name, slot: -1 }))
  for (const item of items) list.add(item)
  const left = new Set(items)
  for (const item of items.toSorted((a, b) => ((a.name * 17) % 50) - ((b.name * 17) % 50))) {
    if (item.name % 3 === 0) continue
    list.remove(item)
    list.remove(item)
    left.delete(item)
  }
  const names = (of: Iterable<{ name: number }>): number[] => [...of].map(({ name }) => name).toSorted((a, b) => a - b)
  t.same(names(list), names(left))
  t.equal(list.size, left.size)
  t.same(names(list.takeAll()), names(left))
  for (const item of left) list.remove(item)
  t.equal(list.size, 0)
  t.end()
})
