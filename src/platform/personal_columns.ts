/**
 * Personal data at rest: columns sealed under data keys (`data_keys.ts`), each value bound to its column and its row, and
 * keyed hashes ("blind index") to look rows up by what is sealed. The keys are held in memory: a request costs no statement.
 */
import { AppError } from '../errors.ts'
import type { Json } from '../events.ts'
import { type DataKey, listDataKeys, makeMissingDataKeys, resealDataKeys } from './data_keys.ts'
import type { Invalidation } from './invalidation.ts'
import type { Database, Tx } from './postgres.ts'
import { createSecretBox, type SecretBox } from './secret_box.ts'

/** A column of sealed values; `key` is the table's primary key. */
export interface SealedColumn {
  readonly table: string
  readonly key: string
  readonly column: string
}

/** Opens the value of one row. */
export type OpenPersonal = (sealed: string, column: SealedColumn, row: string) => Json

export interface PersonalBox {
  /** Seals under the newest key. A cell that is moved to another row or column does not open there. */
  seal(value: Json, column: SealedColumn, row: string): string
  /** Throws UnknownKeyError, or AppError saying which cell is not genuine. */
  readonly open: OpenPersonal
  /** The same value under the newest key; undefined when it is there already. Throws as `open` does. */
  reseal(sealed: string, column: SealedColumn): string | undefined
  /** Keyed hash of a value, the same as long as the index key lives. `purpose` is a constant of the caller. */
  index(value: string, purpose: string): string
  /** Ids of the keys, newest first. */
  readonly keyIds: readonly string[]
}

/** What repositories are given. */
export interface PersonalData extends Pick<PersonalBox, 'seal'> {
  /**
   * Runs `work`, which opens what was read. When a value is under a key that another instance has made meanwhile, the keys
   * are read (with `tx` inside of a transaction) and `work` runs again.
   */
  read<T>(work: (open: OpenPersonal) => T, tx?: Tx): Promise<T>
  index(value: string, purpose: string): Promise<string>
}

export type PersonalKeys = ReturnType<typeof createPersonalData>

/** The value is under a key that is not known (yet). */
class UnknownKeyError extends Error {}

/** Cache topic of the invalidation channel. */
const TOPIC = 'data_key'

/** Opens under any of `personal` (newest first), seals under the first. */
export function createPersonalBox(personal: readonly Buffer[], index: Buffer): PersonalBox {
  const box = createSecretBox(personal)
  const hashes = createSecretBox([index])
  const keyIds = box.keyIds()
  const opened = (sealed: string, column: SealedColumn, row?: string): string => {
    const keyId = keyIdOf(sealed)
    if (keyId !== undefined && !keyIds.includes(keyId)) throw new UnknownKeyError(keyId)
    try {
      return box.open(sealed, purposeOf(column))
    } catch (cause) {
      throw notGenuine(column, row, cause)
    }
  }
  return {
    keyIds,
    seal: (value, column, row) => box.seal(JSON.stringify([row, value]), purposeOf(column)),
    open(sealed, column, row) {
      const [owner, value] = JSON.parse(opened(sealed, column, row)) as [string, Json]
      if (owner !== row) throw notGenuine(column, row, new Error(`it was sealed for ${owner}`))
      return value
    },
    reseal: (sealed, column) =>
      keyIdOf(sealed) === keyIds[0] ? undefined : box.seal(opened(sealed, column), purposeOf(column)),
    index: (value, purpose) => hashes.mac(value, purpose),
  }
}

interface Deps {
  readonly database: Pick<Database, 'db'>
  readonly secretBox: Pick<SecretBox, 'open' | 'seal'>
  readonly invalidation: Pick<Invalidation, 'publish' | 'subscribe'>
  readonly clock: { now(): Date }
}

/** The data keys of the database, read when they are first needed. */
export function createPersonalData({ database, secretBox, invalidation, clock }: Deps) {
  let keys: readonly DataKey[] = []
  let box: PersonalBox | undefined

  async function load(tx?: Tx): Promise<PersonalBox> {
    keys = await listDataKeys(tx ?? database.db, secretBox)
    const [index] = keys.filter(({ purpose }) => purpose === 'index')
    const personal = keys.filter(({ purpose }) => purpose === 'personal').map(({ key }) => key)
    if (index === undefined || personal.length === 0) throw new Error('data keys: there are none in the database')
    box = createPersonalBox(personal, index.key)
    return box
  }
  invalidation.subscribe(TOPIC, () => {
    // A failure is met again, and reported, by the job that refreshes.
    if (box !== undefined) load().catch(() => {})
  })

  const present = (): PersonalBox => {
    if (box === undefined) throw new Error('data keys: not read yet')
    return box
  }
  return {
    seal: (value: Json, column: SealedColumn, row: string) => present().seal(value, column, row),

    async read<T>(work: (open: OpenPersonal) => T, tx?: Tx): Promise<T> {
      try {
        return work((box ?? (await load(tx))).open)
      } catch (error) {
        if (!(error instanceof UnknownKeyError)) throw error
      }
      const { open } = await load(tx)
      return work((sealed, column, row) => {
        try {
          return open(sealed, column, row)
        } catch (error) {
          throw error instanceof UnknownKeyError ? notGenuine(column, row, missing(error.message)) : error
        }
      })
    },

    index: async (value: string, purpose: string) => (box ?? (await load())).index(value, purpose),

    /**
     * At start, under the migration lock: makes what is missing, and opens every key. Returns the ids of keys it made.
     * @throws Error naming the key that does not open: refuse to start
     */
    async ensure(tx: Tx): Promise<string[]> {
      const made = await makeMissingDataKeys(tx, secretBox, clock.now())
      await load(tx)
      return made
    },

    /** At start: new keys would not open what lost ones sealed. @throws Error naming the key that is missing */
    async check(column: SealedColumn, tx: Tx): Promise<void> {
      const [row] = await tx(column.table).whereNotNull(column.column).limit(1).select(column.column)
      const keyId = row === undefined ? undefined : keyIdOf(row[column.column])
      if (keyId === undefined || present().keyIds.includes(keyId)) return
      throw new Error(`data key ${keyId}, which sealed rows of ${column.table}, is missing: restore it from a backup`)
    },

    /** Job: notices keys that another instance has made, so that nothing is sealed under an old one for long. */
    refresh: async (): Promise<void> => void (await load()),

    /** Tells the other instances of new keys. Call it after the commit. */
    announce: (): Promise<boolean> => invalidation.publish(TOPIC, ''),

    /** Brings the data keys under the newest secret key, and replaces the newest when it was under an older one. */
    resealKeys: (reseal: (sealed: string, purpose: string) => string | undefined, tx: Tx): Promise<number> =>
      resealDataKeys(tx, secretBox, reseal, clock.now()),

    /** Freshly read, for whoever goes through rows. */
    box: load,

    /** Personal keys that have had a successor for `seconds` at least. */
    superseded(seconds: number): string[] {
      const personal = keys.filter(({ purpose }) => purpose === 'personal')
      const before = clock.now().getTime() - seconds * 1000
      const successorOf = (i: number) => personal[i - 1]?.createdAt.getTime() ?? Number.POSITIVE_INFINITY
      return personal.filter((_, i) => successorOf(i) <= before).map(({ id }) => id)
    },
  }
}

/** The key that a sealed value names; undefined when it is none. */
function keyIdOf(sealed: string): string | undefined {
  return /^v1\.([\w-]{8})\./.exec(sealed)?.[1]
}

function purposeOf({ table, column }: SealedColumn): string {
  return `${table}.${column}`
}

function missing(keyId: string): Error {
  return new Error(`its data key ${keyId} is not in the database`)
}

/** Reaches the log with its reason; people are told nothing but the request's id. */
function notGenuine(column: SealedColumn, row: string | undefined, cause: unknown): AppError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const place = row === undefined ? '' : ` of row ${row}`
  return new AppError('internal_error', { detail: `${purposeOf(column)}${place} cannot be opened: ${reason}`, cause })
}
