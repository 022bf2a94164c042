/** Rows of `passkeys`. */
import type { Knex } from 'knex'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Assertion } from '../../platform/webauthn.ts'
import { type Passkey, SEALED_NAME } from './types.ts'

export type PasskeyRepository = ReturnType<typeof passkeyRepository>

interface PasskeyRow {
  readonly id: string
  readonly account_id: string
  readonly credential_id: string
  readonly public_key: string
  /** The driver reads bigint as text. */
  readonly counter: string | number
  readonly transports: readonly string[]
  readonly aaguid: string
  readonly backup_eligible: boolean
  readonly backed_up: boolean
  readonly sealed_name: string
  readonly created_at: Date
  readonly used_at: Date | null
}

export function passkeyRepository(db: Knex, personal: PersonalData) {
  return {
    async findByCredential(credentialId: string): Promise<Passkey | undefined> {
      const row = await db<PasskeyRow>('passkeys').where({ credential_id: credentialId }).first()
      return row === undefined ? undefined : personal.read((open) => toPasskey(row, open))
    },

    /** Oldest first. */
    async list(accountId: string, tx?: Tx): Promise<Passkey[]> {
      const rows = await (tx ?? db)<PasskeyRow>('passkeys')
        .where({ account_id: accountId })
        .orderBy(['created_at', 'id'])
      return personal.read((open) => rows.map((row) => toPasskey(row, open)), tx)
    },

    /** A unique violation when the credential is somebody's already. */
    async insert(passkey: Passkey, tx: Tx): Promise<void> {
      await tx('passkeys').insert({
        id: passkey.id,
        account_id: passkey.accountId,
        credential_id: passkey.credentialId,
        public_key: passkey.publicKey,
        counter: passkey.counter,
        transports: JSON.stringify(passkey.transports),
        aaguid: passkey.aaguid,
        backup_eligible: passkey.backupEligible,
        backed_up: passkey.backedUp,
        sealed_name: personal.seal(passkey.name, SEALED_NAME, passkey.id),
        created_at: passkey.createdAt,
        used_at: passkey.usedAt ?? null,
      })
    },

    /**
     * Notes a use. False when the counter did not rise, as it does not on a copy of the authenticator (WebAuthn L3 §6.1.1);
     * those that do not count say 0 for ever.
     */
    async use(id: string, { counter, backedUp }: Assertion, now: Date): Promise<boolean> {
      const changed = await db('passkeys')
        .where({ id })
        .where('counter', counter === 0 ? '=' : '<', counter)
        .update({ counter, backed_up: backedUp, used_at: now })
      return changed === 1
    },

    /** Only one of the account's own; says whether it is. */
    async rename(accountId: string, id: string, name: string, tx: Tx): Promise<boolean> {
      const sealed = personal.seal(name, SEALED_NAME, id)
      return (await tx('passkeys').where({ id, account_id: accountId }).update({ sealed_name: sealed })) === 1
    },

    async delete(accountId: string, id: string, tx: Tx): Promise<boolean> {
      return (await tx('passkeys').where({ id, account_id: accountId }).delete()) === 1
    },

    async deleteAll(accountId: string, tx: Tx): Promise<boolean> {
      return (await tx('passkeys').where({ account_id: accountId }).delete()) > 0
    },
  }
}

function toPasskey(row: PasskeyRow, open: OpenPersonal): Passkey {
  return {
    id: row.id,
    accountId: row.account_id,
    credentialId: row.credential_id,
    publicKey: row.public_key,
    counter: Number(row.counter),
    transports: row.transports,
    aaguid: row.aaguid,
    backupEligible: row.backup_eligible,
    backedUp: row.backed_up,
    name: String(open(row.sealed_name, SEALED_NAME, row.id)),
    createdAt: row.created_at,
    usedAt: row.used_at ?? undefined,
  }
}
