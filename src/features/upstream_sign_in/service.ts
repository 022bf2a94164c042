/**
 * The rules of signing in by a provider. A departure is kept under a hash of its `state` until the answer comes; the callback
 * only checks that the answer is awaited there and puts it aside, and the browser that departed fetches it (A12, A15, A17). The
 * key of an identity is its issuer and subject; an address links only where both sides have proven it and the provider is
 * trusted for its domain (A02, A03).
 */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import type { AccountView } from '../../interaction/step.ts'
import { networkOf } from '../../platform/client_network.ts'
import { canonicalEmail } from '../../platform/email_address.ts'
import { newToken, sha256 } from '../../platform/ids.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import { type Tx, uniqueViolation } from '../../platform/postgres.ts'
import { type Arrival, type Json, UpstreamError } from '../../platform/upstream.ts'
import type { Account, Beginning, Writing } from '../accounts/types.ts'
import type { Identifications } from '../identifications/types.ts'
import type { Identities } from '../identities/types.ts'
import type { NoticePage } from '../notices/types.ts'
import { domainOf, isOutside, type Realms } from '../realms/types.ts'
import type { LiveUpstream } from '../upstreams/types.ts'
import { type Failed, failureOf } from './errors.ts'
import { arrivedOf, type Named, provenanceOf, takenOver } from './schema.ts'
import { type Arrived, newIdentity, sameTarget, type Target } from './types.ts'

export interface UpstreamSignInDeps {
  readonly issuer: string
  readonly upstreams: { find(name: string): Promise<LiveUpstream | undefined> }
  readonly realms: Realms
  readonly identities: Pick<Identities, 'find' | 'insert' | 'link' | 'use'>
  readonly identifications: Pick<Identifications, 'record'>
  readonly accounts: {
    view(accountId: string, tx?: Tx): Promise<AccountView | undefined>
    find(accountId: string, tx?: Tx): Promise<Account | undefined>
    createPending(account: Beginning, tx: Tx): Promise<AccountView>
    update(accountId: string, given: Writing, tx: Tx): Promise<void>
    proveEmail(id: string, email: string, tx: Tx): Promise<AccountView | undefined>
    publish(id: string): Promise<void>
  }
  readonly passwords: {
    /** The account that has proven the address. */
    findProven(email: string): Promise<{ readonly account: AccountView } | undefined>
  }
  /** Its records hold what people are called elsewhere, and secrets of departures: sealed. */
  readonly kv: Pick<KeyValue, 'add' | 'take' | 'hit'>
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly locales: readonly string[]
  readonly signIn?: ((result: 'failure', method: string) => void) | undefined
  readonly warn: (error: unknown, message: string) => void
}

export type UpstreamSignInService = ReturnType<typeof createUpstreamSignInService>

/** What is kept of a departure. */
interface Journey {
  readonly upstream: string
  readonly target: Target
  readonly state: string
  readonly kept: Json
  /** Levels were asked for. */
  readonly levelled: boolean
}

interface Answered {
  readonly journey: Journey
  readonly arrival: Pick<Arrival, 'method' | 'parameters'>
}

/** Nobody takes longer at a provider and comes back to the same page. */
const AWAY_SECONDS = 1800
const ANSWER_SECONDS = 60
/** Departures of one network in a window: each is a record of ours, and may be a request to the provider. */
const DEPARTURES = { limit: 100, windowSeconds: 600 }

/** The provider could not reach a level that was asked of it: without the wish it may still sign the person in. */
type BelowLevel = { readonly ok: false; readonly code: 'upstream_level_unmet'; readonly below: string }

export type Came =
  | Failed
  | BelowLevel
  /** The identity is an account's. */
  | { readonly ok: true; readonly arrived: Arrived; readonly account: AccountView }
  | { readonly ok: true; readonly arrived: Arrived; readonly account?: undefined }

export function createUpstreamSignInService(deps: UpstreamSignInDeps) {
  return { ...departures(deps), ...returns(deps), ...beginnings(deps) }
}

function departures({ issuer, upstreams, kv, warn }: UpstreamSignInDeps) {
  return {
    /** Where the browser is to be sent. */
    async depart(
      name: string,
      target: Target,
      from: {
        readonly ip: string
        readonly locale: string
        readonly email?: string | undefined
        /** Whether it must be shown again there; `where_possible` is for who did so here a moment ago. */
        readonly fresh: boolean | 'where_possible'
        /** Levels of ours that are asked for, all of which the provider is to reach when it can. */
        readonly levels?: readonly string[] | undefined
      },
    ): Promise<{ readonly ok: true; readonly url: string } | Failed | TooMany> {
      const { allowed, retryAfter = 1 } = await kv.hit([
        { key: `{departures}:ip:${networkOf(from.ip)}`, ...DEPARTURES },
      ])
      if (!allowed) return { ok: false, code: 'too_many_requests', retryAfter }
      const upstream = await upstreams.find(name)
      if (upstream === undefined) return { ok: false, code: 'upstream_disabled' }
      const { provesFreshness } = upstream.driver
      if (from.fresh === true && !provesFreshness) return { ok: false, code: 'upstream_level_unmet' }
      const state = newToken()
      const { locale, email: loginHint, levels = [] } = from
      const acrValues = upstream.acrsReaching(levels)
      const asked = { acrValues, fresh: from.fresh === 'where_possible' ? provesFreshness : from.fresh }
      try {
        const departure = { redirectUri: callbackOf(issuer, name), state, locale, loginHint, ...asked }
        const { url, kept } = await upstream.driver.depart(departure)
        const journey: Journey = { upstream: name, target, state, kept, levelled: acrValues.length > 0 }
        await kv.add(stateKey(state), JSON.stringify(journey), AWAY_SECONDS)
        return { ok: true, url }
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error
        warn(error, `nobody can sign in by ${name} now`)
        return failureOf(error)
      }
    },

    /**
     * The callback: an answer from anywhere, perhaps by another site's POST without our cookies. It decides nothing: it puts
     * the answer aside under a one-time name and returns where the browser that departed may fetch it.
     * @throws {AppError} `upstream_gone` when nothing waits for it, also when it came to another provider's callback
     */
    async receive(name: string, arrival: Answered['arrival']): Promise<string> {
      const { state = arrival.parameters.RelayState } = arrival.parameters
      const stored = state === undefined || state.length > LONGEST_STATE ? undefined : await kv.take(stateKey(state))
      if (stored === undefined) throw new AppError('upstream_gone', { status: 400, expose: true })
      const journey = JSON.parse(stored) as Journey
      if (journey.upstream !== name) throw new AppError('upstream_gone', { status: 400, expose: true })
      const answer = newToken()
      await kv.add(answerKey(answer), JSON.stringify({ journey, arrival } satisfies Answered), ANSWER_SECONDS)
      const { target } = journey
      const path = target.kind === 'interaction' ? `/interaction/${target.uid}/upstream` : '/account/identities/arrive'
      return `${path}?answer=${answer}`
    },
  }
}

type TooMany = { readonly ok: false; readonly code: 'too_many_requests'; readonly retryAfter: number }

const LONGEST_STATE = 200
const stateKey = (state: string) => `upstream_state:${sha256(state)}`
const answerKey = (answer: string) => `upstream_answer:${sha256(answer)}`
const callbackOf = (issuer: string, name: string) => `${issuer}/upstream/${name}/callback`

function returns(deps: UpstreamSignInDeps) {
  const { issuer, upstreams, identities, accounts, realms, kv, clock } = deps

  /** The answer, for whom it is meant; of many that fetch it at once exactly one gets it (A15). */
  async function fetch(answer: string, target: Target): Promise<Answered | undefined> {
    const stored = answer.length > LONGEST_STATE ? undefined : await kv.take(answerKey(answer))
    const answered = stored === undefined ? undefined : (JSON.parse(stored) as Answered)
    return answered !== undefined && sameTarget(answered.journey.target, target) ? answered : undefined
  }

  /** Whom the provider names, when everything that it must say was said. */
  async function identify({ journey, arrival }: Answered): Promise<({ readonly ok: true } & Named) | Failed> {
    const { state, kept } = journey
    const upstream = await upstreams.find(journey.upstream)
    if (upstream === undefined) return { ok: false, code: 'upstream_disabled' }
    try {
      const redirectUri = callbackOf(issuer, upstream.name)
      const identity = await upstream.driver.finish({ ...arrival, state, kept, redirectUri })
      const at = Math.min(identity.authenticatedAt ?? clock.now().getTime(), clock.now().getTime())
      return { ok: true, upstream, identity, at }
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      await reject(deps, upstream.name, error)
      return failureOf(error)
    }
  }

  return {
    /** A browser is back; `undefined` when nothing waits for it. */
    async arrive(answer: string, target: Target): Promise<Came | undefined> {
      const answered = await fetch(answer, target)
      if (answered === undefined) return undefined
      const identified = await identify(answered)
      const { upstream: name, levelled } = answered.journey
      if (!identified.ok) {
        const { code } = identified
        return levelled && code === 'upstream_level_unmet' ? { ok: false, code, below: name } : identified
      }
      const arrived = arrivedOf(identified, await isTrusted(realms, identified), clock.now(), deps.locales)
      const known = await identities.find(arrived)
      if (known === undefined) return { ok: true, arrived }
      const account = await accounts.view(known.accountId)
      if (account?.active !== true) return { ok: false, code: 'upstream_account_closed' }
      if (await isOutside(realms, arrived, account)) return { ok: false, code: 'upstream_not_of_realm' }
      await deps.transaction(async (tx) => {
        await identities.use(known, arrived, tx)
        await takeOver(deps, account.accountId, arrived, identified.upstream, tx)
        await deps.identifications.record(account.accountId, identified.upstream, arrived, tx)
      })
      return { ok: true, arrived, account }
    },

    /** The account that may be linked without asking: its owner has proven the address, and so has the trusted provider. */
    async ownerOf({ email, vouched }: Arrived): Promise<AccountView | undefined> {
      if (email === undefined || !vouched) return undefined
      const owner = await deps.passwords.findProven(email)
      return owner?.account.active === true ? owner.account : undefined
    },
  }
}

/** Takes over what the provider says now, each claim by its rule. */
async function takeOver(
  { accounts, clock }: UpstreamSignInDeps,
  accountId: string,
  { profile }: Arrived,
  upstream: LiveUpstream,
  tx: Tx,
): Promise<void> {
  const before = await accounts.find(accountId, tx)
  const taken = before && takenOver(before, profile, upstream, clock.now())
  if (taken !== undefined) await accounts.update(accountId, taken, tx)
}

function beginnings(deps: UpstreamSignInDeps) {
  const { upstreams, identities, accounts, transaction, clock } = deps
  /** The provider, when it is on, and what is to be stored of whom it named, by the settings of this moment. */
  const asIdentity = async (arrived: Arrived) => {
    const upstream = await upstreams.find(arrived.upstream)
    if (upstream === undefined) return undefined
    return { upstream, identity: newIdentity(upstream.keepsTokens ? arrived : { ...arrived, tokens: undefined }) }
  }
  return {
    /** Links for whoever has shown both. */
    async link(arrived: Arrived, account: AccountView, page: NoticePage) {
      const found = await asIdentity(arrived)
      if (found === undefined) return 'disabled'
      const linked = await identities.link(found.identity, account, page)
      // A crash in between loses nothing for good: the next sign-in by it records it.
      if (linked === 'linked' && arrived.verified !== undefined) {
        await transaction((tx) => deps.identifications.record(account.accountId, found.upstream, arrived, tx))
      }
      return linked
    },

    /**
     * Makes the account of somebody new, with the identity, all or nothing: proven at once where the provider vouches for the
     * address, else pending until the mailbox is proven. `taken`: somebody else has proven the vouched address, or begun with
     * the identity, in this very moment.
     */
    async begin(
      arrived: Arrived,
      { email, profile, locale }: { email: string; profile: Arrived['profile']; locale: string },
    ): Promise<AccountView | 'taken' | 'disabled'> {
      const found = await asIdentity(arrived)
      if (found === undefined) return 'disabled'
      const vouched = arrived.vouched && arrived.email === email
      const claims = Object.keys(profile).filter((claim) => profile[claim] === arrived.profile[claim])
      const provenance = provenanceOf(claims, arrived.upstream, clock.now())
      try {
        const account = await transaction(async (tx) => {
          const pending = await accounts.createPending({ email, locale, profile, provenance }, tx)
          await identities.insert(found.identity, pending.accountId, tx)
          await deps.identifications.record(pending.accountId, found.upstream, arrived, tx)
          return (vouched ? await accounts.proveEmail(pending.accountId, email, tx) : undefined) ?? pending
        })
        if (vouched) await accounts.publish(account.accountId)
        return account
      } catch (error) {
        if (uniqueViolation(error) || (error instanceof AppError && error.code === 'already_exists')) return 'taken'
        throw error
      }
    },
  }
}

/** A proven domain speaks for itself; else the operator has said whom they believe. */
async function isTrusted(realms: UpstreamSignInDeps['realms'], { upstream, identity }: Named): Promise<boolean> {
  const email = canonicalEmail(identity.claims.email)
  if (email === undefined) return false
  return (await realms.vouches(upstream.name, email)) ?? upstream.vouchesFor(domainOf(email))
}

/** Whoever only went back has done nothing that anybody must hear of. */
async function reject(
  { transaction, outbox, warn, signIn }: UpstreamSignInDeps,
  upstream: string,
  error: UpstreamError,
): Promise<void> {
  if (error.failure === 'cancelled') return
  signIn?.('failure', 'upstream')
  warn(error, `an answer of ${upstream} was of no use`)
  const data = { upstream, failure: error.failure, reason: error.reason }
  await transaction((tx) => outbox.record([{ type: 'upstream.rejected', data }], tx))
}
