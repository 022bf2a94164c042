/**
 * Brings the columns of personal data under the newest data key, so that older ones can go. Only what is genuine is renewed:
 * a forged cell stays forged.
 */
import { deleteDataKeys } from './data_keys.ts'
import type { PersonalBox, PersonalKeys, SealedColumn } from './personal_columns.ts'
import type { Database } from './postgres.ts'

interface Deps {
  readonly database: Pick<Database, 'db' | 'transaction'>
  readonly personal: Pick<PersonalKeys, 'box' | 'superseded' | 'refresh'>
  readonly columns: readonly SealedColumn[]
}

export interface Resealed {
  /** Cells under the newest key now. */
  readonly renewed: number
  /** Cells that are under no known key, or were changed: left alone. */
  readonly forged: number
}

const PAGE = 500
/**
 * How long a key outlives its successor. Instances read the keys each quarter of a minute; until then they seal under the
 * old one, and one that slept through it (a suspended machine) does so when it wakes. What they seal is found by later runs.
 */
const GRACE_SECONDS = 7 * 86_400

/**
 * Goes through all rows in pages; safe beside running servers: no long transaction, and a cell that was changed meanwhile is
 * not overwritten.
 */
export async function resealPersonal({ database, personal, columns }: Deps): Promise<Resealed> {
  const box = await personal.box()
  const total = { renewed: 0, forged: 0 }
  for (const { table, key, column } of columns) {
    for (let after = ''; ; ) {
      // By the key alone: whatever else a statement asked for, it might have to read a large table to find it.
      const { rows } = await database.db.raw<{ rows: { id: string; sealed: string | null }[] }>(
        'select ?? as id, ?? as sealed from ?? where ?? > ? order by ?? limit ?',
        [key, column, table, key, after, key, PAGE],
      )
      const cells = rows.flatMap(({ id, sealed }) => {
        const again = sealed === null ? undefined : resealed(box, sealed, { table, key, column })
        if (again === 'forged') total.forged += 1
        return again === undefined || again === 'forged' ? [] : [{ id, sealed: again, was: sealed }]
      })
      if (cells.length > 0) {
        const changed = await database.db.raw(
          `update ?? t set ?? = c.sealed from jsonb_to_recordset(?::jsonb) as c(id text, sealed text, was text)
           where t.?? = c.id and t.?? = c.was returning 1`,
          [table, column, JSON.stringify(cells), key, column],
        )
        total.renewed += changed.rows.length
      }
      if (rows.length < PAGE) break
      after = rows.at(-1)?.id ?? ''
    }
  }
  return total
}

function resealed(box: PersonalBox, sealed: string, column: SealedColumn): string | 'forged' | undefined {
  try {
    return box.reseal(sealed, column)
  } catch {
    return 'forged'
  }
}

/**
 * Job: after a new data key was made, renews what was sealed under the old one since, and removes the old one when a whole
 * run has found nothing of it. Returns the ids of the keys it removed.
 */
export async function retireDataKeys(deps: Deps): Promise<string[]> {
  const { database, personal } = deps
  await personal.refresh()
  if (personal.superseded(0).length === 0) return []
  const { renewed, forged } = await resealPersonal(deps)
  if (renewed + forged > 0) return []
  const ids = personal.superseded(GRACE_SECONDS)
  if (ids.length === 0) return []
  await database.transaction((tx) => deleteDataKeys(tx, ids))
  await personal.refresh()
  return ids
}

/** How many cells are under another key than the newest of `keyIds`. */
export async function countStale(
  { db }: Pick<Database, 'db'>,
  columns: readonly SealedColumn[],
  newest: string,
): Promise<number> {
  let count = 0
  for (const { table, column } of columns) {
    const { rows } = await db.raw<{ rows: { cells: number }[] }>(
      "select count(*)::int as cells from ?? where split_part(??, '.', 2) <> ?",
      [table, column, newest],
    )
    count += rows[0]?.cells ?? 0
  }
  return count
}
