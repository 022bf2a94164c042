/**
 * Devices: the browsers that an account was used in. Owns `devices`, what follows from a sign-in in one that is new, the proof
 * of one that is trusted in place of a second factor, and the page where they are listed and forgotten. The cookie is
 * `http/device_cookie.ts`; whether a level takes the proof is said by the table of levels, mails are written by notices.
 */
import type { RecordedFact } from '../../events.ts'
import type { Feature } from '../../feature.ts'
import { createDeviceRouter, type DeviceRouteDeps } from './routes.ts'
import { createDeviceService, type DeviceDeps, type DeviceService } from './service.ts'

/** After any of these no browser is trusted any more: whoever made the account safe must not find a way around it. */
const SECURING = [
  'account.password_changed',
  'account.email_changed',
  'account.disabled',
  'factor.added',
  'factor.updated',
  'factor.removed',
  'sessions.ended',
]

/** Browsers keep a cookie for so long. */
const UNSEEN_DAYS = 400
const BATCH = 500
const DAY = 86_400_000

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createDevices(deps: DeviceDeps): Feature & { readonly service: DeviceService } {
  const service = createDeviceService(deps)
  return {
    name: 'devices',
    service,
    subscribe: [{ consumer: 'devices', types: ['session.started'], handle: (fact) => seen(service, fact) }],
    reacts: [
      {
        types: SECURING,
        handle: async ({ accountId }, tx) => {
          if (accountId !== undefined) await service.distrust(accountId, tx)
        },
      },
    ],
    jobs: [
      {
        name: 'devices_purge',
        everySeconds: 3600,
        run: async (now) => {
          await deps.repository.deleteUnseen(new Date(now.getTime() - UNSEEN_DAYS * DAY), BATCH)
        },
      },
    ],
  }
}

/** The page of the account area. */
export function createDevicePages(deps: DeviceRouteDeps): Feature {
  return { name: 'device_pages', router: createDeviceRouter(deps) }
}

async function seen(service: DeviceService, { accountId, sealed, occurredAt }: RecordedFact): Promise<void> {
  const { device, userAgent } = sealed ?? {}
  if (accountId === undefined || typeof device !== 'string') return
  await service.seen(accountId, device, typeof userAgent === 'string' ? userAgent : undefined, occurredAt)
}
