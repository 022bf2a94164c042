/**
 * One-time codes by mail: what is counted against a mailbox and who asks for mails to it (A36), and the mail itself. What a
 * code is and when it is right belongs to `platform/one_time_codes.ts`.
 */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import { networkOf, subnetOf } from '../../platform/client_network.ts'
import type { Limit } from '../../platform/key_value.ts'
import {
  type Checked,
  CODE_MINUTES,
  createOneTimeCodes,
  type Dispatch,
  type OneTimeCodesDeps,
} from '../../platform/one_time_codes.ts'
import type { Tx } from '../../platform/postgres.ts'
import { currentRequest } from '../../platform/request_scope.ts'
import type { CodeRequest, CodeTarget } from './types.ts'

export interface EmailCodeDeps extends OneTimeCodesDeps {
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
}

export type EmailCodeService = ReturnType<typeof createEmailCodeService>

const DAY_SECONDS = 86_400
/** For one mailbox, whatever the conversation, browser or instance. */
const TRIES_PER_DAY = 100
/** Less for one requester than for all: nobody uses up alone what the mailbox's owner needs (A38). */
const TRIES_PER_DAY_AND_ADDRESS = 30
const MAILS_PER_HOUR = { mailbox: 30, mailboxAndAddress: 6, conversation: 20, address: 60, subnet: 600 }

export function createEmailCodeService(deps: EmailCodeDeps) {
  const codes = createOneTimeCodes(deps)
  return {
    /** Sends a code unless one is under way to the same mailbox. @throws {AppError} `too_many_requests` */
    ensure: (request: CodeRequest): Promise<void> => codes.ensure(request, dispatchOf(deps, request)),

    /** Sends a new code; the earlier one is dead. Returns the seconds to wait when that would be too soon. */
    resend: (request: CodeRequest): Promise<number | undefined> => codes.resend(request, dispatchOf(deps, request)),

    /** Seconds until `resend` sends again; 0 when it does now. */
    resendIn: (target: CodeTarget): Promise<number> => codes.resendIn(target),

    /** To be awaited before each attempt to send the mail of a code; false when it is not wanted any more. */
    sending: codes.sending,

    /** Whether this is the code. A right one is used up by it; a wrong one counts. */
    check: (target: CodeTarget, typed: string): Promise<Checked> => codes.check(target, typed, tryLimits(deps, target)),
  }
}

function dispatchOf(deps: EmailCodeDeps, request: CodeRequest): Dispatch {
  const { kv, transaction, outbox } = deps
  const { locale, accountId, brand, mail, purpose } = request
  return {
    async admit() {
      const mails = await kv.hit(mailLimits(deps, request))
      if (!mails.allowed) throw new AppError('too_many_requests', { retryAfter: mails.retryAfter })
    },
    async state(code, reference) {
      const values = { ...mail.values(code), ...(mail.carriesCode ? { code, minutes: CODE_MINUTES } : {}) }
      const sealed = { to: mail.to, template: mail.template, locale, values, brand }
      const fact: Fact = {
        type: 'mail.requested',
        accountId,
        data: { purpose },
        // A mail without a code is not bound to one: it is sent even when the conversation has moved on.
        sealed: mail.carriesCode ? { ...sealed, reference } : sealed,
      }
      await transaction((tx) => outbox.record([fact], tx))
      outbox.wake()
    },
  }
}

function tryLimits({ mac }: EmailCodeDeps, { to }: CodeTarget): readonly Limit[] {
  const mailbox = `{code_tries}:day:${mac(to)}`
  const network = networkOf(currentRequest()?.ip ?? '')
  return [
    { key: mailbox, limit: TRIES_PER_DAY, windowSeconds: DAY_SECONDS },
    { key: `${mailbox}:${network}`, limit: TRIES_PER_DAY_AND_ADDRESS, windowSeconds: DAY_SECONDS },
  ]
}

function mailLimits({ mac }: EmailCodeDeps, { to, cid, ip }: CodeRequest): readonly Limit[] {
  const windowSeconds = 3600
  const [mailbox, network] = [mac(to), networkOf(ip)]
  return [
    { key: `{mails}:to:${mailbox}`, limit: MAILS_PER_HOUR.mailbox, windowSeconds },
    { key: `{mails}:to:${mailbox}:${network}`, limit: MAILS_PER_HOUR.mailboxAndAddress, windowSeconds },
    { key: `{mails}:cid:${cid}`, limit: MAILS_PER_HOUR.conversation, windowSeconds },
    { key: `{mails}:ip:${network}`, limit: MAILS_PER_HOUR.address, windowSeconds },
    { key: `{mails}:net:${subnetOf(ip)}`, limit: MAILS_PER_HOUR.subnet, windowSeconds },
  ]
}
