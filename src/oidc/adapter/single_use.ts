/**
 * What is redeemed once (RFC 6749 §4.1.2 and §6, RFC 8628, CIBA Core 1.0): codes, device codes, requests through the back channel and
 * refresh tokens. The engine reads that a thing
 * was consumed and then consumes it, without looking at the answer; here the store decides, and the loser kills the grant.
 */
import Provider, { type Adapter, type AdapterPayload, errors } from 'oidc-provider'
import type { Clock } from '../../platform/clock.ts'
import type { OidcStore, Payload } from './store.ts'

export interface DeviceAnswer {
  readonly userCode: string
  readonly clientId: string
  /** Who said yes. */
  readonly accountId?: string | undefined
  readonly grantId?: string | undefined
  /** Why not. */
  readonly error?: string | undefined
}

export interface SingleUseDeps {
  readonly store: OidcStore
  readonly clock: Clock
  /** States in SQL that a grant is dead. */
  readonly grantRevoked: (grantId: string, reason: string) => Promise<void>
  /** Seconds in which a rotated refresh token still leads to its one successor. */
  readonly graceSeconds: (clientId: string | undefined) => Promise<number>
  /** States the answer that a device gets; false when it has one already. */
  readonly deviceDecided: (answer: DeviceAnswer) => Promise<boolean>
  /** Whether it is time to ask again for the answer to a device code or a request through the back channel. */
  readonly mayPoll: (id: string) => Promise<boolean>
  /** The one successor of a refresh token. */
  readonly successorOf: (refreshToken: string) => string
}

type OnceRedeemed = 'AuthorizationCode' | 'DeviceCode' | 'BackchannelAuthenticationRequest'

/** What is redeemed once at the token endpoint: whoever comes second, or is another client, ends everything made of it. */
export function codeAdapter(model: OnceRedeemed, base: Adapter, deps: SingleUseDeps): Adapter {
  return {
    ...base,
    async find(id) {
      const found = await base.find(id)
      if (found && presentedByAnother(found)) await killGrant(found.grantId, 'presented_by_another_client', deps)
      return found && model === 'AuthorizationCode' ? withinClocks(found) : found
    },
    async consume(id) {
      if ((await deps.store.consume(model, id, seconds(deps.clock))) === 'first') return
      const code = await base.find(id)
      await killGrant(code?.grantId, 'code_reused', deps)
      throw alreadyUsed(model)
    },
  }
}

/** Clocks of instances may differ by so much. */
const CLOCK_SECONDS = 100

/**
 * A code lives for so long as the store keeps it. By the clock of an instance that is a minute ahead of the one that gave it, it
 * would be dead at once.
 */
function withinClocks<T extends AdapterPayload>(found: T): T {
  return { ...found, exp: Number(found.exp) + CLOCK_SECONDS }
}

/** In the place of the id that only the device has: the browser knows a DeviceCode by its user code alone. */
const BY_USER_CODE = 'user_code '
const BROWSER_ROUTES: ReadonlySet<unknown> = new Set(['code_verification', 'device_resume'])

/**
 * A DeviceCode is read by two who do not know each other (RFC 8628): the device by its id, the browser by the user code. Ids
 * are stored as hashes, so the browser's side writes by the user code too; that name opens nothing at the token endpoint.
 */
export function deviceCodeAdapter(base: Adapter, deps: SingleUseDeps): Adapter {
  const { store } = deps
  const typedIn = (id: string) =>
    id.startsWith(BY_USER_CODE) && BROWSER_ROUTES.has(route()) ? id.slice(BY_USER_CODE.length) : undefined
  const findByUserCode = async (userCode: string) => {
    const found = await store.findByUserCode(userCode)
    return found && { ...found, userCode, jti: `${BY_USER_CODE}${userCode}` }
  }
  const code = codeAdapter('DeviceCode', base, deps)
  return {
    ...code,
    findByUserCode,
    async upsert(id, payload, expiresIn) {
      const userCode = typedIn(id)
      if (userCode === undefined) return base.upsert(id, payload, expiresIn)
      const { clientId, accountId, grantId, error } = payload
      const isDecided = accountId !== undefined || error !== undefined
      // Two browsers may have the page open: the first answer is the device's (A72).
      if (
        isDecided &&
        !(await deps.deviceDecided({ userCode, clientId: String(clientId), accountId, grantId, error }))
      ) {
        throw new errors.AccessDenied('the device has its answer')
      }
      await store.saveByUserCode(userCode, payload as Payload)
    },
    async find(id) {
      const userCode = typedIn(id)
      if (userCode !== undefined) return findByUserCode(userCode)
      const found = await code.find(id)
      const isPending = found && found.accountId === undefined && found.error === undefined
      // RFC 8628 §3.5: a client that asks too often is told, and its code is not looked at.
      if (isPending && route() === 'token' && !(await deps.mayPoll(id))) throw new errors.SlowDown()
      return found
    },
  }
}

/** Seconds for which a client that comes too late is told so (`expired_token`), and not that there never was such a request. */
const TOO_LATE_SECONDS = 600

/**
 * A request through the back channel (CIBA Core 1.0): its answer is fetched by its id. `base` seals it: it holds the hint by which
 * somebody was named, and the token that the client is notified with.
 */
export function backchannelRequestAdapter(base: Adapter, deps: SingleUseDeps): Adapter {
  const request = codeAdapter('BackchannelAuthenticationRequest', base, deps)
  return {
    ...request,
    upsert: (id, payload, expiresIn) => base.upsert(id, payload, Math.max(0, expiresIn ?? 0) + TOO_LATE_SECONDS),
    async find(id) {
      const found = await request.find(id)
      if (!found || route() !== 'token' || presentedByAnother(found)) return found
      const isPending = found.grantId === undefined && found.error === undefined
      // CIBA Core §11: as with device codes, a client that asks too often is told.
      if (isPending && Number(found.exp) > seconds(deps.clock) && !(await deps.mayPoll(id))) throw new errors.SlowDown()
      return found
    },
  }
}

/**
 * A rotated token leads to its one derived successor for the grace window: eight tabs, a lost response and a retry all
 * arrive at the same token. After the window, or once the successor was used itself, it is reuse and the family dies.
 */
export function refreshTokenAdapter(base: Adapter, deps: SingleUseDeps): Adapter {
  const { store, clock, successorOf } = deps
  const inGrace = async (id: string, consumed: number, clientId: string | undefined) => {
    if (seconds(clock) - consumed >= (await deps.graceSeconds(clientId))) return false
    const successor = await store.find('RefreshToken', successorOf(id))
    return successor?.consumed === undefined
  }
  return {
    ...base,
    async upsert(id, payload, expiresIn) {
      await store.save('RefreshToken', id, payload as Payload, expiresIn, true)
    },
    async find(id) {
      const found = await base.find(id)
      if (!found) return undefined
      if (presentedByAnother(found)) await killGrant(found.grantId, 'presented_by_another_client', deps)
      const consumed = found.consumed as number | undefined
      if (consumed === undefined || route() !== 'token') return found
      if (!(await inGrace(id, consumed, found.clientId))) return found
      const { consumed: _hidden, ...unused } = found
      return unused
    },
    async consume(id) {
      const answer = await store.consume('RefreshToken', id, seconds(clock))
      if (answer === 'first') return
      const token = await store.find('RefreshToken', id)
      const clientId = token?.clientId as string | undefined
      if (answer !== 'missing' && (await inGrace(id, answer, clientId))) return
      await killGrant(token?.grantId, 'refresh_token_reused', deps)
      throw alreadyUsed('RefreshToken')
    },
    async destroy(id) {
      // The engine would end the grant after the token (RFC 7009 §2.1): a store that takes no writes would keep both.
      const token = route() === 'revocation' ? await store.find('RefreshToken', id) : undefined
      if (typeof token?.grantId === 'string') await deps.grantRevoked(token.grantId, 'revoked_by_client')
      await base.destroy(id)
    },
  }
}

async function killGrant(grantId: unknown, reason: string, { grantRevoked, store }: SingleUseDeps): Promise<void> {
  if (typeof grantId !== 'string') return
  await grantRevoked(grantId, reason)
  await store.destroy('Grant', grantId)
}

/** A bearer value that reached the token endpoint in the hands of another, authenticated, client was stolen (RFC 9700 §4). */
function presentedByAnother(found: AdapterPayload): boolean {
  const client = Provider.ctx?.oidc?.client
  return route() === 'token' && client !== undefined && found.clientId !== client.clientId
}

/** The engine's endpoint at hand. */
export function route(): string | undefined {
  return Provider.ctx?.oidc?.route
}

export function alreadyUsed(model: string): Error {
  if (model === 'PushedAuthorizationRequest') return new errors.InvalidRequestUri('request_uri was already used')
  return new errors.InvalidGrant('already consumed')
}

export function seconds(clock: Clock): number {
  return Math.floor(clock.now().getTime() / 1000)
}
