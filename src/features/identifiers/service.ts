/** The rules of typed identifiers. Nothing is looked up: work and answer do not depend on who has an account. */
import type { Fact } from '../../events.ts'
import { networkOf } from '../../platform/client_network.ts'
import { canonicalEmail, mixedScripts } from '../../platform/email_address.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { ReadEmail } from './types.ts'

export interface IdentifierDeps {
  readonly kv: Pick<KeyValue, 'hit'>
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  /** Lets an operator see that the same address was tried again, without showing it. */
  readonly mac: (value: string) => string
  /** Counts every refusal: whether it was stated as a fact, or only counted. */
  readonly refused: (reason: 'mixed_script', as: 'stated' | 'counted') => void
}

export interface IdentifierService {
  readonly readEmail: ReadEmail
}

/** Facts in an hour: an attacker must not fill the ledger. Beyond, refusals are only counted. */
const HOUR_SECONDS = 3600
const PER_NETWORK = 10
const IN_ALL = 100

export function createIdentifierService({ kv, transaction, outbox, mac, refused }: IdentifierDeps): IdentifierService {
  async function mayState(ip: string): Promise<boolean> {
    const { allowed } = await kv.hit([
      { key: `{identifier_refused}:ip:${networkOf(ip)}`, limit: PER_NETWORK, windowSeconds: HOUR_SECONDS },
      { key: '{identifier_refused}:all', limit: IN_ALL, windowSeconds: HOUR_SECONDS },
    ])
    return allowed
  }

  return {
    async readEmail(typed, { ip, clientId, accountId }) {
      const email = canonicalEmail(typed)
      if (email !== undefined) return email
      const mixed = mixedScripts(typed)
      if (mixed === undefined) return undefined
      const states = await mayState(ip)
      refused('mixed_script', states ? 'stated' : 'counted')
      if (!states) return undefined
      const { part, scripts, normal } = mixed
      const data = { reason: 'mixed_script', part, scripts, identifier: mac(normal) }
      await transaction((tx) => outbox.record([{ type: 'identifier.refused', clientId, accountId, data }], tx))
      return undefined
    },
  }
}
