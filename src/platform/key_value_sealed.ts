/**
 * Records that hold data of people, such as the progress of a sign-in: their values are sealed under the data keys and bound
 * to their key. Counters are the store's own.
 */
import { AppError } from '../errors.ts'
import type { KeyValue } from './key_value.ts'
import type { PersonalData } from './personal_columns.ts'

const VALUE = { table: 'key_values', key: 'key', column: 'value' } as const

/** The same store with sealed values. One that does not open is as good as none. */
export function createSealedKeyValue(kv: KeyValue, personal: PersonalData): KeyValue {
  const seal = (key: string, value: string) => personal.seal(value, VALUE, key)
  const open = async (key: string, sealed: string): Promise<string | undefined> => {
    try {
      return String(await personal.read((opened) => opened(sealed, VALUE, key)))
    } catch (error) {
      if (error instanceof AppError) return undefined
      throw error
    }
  }
  const openFound = async (key: string, sealed: string | undefined) =>
    sealed === undefined ? undefined : open(key, sealed)
  return {
    ...kv,
    get: async (key) => openFound(key, await kv.get(key)),
    take: async (key) => openFound(key, await kv.take(key)),
    set: (key, value, ttlSeconds) => kv.set(key, seal(key, value), ttlSeconds),
    add: (key, value, ttlSeconds) => kv.add(key, seal(key, value), ttlSeconds),
    swap: (key, expected, value, ttlSeconds) => kv.swap(key, expected, seal(key, value), ttlSeconds),
    async read(key) {
      const found = await kv.read(key)
      if (found === undefined) return undefined
      const value = await open(key, found.value)
      // Gone for `swap` too, or nobody could write in its place before it expires.
      if (value === undefined) await kv.delete(key)
      return value === undefined ? undefined : { ...found, value }
    },
  }
}
