/** Rows of `identifications`: of each provider the latest. */
import type { Knex } from 'knex'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import { type Identification, SEALED_CLAIMS, type VerifiedClaims } from './types.ts'

interface IdentificationRow {
  readonly id: string
  readonly account_id: string
  readonly upstream: string
  readonly framework: string
  readonly evidence: string
  readonly sealed_claims: string
  readonly verified_at: Date
  readonly expires_at: Date
}

export type IdentificationRepository = ReturnType<typeof identificationRepository>

export function identificationRepository(db: Knex, personal: PersonalData) {
  return {
    /** Newest first. */
    async list(accountId: string, tx?: Tx): Promise<Identification[]> {
      const rows = await (tx ?? db)<IdentificationRow>('identifications')
        .where({ account_id: accountId })
        .orderBy([{ column: 'verified_at', order: 'desc' }, 'id'])
      return personal.read((open) => rows.map((row) => toIdentification(row, open)), tx)
    },

    /**
     * In the place of an earlier one of the same provider, whose claims are gone then. False when there is a later one: of two
     * sign-ins at once, either may be written first. The id changes with the row, since the claims are sealed for it.
     */
    async replace(identification: Identification, tx: Tx): Promise<boolean> {
      const { id, accountId, upstream, framework, evidence, claims, verifiedAt, expiresAt } = identification
      const rows = await tx('identifications')
        .insert(
          {
            ...{ id, account_id: accountId, upstream, framework, evidence },
            sealed_claims: personal.seal({ ...claims }, SEALED_CLAIMS, id),
            ...{ verified_at: verifiedAt, expires_at: expiresAt },
          },
          ['id'],
        )
        .onConflict(['account_id', 'upstream'])
        .merge(['id', 'framework', 'evidence', 'sealed_claims', 'verified_at', 'expires_at'])
        .where('identifications.verified_at', '<=', verifiedAt)
      return rows.length > 0
    },

    async delete(accountId: string, upstream: string, tx: Tx): Promise<boolean> {
      return (await tx('identifications').where({ account_id: accountId, upstream }).delete(['id'])).length > 0
    },
  }
}

function toIdentification(row: IdentificationRow, open: OpenPersonal): Identification {
  return {
    ...{ id: row.id, accountId: row.account_id, upstream: row.upstream },
    ...{ framework: row.framework, evidence: row.evidence },
    claims: open(row.sealed_claims, SEALED_CLAIMS, row.id) as VerifiedClaims,
    verifiedAt: row.verified_at,
    expiresAt: row.expires_at,
  }
}
