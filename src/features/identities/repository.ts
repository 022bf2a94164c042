/** Rows of `identities`. */
import type { Knex } from 'knex'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { UpstreamTokens } from '../../platform/upstream.ts'
import { type Identity, type IdentityKey, type NewIdentity, SEALED_IDENTITY, SEALED_TOKENS } from './types.ts'

export type IdentityRepository = ReturnType<typeof identityRepository>

interface IdentityRow {
  readonly id: string
  readonly account_id: string
  readonly upstream: string
  readonly issuer: string
  readonly subject_hash: string
  readonly sealed_identity: string
  readonly sealed_tokens: string | null
  readonly linked_at: Date
  readonly used_at: Date | null
}

/** Subjects are looked up by their hash: what a provider calls a person may be an address. */
const SUBJECT_HASH = 'identities.subject_hash'

export function identityRepository(db: Knex, personal: PersonalData) {
  const keyOf = async ({ issuer, subject }: IdentityKey) => ({
    issuer,
    subject_hash: await personal.index(`${issuer}\n${subject}`, SUBJECT_HASH),
  })
  const sealTokens = (id: string, tokens: UpstreamTokens | undefined) =>
    tokens === undefined ? null : personal.seal({ ...tokens }, SEALED_TOKENS, id)
  /** The refresh token that is kept of an earlier sign-in. */
  const keptRefreshToken = async (id: string, tx: Tx): Promise<string | undefined> => {
    const row = await tx<IdentityRow>('identities').where({ id }).forUpdate().first('sealed_tokens')
    const sealed = row?.sealed_tokens ?? undefined
    if (sealed === undefined) return undefined
    return personal.read((open) => (open(sealed, SEALED_TOKENS, id) as unknown as UpstreamTokens).refreshToken, tx)
  }
  return {
    /** With `tx`, the row is locked until the transaction ends. */
    async find(key: IdentityKey, tx?: Tx): Promise<Identity | undefined> {
      const query = (tx ?? db)<IdentityRow>('identities').where(await keyOf(key))
      const row = await (tx === undefined ? query.first() : query.forUpdate().first())
      if (row === undefined) return undefined
      const identity = await personal.read((open) => toIdentity(row, open), tx)
      // A hash that somebody moved to another row must not sign a person in to the account of another.
      return identity.subject === key.subject ? identity : undefined
    },

    /** Oldest first. */
    async list(accountId: string, tx?: Tx): Promise<Identity[]> {
      const rows = await (tx ?? db)<IdentityRow>('identities')
        .where({ account_id: accountId })
        .orderBy(['linked_at', 'id'])
      return personal.read((open) => rows.map((row) => toIdentity(row, open)), tx)
    },

    /** A unique violation when it is somebody's already. */
    async insert(identity: Identity & Pick<NewIdentity, 'tokens'>, tx: Tx): Promise<void> {
      const { id, accountId, upstream, subject, label, tokens, linkedAt, usedAt } = identity
      await tx('identities').insert({
        ...{ id, account_id: accountId, upstream, ...(await keyOf(identity)) },
        sealed_identity: personal.seal({ subject, label }, SEALED_IDENTITY, id),
        sealed_tokens: sealTokens(id, tokens),
        linked_at: linkedAt,
        used_at: usedAt ?? null,
      })
    },

    async use(
      { id, subject }: Identity,
      { label, tokens }: Pick<NewIdentity, 'label' | 'tokens'>,
      now: Date,
      tx: Tx,
    ): Promise<void> {
      const sealed = personal.seal({ subject, label }, SEALED_IDENTITY, id)
      const refreshToken = tokens && (tokens.refreshToken ?? (await keptRefreshToken(id, tx)))
      const kept = tokens && { ...tokens, ...(refreshToken !== undefined && { refreshToken }) }
      await tx('identities')
        .where({ id })
        .update({ sealed_identity: sealed, sealed_tokens: sealTokens(id, kept), used_at: now })
    },

    /** Only one of the account's own; says whether it was. */
    async delete(accountId: string, id: string, tx: Tx): Promise<boolean> {
      return (await tx('identities').where({ id, account_id: accountId }).delete()) === 1
    },
  }
}

function toIdentity(row: IdentityRow, open: OpenPersonal): Identity {
  const { subject, label } = open(row.sealed_identity, SEALED_IDENTITY, row.id) as { subject: string; label: string }
  return {
    ...{ id: row.id, accountId: row.account_id, upstream: row.upstream, issuer: row.issuer, subject, label },
    linkedAt: row.linked_at,
    usedAt: row.used_at ?? undefined,
  }
}
