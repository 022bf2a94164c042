/** SQL of what was stated of credentials that end. */
import type { Tx } from '../../platform/postgres.ts'
import type { Credential } from './types.ts'

export type ExpiryRepository = ReturnType<typeof expiryRepository>

export function expiryRepository() {
  return {
    /** Of all instances, and of all starts, one is told true. */
    async state(clientId: string, { id, expiresAt }: Credential, days: number, now: Date, tx: Tx): Promise<boolean> {
      const rows = await tx('client_expiries')
        .insert({ client_id: clientId, credential: id, expires_at: expiresAt, days, stated_at: now })
        .onConflict(['client_id', 'credential', 'expires_at', 'days'])
        .ignore()
        .returning('days')
      return rows.length > 0
    },

    /** Forgets what has long ended. */
    async purge(before: Date, tx: Tx): Promise<void> {
      await tx('client_expiries').where('expires_at', '<', before).delete()
    },
  }
}
