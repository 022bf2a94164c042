/** Rows of `notice_links`. A link is stored as the hash of its token. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'
import type { LinkPurpose, NoticeLink } from './types.ts'

export type NoticeRepository = ReturnType<typeof noticeRepository>

interface LinkRow {
  readonly account_id: string
  readonly purpose: LinkPurpose
  readonly email: string | null
  readonly created_at: Date
}

export function noticeRepository(db: Knex) {
  return {
    async insert(tokenHash: string, link: NoticeLink, expiresAt: Date, tx: Tx): Promise<void> {
      await tx('notice_links').insert({
        token_hash: tokenHash,
        account_id: link.accountId,
        purpose: link.purpose,
        email: link.email ?? null,
        created_at: link.createdAt,
        expires_at: expiresAt,
      })
    },

    /** Whether the link would still work. */
    async isLive(tokenHash: string, purpose: LinkPurpose, now: Date): Promise<boolean> {
      const row = await live(db, now).where({ token_hash: tokenHash, purpose }).first('account_id')
      return row !== undefined
    },

    /** Uses a link up: of many at once exactly one gets it. */
    async consume(tokenHash: string, purpose: LinkPurpose, now: Date, tx: Tx): Promise<NoticeLink | undefined> {
      const [row]: LinkRow[] = await live(tx, now)
        .where({ token_hash: tokenHash, purpose })
        .update({ used_at: now })
        .returning(['account_id', 'purpose', 'email', 'created_at'])
      return row === undefined ? undefined : toLink(row)
    },

    /** Voids the account's links of a purpose that were made at `since` or later. */
    async voidSince(accountId: string, purpose: LinkPurpose, since: Date, now: Date, tx: Tx): Promise<void> {
      await live(tx, now)
        .where({ account_id: accountId, purpose })
        .where('created_at', '>=', since)
        .update({ used_at: now })
    },

    /** Addresses that the account was taken from and may still come back to. */
    async earlierEmails(accountId: string, now: Date, tx: Tx): Promise<string[]> {
      const rows: { email: string }[] = await live(tx, now)
        .where({ account_id: accountId, purpose: 'restore_email' })
        .distinct('email')
      return rows.map(({ email }) => email)
    },

    async deleteExpired(before: Date, atMost: number): Promise<number> {
      const { rows } = await db.raw(
        `delete from notice_links where token_hash in (
           select token_hash from notice_links where expires_at < ? limit ?) returning token_hash`,
        [before, atMost],
      )
      return rows.length
    },
  }
}

function live(db: Knex, now: Date) {
  return db('notice_links').whereNull('used_at').where('expires_at', '>', now)
}

function toLink(row: LinkRow): NoticeLink {
  return {
    accountId: row.account_id,
    purpose: row.purpose,
    email: row.email ?? undefined,
    createdAt: row.created_at,
  }
}
