/**
 * Brings the outbox and the ledger under the newest secret key, so that an older one can leave the list. Only what is genuine
 * under a listed key is renewed: a forged row stays forged.
 */
import { ANCHOR_MAC, anchorContent } from './ledger.ts'
import { canonical, OUTBOX_MAC, type OutboxRow, openFacts, resealFact } from './outbox.ts'
import type { PersonalData } from './personal_columns.ts'
import type { Database } from './postgres.ts'
import type { SecretBox } from './secret_box.ts'

interface Deps {
  readonly database: Pick<Database, 'db'>
  readonly personal: Pick<PersonalData, 'read'>
  readonly secretBox: Pick<SecretBox, 'open' | 'seal' | 'mac' | 'macMatches' | 'needsReseal'>
}

const PAGE = 500

/** Renews MACs and sealed parts in pages; safe beside a running server. Returns how many rows changed and how many were not genuine. */
export async function resealOutbox({
  database,
  personal,
  secretBox,
}: Deps): Promise<{ renewed: number; forged: number }> {
  const { db } = database
  const total = { renewed: 0, forged: 0 }
  const renew = (content: string, purpose: string, mac: string): string | undefined => {
    const newest = secretBox.mac(content, purpose)
    if (newest === mac) return undefined
    if (secretBox.macMatches(content, purpose, mac)) return newest
    total.forged += 1
    return undefined
  }

  for (let after = ''; ; ) {
    const { rows } = await db.raw(
      'select * from outbox where id collate "C" > ? and erased_in is null order by id collate "C" limit ?',
      [after, PAGE],
    )
    const facts: OutboxRow[] = await openFacts(personal, rows)
    const changed = facts.flatMap((row) => {
      const mac = renew(canonical(row), OUTBOX_MAC, row.mac)
      const sealed =
        row.sealed !== null && secretBox.needsReseal(row.sealed) ? resealFact(secretBox, row.sealed) : undefined
      if (mac === undefined && sealed === undefined) return []
      return [{ id: row.id, mac: mac ?? row.mac, sealed: sealed ?? row.sealed, was: row.sealed }]
    })
    total.renewed += changed.length
    // A part that was delivered and erased meanwhile stays erased.
    await db.raw(
      `update outbox o set mac = c.mac, sealed = case when o.sealed = c.was then c.sealed else o.sealed end
       from jsonb_to_recordset(?::jsonb) as c(id text, mac text, sealed text, was text)
       where o.id = c.id and o.erased_in is null`,
      [JSON.stringify(changed)],
    )
    if (rows.length < PAGE) break
    after = rows.at(-1).id
  }

  for (let after = 0; ; ) {
    const { rows } = await db.raw('select * from ledger_anchors where seq > ? order by seq limit ?', [after, PAGE])
    for (const row of rows) {
      const seq = Number(row.seq)
      const mac = renew(anchorContent({ seq, hash: row.hash, anchoredAt: row.anchored_at }), ANCHOR_MAC, row.mac)
      if (mac === undefined) continue
      await db('ledger_anchors').where({ seq }).update({ mac })
      total.renewed += 1
    }
    if (rows.length < PAGE) return total
    after = Number(rows.at(-1).seq)
  }
}
