/**
 * How a conversation is found: the engine's Interaction, our progress, the account and the session of this browser, and what
 * policy makes of them at this moment. Nothing is written here.
 */
import type { Context } from 'koa'
import type { Fact } from '../events.ts'
import { browserOf } from '../http/csrf.ts'
import type { DeviceCookie } from '../http/device_cookie.ts'
import type { Languages } from '../http/language.ts'
import type { LastMethod } from '../http/last_method.ts'
import { sha256 } from '../platform/ids.ts'
import type { KeyValue } from '../platform/key_value.ts'
import type { BrowserSession, EngineInteraction, EngineInteractions } from './engine.ts'
import { begin } from './flow.ts'
import { afresh, enrolmentDue, justShown, type Levels, needsSetUp } from './levels.ts'
import { parse, progressKey } from './progress.ts'
import { breaksGlass, confine } from './realms.ts'
import {
  type AccountView,
  authenticated,
  type ClientView,
  type EnrolmentPolicy,
  type FlowState,
  type Patch,
  type Progress,
  type PromptName,
  type Proof,
  type Realm,
  type RequestFacts,
  type SessionLimits,
} from './step.ts'
import type { AccountTruth } from './truth.ts'

export interface InteractionStoreDeps {
  readonly engine: EngineInteractions
  readonly kv: Pick<KeyValue, 'read' | 'swap'>
  readonly accounts: {
    view(accountId: string): Promise<AccountView | undefined>
    /** Whether the account may act, and its epoch: the truth at the moment of finishing. */
    state(accountId: string): Promise<AccountTruth | undefined>
    /** The same for an account read in this request; undefined when what was read does not tell. */
    note(account: AccountView): Promise<AccountTruth | undefined>
    canonicalEmail(input: unknown): string | undefined
  }
  readonly sessions: {
    /** Begins a session, or renews the live one `uid` of the same account; states `session.started` and `facts`. */
    open(session: OpenedSession): Promise<string>
    end(uid: string, reason: 'account_switched' | 'expired' | 'upstream_logout'): Promise<unknown>
  }
  readonly levels: Pick<Levels, 'demand' | 'ofFactors' | 'ofBreakGlass' | 'isVouchedFor'>
  /** The proven realm of an address. */
  readonly realmOf?: ((email: string) => Promise<Realm | undefined>) | undefined
  /** Whether an account that signs in to a client must have a second factor. */
  readonly enrolmentOf: (client: ClientView, account: AccountView | undefined) => EnrolmentPolicy
  /** A browser that the account has told us to remember, as a proof; asked once the account has signed in. */
  readonly recognise?: ((account: AccountView, request: RequestFacts) => Promise<Proof | undefined>) | undefined
  /** Remembers the browser, which has just shown a second factor at `provenAt`. */
  readonly trust?: ((accountId: string, provenAt: number, request: RequestFacts) => Promise<void>) | undefined
  /** Whether a provider has taken back one of these proofs, since its person has signed out there. */
  readonly tookBack?: ((accountId: string, proofs: readonly Proof[]) => Promise<boolean>) | undefined
  /** Names the browser for as long as it keeps cookies. */
  readonly deviceCookie: DeviceCookie
  readonly lastMethod: Pick<LastMethod, 'write'>
  readonly clock: { now(): Date }
  readonly languages: Pick<Languages, 'of'>
  readonly signedIn?: ((method: string) => void) | undefined
}

export interface OpenedSession {
  readonly uid?: string | undefined
  readonly accountId: string
  readonly proofs: readonly Proof[]
  readonly amr: readonly string[]
  readonly transient: boolean
  readonly limits?: SessionLimits | undefined
  readonly ip?: string | undefined
  readonly country?: string | undefined
  readonly userAgent?: string | undefined
  /** Hash of the token that names the browser. */
  readonly device?: string | undefined
  readonly now: Date
  /** To be stated in the same insert as the session's own fact. */
  readonly facts: readonly Fact[]
}

/** A conversation as it stands in this request. */
export interface Conversation {
  readonly state: FlowState
  /** Seconds since the epoch. */
  readonly exp: number
  /** The session the engine's record began with. */
  readonly began: EngineInteraction['session']
  /** Names the browser by a cookie that only our host can set. */
  readonly browser: string
  /** The account as a step has read it in this request. */
  readonly read?: AccountView | undefined
}

const PROMPTS: readonly string[] = ['select_account', 'create', 'login', 'consent'] satisfies PromptName[]

/** Whatever page comes of this request has the client's brand. */
export function wear(ctx: Context, { brand }: FlowState['client']): void {
  if (brand !== undefined) ctx.state.brand = brand
}

export async function loadConversation(
  deps: InteractionStoreDeps,
  ctx: Context,
  uid: string,
): Promise<Conversation | undefined> {
  const { engine, kv } = deps
  const found = await engine.load(ctx, uid)
  if (found === undefined || found.uid !== uid || !PROMPTS.includes(found.prompt.name)) return undefined
  const client = await engine.client(found.clientId)
  if (client === undefined) return undefined
  wear(ctx, client)
  const prompt = { ...found.prompt, name: found.prompt.name as PromptName }
  const session = await engine.browserSession(ctx)
  // A consent belongs to the session that asked for it: when this browser has another by now, or none, it is over.
  if (prompt.name === 'consent' && !sameSession(session, found.session)) return undefined
  const cid = sha256(found.cid)
  const record = prompt.name === 'consent' ? undefined : await kv.read(progressKey(cid))
  const stored = record === undefined ? undefined : parse(record)
  const browser = browserOf(ctx)
  // The interaction's cookie is bound to a path, so a sibling host can plant it: what one browser has shown, no other
  // browser that holds the same cookie may use (A51, A57).
  if (stored?.browser !== undefined && stored.browser !== browser) return undefined
  // Proofs that opened one session open no second one: `prompt=login` and `max_age` ask again under the same cid.
  const usable = stored?.finished === undefined || stored.finished.interaction === sha256(uid)
  const kept =
    stored !== undefined && usable ? stored : await firstProgress(deps, found, prompt.name, session, stored?.version)
  const { progress, account, realm } = await inRealm(deps, kept, await accountOf(deps, kept))
  const locale = deps.languages.of(ctx, {
    uiLocales: found.params.ui_locales,
    // Not before the proof: the language of an account would tell that there is one.
    account: authenticated(progress) ? account?.locale : undefined,
    fallback: client.defaultLocale,
  })
  // Failures speak it too.
  ctx.state.locale = locale
  return {
    state: judged(deps, { uid, cid, prompt, params: found.params, client, session, account, progress, realm, locale }),
    exp: found.exp,
    began: found.session,
    browser,
  }
}

/** The progress as the realm of its address lets it be, whenever that began to close other ways. */
export async function inRealm(
  { realmOf }: InteractionStoreDeps,
  progress: Progress,
  account: AccountView | undefined,
): Promise<Pick<FlowState, 'progress' | 'account' | 'realm'>> {
  const email = account?.email ?? progress.identifier
  const realm = email === undefined ? undefined : await realmOf?.(email)
  const after = confine(progress, realm, email)
  return { progress: after, realm, account: after.accountId === undefined ? undefined : account }
}

/** The state with what policy makes of it at this moment. */
export function judged(deps: InteractionStoreDeps, known: Omit<FlowState, 'demands' | 'enrolment' | 'now'>): FlowState {
  const { levels, clock } = deps
  const { prompt, params, client, progress, account } = known
  // What an account has is nobody's to see before its first proof.
  const own = authenticated(progress) && account !== undefined ? levels.ofFactors(account.factors) : undefined
  const now = clock.now().getTime()
  const request = levels.demand(params, client.minimumAcr)
  const setsUp = account !== undefined && authenticated(progress) && needsSetUp(request, progress.proofs, now, account)
  const isFresh = setsUp || prompt.reasons.some((reason) => ASKS_AFRESH.includes(reason))
  const glass = breaksGlass(known) ? [levels.ofBreakGlass()] : []
  const demands = [...(own === undefined ? [] : [own]), ...glass, request]
  const enrolment = enrolmentFor(deps, client, account, progress.proofs, now)
  return { ...known, demands: isFresh ? demands.map(afresh) : demands, enrolment, now }
}

/** Whoever has shown two factors at a provider whose word is taken for them must set up none here: it is only offered. */
function enrolmentFor(
  { enrolmentOf, levels }: InteractionStoreDeps,
  client: ClientView,
  account: AccountView | undefined,
  proofs: readonly Proof[],
  now: number,
): EnrolmentPolicy {
  const enrolment = enrolmentOf(client, account)
  const isSpared = enrolment.policy === 'required' && levels.isVouchedFor(proofs, now)
  return isSpared ? { ...enrolment, policy: 'optional' } : enrolment
}

/** The client wants the person to show it now: nothing that was shown before will do. */
const ASKS_AFRESH = ['login_prompt', 'max_age']

/** The session is merely not enough for what is asked. */
const STEPS_UP = ['level', 'enrolment']

/**
 * Where a conversation begins. When the session is merely not enough, its proofs are brought along, as old as they are: only
 * what is missing is asked for (RFC 9470 §4). What must be set up first is another matter: then only fresh ones count.
 */
async function firstProgress(
  deps: InteractionStoreDeps,
  found: EngineInteraction,
  prompt: PromptName,
  session: BrowserSession | undefined,
  version: number | undefined,
): Promise<Progress> {
  const asked = begin(prompt, await firstIdentifier(deps, found), version)
  // Our own pages lead people here who must choose a new password; the button on every sign-in page does the same.
  const first: Progress = found.params.genkan_begin === 'recover' ? { ...asked, path: 'recover' } : asked
  const stepsUp = prompt === 'login' && found.prompt.reasons.every((reason) => STEPS_UP.includes(reason))
  if (!stepsUp || session === undefined || !sameSession(session, found.session)) return first
  const { accountId, proofs } = session
  const [account, client] = await Promise.all([deps.accounts.view(accountId), deps.engine.client(found.clientId)])
  if (account === undefined || client === undefined) return first
  const demand = deps.levels.demand(found.params, client.minimumAcr)
  const longest = Math.max(...demand.sets.map(({ maxAgeMs }) => maxAgeMs))
  const now = deps.clock.now().getTime()
  const young = proofs.filter(({ at }) => now - at <= longest)
  const brought: Progress = { ...first, identifier: account.email, accountId, proofs: young }
  const enrolment = enrolmentFor(deps, client, account, young, now)
  const isDue = enrolmentDue({ enrolment, account, progress: brought })
  const setsUp = isDue || needsSetUp(demand, young, now, account)
  return setsUp ? { ...brought, proofs: justShown(young, now) } : brought
}

function sameSession(now: BrowserSession | undefined, began: EngineInteraction['session']): boolean {
  return now !== undefined && now.uid === began?.uid && now.accountId === began.accountId
}

/** Whom the page asks for at first: the client's hint, or who was signed in then (not in another tab since) and must show it again. */
async function firstIdentifier(
  { accounts }: InteractionStoreDeps,
  { prompt, params, session }: EngineInteraction,
): Promise<string | undefined> {
  if (prompt.name === 'consent') return undefined
  const hint = accounts.canonicalEmail(params.login_hint)
  if (hint !== undefined || prompt.name !== 'login' || session === undefined) return hint
  // The client expects somebody else (OIDC Core §3.1.2.1 id_token_hint, §5.5.1 sub): do not offer the one who is here.
  const elsewhere = ['id_token_hint', 'claims_id_token_sub_value']
  if (prompt.reasons.some((reason) => elsewhere.includes(reason))) return undefined
  return (await accounts.view(session.accountId))?.email
}

export async function accountOf(
  { accounts }: InteractionStoreDeps,
  { accountId }: Progress,
  patch: Patch = {},
  before?: FlowState,
): Promise<AccountView | undefined> {
  if (accountId === undefined) return undefined
  for (const known of [patch.account, before?.account]) if (known?.accountId === accountId) return known
  return accounts.view(accountId)
}
