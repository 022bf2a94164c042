/**
 * A set of what comes and goes with each request. The tables of V8's own sets are laid out anew every few turns, and each old
 * one leads to the next with all that it held, until a full collection.
 */
import { createNotes } from './notes.ts'

export interface Crowd<T extends object> {
  add(one: T): void
  delete(one: T): void
  all(): readonly T[]
}

export function createCrowd<T extends object>(): Crowd<T> {
  const all: T[] = []
  const places = createNotes<T, number>()
  return {
    add(one) {
      if (places.get(one) !== undefined) return
      places.set(one, all.length)
      all.push(one)
    },
    /** The last takes its place. */
    delete(one) {
      const place = places.get(one)
      if (place === undefined) return
      const last = all.pop() as T
      if (last !== one) {
        all[place] = last
        places.set(last, place)
      }
      places.delete(one)
    },
    all: () => all,
  }
}
