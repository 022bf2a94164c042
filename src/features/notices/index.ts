/**
 * Notices: the mails that tell the owner of an account what was done, each with a one-time link against it ("this wasn't me",
 * back to the earlier address, keep my second factors). Owns `notice_links` and the pages behind them. What the links set in
 * motion belongs to sessions, accounts and lost_factors; sending belongs to mails.
 */
import type { Feature } from '../../feature.ts'
import { createNoticeRouter, type NoticeRouteDeps } from './routes.ts'
import { createNoticeService, type NoticeDeps, type NoticeService } from './service.ts'
import { SEALED_EMAIL } from './types.ts'

const DAY = 86_400_000
const BATCH = 500

/** Wrong tries at what follows the first factor (ASVS 6.3.5). */
const WRONG_TRIES = ['totp.rejected', 'sms_code.rejected', 'recovery_code.rejected', 'passkey.rejected']

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createNotices(deps: NoticeDeps): Feature & { readonly service: NoticeService } {
  const service = createNoticeService(deps)
  return {
    name: 'notices',
    service,
    personal: [SEALED_EMAIL],
    subscribe: [
      {
        consumer: 'suspicious_tries',
        types: WRONG_TRIES,
        handle: async ({ accountId, occurredAt }) => {
          if (accountId !== undefined) await service.tried(accountId, occurredAt)
        },
      },
    ],
    jobs: [
      {
        name: 'notices_purge',
        everySeconds: 3600,
        run: async (now) => {
          await deps.repository.deleteExpired(new Date(now.getTime() - DAY), BATCH)
        },
      },
    ],
  }
}

/** The pages behind the links. */
export function createNoticePages(deps: NoticeRouteDeps): Feature {
  return { name: 'notice_pages', router: createNoticeRouter(deps) }
}
