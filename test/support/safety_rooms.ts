/** Notices, devices and lost factors with real SQL, and a second factor that is only there to be asked for and removed. */
import { z } from 'zod'
import type { createAccounts } from '../../src/features/accounts/index.ts'
import { createDevices } from '../../src/features/devices/index.ts'
import { deviceRepository } from '../../src/features/devices/repository.ts'
import { enrolmentRepository } from '../../src/features/enrolment/repository.ts'
import { createEnrolmentService } from '../../src/features/enrolment/service.ts'
import { createLostFactors } from '../../src/features/lost_factors/index.ts'
import { removalRepository } from '../../src/features/lost_factors/repository.ts'
import type { RemoveFactors } from '../../src/features/lost_factors/types.ts'
import { createNotices } from '../../src/features/notices/index.ts'
import { noticeRepository } from '../../src/features/notices/repository.ts'
import type { createSessions } from '../../src/features/sessions/index.ts'
import { wanted } from '../../src/interaction/levels.ts'
import { type Step, trusting } from '../../src/interaction/step.ts'
import { newId, newToken, sha256 } from '../../src/platform/ids.ts'
import type { KeyValue } from '../../src/platform/key_value.ts'
import type { Outbox } from '../../src/platform/outbox.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { testPersonal } from './personal_columns.ts'

/** The one code of the second factor. */
export const FACTOR_CODE = '314159'

export interface SafetyDeps {
  readonly database: Database
  readonly outbox: Outbox
  readonly clock: { now(): Date }
  readonly kv: KeyValue
  readonly issuer: string
  readonly home: string
  readonly accounts: ReturnType<typeof createAccounts>
  readonly sessions: ReturnType<typeof createSessions>
}

/** Two of the support; each one's key is the name, said twice. */
export const SUPPORTERS = ['ann', 'bo'].map((name) => ({ name, keyHash: sha256(name + name) }))

export function createSafetyRooms({ database, accounts, sessions, ...rest }: SafetyDeps) {
  const { db, transaction } = database
  const removeFactors: RemoveFactors = async (accountId, tx) => {
    await enrolment.setFactor(accountId, 'totp', false, tx)
    await rest.outbox.record([{ type: 'factor.removed', accountId, data: { method: 'totp', reason: 'lost' } }], tx)
  }
  const shared = { ...rest, transaction, newId, newToken, locale: 'en' }
  const told = { ...shared, accounts: accounts.service, sessions: sessions.service }
  const notices = createNotices({
    ...told,
    repository: noticeRepository(db, testPersonal),
    keepFactors: (accountId, tx) => lostFactors.service.cancel(accountId, 'refused', tx),
  })
  const enrolment = createEnrolmentService({
    ...{ repository: enrolmentRepository(db), transaction, outbox: rest.outbox, notices: notices.service },
    ...{ sessions: sessions.service, isRequired: () => false, dropStandIns: async () => {} },
  })
  const devices = createDevices({ ...told, repository: deviceRepository(db, testPersonal), notices: notices.service })
  const lostFactors = createLostFactors({
    ...told,
    ...{ repository: removalRepository(db), notices: notices.service },
    ...{ removeFactors: [removeFactors], waitingHours: 72, support: SUPPORTERS },
  })
  return {
    ...{ notices, devices, lostFactors },
    features: [notices, devices, lostFactors, { steps: [factorStep(rest.clock)] }],
    /** Gives an account the second factor, or takes it, as its room does. */
    change: (accountId: string, isSet: boolean) =>
      transaction(async (tx) => {
        await enrolment.setFactor(accountId, 'totp', isSet, tx)
        const type = isSet ? 'factor.added' : 'factor.removed'
        await rest.outbox.record([{ type, accountId, data: { method: 'totp' } }], tx)
      }),
  }
}

/** Its page is written by the test's server. */
export const FACTOR_PAGE = 'factor/totp'

function factorStep(clock: { now(): Date }): Step {
  const step: Step<{ code: string; trust?: string | undefined }> = {
    ...{ name: 'totp', feature: 'factor', prompts: ['login', 'create', 'select_account'], meets: ['second_factor'] },
    needed: (state) => wanted(state).includes('totp'),
    show: async () => ({}),
    input: z.object({ code: z.string(), trust: z.string().optional() }),
    async submit({ code, trust }, state) {
      const { account } = state
      if (account === undefined || code !== FACTOR_CODE) return { ok: false, code: 'code_invalid', field: 'code' }
      const { accountId, epoch } = account
      const at = clock.now().getTime()
      const proof = { method: 'totp', amr: ['otp'], second: true, accountId, at, epoch } as const
      return { ok: true, patch: { proof, answers: trusting(trust, state) } }
    },
  }
  return step as Step
}
