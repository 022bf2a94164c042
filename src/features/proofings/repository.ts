/** Rows of `proofings`. A reference is stored as its hash; every change says in which states it may happen. */
import type { Knex } from 'knex'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { VerifiedClaims } from '../identifications/types.ts'
import { type OpenedProofing, type Proofing, type ProofingState, SEALED_CLAIMS } from './types.ts'

interface ProofingRow {
  readonly id: string
  readonly account_id: string
  readonly provider: string
  readonly state: ProofingState
  readonly sealed_claims: string | null
  readonly verified_at: Date | null
  readonly reason: string | null
  readonly results: readonly string[]
  readonly began_at: Date
  readonly expires_at: Date
  readonly decided_at: Date | null
}

export type ProofingRepository = ReturnType<typeof proofingRepository>

/** Who ended, for the facts. */
export interface Ended {
  readonly id: string
  readonly accountId: string
  readonly provider: string
}

const OPEN = `state in ('begun', 'review')`
/** A provider that keeps sending what we are to look at fills no row: the oldest of so many is forgotten. */
const REMEMBERED_RESULTS = 50
/** The delivery is remembered with what it does: it happens again never, and after a crash if it did not. */
const REMEMBER = `results = (results || ?::text)[greatest(1, cardinality(results) + 2 - ${REMEMBERED_RESULTS}):]`

export function proofingRepository(db: Knex, personal: PersonalData) {
  return { ...beginnings(), ...lookups(db, personal), ...decisions(personal), ...endings(db) }
}

function beginnings() {
  return {
    /**
     * Whoever ends an account, or says that it was not them, holds its row first: so do we, or each would wait for the other.
     * False when there is no such account.
     */
    async lockAccount(accountId: string, tx: Tx): Promise<boolean> {
      const { rows } = await tx.raw('select 1 from accounts where id = ? for key share', [accountId])
      return rows.length > 0
    },

    /** In the place of the one that is open: of two at once, one is there in the end, and has the later reference. */
    async begin(
      begun: Pick<Proofing, 'id' | 'accountId' | 'provider' | 'beganAt' | 'expiresAt'> & {
        readonly referenceHash: string
      },
      tx: Tx,
    ): Promise<void> {
      const { id, accountId, provider, referenceHash, beganAt, expiresAt } = begun
      await tx.raw(
        `insert into proofings (id, account_id, provider, reference_hash, state, began_at, expires_at)
         values (?, ?, ?, ?, 'begun', ?, ?)
         on conflict (account_id, provider) where ${OPEN} do update set
           id = excluded.id, reference_hash = excluded.reference_hash, state = 'begun', sealed_claims = null,
           verified_at = null, reason = null, results = '{}', began_at = excluded.began_at, expires_at = excluded.expires_at`,
        [id, accountId, provider, referenceHash, beganAt, expiresAt],
      )
    },
  }
}

function lookups(db: Knex, personal: PersonalData) {
  return {
    async find(id: string, tx?: Tx): Promise<OpenedProofing | undefined> {
      const row: ProofingRow | undefined = await (tx ?? db)('proofings').where({ id }).first()
      if (row === undefined) return undefined
      return personal.read((open) => ({ ...toProofing(row), claims: claimsOf(row, open) }), tx)
    },

    async findAccount(referenceHash: string, tx: Tx): Promise<string | undefined> {
      const row: ProofingRow | undefined = await tx('proofings')
        .where({ reference_hash: referenceHash })
        .first('account_id')
      return row?.account_id
    },

    /** After `lockAccount`. */
    async lockByReference(referenceHash: string, tx: Tx): Promise<Proofing | undefined> {
      const row: ProofingRow | undefined = await tx('proofings')
        .where({ reference_hash: referenceHash })
        .forUpdate()
        .first()
      return row && toProofing(row)
    },

    /** Of each provider the latest of the account: the one that is open, where one is. */
    async listLatest(accountId: string): Promise<Proofing[]> {
      const { rows }: { rows: ProofingRow[] } = await db.raw(
        `select distinct on (provider) * from proofings where account_id = ?
         order by provider, decided_at is not null, began_at desc`,
        [accountId],
      )
      return rows.map(toProofing)
    },

    async list({
      state,
      atMost,
    }: {
      readonly state?: ProofingState | undefined
      readonly atMost: number
    }): Promise<Proofing[]> {
      const query = db<ProofingRow>('proofings').orderBy([{ column: 'began_at', order: 'desc' }, 'id'])
      return (await (state === undefined ? query : query.where({ state })).limit(atMost)).map(toProofing)
    },
  }
}

function decisions(personal: PersonalData) {
  return {
    /** Ends it: of many at once exactly one does. `by` is the delivery that says so, where one does. */
    async decide(
      id: string,
      decision: {
        readonly from: 'any' | 'review'
        readonly state: 'verified' | 'refused'
        readonly reason: string | undefined
        readonly by?: string | undefined
      },
      now: Date,
      tx: Tx,
    ): Promise<boolean> {
      const { from, state, reason, by } = decision
      const { rows } = await tx.raw(
        `update proofings set state = ?, sealed_claims = null, verified_at = null, reason = ?, decided_at = ?
           ${by === undefined ? '' : `, ${REMEMBER}`}
         where id = ? and ${from === 'any' ? OPEN : `state = 'review'`} and expires_at > ? returning id`,
        [state, reason ?? null, now, ...(by === undefined ? [] : [by]), id, now],
      )
      return rows.length === 1
    },

    /** Lays claims before an operator, in the place of earlier ones. */
    async refer(
      id: string,
      referred: {
        /** Its id from now on. */
        readonly as: string
        readonly claims: VerifiedClaims | undefined
        readonly verifiedAt: Date | undefined
        readonly reason: string | undefined
        readonly expiresAt: Date
        readonly by: string
      },
      now: Date,
      tx: Tx,
    ): Promise<boolean> {
      const { as, claims, verifiedAt, reason, expiresAt, by } = referred
      const { rows } = await tx.raw(
        `update proofings set id = ?, state = 'review', sealed_claims = ?, verified_at = ?, reason = ?, expires_at = ?, ${REMEMBER}
         where id = ? and ${OPEN} and expires_at > ? returning id`,
        [
          as,
          claims === undefined ? null : personal.seal({ ...claims }, SEALED_CLAIMS, as),
          ...[verifiedAt ?? null, reason ?? null, expiresAt, by, id, now],
        ],
      )
      return rows.length === 1
    },
  }
}

const EXPIRED = `state = 'expired', sealed_claims = null, verified_at = null, decided_at = ?`

function endings(db: Knex) {
  return {
    /** Ends what is open of an account. */
    async endOf(accountId: string, now: Date, tx: Tx): Promise<Ended[]> {
      const { rows } = await tx.raw(
        `update proofings set ${EXPIRED} where account_id = ? and ${OPEN} returning id, account_id, provider`,
        [now, accountId],
      )
      return rows.map(toEnded)
    },

    /** Providers that have verified the account since. */
    async listVerified(accountId: string, since: Date, tx: Tx): Promise<string[]> {
      const rows: ProofingRow[] = await tx('proofings')
        .where({ account_id: accountId, state: 'verified' })
        .where('decided_at', '>', since)
      return [...new Set(rows.map(({ provider }) => provider))]
    },

    /** Ends what has waited for too long, `atMost` in one go. Claims that nobody looked at are gone. */
    async endOverdue(now: Date, atMost: number, tx: Tx): Promise<Ended[]> {
      const { rows } = await tx.raw(
        `update proofings set ${EXPIRED} where id in (
           select id from proofings where ${OPEN} and expires_at <= ? limit ? for update skip locked
         ) returning id, account_id, provider`,
        [now, now, atMost],
      )
      return rows.map(toEnded)
    },

    async deleteEnded(before: Date, atMost: number): Promise<number> {
      const { rows } = await db.raw(
        `delete from proofings where id in (select id from proofings where decided_at < ? limit ?) returning id`,
        [before, atMost],
      )
      return rows.length
    },
  }
}

function toEnded({ id, account_id: accountId, provider }: ProofingRow): Ended {
  return { id, accountId, provider }
}

function claimsOf({ id, sealed_claims: sealed }: ProofingRow, open: OpenPersonal): VerifiedClaims | undefined {
  return sealed === null ? undefined : (open(sealed, SEALED_CLAIMS, id) as VerifiedClaims)
}

function toProofing(row: ProofingRow): Proofing {
  return {
    ...{ id: row.id, accountId: row.account_id, provider: row.provider, state: row.state, results: row.results },
    ...{ verifiedAt: row.verified_at ?? undefined, reason: row.reason ?? undefined },
    ...{ beganAt: row.began_at, expiresAt: row.expires_at, decidedAt: row.decided_at ?? undefined },
  }
}
