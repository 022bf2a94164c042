/** The rules of warnings: what ends is stated a month, a week and a day before, each once, and told to who looks after the client. */
import type { Fact, Json } from '../../events.ts'
import { dayIn } from '../../platform/locales.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { ClientRecord } from '../clients/types.ts'
import type { ExpiryRepository } from './repository.ts'
import { type Credential, expiringOf } from './types.ts'

export interface ExpiriesDeps {
  readonly repository: ExpiryRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly clients: { list(): Promise<readonly ClientRecord[]> }
  /** The language of mails that follow from no page. */
  readonly locale: string
}

const DAY_MS = 86_400_000
/** How many days before. Of those that have passed unseen the last one is stated. */
const STAGES = [1, 7, 30]
const REMEMBERED_DAYS = 60

export function createExpiriesService({ repository, transaction, outbox, clients, locale }: ExpiriesDeps) {
  const warn = (record: ClientRecord, credential: Credential, stage: number, now: Date) =>
    transaction(async (tx) => {
      if (!(await repository.state(record.clientId, credential, stage, now, tx))) return
      await outbox.record([neared(record, credential, now), ...mails(record, credential, now, locale)], tx)
    })
  return {
    /** States what is due. */
    async watch(now: Date): Promise<void> {
      for (const record of await clients.list()) {
        if (record.disabledAt !== undefined) continue
        for (const credential of expiringOf(record, now)) {
          const days = daysLeft(credential, now)
          const stage = STAGES.find((most) => days <= most)
          if (days > 0 && stage !== undefined) await warn(record, credential, stage, now)
        }
      }
      outbox.wake()
      await transaction((tx) => repository.purge(new Date(now.getTime() - REMEMBERED_DAYS * DAY_MS), tx))
    },
  }
}

function daysLeft({ expiresAt }: Credential, now: Date): number {
  return Math.ceil((expiresAt.getTime() - now.getTime()) / DAY_MS)
}

function neared({ clientId }: ClientRecord, credential: Credential, now: Date): Fact {
  const { kind, id, expiresAt } = credential
  const data = { kind, credential: id, days: daysLeft(credential, now), expiresAt: expiresAt.toISOString() }
  return { type: 'client.expiry_neared', clientId, actor: 'system', data }
}

function mails({ clientId, metadata }: ClientRecord, credential: Credential, now: Date, locale: string): Fact[] {
  const { contacts = [], default_locale: language = locale, client_name: client, brand } = metadata
  const template = 'client_expiries/expiry'
  const until = dayIn(language, credential.expiresAt)
  const values: { [key: string]: Json } = {
    client,
    clientId,
    kind: credential.kind,
    days: daysLeft(credential, now),
    until,
  }
  return contacts.map((to) => ({
    ...{ type: 'mail.requested', clientId, actor: 'system', data: { template } },
    sealed: { to, template, locale: language, values, brand },
  }))
}
