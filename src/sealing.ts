/** What is sealed in the database, brought under newer keys: by command, and by a job for what a command has missed. */
import type { Feature, Job } from './feature.ts'
import type { createRooms } from './features.ts'
import type { Foundation } from './foundation.ts'
import { FACT_IP, FACT_USER_AGENT } from './platform/outbox.ts'
import { countStale, type Resealed, resealPersonal, retireDataKeys } from './platform/personal_reseal.ts'

/** Columns of secrets that belong to no room. */
const SECRETS = [
  { table: 'data_keys', key: 'id', column: 'sealed_key' },
  { table: 'outbox', key: 'id', column: 'sealed' },
] as const

export interface Sealing {
  /** Brings secrets and data keys under the newest secret key, then personal data under the newest data key. */
  reseal(): Promise<{ readonly secrets: number; readonly personal: Resealed }>
  /** How many cells are under another key than the newest. */
  stale(): Promise<{ readonly personal: number; readonly secrets: number }>
  readonly jobs: readonly Job[]
}

export function createSealing(
  { database, personal, secretBox }: Pick<Foundation, 'database' | 'personal' | 'secretBox'>,
  { keys, totp, recoveryCodes, smsCodes }: ReturnType<typeof createRooms>,
  features: readonly Feature[],
): Sealing {
  const rooms = [totp, recoveryCodes, ...(smsCodes === undefined ? [] : [smsCodes])]
  const columns = [...features.flatMap((feature) => feature.personal ?? []), FACT_IP, FACT_USER_AGENT]
  const secrets = [...features.flatMap((feature) => feature.secrets ?? []), ...SECRETS]
  const deps = { database, personal, columns }
  return {
    async reseal() {
      const count = await keys.service.reseal([...rooms.map(({ service }) => service.reseal), personal.resealKeys])
      // Before a row is under a new key, so that the others need not meet it to hear of it.
      await personal.announce()
      return { secrets: count, personal: await resealPersonal(deps) }
    },
    async stale() {
      const [newestKey = ''] = (await personal.box()).keyIds
      const [newestSecret = ''] = secretBox.keyIds()
      return {
        personal: await countStale(database, columns, newestKey),
        secrets: await countStale(database, secrets, newestSecret),
      }
    },
    jobs: [
      { name: 'data_keys', everySeconds: 15, run: personal.refresh },
      { name: 'data_keys_retire', everySeconds: 3600, run: async () => void (await retireDataKeys(deps)) },
    ],
  }
}
