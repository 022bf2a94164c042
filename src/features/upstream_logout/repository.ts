/** Rows of `upstream_logouts`: which logout tokens were taken. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'

export type UpstreamLogoutRepository = ReturnType<typeof upstreamLogoutRepository>

export function upstreamLogoutRepository(db: Knex) {
  return {
    /**
     * Takes a token, in the transaction of what it does: of many at once exactly one does, and one that failed or died has
     * taken nothing. False when it was taken before.
     */
    async take(idHash: string, expiresAt: Date, tx: Tx): Promise<boolean> {
      const { rows } = await tx.raw(
        'insert into upstream_logouts (id_hash, expires_at) values (?, ?) on conflict do nothing returning id_hash',
        [idHash, expiresAt],
      )
      return rows.length === 1
    },

    /** Forgets tokens that are too old to be accepted anyway, `atMost` in one go. */
    async deleteExpired(now: Date, atMost: number): Promise<number> {
      const { rows } = await db.raw(
        `delete from upstream_logouts where id_hash in (
           select id_hash from upstream_logouts where expires_at < ? limit ?) returning id_hash`,
        [now, atMost],
      )
      return rows.length
    },
  }
}
