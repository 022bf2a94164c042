/**
 * What text messages may cost (R49d). Who sends many messages to numbers that pay them is stopped four ways: countries are
 * allowed one by one, each prefix and country has a budget, a prefix whose codes nobody uses is stopped, and a number, an
 * account and an address each get only so many. All of it is counted in one step, before anything is made, and what is
 * refused counts nowhere.
 */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import { networkOf, subnetOf } from '../../platform/client_network.ts'
import type { KeyValue, Limit } from '../../platform/key_value.ts'
import { type PhoneNumber, readPhoneNumber } from '../../platform/phone_numbers.ts'
import type { Tx } from '../../platform/postgres.ts'
import { TEXT_MESSAGE_CODES, type TextMessageCode } from './errors.ts'
import type { Cause, CodeMessage, ReadPhone, SpendingRules, TextEvent } from './types.ts'

export interface TextMessageDeps {
  readonly kv: Pick<KeyValue, 'hit' | 'delete'>
  readonly rules: SpendingRules
  /** Keyed: numbers are few enough to be guessed from a plain hash. */
  readonly mac: (value: string) => string
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly measure: (event: TextEvent) => void
}

export type TextMessageService = ReturnType<typeof createTextMessageService>

const HOUR = 3600
const DAY = 86_400
const COOL_DOWN_SECONDS = 30
const PER_HOUR = { number: 6, account: 10, address: 20, subnet: 100 }
const PER_DAY = { number: 12, account: 20 }

export function createTextMessageService(deps: TextMessageDeps) {
  const { kv, rules, transaction, outbox, measure } = deps
  const serves = ({ country }: PhoneNumber) => rules.countries === 'any' || rules.countries.includes(country)
  const home = rules.countries !== 'any' && rules.countries.length === 1 ? rules.countries[0] : undefined

  async function read(typed: string): Promise<ReadPhone> {
    const found = await readPhoneNumber(typed, home)
    if ('problem' in found) return { code: found.problem === 'not_a_number' ? 'phone_invalid' : 'phone_not_supported' }
    return serves(found) ? found : { code: 'phone_not_supported' }
  }

  return {
    /** A typed number in its one form, when messages are sent to such. */
    read,

    /**
     * Counts a message to a stored number, or refuses it.
     * @throws {AppError} `too_many_requests` for what the person can wait for; `sms_unavailable` when the house stopped
     */
    async admit(number: string, cause: Cause): Promise<void> {
      const phone = await read(number)
      if ('code' in phone) return refuse(deps, HOUR)
      const [shared, own] = [sharedLimits(rules, phone), ownLimits(deps, phone, cause)]
      let hit = await kv.hit([...shared, ...own])
      if (!hit.allowed && (await settle(deps, phone))) hit = await kv.hit([...shared, ...own])
      if (hit.allowed) return measure('requested')
      const { allowed, retryAfter } = await kv.hit(shared.map((limit) => ({ ...limit, peek: true })))
      if (!allowed) return refuse(deps, retryAfter)
      measure('limited')
      throw new AppError('too_many_requests', { retryAfter: hit.retryAfter })
    },

    /** To be called when a code was used: what is used was sent to a person. */
    async used(number: string): Promise<void> {
      const phone = await read(number)
      if ('code' in phone) return
      await kv.hit([usedLimit(rules, phone)])
      measure('used')
    },

    /** States that a message is to be sent; it leaves outside of every request. */
    async request({ accountId, ...sealed }: CodeMessage): Promise<void> {
      const fact: Fact = { type: 'sms.requested', accountId, sealed }
      await transaction((tx) => outbox.record([fact], tx))
      outbox.wake()
    },
  }
}

function refuse({ measure }: TextMessageDeps, retryAfter: number): never {
  measure('refused')
  throw new AppError<TextMessageCode>('sms_unavailable', { status: TEXT_MESSAGE_CODES.sms_unavailable, retryAfter })
}

/** What all messages to a prefix or a country share. */
function sharedLimits({ budget, conversion }: SpendingRules, { country, prefix }: PhoneNumber): readonly Limit[] {
  return [
    { key: `{sms}:prefix:hour:${prefix}`, limit: budget.prefixPerHour, windowSeconds: HOUR },
    { key: `{sms}:prefix:day:${prefix}`, limit: budget.prefixPerDay, windowSeconds: DAY },
    { key: `{sms}:country:hour:${country}`, limit: budget.countryPerHour, windowSeconds: HOUR },
    { key: `{sms}:country:day:${country}`, limit: budget.countryPerDay, windowSeconds: DAY },
    { key: sampleKey(prefix), limit: conversion.sample, windowSeconds: DAY },
    { ...stopLimit(prefix), peek: true },
  ]
}

function ownLimits({ mac }: TextMessageDeps, { number }: PhoneNumber, { accountId, ip }: Cause): readonly Limit[] {
  const hash = mac(number)
  return [
    { key: `{sms}:pause:${hash}`, limit: 1, windowSeconds: COOL_DOWN_SECONDS },
    { key: `{sms}:number:hour:${hash}`, limit: PER_HOUR.number, windowSeconds: HOUR },
    { key: `{sms}:number:day:${hash}`, limit: PER_DAY.number, windowSeconds: DAY },
    { key: `{sms}:account:hour:${accountId}`, limit: PER_HOUR.account, windowSeconds: HOUR },
    { key: `{sms}:account:day:${accountId}`, limit: PER_DAY.account, windowSeconds: DAY },
    { key: `{sms}:ip:${networkOf(ip)}`, limit: PER_HOUR.address, windowSeconds: HOUR },
    { key: `{sms}:net:${subnetOf(ip)}`, limit: PER_HOUR.subnet, windowSeconds: HOUR },
  ]
}

const sampleKey = (prefix: string) => `{sms}:sample:${prefix}`
/** Hit once to stop a prefix: while its window lasts, whoever peeks is refused. */
const stopLimit = (prefix: string): Limit => ({ key: `{sms}:stop:${prefix}`, limit: 1, windowSeconds: HOUR })

/** Used up when enough codes of the sample were used. */
function usedLimit({ conversion: { sample, least } }: SpendingRules, { prefix }: PhoneNumber): Limit {
  return { key: `{sms}:used:${prefix}`, limit: Math.ceil(sample * least), windowSeconds: DAY }
}

/**
 * When the sample of a prefix is full: begins the next one, or stops the prefix, which exactly one of many requests does.
 * Returns whether there is room now. What was used is read before the sample and forgotten after it, so that of two
 * requests at once none takes the other's fresh count for codes that nobody used.
 */
async function settle(deps: TextMessageDeps, phone: PhoneNumber): Promise<boolean> {
  const { kv, rules, transaction, outbox, measure } = deps
  const { prefix, country } = phone
  const used = usedLimit(rules, phone)
  const wasUsed = !(await kv.hit([{ ...used, peek: true }])).allowed
  const sample: Limit = { key: sampleKey(prefix), limit: rules.conversion.sample, windowSeconds: DAY, peek: true }
  if ((await kv.hit([sample])).allowed) return false
  const stops = !wasUsed && (await kv.hit([stopLimit(prefix)])).allowed
  await kv.delete(sample.key)
  await kv.delete(used.key)
  if (!stops) return wasUsed
  measure('stopped')
  const fact: Fact = { type: 'sms.stopped', actor: 'system', data: { prefix, country, seconds: HOUR } }
  await transaction((tx) => outbox.record([fact], tx))
  return false
}
