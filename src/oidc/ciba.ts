/**
 * OpenID Connect Client-Initiated Backchannel Authentication Core 1.0: a client asks for a person who is elsewhere, and the person
 * answers in the account pages. Whoever is named, known or not, the client's answer is the same (A36): what is asked about nobody
 * is asked of an account that there is not.
 */
import type Provider from 'oidc-provider'
import { type Account, type Client, errors, type KoaContextWithOIDC } from 'oidc-provider'
import { wishesOf } from '../interaction/levels.ts'
import { DELIVERY_MODES, EXPIRY, isBindingMessage } from '../platform/ciba.ts'
import { isFapi } from '../platform/client_protocol.ts'
import { newId } from '../platform/ids.ts'
import { type Agreed, createGrantFor, requested } from './grants.ts'
import { type Pairwise, sectorOf } from './pairwise.ts'
import type { LevelDeps } from './policy.ts'

/** What the account pages keep of a request. */
export interface BackchannelRequest {
  readonly accountId: string
  readonly clientId: string
  readonly clientName: string
  readonly brand: string | undefined
  readonly authReqId: string
  readonly agreed: Agreed
  readonly bindingMessage: string | undefined
  readonly acr: string
  readonly secondFactor: boolean
  readonly expiresAt: Date
}

export interface CibaDeps {
  /** The account whose address it is, in whatever state. */
  readonly accountNamed: (email: string) => Promise<string | undefined>
  /** Keeps the request, and asks the person if they can be asked. */
  readonly backchannelAsked: (request: BackchannelRequest) => Promise<void>
}

type Params = { readonly [name: string]: unknown }

const paramsOf = (ctx: KoaContextWithOIDC) => (ctx.oidc.params ?? {}) as Params

/** `ciba` of the engine's features. `enabled`: there are pages to answer on. */
export function createCiba(deps: CibaDeps & Pick<LevelDeps, 'levels' | 'now' | 'wantsSecondFactor'>, enabled: boolean) {
  return {
    enabled,
    deliveryModes: [...DELIVERY_MODES],
    processLoginHintToken: async () => {
      throw new errors.InvalidRequest('login_hint_token is not supported')
    },
    processLoginHint: async (_ctx: KoaContextWithOIDC, hint: string) => (await deps.accountNamed(hint)) ?? newId(),
    verifyUserCode: async (_ctx: KoaContextWithOIDC, _account: Account, userCode: string | undefined) => {
      if (userCode !== undefined) throw new errors.InvalidRequest('user_code is not supported')
    },
    validateBindingMessage: async ({ oidc }: KoaContextWithOIDC, message: string | undefined) => {
      // FAPI-CIBA §5.2.2: nothing else that can be asked for here tells one request from another.
      if (message === undefined && isFapi(oidc.client?.profile)) {
        throw new errors.InvalidRequest(`binding_message is required with profile ${oidc.client?.profile}`)
      }
      if (message === undefined || isBindingMessage(message)) return
      throw new errors.InvalidBindingMessage('must be 1 to 100 visible characters')
    },
    validateRequestContext: async () => {},
    async triggerAuthenticationDevice(
      ctx: KoaContextWithOIDC,
      request: { readonly jti: string; readonly expiration: number },
      { accountId }: Account,
      client: Client,
    ) {
      const params = paramsOf(ctx)
      await deps.backchannelAsked({
        ...{ accountId, clientId: client.clientId, clientName: client.clientName ?? client.clientId },
        brand: client.brand as string | undefined,
        authReqId: request.jti,
        agreed: requested(ctx),
        bindingMessage: params.binding_message as string | undefined,
        acr: deps.levels.demand(params, client.minimum_acr as string | undefined).acr,
        secondFactor: deps.wantsSecondFactor(client.second_factor as Parameters<typeof deps.wantsSecondFactor>[0]),
        expiresAt: new Date(deps.now().getTime() + request.expiration * 1000),
      })
    },
  }
}

/** `ttl` of a request (CIBA Core §7.1): a wish outside of our bounds gets the nearest; `expires_in` says which. */
export function requestSeconds(ctx: KoaContextWithOIDC | undefined): number {
  const { requested_expiry: wish } = ctx === undefined ? {} : paramsOf(ctx)
  if (wish === undefined) return EXPIRY.usual
  return Math.min(EXPIRY.most, Math.max(EXPIRY.least, Number(wish)))
}

/** The account that a request names by its hint: somebody, or nobody, which the client is not told. */
export async function hintedAccount(ctx: KoaContextWithOIDC, sub: string, pairwise: Pairwise): Promise<Account> {
  const { client, entities } = ctx.oidc
  const isPairwise = entities.IdTokenHint !== undefined && client?.subjectType === 'pairwise'
  const accountId = isPairwise ? ((await pairwise.accountOf(sub, sectorOf(client))) ?? newId()) : sub
  return { accountId, claims: async () => ({ sub: accountId }) }
}

/** The person's answer. */
export type BackchannelAnswer =
  | { readonly granted: false; readonly authReqId: string }
  | {
      readonly granted: true
      readonly authReqId: string
      readonly accountId: string
      readonly agreed: Agreed
      readonly proof: {
        readonly acr: string | undefined
        readonly amr: readonly string[]
        readonly authTime: number
      }
      readonly link: (grantId: string, sid: string) => Promise<boolean>
    }

interface Request {
  readonly clientId: string
  readonly isExpired: boolean
  readonly grantId?: string | undefined
  readonly error?: string | undefined
  readonly params?: Params | undefined
}

/**
 * Gives a request its answer, unless it has one: with a Grant of its own, which is stated before. Tells whether the client waits
 * for a ping.
 */
export async function answerRequest(
  provider: Provider,
  levels: Pick<LevelDeps['levels'], 'acrs' | 'atLeast'>,
  answer: BackchannelAnswer,
): Promise<boolean> {
  const request = await find(provider, answer.authReqId)
  const client = request && (await provider.Client.find(request.clientId))
  if (request === undefined || client === undefined || request.isExpired) return false
  const isPinged = client.backchannelTokenDeliveryMode === 'ping'
  if (request.grantId !== undefined || request.error !== undefined) return isPinged
  const denied = new errors.AccessDenied('the person said no')
  if (!answer.granted) {
    await provider.backchannelResult(request as never, denied)
    return isPinged
  }
  const { accountId, agreed, proof } = answer
  const grantId = await createGrantFor(provider)({ accountId, clientId: request.clientId, ...agreed })
  const sid = newId()
  // "End everything" came between the page and this: a grant must not outlive it.
  if (!(await answer.link(grantId, sid))) {
    await provider.backchannelResult(request as never, denied)
    return isPinged
  }
  const acr = acrFor(request.params ?? {}, proof.acr, levels)
  await provider.backchannelResult(request as never, grantId, {
    ...{ ...(acr === undefined ? {} : { acr }), amr: [...proof.amr], authTime: proof.authTime, sid },
    // By the link it ends with the sign-in; the engine would look for the client in the browser's session, where it is not.
    expiresWithSession: false,
  })
  return isPinged
}

/** The client's first wish that the sign-in reaches, for it compares strings; else the level itself. */
function acrFor(params: Params, reached: string | undefined, levels: Pick<LevelDeps['levels'], 'acrs' | 'atLeast'>) {
  const { acrs } = wishesOf(params)
  return acrs.find((wish) => levels.acrs.includes(wish) && levels.atLeast(reached, wish)) ?? reached
}

/** Posts the notification (CIBA Core §10.2); rejects unless the client answers 200 or 204. Too late it is nobody's business. */
export async function deliverPing(provider: Provider, clientId: string, authReqId: string): Promise<void> {
  const client = await provider.Client.find(clientId)
  const request = await find(provider, authReqId)
  if (client?.backchannelTokenDeliveryMode !== 'ping' || request === undefined || request.isExpired) return
  const model = provider.Client as unknown as { deliverPing(this: unknown, request: Request): Promise<void> }
  await model.deliverPing.call(client, request)
}

async function find(provider: Provider, authReqId: string): Promise<Request | undefined> {
  const model = provider.BackchannelAuthenticationRequest
  return (await model.find(authReqId, { ignoreExpiration: true })) as Request | undefined
}
