/** An item with its index in a list. */
export interface Slotted {
  /** Only the list assigns the index. */
  slot: number
}

/**
 * An unordered list of items that are added and removed with each request. A Set would keep garbage alive: V8 replaces the
 * table of a busy Set from time to time, and each table in the old space keeps its items and the next table alive until
 * a full collection.
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
