/** When the engine must ask the person: its own checks, ours, and the prompts `create` and `select_account`. */
import { errors, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider'
import type { Config } from '../config/config.ts'
import { type Levels, met, wishesOf } from '../interaction/levels.ts'
import type { EnrolmentPolicy } from '../interaction/step.ts'
import { type DetailRules, detailsToAsk } from './authorization_details.ts'
import { claimsAsked, consentIn, verifiedIn } from './grants.ts'
import { secondFactorOf } from './pages.ts'
import { type Pairwise, sectorOf } from './pairwise.ts'
import { proofsOf } from './session_proofs.ts'

const { base, Check, Prompt } = interactionPolicy

/** Prompts that a request may name beside the engine's own (`prompt_values_supported`). They come before `login`. */
export function extraPrompts({ registration }: Config['modules']): readonly string[] {
  return ['select_account', ...(registration ? ['create'] : [])]
}

/** `interactions.policy` of the engine. A prompt that is not there is refused as `invalid_request`. */
export function createPolicy(extra: readonly string[], deps: LevelDeps) {
  const policy = base()
  const login = policy.get('login')
  login?.checks.add(accountGone())
  login?.checks.add(expectedAccount(deps))
  for (const reason of ['essential_acrs', 'essential_acr']) login?.checks.remove(reason)
  login?.checks.add(level(deps))
  login?.checks.add(enrolment(deps))
  login?.checks.add(realm(deps))
  const consent = policy.get('consent')
  consent?.checks.remove('op_claims_missing')
  consent?.checks.add(claimsMissing())
  consent?.checks.remove('rar_prompt')
  consent?.checks.add(detailsMissing(deps))
  if (consent !== undefined) consent.details = (ctx) => ({ agreed: consentIn(ctx), verified: verifiedIn(ctx) })
  for (const name of extra) policy.add(new Prompt({ name, requestable: true }), 0)
  return policy
}

/** Of the protocol, and in every ID token that they belong into. */
const NEED_NO_CONSENT = ['sub', 'sid', 'auth_time', 'acr', 'amr', 'iss']

/** As the engine's own, but verified claims are asked for one by one, and only those that there are. */
function claimsMissing() {
  const missing = (ctx: KoaContextWithOIDC): string[] => {
    const held = ctx.oidc.entities.Grant?.getOIDCClaimsEncountered() ?? []
    return claimsAsked(ctx).filter((claim) => !held.includes(claim) && !NEED_NO_CONSENT.includes(claim))
  }
  return new Check(
    'op_claims_missing',
    'requested claims not granted',
    'consent_required',
    (ctx) => (missing(ctx).length > 0 ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT),
    (ctx) => ({ missingOIDCClaims: missing(ctx) }),
  )
}

/** As the engine's own, but by what was agreed to, and not by whether some page was answered. */
function detailsMissing(rules: DetailRules) {
  return new Check('rar_prompt', 'authorization_details were requested', 'consent_required', async (ctx) =>
    (await detailsToAsk(ctx, rules)).length > 0 ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT,
  )
}

/** The session names an account that cannot be loaded any more (ended, disabled or deleted in this very moment). */
function accountGone() {
  return new Check('account_gone', 'End-User authentication is required', 'login_required', ({ oidc }) =>
    oidc.session?.accountId !== undefined && oidc.account === undefined
      ? Check.REQUEST_PROMPT
      : Check.NO_NEED_TO_PROMPT,
  )
}

/**
 * The client named whom it expects (`id_token_hint`, or a value of `sub`), and somebody else has just signed in: an error,
 * never a token of the other (OIDC Core §3.1.2.1, §5.5.1). The engine looks at the hint before the sign-in only.
 */
function expectedAccount({ pairwise }: LevelDeps) {
  return new Check('expected_account', 'End-User authentication is required', 'login_required', async ({ oidc }) => {
    const { accountId } = (oidc.result?.login ?? {}) as { accountId?: string }
    const { id_token_hint: hint } = oidc.params as { id_token_hint?: string }
    const { sub } = (oidc.claims?.id_token ?? {}) as { sub?: { value?: unknown } | null }
    const expected = [hint === undefined ? undefined : subjectOf(hint), sub?.value].filter(
      (value) => value !== undefined,
    )
    if (accountId === undefined || expected.length === 0) return Check.NO_NEED_TO_PROMPT
    const subject =
      oidc.client?.subjectType === 'pairwise' ? await pairwise.subjectOf(accountId, sectorOf(oidc.client)) : accountId
    if (expected.some((value) => value !== subject)) {
      throw new errors.LoginRequired('another end-user than the expected one signed in')
    }
    return Check.NO_NEED_TO_PROMPT
  })
}

/** The engine has verified the hint before it stored the request. */
function subjectOf(idToken: string): unknown {
  const [, payload = ''] = idToken.split('.')
  return (JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub?: unknown }).sub
}

export interface LevelDeps extends DetailRules {
  readonly levels: Levels
  readonly now: () => Date
  readonly pairwise: Pick<Pairwise, 'subjectOf'>
  readonly accountState: (accountId: string) => Promise<{ readonly enrolled?: boolean | undefined } | undefined>
  /** The one provider that signs the account in, where the domain of its address is closed to everything else. */
  readonly confinedTo: (accountId: string) => Promise<string | undefined>
  /** Whether a client, by its own word or else by the settings, wants accounts with a second factor only. */
  readonly wantsSecondFactor: (ofClient: EnrolmentPolicy | undefined) => boolean
}

/**
 * The client wants accounts with a second factor, and this one, which signed in for another client, has none: the
 * conversation asks for it, or lets it be put off. A session is no way around (A45).
 */
function enrolment({ accountState, wantsSecondFactor, levels, now }: LevelDeps) {
  return new Check('enrolment', 'a second factor is to be set up', 'login_required', async ({ oidc }) => {
    const { client, session } = oidc
    const { accountId, putOffAt } = (session ?? {}) as { accountId?: string; putOffAt?: string }
    // The conversation that has just ended has seen to it.
    if (accountId === undefined || client === undefined || oidc.result?.login) return Check.NO_NEED_TO_PROMPT
    if (!wantsSecondFactor(secondFactorOf(client)) || putOffAt === client.clientId) return Check.NO_NEED_TO_PROMPT
    if (levels.isVouchedFor(proofsOf(session), now().getTime())) return Check.NO_NEED_TO_PROMPT
    return (await accountState(accountId))?.enrolled ? Check.NO_NEED_TO_PROMPT : Check.REQUEST_PROMPT
  })
}

/** A session from before the domain was closed, or by another way, signs nobody in any more. */
function realm({ confinedTo }: LevelDeps) {
  return new Check('realm', 'the provider of the domain is to be asked', 'login_required', async ({ oidc }) => {
    const { accountId } = oidc.session ?? {}
    // The conversation that has just ended has seen to it.
    if (accountId === undefined || oidc.result?.login) return Check.NO_NEED_TO_PROMPT
    const upstream = await confinedTo(accountId)
    const isVouched = upstream === undefined || proofsOf(oidc.session).some(({ by }) => by?.upstream === upstream)
    return isVouched ? Check.NO_NEED_TO_PROMPT : Check.REQUEST_PROMPT
  })
}

/**
 * The level of authentication that the request, the client or a scope demands (RFC 9470, OIDC Core §5.5.1.1). What the
 * session has shown may be enough, or have grown too old. A level that does not exist is an error at once when it is
 * essential (OpenID Connect Unmet Authentication Requirements 1.0): no sign-in could ever reach it.
 */
function level({ levels, now }: LevelDeps) {
  return new Check('level', 'a higher level of authentication is required', 'login_required', (ctx) => {
    const { client, session } = ctx.oidc
    const params = { ...ctx.oidc.params, claims: ctx.oidc.claims }
    refuseMalformed(ctx)
    const { acrs, essential } = wishesOf(params)
    if (essential && !acrs.some((acr) => levels.acrs.includes(acr))) {
      throw new errors.UnmetAuthenticationRequirements('none of the requested authentication levels can be obtained')
    }
    const demand = levels.demand(params, client?.minimum_acr as string | undefined)
    return met(demand, proofsOf(session), now().getTime()) ? Check.NO_NEED_TO_PROMPT : Check.REQUEST_PROMPT
  })
}

function refuseMalformed({ oidc }: KoaContextWithOIDC): void {
  const acr = oidc.claims?.id_token?.acr as { values?: unknown } | null | undefined
  if (acr?.values !== undefined && !Array.isArray(acr.values)) {
    throw new errors.InvalidRequest('invalid claims.id_token.acr.values type')
  }
}
