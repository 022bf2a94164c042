/**
 * Rich Authorization Requests (RFC 9396): which objects a request may hold, when a person is asked, and which of what was
 * agreed to a token carries. An object is granted whole or not at all, and only by a person who has seen it.
 */
import { errors, type KoaContextWithOIDC } from 'oidc-provider'
import {
  type Detail,
  type DetailType,
  detailDigest,
  detailProblem,
  detailsIn,
  parameterProblem,
} from '../platform/authorization_details.ts'

/** An agreement with one object, by its digest; without an expiry it counts as long as the grant, and for that grant only. */
export interface LiveDetail {
  readonly digest: string
  readonly expiresAt: Date | undefined
}

/** What of these an account has agreed to for a client, neither taken back nor over. */
export type FindDetails = (
  accountId: string,
  clientId: string,
  digests: readonly string[],
) => Promise<readonly LiveDetail[]>

export interface DetailRules {
  readonly detailTypes: readonly DetailType[]
  readonly findDetails: FindDetails
}

/** `invalid_authorization_details` (RFC 9396 §5); the engine has the class, its types do not. */
function invalid(description: string): Error {
  const { InvalidAuthorizationDetails } = errors as unknown as {
    InvalidAuthorizationDetails: new (description: string) => Error
  }
  return new InvalidAuthorizationDetails(description)
}

interface Params {
  readonly authorization_details?: string
  readonly resource?: string | readonly string[]
  readonly grant_type?: string
}
const paramsOf = ({ oidc }: KoaContextWithOIDC) => (oidc.params ?? {}) as Params

/** What a token is, as far as it matters here. */
interface Bearing {
  readonly accountId?: string
  readonly clientId?: string
  readonly rar?: readonly Detail[]
  readonly resourceServer?: { identifier(): string }
}

/** `richAuthorizationRequests` of the engine; without a declared type the parameter means nothing here. */
export function createRichRequests({ detailTypes, findDetails }: DetailRules) {
  const byName = new Map(detailTypes.map((type) => [type.type, type]))
  const live = async ({ accountId, clientId }: Bearing, details: readonly Detail[] = []): Promise<Detail[]> => {
    if (details.length === 0 || accountId === undefined || clientId === undefined) return []
    const found = await findDetails(accountId, clientId, details.map(detailDigest))
    const digests = new Set(found.map(({ digest }) => digest))
    return details.filter((detail) => byName.has(detail.type) && digests.has(detailDigest(detail)))
  }
  const resourceOf = ({ type }: Detail) => byName.get(type)?.resource
  const validate = async (ctx: KoaContextWithOIDC, detail: { readonly [name: string]: unknown }) => {
    const type = byName.get(String(detail.type))
    if (type === undefined) throw invalid('the type is not known')
    assertAsked(ctx, type)
    const problem = detailProblem(type, detail)
    if (problem !== undefined) throw invalid(`${type.type}: ${problem}`)
  }
  return {
    enabled: detailTypes.length > 0,
    types: Object.fromEntries(detailTypes.map(({ type }) => [type, { validate }])),

    /** What a code may be redeemed for. The policy has asked the person; what was taken back since then is not given. */
    async authorizationDetailsForGrantSource(ctx: KoaContextWithOIDC, source: Bearing) {
      const asked = detailsIn(paramsOf(ctx).authorization_details)
      const given = await live({ accountId: source.accountId ?? '', clientId: ctx.oidc.client?.clientId ?? '' }, asked)
      if (given.length !== asked.length) throw new errors.AccessDenied('authorization_details are not granted any more')
      return given
    },

    /** RFC 9396 §6: of what was granted, what the client names, for the resource server that the token is for. Never more. */
    async authorizationDetailsForAccessToken(ctx: KoaContextWithOIDC, token: Bearing, source: Bearing | undefined) {
      const { authorization_details: parameter } = paramsOf(ctx)
      const clientId = ctx.oidc.client?.clientId ?? ''
      const granted = await live({ accountId: source?.accountId ?? '', clientId }, source?.rar)
      const named = parameter === undefined ? undefined : detailsIn(parameter).map(detailDigest)
      const held = granted.map(detailDigest)
      if (named?.some((digest) => !held.includes(digest))) throw invalid('authorization_details go beyond the grant')
      const audience = token.resourceServer?.identifier()
      return granted.filter(
        (detail) => resourceOf(detail) === audience && named?.includes(detailDigest(detail)) !== false,
      )
    },

    /** RFC 9396 §9.2: what still counts, and of that what is for the one who asks. */
    async authorizationDetailsForIntrospection({ oidc }: KoaContextWithOIDC, token: Bearing) {
      const all = await live(token, token.rar)
      if (oidc.client?.clientId === token.clientId) return all
      const serves = (oidc.client?.resource_server_for ?? []) as readonly unknown[]
      return all.filter((detail) => serves.includes(resourceOf(detail)))
    },
  }
}

/** Where details may be asked for at all: with a person in front of a page. The engine keeps clients to their own types. */
function assertAsked(ctx: KoaContextWithOIDC, type: DetailType): void {
  const { authorization_details: parameter = '', resource, grant_type: grant } = paramsOf(ctx)
  const { route } = ctx.oidc
  const isPersonal = route === 'token' ? grant === 'authorization_code' || grant === 'refresh_token' : true
  const isElsewhere = /^(code|device)_/.test(route) || route === 'backchannel_authentication'
  if (!isPersonal || isElsewhere) {
    throw invalid('authorization_details are for the authorization code flow only')
  }
  const problem = parameterProblem(parameter)
  if (problem !== undefined) throw invalid(`authorization_details ${problem}`)
  if (resource !== undefined && ![resource].flat().includes(type.resource)) {
    throw invalid(`${type.type}: is for the resource ${type.resource}, which the request does not name`)
  }
}

/** The resource servers that a request is for which names none, but details (RFC 9396 §3.2); undefined for other requests. */
export function resourcesOfDetails(types: readonly DetailType[], parameter: unknown): string[] | undefined {
  if (types.length === 0 || typeof parameter !== 'string') return undefined
  const names = detailsIn(parameter).map(({ type }) => type)
  const resources = types.filter(({ type }) => names.includes(type)).map(({ resource }) => resource)
  return resources.length === 0 ? undefined : [...new Set(resources)]
}

/**
 * What of the request the person has not agreed to. What was agreed on the page of this very request is in its result, by
 * digest; nothing else is remembered but objects of a type that lasts, until their day.
 */
export async function detailsToAsk(ctx: KoaContextWithOIDC, rules: DetailRules): Promise<readonly Detail[]> {
  const { client, session, result } = ctx.oidc
  const asked = rules.detailTypes.length === 0 ? [] : detailsIn(paramsOf(ctx).authorization_details)
  if (asked.length === 0) return []
  const { details: agreed = [] } = (result?.consent ?? {}) as { details?: readonly string[] }
  const accountId = session?.accountId
  const found =
    accountId === undefined ? [] : await rules.findDetails(accountId, client?.clientId ?? '', asked.map(detailDigest))
  const lasting = new Set(found.filter(({ expiresAt }) => expiresAt !== undefined).map(({ digest }) => digest))
  const lasts = new Set(rules.detailTypes.filter((type) => type.expires_days !== undefined).map(({ type }) => type))
  return asked.filter((detail) => {
    const digest = detailDigest(detail)
    return !agreed.includes(digest) && !(lasts.has(detail.type) && lasting.has(digest))
  })
}
