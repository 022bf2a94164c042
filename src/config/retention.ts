/** How long addresses, facts and what is due are kept, and rights that agents do not use. */
import { z } from 'zod'
import { count, days, type Parsed } from './values.ts'

export const retentionShape = {
  retention: z
    .strictObject({
      ip_days: count(30),
      pending_account_days: count(7),
      delivery_days: count(7),
      audit: z
        .strictObject({
          security: days(1095),
          authentication: days(365),
          account: days(1095),
          consent: days(2190),
          administration: days(2190),
          delivery: days(90),
        })
        .prefault({}),
    })
    .prefault({}),
  agents: z.strictObject({ idle_days: days(90) }).prefault({}),
}

type Settings = Parsed<typeof retentionShape>

export interface RetentionConfig {
  readonly retention: {
    readonly ipDays: number
    readonly pendingAccountDays: number
    readonly deliveryDays: number
    /** Days for which facts of each class (`events.ts`) are kept in the audit ledger. */
    readonly audit: Settings['retention']['audit']
  }
  /** Days after which a right that an agent does not use is taken back. */
  readonly agents: { readonly idleDays: number }
}

export function retentionOf({ retention, agents }: Settings): RetentionConfig {
  const { ip_days: ipDays, pending_account_days: pendingAccountDays, delivery_days: deliveryDays, audit } = retention
  return { retention: { ipDays, pendingAccountDays, deliveryDays, audit }, agents: { idleDays: agents.idle_days } }
}
