/**
 * One-time codes by mail. A code is six digits, so everything rests on counting: three tries a code and a hundred tries a
 * day for one mailbox, whatever the conversation, browser or instance (A36). Counters are atomic in the store and a try is
 * counted before it is looked at. A code proves one mailbox, in the conversation that asked, once.
 */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import { networkOf, subnetOf } from '../../platform/client_network.ts'
import type { KeyValue, Limit } from '../../platform/key_value.ts'
import type { Tx } from '../../platform/postgres.ts'
import { currentRequest } from '../../platform/request_scope.ts'
import { type Checked, CODE_MINUTES, type CodeRequest, type CodeTarget } from './types.ts'

export interface EmailCodeDeps {
  readonly kv: Pick<KeyValue, 'get' | 'set' | 'read' | 'swap' | 'take' | 'delete' | 'hit'>
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly clock: { now(): Date }
  readonly newId: () => string
  readonly digits: (count: number) => string
  /** A keyed MAC: six digits under a plain hash would be read from a dump at once (A110). */
  readonly mac: (value: string) => string
  readonly macMatches: (value: string, mac: string) => boolean
}

export type EmailCodeService = ReturnType<typeof createEmailCodeService>

/** What is kept of a code. `id` names its counters and its sending. */
interface CodeRecord {
  readonly id: string
  readonly to: string
  readonly bound: string
  readonly mac: string
  /** Milliseconds since the epoch. */
  readonly issuedAt: number
}

const DIGITS = 6
const CODE_MS = CODE_MINUTES * 60_000
/** Waiting for a slow mail server included: the ten minutes begin when the mail leaves. */
const RECORD_SECONDS = 3600
const COOL_DOWN_MS = 30_000
const DAY_SECONDS = 86_400
const TRIES_PER_CODE = 3
const TRIES_PER_DAY = 100
/** Less for one requester than for all: nobody uses up alone what the mailbox's owner needs (A38). */
const TRIES_PER_DAY_AND_ADDRESS = 30
const MAILS_PER_HOUR = { mailbox: 30, mailboxAndAddress: 6, conversation: 20, address: 60, subnet: 600 }

export function createEmailCodeService(deps: EmailCodeDeps) {
  const { kv, clock } = deps
  const now = () => clock.now().getTime()
  const live = (stored: CodeRecord | undefined, target: CodeTarget) =>
    stored?.to === target.to && stored.bound === target.bound

  return {
    /** Sends a code unless one is under way to the same mailbox. @throws {AppError} `too_many_requests` */
    async ensure(request: CodeRequest): Promise<void> {
      const stored = await kv.read(key(request))
      if (live(stored && parse(stored.value), request)) return
      await issue(deps, request, stored?.version ?? 0)
    },

    /** Sends a new code; the earlier one is dead. Returns the seconds to wait when that would be too soon. */
    async resend(request: CodeRequest): Promise<number | undefined> {
      const stored = await kv.read(key(request))
      const record = stored && parse(stored.value)
      const wait = live(record, request) ? coolDown(record, now()) : 0
      if (wait > 0) return wait
      return (await issue(deps, request, stored?.version ?? 0)) ? undefined : COOL_DOWN_MS / 1000
    },

    /** Seconds until `resend` sends again; 0 when it does now. */
    async resendIn(target: CodeTarget): Promise<number> {
      const stored = await kv.get(key(target))
      return stored === undefined ? 0 : coolDown(parse(stored), now())
    },

    /**
     * To be awaited before each attempt to send the mail of a code: its ten minutes begin now. False when the code was
     * replaced or used meanwhile and the mail would only confuse.
     */
    async sending(reference: string): Promise<boolean> {
      const [purpose, cid, id] = JSON.parse(reference) as [CodeTarget['purpose'], string, string]
      const stored = await kv.get(key({ purpose, cid }))
      if (stored === undefined || parse(stored).id !== id) return false
      await kv.set(sentKey(id), String(now()), RECORD_SECONDS)
      return true
    },

    /** Whether this is the code. A right one is used up by it; a wrong one counts. */
    check: (target: CodeTarget, typed: string): Promise<Checked> => check(deps, target, typed),
  }
}

/** True when this request's code is the one under way; false when a parallel request was faster. */
async function issue(deps: EmailCodeDeps, request: CodeRequest, version: number): Promise<boolean> {
  const { kv, transaction, outbox, clock, newId, digits, mac } = deps
  const mails = await kv.hit(mailLimits(deps, request))
  if (!mails.allowed) throw new AppError('too_many_requests', { retryAfter: mails.retryAfter })
  const { to, bound, locale, accountId, brand, mail } = request
  const id = newId()
  const code = digits(DIGITS)
  const record: CodeRecord = { id, to, bound, mac: mac(macInput(id, to, code)), issuedAt: clock.now().getTime() }
  if (!(await kv.swap(key(request), version, JSON.stringify(record), RECORD_SECONDS))) return false
  const values = { ...mail.values(code), ...(mail.carriesCode ? { code, minutes: CODE_MINUTES } : {}) }
  // A mail without a code is not bound to one: it is sent even when the conversation has moved on.
  const reference = mail.carriesCode ? { reference: JSON.stringify([request.purpose, request.cid, id]) } : {}
  const fact: Fact = {
    type: 'mail.requested',
    accountId,
    data: { purpose: request.purpose },
    sealed: { to: mail.to, template: mail.template, locale, values, brand, ...reference },
  }
  try {
    await transaction((tx) => outbox.record([fact], tx))
  } catch (error) {
    // Nothing was stated, so nothing will be sent: the next page asks again.
    await kv.delete(key(request))
    throw error
  }
  outbox.wake()
  return true
}

async function check(deps: EmailCodeDeps, target: CodeTarget, typed: string): Promise<Checked> {
  const { kv, clock, mac, macMatches } = deps
  if (!/^\d{6}$/.test(typed)) return 'wrong'
  const stored = await kv.get(key(target))
  const record = stored === undefined ? undefined : parse(stored)
  const mailbox = `{code_tries}:day:${mac(target.to)}`
  const daily = [
    { key: mailbox, limit: TRIES_PER_DAY, windowSeconds: DAY_SECONDS },
    {
      key: `${mailbox}:${networkOf(currentRequest()?.ip ?? '')}`,
      limit: TRIES_PER_DAY_AND_ADDRESS,
      windowSeconds: DAY_SECONDS,
    },
  ]
  const ofCode = {
    key: `{code_tries}:${record?.id ?? target.cid}`,
    limit: TRIES_PER_CODE,
    windowSeconds: RECORD_SECONDS,
  }
  if (!(await kv.hit([...daily, ofCode])).allowed) return refused(deps, daily)
  if (record === undefined || record.to !== target.to || record.bound !== target.bound) return 'wrong'
  const sentAt = Number((await kv.get(sentKey(record.id))) ?? Number.NaN)
  // Without a note of its sending the code has left this house for nobody.
  if (Number.isNaN(sentAt) || clock.now().getTime() >= sentAt + CODE_MS) return 'wrong'
  if (!macMatches(macInput(record.id, record.to, typed), record.mac)) return 'wrong'
  // Of many at once exactly one takes the record; one that takes a newer code's record has used nothing of its own.
  const taken = await kv.take(key(target))
  return taken !== undefined && parse(taken).id === record.id ? 'right' : 'wrong'
}

/**
 * Why a try was not looked at. Nothing is counted here: else whoever hammers a used-up code would use up the whole day of
 * the mailbox, without a single guess and without a mail (A38).
 */
async function refused({ kv }: EmailCodeDeps, daily: readonly Limit[]): Promise<Checked> {
  const { allowed, retryAfter } = await kv.hit(daily.map((limit) => ({ ...limit, peek: true })))
  return allowed ? 'used_up' : { retryAfter }
}

function mailLimits({ mac }: EmailCodeDeps, { to, cid, ip }: CodeRequest) {
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

function coolDown(record: CodeRecord | undefined, now: number): number {
  return record === undefined ? 0 : Math.max(0, Math.ceil((record.issuedAt + COOL_DOWN_MS - now) / 1000))
}

function key({ purpose, cid }: Pick<CodeTarget, 'purpose' | 'cid'>): string {
  return `code:${purpose}:${cid}`
}

function sentKey(id: string): string {
  return `code_sent:${id}`
}

function macInput(id: string, to: string, code: string): string {
  return `${id}\n${to}\n${code}`
}

function parse(value: string): CodeRecord {
  return JSON.parse(value) as CodeRecord
}
