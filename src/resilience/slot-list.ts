/** An item that knows its place in a list. */
export interface Slotted {
  /** The index in the list, which only the list assigns. */
  slot: number
}

/**
 * An unordered list for items that come and go with each request. In place of a Set, because V8 replaces the table of a
 * busy Set from time to time, and each table that has reached the old space keeps its items and the next table alive
 * until a full collection.
 */
export class SlotList<T extends Slotted> implements Iterable<T> {
  #items: T[] = []

  get size(): number {
    return this.#items.length
  }

  add(item: T): void {
    item.slot = this.#items.push(item) - 1
  }

  /** Removes an item, if the list has it. The last item takes its place. */
  remove(item: T): void {
    if (this.#items[item.slot] !== item) return
    const last = this.#items.pop()
    if (last === undefined || last === item) return
    this.#items[item.slot] = last
    last.slot = item.slot
  }

  /** Removes and returns all items. */
  takeAll(): T[] {
    const all = this.#items
    this.#items = []
    return all
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#items[Symbol.iterator]()
  }
}
