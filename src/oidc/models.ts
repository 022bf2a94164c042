/** What we change in the engine's models, all in one place; each change says which attack or trap it answers. */
import Provider, { errors } from 'oidc-provider'
import { browserOf } from '../http/csrf.ts'
import { type Levels, wishesOf } from '../interaction/levels.ts'
import type { Proof, SessionLimits } from '../interaction/step.ts'
import type { SessionMemory } from './adapter/session_writer.ts'
import { adaptClient, type ClientModelDeps } from './client_model.ts'
import { isCompactJws } from './compact_jws.ts'
import { detectReplays, type ReplayDeps } from './replays.ts'
import { proofsOf } from './session_proofs.ts'

export interface ModelDeps extends ClientModelDeps, ReplayDeps {
  readonly successorOf: (refreshToken: string) => string
  readonly levels: Pick<Levels, 'worth'>
  /** The kind of browser that a user agent names; empty when it names none. */
  readonly deviceSignal: (userAgent: string) => string
  /** The one provider by which people of an account's closed domain may come; undefined for everybody else. */
  readonly confinedTo: (accountId: string) => Promise<string | undefined>
  /** States that a refresh token came from another kind of browser than it was given to. */
  readonly deviceChanged: (token: { accountId: string; clientId: string; grantId: string }) => Promise<void>
}

/** What `interaction/store.ts` finishes a login with, beyond the engine's own fields. */
export interface LoginResult {
  readonly accountId: string
  readonly sessionUid: string
  readonly epoch: number
  /** The browser that showed the proofs. */
  readonly browser: string
  /** All that was shown in the session, each with its time. */
  readonly proofs: readonly Proof[]
  /** Where the brand ends the session earlier than the settings do. */
  readonly limits?: SessionLimits | undefined
  /** The client at which setting up a second factor was put off. */
  readonly putOffAt?: string | undefined
}

type Prototype = { [name: string]: (...args: never[]) => unknown }
type Loose = { prototype: Prototype; [name: string]: unknown }

/** Applies our changes to one provider's models. */
export function adaptModels(provider: Provider, deps: ModelDeps): void {
  keepInPayload(provider.Session, ['epoch', 'startedAt', 'linked', 'seenAt', 'proofs', 'limits', 'putOffAt', 'memory'])
  keepInPayload(provider.Grant, ['epoch'])
  keepInPayload(provider.RefreshToken, ['device', 'upstreams'])
  keepInPayload(provider.AuthorizationCode, ['upstreams'])
  adaptSession(provider, deps)
  adaptClient(provider, deps)
  adaptTokens(provider, deps)
  detectReplays(provider, deps)
  bindToDevice(provider, deps)
  confineToRealm(provider, deps)
}

/** The engine drops payload keys it does not know, by a list it reads once. */
export function keepInPayload(model: object, names: readonly string[]): void {
  const known = (model as { IN_PAYLOAD: readonly string[] }).IN_PAYLOAD
  Object.defineProperty(model, 'IN_PAYLOAD', { get: () => [...known, ...names] })
}

interface LiveSession {
  uid: string
  /** Absent until it was stored. */
  exp?: number
  readonly new?: boolean
  oldId?: string | undefined
  epoch?: number
  startedAt?: number
  seenAt?: number
  accountId?: string
  proofs?: readonly Proof[]
  limits?: SessionLimits | undefined
  putOffAt?: string | undefined
  memory?: SessionMemory
}

/**
 * `acr` and `amr` of a session are what its proofs are worth at this moment for this request, not what they once were: a
 * level is lost when its proofs grow old. Tokens keep the values of their code, refreshed ones too (RFC 9470 §6.2).
 */
function deriveLevel(prototype: Prototype, { levels, now }: ModelDeps): void {
  const worth = (session: unknown) => {
    const { params, claims } = Provider.ctx?.oidc ?? {}
    return levels.worth(proofsOf(session), now().getTime(), wishesOf({ ...params, claims }))
  }
  for (const name of ['acr', 'amr'] as const) {
    Object.defineProperty(prototype, name, {
      get(this: unknown) {
        return worth(this)[name]
      },
      set() {},
    })
  }
}

function adaptSession(provider: Provider, deps: ModelDeps): void {
  const { now } = deps
  const { prototype } = provider.Session as unknown as Loose
  deriveLevel(prototype, deps)
  const save = prototype.save as (this: LiveSession, ttl: number) => Promise<string>
  // The engine destroys the old id before it writes the new one; a refresh in that gap would lose its session.
  prototype.save = async function (this: LiveSession, ttl: number) {
    const memory: SessionMemory = { ...this.memory, oldId: this.oldId }
    this.oldId = undefined
    this.memory = memory
    const value = await save.call(this, ttl)
    if (memory.isElsewhere) keepSessionCookie(provider)
    return value
  } as never
  const model = provider.Session as unknown as { get(ctx: unknown): Promise<LiveSession> }
  const get = model.get
  // For an id that is not there any more the engine would set a cookie of a new, empty session. When a double click or a
  // second tab is still under way with the id that a sign-in has just replaced, that cookie would sign the person out.
  model.get = async function (this: unknown, ctx: unknown) {
    const session = await get.call(this, ctx)
    if (session.exp === undefined && session.new !== true) Object.defineProperty(session, 'new', { value: true })
    return session
  }
  const loginAccount = prototype.loginAccount as (this: LiveSession, details: object) => void
  prototype.loginAccount = function (this: LiveSession, details: { accountId: string }) {
    const { ctx } = Provider
    const login = ctx?.oidc.entities.Interaction?.result?.login as LoginResult | undefined
    // Whoever planted the interaction's cookies in a victim's browser holds them too, and would resume as the victim.
    if (ctx !== undefined && login !== undefined && login.browser !== browserOf(ctx)) {
      throw new errors.AccessDenied('the sign-in was made in another browser')
    }
    const seconds = Math.floor(now().getTime() / 1000)
    // A session that goes on keeps the limits it began with.
    if (this.uid !== login?.sessionUid || this.startedAt === undefined) {
      this.startedAt = seconds
      this.limits = login?.limits
    }
    this.seenAt = seconds
    if (login?.accountId === details.accountId) {
      this.uid = login.sessionUid
      this.epoch = login.epoch
      this.proofs = login.proofs
      this.putOffAt = login.putOffAt
    }
    loginAccount.call(this, details)
  } as never
}

/** A browser whose session has another id by now, which another answer has told it, keeps that. */
function keepSessionCookie(provider: Provider): void {
  const response = Provider.ctx?.response
  const name = (provider as unknown as { cookieName(kind: 'session'): string }).cookieName('session')
  const set = [response?.get('Set-Cookie') ?? []].flat().filter((cookie) => cookie !== '')
  response?.remove('Set-Cookie')
  const others = set.filter((cookie) => !cookie.startsWith(`${name}=`))
  if (others.length > 0) response?.set('Set-Cookie', others)
}

interface BrowserToken {
  device?: string
  accountId: string
  clientId: string
  grantId: string
}

/**
 * The refresh token of a browser application stays with the kind of browser that it was given to: one that turns up in
 * another was copied. A user agent proves nothing, so this stops only careless thieves; the family lives on, since a person
 * may have asked their browser to pose as another. Machines in between (confidential clients) are not looked at.
 */
function bindToDevice(provider: Provider, { deviceSignal, deviceChanged }: ModelDeps): void {
  const model = provider.RefreshToken as unknown as Loose & {
    find(value: string, options?: object): Promise<BrowserToken | undefined>
  }
  const present = () => deviceSignal(Provider.ctx?.get('User-Agent') ?? '')
  const save = model.prototype.save as (this: BrowserToken, ttl: number) => Promise<string>
  model.prototype.save = function (this: BrowserToken, ttl: number) {
    const { client, entities } = Provider.ctx?.oidc ?? {}
    const rotated = entities?.RotatedRefreshToken as BrowserToken | undefined
    if (client?.clientAuthMethod === 'none' && client.applicationType === 'web') {
      const device = rotated?.device ?? present()
      if (device !== '') this.device = device
    }
    return save.call(this, ttl)
  } as never
  const find = model.find
  model.find = async (value, options) => {
    const token = await find.call(model, value, options)
    if (Provider.ctx?.oidc.route !== 'token' || token?.device === undefined || token.device === present()) return token
    await deviceChanged(token)
    throw new errors.InvalidGrant('the refresh token was given to another browser')
  }
}

interface SignedInToken {
  /** The providers that were come by. */
  upstreams?: readonly string[]
  readonly accountId: string
}

/**
 * Once a domain is closed to everything but its provider, a refresh token serves those only who came by that: the organisation
 * may have closed it because of what somebody holds. Others rest, and serve again when the domain is opened.
 */
function confineToRealm(provider: Provider, { confinedTo }: ModelDeps): void {
  const code = provider.AuthorizationCode as unknown as Loose
  const saveCode = code.prototype.save as (this: SignedInToken, ttl?: number) => Promise<string>
  code.prototype.save = function (this: SignedInToken, ttl?: number) {
    const upstreams = proofsOf(Provider.ctx?.oidc.session).flatMap(({ by }) => by?.upstream ?? [])
    if (upstreams.length > 0) this.upstreams = [...new Set(upstreams)]
    return saveCode.call(this, ttl)
  } as never
  const model = provider.RefreshToken as unknown as Loose & {
    find(value: string, options?: object): Promise<SignedInToken | undefined>
  }
  const save = model.prototype.save as (this: SignedInToken, ttl?: number) => Promise<string>
  model.prototype.save = function (this: SignedInToken, ttl?: number) {
    const { RotatedRefreshToken, AuthorizationCode } = Provider.ctx?.oidc.entities ?? {}
    const { upstreams } = (RotatedRefreshToken ?? AuthorizationCode ?? {}) as Partial<SignedInToken>
    if (upstreams !== undefined) this.upstreams = upstreams
    return save.call(this, ttl)
  } as never
  const find = model.find
  model.find = async (value, options) => {
    const token = await find.call(model, value, options)
    if (Provider.ctx?.oidc.route !== 'token' || token === undefined) return token
    const upstream = await confinedTo(token.accountId)
    if (upstream === undefined || token.upstreams?.includes(upstream)) return token
    throw new errors.InvalidGrant('the account signs in by its organisation only')
  }
}

interface Validated {
  readonly header: { readonly typ?: unknown }
}

function adaptTokens(provider: Provider, { successorOf }: ModelDeps): void {
  const refresh = provider.RefreshToken as unknown as Loose
  const random = refresh.prototype.generateTokenId as (this: unknown) => string
  refresh.prototype.generateTokenId = function (this: unknown) {
    const rotated = Provider.ctx?.oidc.entities.RotatedRefreshToken
    return rotated === undefined ? random.call(this) : successorOf(rotated.jti)
  } as never
  const { IdToken } = provider as unknown as { IdToken: { validate(jwt: string, client: object): Promise<Validated> } }
  const validate = IdToken.validate
  // Of an `id_token_hint`, as of every JWS shown to us, there is one spelling (A68). A logout token of the same client and
  // person is another kind, which its type tells (A27).
  IdToken.validate = async (jwt, client) => {
    if (!isCompactJws(jwt)) throw new Error('not a compact JWS')
    const validated = await validate.call(IdToken, jwt, client)
    if (validated.header.typ !== undefined) throw new Error('another kind of token')
    return validated
  }
}
