/**
 * The engine's storage with our policy on it. What the engine leaves to its embedder is decided here: single use is
 * atomic and its loser kills the grant, refresh tokens have a grace window, "end everything" is one number (the account's
 * epoch), and every effect on sessions and grants is stated in SQL before the store changes.
 */
import Provider, { type Adapter, type AdapterPayload, errors } from 'oidc-provider'
import { TOKEN_EXCHANGE } from '../../platform/grant_policies.ts'
import { createAvailability } from '../availability.ts'
import { writtenTogether } from '../grant_writes.ts'
import { type DoubtDeps, revocableAdapter, standingGrant, standingSession } from './doubt.ts'
import { interactionAdapter, sealedAdapter } from './sealed_adapter.ts'
import { bringingBack } from './session_places.ts'
import { createSessionWriter, remembered } from './session_writer.ts'
import {
  alreadyUsed,
  backchannelRequestAdapter,
  codeAdapter,
  deviceCodeAdapter,
  refreshTokenAdapter,
  route,
  type SingleUseDeps,
  seconds,
} from './single_use.ts'
import type { Payload } from './store.ts'

/** Whether an account may act, and which epoch its live sessions and grants carry. */
export interface AccountState {
  readonly active: boolean
  readonly epoch: number
  /** Whether it has more than its password and its mailbox. */
  readonly enrolled?: boolean | undefined
}

export interface AdapterDeps extends SingleUseDeps, Omit<DoubtDeps, 'store'> {
  readonly accountState: (accountId: string) => Promise<AccountState | undefined>
  /** States in SQL that a session reached a client, before the session record says so; false when the session is over. */
  readonly linkClient: (link: ClientLink) => Promise<boolean>
  /** States in SQL that a session was ended by its owner, with its back-channel logouts. */
  readonly sessionEnded: (uid: string, reason: string) => Promise<void>
  /** Notes that a session was used; called at most once in five minutes for each session. */
  readonly sessionSeen: (uid: string) => Promise<void>
  readonly absoluteSessionSeconds: number
  /** Whether a driver error means that the store is away. */
  readonly unavailable: (error: unknown) => boolean
}

export interface ClientLink {
  readonly sessionUid: string
  readonly accountId: string
  readonly clientId: string
  readonly sid: string
  readonly grantId: string
  readonly offline: boolean
  readonly scope: string
}

type Models = { readonly [model: string]: (base: Adapter, deps: AdapterDeps) => Adapter }

const MODELS: Models = {
  Session: sessionAdapter,
  Grant: grantAdapter,
  Interaction: interactionAdapter,
  PushedAuthorizationRequest: sealedAdapter,
  AuthorizationCode: (base, deps) => codeAdapter('AuthorizationCode', base, deps),
  DeviceCode: deviceCodeAdapter,
  BackchannelAuthenticationRequest: (base, deps) => backchannelRequestAdapter(sealedAdapter(base), deps),
  RefreshToken: refreshTokenAdapter,
  AccessToken: (base, deps) => revocableAdapter('AccessToken', base, deps),
  ClientCredentials: (base, deps) => revocableAdapter('ClientCredentials', base, deps),
}

/** The `adapter` of the engine's configuration: one adapter for each model. */
export function createAdapterFactory(deps: AdapterDeps): (model: string) => Adapter {
  return (model) => {
    const base = plainAdapter(model, deps)
    return writtenTogether(model, withAvailability(MODELS[model]?.(base, deps) ?? base, deps))
  }
}

function plainAdapter(model: string, { store, clock }: AdapterDeps): Adapter {
  return {
    async upsert(id, payload, expiresIn) {
      await store.save(model, id, payload as Payload, expiresIn || undefined)
    },
    async find(id) {
      const payload = await store.find(model, id)
      if (payload !== undefined) payload.jti = id
      return payload
    },
    findByUid: async (uid) => store.findByUid(uid),
    findByUserCode: async (userCode) => store.findByUserCode(userCode),
    async consume(id) {
      const answer = await store.consume(model, id, seconds(clock))
      if (answer !== 'first') throw alreadyUsed(model)
    },
    destroy: (id) => store.destroy(model, id),
    // The Grant is the one switch: tokens of a dead Grant are refused, so there is no list of them to keep or to miss.
    revokeByGrantId: async () => {},
  }
}

function sessionAdapter(base: Adapter, deps: AdapterDeps): Adapter {
  const alive = async (found: AdapterPayload | undefined, cookie?: string) => {
    if (!found?.accountId) return found
    const startedAt = Number((found as Payload).startedAt ?? 0)
    const { absoluteSeconds: own } = ((found as Payload).limits ?? {}) as { absoluteSeconds?: number }
    const absolute = Math.min(deps.absoluteSessionSeconds, own ?? Number.POSITIVE_INFINITY)
    if (seconds(deps.clock) - startedAt >= absolute) return undefined
    return (await sameEpoch(found, deps)) ? standingSession(found, cookie, deps) : undefined
  }
  const write = createSessionWriter(bringingBack(deps.store, deps))
  return {
    ...base,
    async upsert(id, payload, expiresIn) {
      await stateSession(payload as Payload, deps)
      await write(id, payload as Payload, Number(expiresIn))
    },
    find: async (id) => remembered(await alive((await base.find(id)) ?? undefined, id)),
    findByUid: async (uid) => remembered(await alive((await base.findByUid(uid)) ?? undefined)),
    async destroy(id) {
      await stateLogout(deps)
      await base.destroy(id)
    },
  }
}

const SEEN_EVERY = 300

/** Every scope of the Grant at hand, for the owner's list of connected clients. */
function grantedScope(): string {
  const grant = Provider.ctx?.oidc.grant
  return [grant?.getOIDCScope() ?? '', ...Object.values(grant?.resources ?? {})].filter(Boolean).join(' ')
}

/** Adds to the payload what SQL was told (`linked`, `seenAt`), so that it is told once. */
async function stateSession(payload: Payload, deps: AdapterDeps): Promise<void> {
  const { uid, accountId } = payload as { uid?: string; accountId?: string }
  if (uid === undefined || accountId === undefined) return
  const linked = { ...(payload.linked as { [clientId: string]: string } | undefined) }
  const authorizations = (payload.authorizations ?? {}) as {
    [clientId: string]: { sid?: string; grantId?: string; persistsLogout?: boolean }
  }
  for (const [clientId, { sid, grantId, persistsLogout }] of Object.entries(authorizations)) {
    if (sid === undefined || grantId === undefined) continue
    const mark = `${grantId}${persistsLogout ? ' offline' : ''}`
    if (linked[clientId] === mark) continue
    const link = { sessionUid: uid, accountId, clientId, sid, grantId, offline: persistsLogout === true }
    // "End everything" came between the sign-in and this answer: a grant must not outlive it.
    if (!(await deps.linkClient({ ...link, scope: grantedScope() })))
      throw new errors.AccessDenied('the session has ended')
    linked[clientId] = mark
  }
  payload.linked = linked
  const now = seconds(deps.clock)
  if (now - Number(payload.seenAt ?? 0) < SEEN_EVERY) return
  if (payload.seenAt !== undefined) await deps.sessionSeen(uid)
  payload.seenAt = now
}

function grantAdapter(base: Adapter, deps: AdapterDeps): Adapter {
  return {
    ...base,
    async upsert(id, payload, expiresIn) {
      const grant = payload as Payload
      const accountId = grant.accountId
      // The epoch of the session that asked, not of now: a grant made by a session that was just ended is born dead.
      if (typeof accountId === 'string' && grant.epoch === undefined) {
        const session = Provider.ctx?.oidc?.session as { epoch?: number } | undefined
        grant.epoch = session?.epoch ?? (await deps.accountState(accountId))?.epoch
      }
      await base.upsert(id, payload, expiresIn)
    },
    async find(id) {
      const found = await base.find(id)
      return found && (await sameEpoch(found, deps)) ? standingGrant(found, id, deps) : undefined
    },
    async destroy(id) {
      if (signingOut()) await stateLogout(deps)
      else await deps.grantRevoked(id, revocationReason())
      await base.destroy(id)
    },
  }
}

/** Compares the record's epoch with the account's. */
async function sameEpoch(found: AdapterPayload, { accountState }: AdapterDeps): Promise<boolean> {
  if (!found.accountId) return true
  const state = await accountState(found.accountId)
  return state?.active === true && state.epoch === (found as Payload).epoch
}

const stated = new WeakSet<object>()

/** At the end_session endpoint the engine destroys grants first and the session last: state it all before the first. */
async function stateLogout({ sessionEnded }: AdapterDeps): Promise<void> {
  const ctx = Provider.ctx
  if (ctx === undefined || !signingOut() || stated.has(ctx)) return
  const session = ctx.oidc.session
  if (session?.accountId === undefined) return
  stated.add(ctx)
  await sessionEnded(session.uid, 'logout')
}

/** Whether this request is the confirmed end of the browser's session. */
function signingOut(): boolean {
  return route() === 'end_session_confirm' && Boolean((Provider.ctx?.oidc.params as Payload | undefined)?.logout)
}

function revocationReason(): string {
  if (route() === 'revocation') return 'revoked_by_client'
  if (route() !== 'token') return 'revoked'
  const { grant_type: grantType } = (Provider.ctx?.oidc.params ?? {}) as { grant_type?: string }
  // A refresh token may also be shown to be exchanged (ID-JAG).
  return grantType === 'refresh_token' || grantType === TOKEN_EXCHANGE ? 'refresh_token_reused' : 'code_reused'
}

function withAvailability(adapter: Adapter, { unavailable }: AdapterDeps): Adapter {
  const guard = createAvailability(unavailable)
  const guarded = Object.entries(adapter).map(([name, operation]) => [name, guard(operation)])
  return Object.fromEntries(guarded) as Adapter
}
