/**
 * Assertions as grants (RFC 7521 §4.1, RFC 7523 §2.1): the signed word of an issuer in the settings about one of its people, or
 * one of its machines, by a row of the client's `assertion_issuers`. Also ID-JAGs of other servers
 * (draft-ietf-oauth-identity-assertion-authz-grant-04 §4.4), which say by their type that they are.
 */
import { decodeJwt, type JWTPayload, type JWTVerifyGetKey, errors as jose, jwtVerify } from 'jose'
import type { Client, KoaContextWithOIDC } from 'oidc-provider'
import type { TrustedIssuer } from '../platform/assertion_issuers.ts'
import { type AssertionRow, LONGEST_SECONDS } from '../platform/grant_policies.ts'
import { UpstreamError } from '../platform/upstream.ts'
import { temporarilyUnavailable } from './availability.ts'
import { isCompactJws } from './compact_jws.ts'
import { carry, mayActOf } from './delegation.ts'
import { clockTolerance, type ShownKeys, shownKeys, spendProof } from './engine_internals.ts'
import { refusal } from './grant_refusals.ts'
import {
  aim,
  answerWith,
  clientOf,
  type GrantDeps,
  type NewToken,
  narrowed,
  rowFor,
  scopesAt,
  secondsOf,
  textOf,
  valuesOf,
} from './grant_requests.ts'
import { ID_JAG_TYP } from './id_jag.ts'

/** A person here whom an issuer's subject names. */
export interface AssertedPerson {
  readonly accountId: string
  /** The level of ours that the issuer's `acr` stands for. */
  readonly acr: string | undefined
}

export interface JwtBearerDeps extends GrantDeps {
  /** By issuer, each with its keys. */
  readonly assertionIssuers: ReadonlyMap<string, { readonly trusted: TrustedIssuer; readonly keys: JWTVerifyGetKey }>
  /** Whose identity at the provider it is; undefined for nobody's, or when the provider is off. */
  readonly personOf: (of: {
    upstream: string
    issuer: string
    subject: string
    acr: string | undefined
  }) => Promise<AssertedPerson | undefined>
  /** The one provider by which people of the account's closed domain may come. */
  readonly confinedTo: (accountId: string) => Promise<string | undefined>
}

interface Assertion extends JWTPayload {
  readonly iss: string
  readonly sub: string
  readonly jti: string
  readonly exp: number
}

interface Read {
  readonly assertion: Assertion
  readonly trusted: TrustedIssuer
  readonly rows: readonly AssertionRow[]
  readonly isIdJag: boolean
}

/** Answers an assertion with an access token; never with a refresh token (RFC 7521 §4.1, ID-JAG §4.4.3). */
export async function grantByAssertion(deps: JwtBearerDeps, ctx: KoaContextWithOIDC): Promise<void> {
  const client = clientOf(ctx)
  if (client.clientAuthMethod === 'none') throw refusal('public_client')
  const read = await readAssertion(deps, ctx, client)
  const { assertion, isIdJag } = read
  const row = rowFor(read.rows, targetsIn(ctx, read), ({ resource }) => resource)
  const keys = await shownKeys(ctx)
  const bindTo = confirmed(assertion, keys, client)
  const limits = [row.scopes, scopesAt(deps, row.resource)]
  if (isIdJag && assertion.scope !== undefined) limits.push(String(assertion.scope).split(' '))
  const scopes = narrowed(textOf(ctx, 'scope'), ...limits)
  const made = { resource: row.resource, scopes, expiresAt: secondsOf(deps) + row.max_seconds, bindTo }
  const token = read.trusted.upstream === undefined ? machineToken : personToken
  await token(deps, ctx, { ...read, row, made, keys })
}

interface Granted extends Read {
  readonly row: AssertionRow
  readonly made: Parameters<typeof aim>[3]
  readonly keys: ShownKeys
}

/** The client's own token: the issuer says that it is one of the machines that the client is made of. */
async function machineToken(deps: JwtBearerDeps, ctx: KoaContextWithOIDC, granted: Granted): Promise<void> {
  const { assertion, row, made } = granted
  if (row.subjects?.includes(assertion.sub) !== true) throw refusal('assertion_subject')
  const client = clientOf(ctx)
  const token = new ctx.oidc.provider.ClientCredentials({ client } as never) as unknown as NewToken
  aim(deps, ctx, token, made)
  await spend(ctx, granted)
  await state(deps, ctx, granted, { subject: assertion.sub })
  await answerWith(deps, ctx, token)
}

/** A person's token, under a Grant of its own that ends with it, or with everything of the account. */
async function personToken(deps: JwtBearerDeps, ctx: KoaContextWithOIDC, granted: Granted): Promise<void> {
  const { assertion, trusted, made } = granted
  const upstream = String(trusted.upstream)
  const { iss: issuer, sub: subject } = assertion
  const acr = typeof assertion.acr === 'string' ? assertion.acr : undefined
  const person = await deps.personOf({ upstream, issuer, subject, acr })
  const account = person && (await deps.accountState(person.accountId))
  if (person === undefined || account?.active !== true) throw refusal('assertion_subject')
  const confinedTo = await deps.confinedTo(person.accountId)
  if (confinedTo !== undefined && confinedTo !== upstream) throw refusal('assertion_subject_confined')

  const client = clientOf(ctx)
  const { accountId } = person
  const { AccessToken, Grant } = ctx.oidc.provider
  const token = new AccessToken({ accountId, client, gty: 'jwt_bearer' } as never) as unknown as NewToken
  const exp = aim(deps, ctx, token, made)
  await spend(ctx, granted)
  await state(deps, ctx, granted, { accountId })
  const expiresIn = exp - secondsOf(deps)
  const grant = new Grant({ accountId, clientId: client.clientId, expiresIn } as never)
  grant.addResourceScope(made.resource, made.scopes.join(' '))
  // Of the account as it was judged: "end everything" in between leaves a grant that is born dead.
  Object.assign(grant, { epoch: account.epoch })
  Object.assign(token, { grantId: await grant.save() })
  const authTime = typeof assertion.auth_time === 'number' ? { auth_time: assertion.auth_time } : {}
  carry(token, { ...mayActOf(client), ...(person.acr !== undefined && { acr: person.acr, ...authTime }) })
  await answerWith(deps, ctx, token)
}

/** The last checks, which use something up: of two requests with the same assertion one gets past, wherever they arrive (A64). */
async function spend(ctx: KoaContextWithOIDC, { assertion, keys }: Granted): Promise<void> {
  const { iss, jti, exp } = assertion
  const { ReplayDetection } = ctx.oidc.provider as unknown as {
    ReplayDetection: { unique(issuer: string, id: string, exp: number): Promise<boolean> }
  }
  // Ids of DPoP proofs and client assertions are kept under client ids, which have no blank.
  const isFirst = await ReplayDetection.unique(`jwt-bearer ${iss}`, jti, exp + clockTolerance(ctx))
  if (!isFirst) throw refusal('assertion_replayed')
  await spendProof(ctx, keys)
}

function state(
  deps: JwtBearerDeps,
  ctx: KoaContextWithOIDC,
  { assertion, made, isIdJag }: Granted,
  about: { readonly accountId: string } | { readonly subject: string },
): Promise<void> {
  const { clientId } = clientOf(ctx)
  const { subject, ...account } = { subject: undefined, ...about }
  return deps.state({
    ...{ type: 'assertion.accepted', clientId, actor: `client:${clientId}`, ...account },
    data: {
      ...{ issuer: assertion.iss, jti: assertion.jti, profile: isIdJag ? 'id-jag' : 'jwt' },
      ...{ audience: made.resource, scopes: made.scopes, subject },
    },
  })
}

/** Checks everything about an assertion that does not depend on what is asked for, without using it up. */
async function readAssertion(deps: JwtBearerDeps, ctx: KoaContextWithOIDC, client: Client): Promise<Read> {
  const value = textOf(ctx, 'assertion')
  if (value === undefined) throw refusal('assertion_missing')
  const iss = issuerIn(value)
  const found = deps.assertionIssuers.get(iss)
  const rows = ((client.assertion_issuers ?? []) as readonly AssertionRow[]).filter(({ issuer }) => issuer === iss)
  if (found === undefined || rows.length === 0) throw refusal('assertion_issuer')
  const { trusted } = found
  const { payload, protectedHeader } = await verified(deps, ctx, value, found)
  const typ = protectedHeader.typ?.toLowerCase()
  const isIdJag = typ === ID_JAG_TYP
  // RFC 8725 §3.11: an access, ID or logout token of the same issuer is signed by the same keys.
  const isPlain = typ === undefined || typ === 'jwt' || typ === 'authorization-grant+jwt'
  if (!(isIdJag ? trusted.profiles.includes('id-jag') : isPlain && trusted.profiles.includes('jwt'))) {
    throw refusal('assertion_type')
  }
  if (!isOnly(payload.aud, deps.issuer)) throw refusal('assertion_audience')
  const assertion = withinTimes(ctx, deps, payload, isIdJag)
  if (isIdJag && assertion.client_id !== client.clientId) throw refusal('assertion_client')
  // Whoever acts there is nobody here: a token without the actor would be the person's own (impersonation).
  if (assertion.act !== undefined) throw refusal('assertion_acts')
  return { assertion, trusted, rows, isIdJag }
}

function issuerIn(value: string): string {
  if (!isCompactJws(value)) throw refusal('assertion_unreadable')
  try {
    return String(decodeJwt(value).iss)
  } catch (cause) {
    throw refusal('assertion_unreadable', { cause })
  }
}

/** RFC 7523 §3: the server is the audience, and nobody else (RFC 7523bis): what is meant for two can be replayed by one. */
function isOnly(aud: JWTPayload['aud'], issuer: string): boolean {
  return aud === issuer || (Array.isArray(aud) && aud.length === 1 && aud[0] === issuer)
}

type Found = NonNullable<ReturnType<JwtBearerDeps['assertionIssuers']['get']>>

async function verified(deps: JwtBearerDeps, ctx: KoaContextWithOIDC, value: string, { trusted, keys }: Found) {
  try {
    return await jwtVerify(value, keys, {
      ...{ issuer: trusted.issuer, algorithms: [...trusted.algorithms] },
      ...{ currentDate: deps.now(), clockTolerance: clockTolerance(ctx), requiredClaims: ['sub', 'aud', 'exp', 'jti'] },
    })
  } catch (cause) {
    // Keys that cannot be read say nothing of the assertion: it may be sent again.
    if (cause instanceof UpstreamError) throw temporarilyUnavailable(cause)
    if (cause instanceof jose.JWTExpired) throw refusal('assertion_times', { cause })
    throw refusal(cause instanceof jose.JWTClaimValidationFailed ? 'assertion_claims' : 'assertion_signature', {
      cause,
    })
  }
}

const LONGEST_TEXT = 255
const isText = (value: unknown) => typeof value === 'string' && value !== '' && value.length <= LONGEST_TEXT

/** Its claims, when they are of the right types and it is good for five minutes at the most, so that what is kept of it is little. */
function withinTimes(ctx: KoaContextWithOIDC, deps: JwtBearerDeps, payload: JWTPayload, isIdJag: boolean): Assertion {
  const { exp, iat } = payload
  const latest = secondsOf(deps) + clockTolerance(ctx)
  if (exp === undefined || exp > latest + LONGEST_SECONDS) throw refusal('assertion_times')
  if (iat === undefined ? isIdJag : iat > latest) throw refusal('assertion_times')
  if (!isText(payload.sub) || !isText(payload.jti)) throw refusal('assertion_claims')
  if (payload.scope !== undefined && typeof payload.scope !== 'string') throw refusal('assertion_claims')
  return payload as Assertion
}

/** What the request aims at: what it names, within what an ID-JAG names (its claim `resource`, one or several). */
function targetsIn(ctx: KoaContextWithOIDC, { assertion, isIdJag }: Read): string[] {
  const asked = valuesOf(ctx, 'resource')
  const claim = isIdJag ? [assertion.resource ?? []].flat().map(String) : []
  if (claim.length === 0) return asked
  if (asked.some((resource) => !claim.includes(resource))) throw refusal('target_not_allowed')
  return asked.length > 0 ? asked : claim
}

/** An assertion that is bound to a key is worth nothing without it (RFC 7800; ID-JAG §9.8.1). */
function confirmed({ cnf }: Assertion, keys: ShownKeys, client: Client): ShownKeys | undefined {
  const { jkt, 'x5t#S256': x5t } = (cnf ?? {}) as { jkt?: unknown; 'x5t#S256'?: unknown }
  const isProven = jkt === undefined ? x5t !== undefined && x5t === keys.x5t : jkt === keys.jkt
  if (cnf !== undefined && !isProven) throw refusal('assertion_unproven')
  const byCertificate = x5t !== undefined || client.tlsClientCertificateBoundAccessTokens === true
  return keys.jkt !== undefined || byCertificate ? keys : undefined
}
