/**
 * The one place where the conversation touches the engine and its own record. Progress is kept under the interaction's
 * `cid`, the one id that survives the engine's resume, and every change is a compare-and-set: of two submits at once one
 * wins and the other goes back to the dispatcher. Ids of the engine are stored as hashes only (A110).
 */
import type { Context } from 'koa'
import type { Fact } from '../events.ts'
import { browserOf } from '../http/csrf.ts'
import type { Languages } from '../http/language.ts'
import { sha256 } from '../platform/ids.ts'
import type { KeyValue } from '../platform/key_value.ts'
import type { EngineInteraction, EngineInteractions } from './engine.ts'
import { amrOf, begin, finished, merge, requirementsOf } from './flow.ts'
import { isFinished, parse, progressKey, serialise } from './progress.ts'
import {
  type AccountView,
  authenticated,
  type ClientView,
  type FlowState,
  type Patch,
  type Progress,
  type PromptName,
  type Proof,
  type RequestFacts,
} from './step.ts'
import { type AccountTruth, stillCounts, truthOf } from './truth.ts'

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
    end(uid: string, reason: 'account_switched' | 'expired'): Promise<unknown>
  }
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
  readonly ip?: string | undefined
  readonly userAgent?: string | undefined
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

export type InteractionStore = ReturnType<typeof createInteractionStore>

/** The one authentication level there is. */
const BASIC = 'urn:genkan:acr:basic'
const PROMPTS: readonly string[] = ['select_account', 'create', 'login', 'consent'] satisfies PromptName[]
const FACTS: { readonly [method: string]: Fact['type'] } = { pwd: 'password.verified', otp: 'email_code.verified' }

export function createInteractionStore(deps: InteractionStoreDeps) {
  const { engine } = deps
  return {
    /** The conversation of this browser; undefined when it has expired, is another's, or its client is gone. */
    load: (ctx: Context, uid: string) => load(deps, ctx, uid),

    /** The conversation after a patch, in memory only: `save` or `finish` makes it last. */
    async advance(conversation: Conversation, patch: Patch): Promise<Conversation> {
      const { state } = conversation
      const progress = merge(state.progress, patch)
      const account = await accountOf(deps, progress, patch, state)
      return { ...conversation, state: { ...state, progress, account }, read: patch.account }
    },

    /** False when somebody else moved the conversation meanwhile. */
    save: (conversation: Conversation) => save(deps, conversation, conversation.state.progress),

    finish: (ctx: Context, conversation: Conversation, request: RequestFacts) =>
      finish(deps, ctx, conversation, request),
    /** Hands the engine an outcome that is not a sign-in (a consent, a refusal) and returns where it resumes. */
    answer: (ctx: Context, uid: string, result: { readonly [key: string]: unknown }) => engine.finish(ctx, uid, result),
    speak: (ctx: Context, uid: string, locale: string) => engine.speak(ctx, uid, locale),
    /** The language of a page outside of a conversation. */
    locale: (ctx: Context, client: ClientView | undefined) =>
      deps.languages.of(ctx, { fallback: client?.defaultLocale }),
    /** The client of an interaction that is gone; the pages that say so look like it. */
    async client(ctx: Context, clientId: string) {
      const client = await engine.client(clientId)
      if (client !== undefined) wear(ctx, client)
      return client
    },
  }
}

/** Whatever page comes of this request has the client's brand. */
function wear(ctx: Context, { brand }: FlowState['client']): void {
  if (brand !== undefined) ctx.state.brand = brand
}

async function load(deps: InteractionStoreDeps, ctx: Context, uid: string): Promise<Conversation | undefined> {
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
  const progress =
    stored !== undefined && usable ? stored : begin(prompt.name, await firstIdentifier(deps, found), stored?.version)
  const account = await accountOf(deps, progress)
  const locale = deps.languages.of(ctx, {
    uiLocales: found.params.ui_locales,
    // Not before the proof: the language of an account would tell that there is one.
    account: authenticated(progress) ? account?.locale : undefined,
    fallback: client.defaultLocale,
  })
  // Failures speak it too.
  ctx.state.locale = locale
  return {
    state: {
      uid,
      cid,
      prompt,
      params: found.params,
      client,
      session,
      account,
      progress,
      required: requirementsOf(prompt.name),
      locale,
    },
    exp: found.exp,
    began: found.session,
    browser,
  }
}

function sameSession(now: FlowState['session'], began: FlowState['session']): boolean {
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

async function accountOf(
  { accounts }: InteractionStoreDeps,
  { accountId }: Progress,
  patch: Patch = {},
  before?: FlowState,
): Promise<AccountView | undefined> {
  if (accountId === undefined) return undefined
  for (const known of [patch.account, before?.account]) if (known?.accountId === accountId) return known
  return accounts.view(accountId)
}

/**
 * Ends the conversation and returns the URL at which the engine resumes; `unfinished` when something is still to be
 * shown; `stale` when a parallel request was faster; `void` when the account was disabled, or everything of it ended,
 * since it was proven (the proofs are then forgotten).
 */
async function finish(
  deps: InteractionStoreDeps,
  ctx: Context,
  conversation: Conversation,
  request: RequestFacts,
): Promise<{ readonly url: string } | 'unfinished' | 'stale' | 'void'> {
  const { state } = conversation
  const { uid, prompt, progress } = state
  if (progress.finished !== undefined && isFinished(state)) {
    return resume(deps, ctx, conversation, progress.finished.sessionUid)
  }
  const how = finished(state)
  if (how === undefined) return 'unfinished'
  if (how === 'session') {
    const replaceSession = conversation.began?.uid !== state.session?.uid
    return { url: await deps.engine.finish(ctx, uid, { [prompt.name]: {} }, { replaceSession }) }
  }
  const { accountId = '', proofs } = progress
  const now = await truthOf(deps.accounts, accountId, conversation.read)
  if (now?.active !== true || !proofs.every((proof) => stillCounts(proof, now))) {
    await save(deps, conversation, merge(progress, { accountId: null, chosen: null }))
    return 'void'
  }
  const sessionUid = await openSession(deps, state, request)
  if (!(await save(deps, conversation, { ...progress, finished: { interaction: sha256(uid), sessionUid } }))) {
    if (sessionUid !== state.session?.uid) await deps.sessions.end(sessionUid, 'expired')
    return 'stale'
  }
  for (const method of amrOf(proofs)) deps.signedIn?.(method)
  return resume(deps, ctx, conversation, sessionUid)
}

/** Same account in a live session: the session is renewed and keeps its uid. Else a new one, with an id nobody knew (A51). */
function openSession(
  { sessions, clock }: InteractionStoreDeps,
  { session, progress, client }: FlowState,
  request: RequestFacts,
): Promise<string> {
  const { accountId = '', proofs, remember } = progress
  const facts = proofs.flatMap(({ method }): Fact[] => {
    const type = FACTS[method]
    return type === undefined ? [] : [{ type, accountId, clientId: client.clientId }]
  })
  const opened: OpenedSession = {
    uid: session?.accountId === accountId ? session.uid : undefined,
    accountId,
    proofs,
    amr: amrOf(proofs),
    transient: remember === false,
    ip: request.ip,
    userAgent: request.userAgent,
    now: clock.now(),
    facts,
  }
  return sessions.open(opened)
}

/** Repeatable: a double click, or a retry after a crash, saves the same result again. */
async function resume(
  { engine, sessions }: InteractionStoreDeps,
  ctx: Context,
  { state: { uid, prompt, session, progress }, began, browser }: Conversation,
  sessionUid: string,
): Promise<{ readonly url: string }> {
  const { accountId = '', proofs, remember } = progress
  const login = {
    accountId,
    amr: amrOf(proofs),
    acr: BASIC,
    ts: Math.floor(Math.max(...proofs.map(({ at }) => at)) / 1000),
    remember: remember !== false,
    sessionUid,
    epoch: proofs[0]?.epoch ?? 0,
    browser,
  }
  const result = { login, ...(prompt.name === 'login' ? {} : { [prompt.name]: {} }) }
  const replaceSession = began !== undefined && began.uid !== sessionUid
  const url = await engine.finish(ctx, uid, result, { replaceSession })
  if (session !== undefined && session.accountId !== accountId) {
    // We end the old session ourselves, or the engine would show its own self-submitting page. Only once the result is
    // saved: a crash in between must not have signed anybody out for nothing.
    await sessions.end(session.uid, 'account_switched')
    await engine.endBrowserSession(ctx)
  }
  return { url }
}

function save({ kv, clock }: InteractionStoreDeps, { state, exp, browser }: Conversation, progress: Progress) {
  return kv.swap(
    progressKey(state.cid),
    progress.version,
    serialise({ ...progress, browser }),
    secondsLeft(exp, clock.now()),
  )
}

function secondsLeft(exp: number, now: Date): number {
  return Math.max(1, exp - Math.floor(now.getTime() / 1000))
}
