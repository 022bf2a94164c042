/** Rows of `notice_links`. A link is stored as the hash of its token. */
import type { Knex } from 'knex'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import { type LinkPurpose, type NoticeLink, SEALED_EMAIL } from './types.ts'

export type NoticeRepository = ReturnType<typeof noticeRepository>

interface LinkRow {
  readonly token_hash: string
  readonly account_id: string
  readonly purpose: LinkPurpose
  readonly sealed_email: string | null
  readonly created_at: Date
}

export function noticeRepository(db: Knex, personal: PersonalData) {
  return {
    async insert(tokenHash: string, link: NoticeLink, expiresAt: Date, tx: Tx): Promise<void> {
      await tx('notice_links').insert({
        token_hash: tokenHash,
        account_id: link.accountId,
        purpose: link.purpose,
        sealed_email: link.email === undefined ? null : personal.seal(link.email, SEALED_EMAIL, tokenHash),
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
        .returning(['token_hash', 'account_id', 'purpose', 'sealed_email', 'created_at'])
      return row === undefined ? undefined : personal.read((open) => toLink(row, open), tx)
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
      const rows: LinkRow[] = await live(tx, now).where({ account_id: accountId, purpose: 'restore_email' })
      const emails = await personal.read((open) => rows.map((row) => toLink(row, open).email), tx)
      return [...new Set(emails.filter((email) => email !== undefined))]
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

function toLink(row: LinkRow, open: OpenPersonal): NoticeLink {
  return {
    accountId: row.account_id,
    purpose: row.purpose,
    email: row.sealed_email === null ? undefined : String(open(row.sealed_email, SEALED_EMAIL, row.token_hash)),
    createdAt: row.created_at,
  }
}
