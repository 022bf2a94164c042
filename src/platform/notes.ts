/**
 * Notes on objects that live as long as one request: a WeakMap without its price. V8 looks through the values of a WeakMap
 * that has grown old only at a full collection, and whatever they reach stays until then: with a note on each request, all of them.
 */
export interface Notes<K extends object, V> {
  get(of: K): V | undefined
  set(of: K, note: V): void
  delete(of: K): void
}

/** Notes of one kind: on the object itself, where neither a list of its members nor its JSON shows them. A copy has them, too. */
export function createNotes<K extends object, V>(): Notes<K, V> {
  const key = Symbol('note')
  type Noted = { [key]?: V | undefined }
  return {
    get: (of) => (of as Noted)[key],
    set(of, note) {
      ;(of as Noted)[key] = note
    },
    delete(of) {
      ;(of as Noted)[key] = undefined
    },
  }
}
