/**
 * The one place where the conversation touches the engine and its own record. Progress is kept under the interaction's
 * `cid`, the one id that survives the engine's resume, and every change is a compare-and-set: of two submits at once one
 * wins and the other goes back to the dispatcher. Ids of the engine are stored as hashes only (A110).
 */
import type { Context } from 'koa'
import type { Fact } from '../events.ts'
import { newToken, sha256 } from '../platform/ids.ts'
import {
  accountOf,
  type Conversation,
  type InteractionStoreDeps,
  inRealm,
  judged,
  loadConversation,
  type OpenedSession,
  wear,
} from './conversation.ts'
import { finished, merge } from './flow.ts'
import { activeOf, amrOf, enrolmentPutOff, met, takesDevice } from './levels.ts'
import { wayOf } from './offers.ts'
import { isFinished, progressKey, serialise } from './progress.ts'
import { breaksGlass } from './realms.ts'
import { authenticated, type ClientView, type FlowState, type Patch, type Progress, type RequestFacts } from './step.ts'
import { newProofs, sessionProofs, stillCounts, trustedAt, truthOf } from './truth.ts'

export type InteractionStore = ReturnType<typeof createInteractionStore>

/** The fact that a proof was shown is named for its method. */
const factOf = (method: string): Fact['type'] => (method === 'pwd' ? 'password.verified' : `${method}.verified`)

export function createInteractionStore(deps: InteractionStoreDeps) {
  const { engine } = deps
  return {
    /** The conversation of this browser; undefined when it has expired, is another's, or its client is gone. */
    load: (ctx: Context, uid: string) => loadConversation(deps, ctx, uid),

    /** The conversation after a patch, in memory only: `save` or `finish` makes it last. */
    async advance(conversation: Conversation, patch: Patch, request: RequestFacts): Promise<Conversation> {
      const { state } = conversation
      const merged = merge(state.progress, patch)
      const kept = await inRealm(deps, merged, await accountOf(deps, merged, patch, state))
      const after = judged(deps, { ...state, ...kept })
      return { ...conversation, state: await withDevice(deps, after, request), read: patch.account }
    },

    /** False when somebody else moved the conversation meanwhile. */
    save: (conversation: Conversation) => save(deps, conversation, conversation.state.progress),

    finish: (ctx: Context, conversation: Conversation, request: RequestFacts) =>
      finish(deps, ctx, conversation, request),
    /** Hands the engine an outcome that is not a sign-in (a consent, a refusal) and returns where it resumes. */
    answer: (ctx: Context, uid: string, result: { readonly [key: string]: unknown }) => engine.finish(ctx, uid, result),
    speak: (ctx: Context, uid: string, locale: string) => engine.speak(ctx, uid, locale),
    /** Gives the conversation more time; returns how many seconds it has now, undefined when there is no more. */
    async prolong(ctx: Context, conversation: Conversation): Promise<number | undefined> {
      const exp = await engine.prolong(ctx, conversation.state.uid)
      if (exp === undefined) return undefined
      // A parallel request that was faster has written the earlier end: the conversation then begins anew when that comes.
      await save(deps, { ...conversation, exp }, conversation.state.progress)
      return secondsLeft(exp, deps.clock.now())
    },
    secondsLeft: ({ exp }: Conversation) => secondsLeft(exp, deps.clock.now()),
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

/** Before a second factor is asked for, a remembered browser may stand in for it, where a level takes one. */
async function withDevice(deps: InteractionStoreDeps, state: FlowState, request: RequestFacts): Promise<FlowState> {
  const { account, progress, demands, now } = state
  if (deps.recognise === undefined || account === undefined || !authenticated(progress)) return state
  const isOpen = demands.some((demand) => !met(demand, progress.proofs, now) && takesDevice(demand))
  const proof = isOpen ? await deps.recognise(account, request) : undefined
  return proof === undefined ? state : { ...state, progress: merge(progress, { proof }) }
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
  const { accountId = '', proofs, remember } = progress
  const now = await truthOf(deps.accounts, accountId, conversation.read)
  if (now?.active !== true || !proofs.every((proof) => stillCounts(proof, now))) {
    await save(deps, conversation, merge(progress, { accountId: null, chosen: null }))
    return 'void'
  }
  if (!(await stillRemembered(deps, state, request))) {
    await save(deps, conversation, { ...progress, proofs: proofs.filter(({ method }) => method !== DEVICE) })
    return 'void'
  }
  const browser = { ...request, deviceToken: request.deviceToken ?? newToken() }
  const sessionUid = await openSession(deps, state, browser)
  // Asked once the session is there: a logout that comes later finds it.
  if (await deps.tookBack?.(accountId, proofs)) {
    await deps.sessions.end(sessionUid, 'upstream_logout')
    await save(deps, conversation, merge(progress, { path: 'login', identifier: null, accountId: null, chosen: null }))
    return 'void'
  }
  if (!(await save(deps, conversation, { ...progress, finished: { interaction: sha256(uid), sessionUid } }))) {
    if (sessionUid !== state.session?.uid) await deps.sessions.end(sessionUid, 'expired')
    return 'stale'
  }
  const shown = newProofs(state)
  for (const { method } of shown) deps.signedIn?.(method)
  deps.deviceCookie.write(ctx, browser.deviceToken, { transient: remember === false })
  // On a shared computer the next person would take it for a word to them.
  const first = shown.find(({ second }) => second !== true)
  if (first !== undefined && remember !== false) deps.lastMethod.write(ctx, wayOf(first.method, first.by?.upstream))
  const provenAt = trustedAt(state)
  if (provenAt !== undefined) await deps.trust?.(accountId, provenAt, browser)
  return resume(deps, ctx, conversation, sessionUid)
}

/**
 * Whether the account still remembers a browser that stood in for its second factor: minutes may have passed on other pages,
 * and a factor that was changed meanwhile, or a browser that was forgotten, counts at once.
 */
async function stillRemembered(deps: InteractionStoreDeps, state: FlowState, request: RequestFacts): Promise<boolean> {
  if (state.account === undefined || !newProofs(state).some(({ method }) => method === DEVICE)) return true
  return (await deps.recognise?.(state.account, request)) !== undefined
}

const DEVICE = 'device'

/** Same account in a live session: the session is renewed and keeps its uid. Else a new one, with an id nobody knew (A51). */
function openSession(
  { sessions, clock }: InteractionStoreDeps,
  state: FlowState,
  request: RequestFacts,
): Promise<string> {
  const { session, progress, client, realm } = state
  const { accountId = '', remember } = progress
  const proofs = sessionProofs(state)
  const about = { accountId, clientId: client.clientId }
  const facts = newProofs(state).map(({ method }): Fact => ({ type: factOf(method), ...about }))
  if (breaksGlass(state)) {
    facts.push({ type: 'realm.break_glass_used', ...about, data: { domain: realm?.domain, upstream: realm?.upstream } })
  }
  const opened: OpenedSession = {
    uid: session?.accountId === accountId ? session.uid : undefined,
    accountId,
    proofs,
    amr: amrOf(proofs),
    transient: remember === false,
    limits: client.brand?.session,
    ip: request.ip,
    country: request.country,
    userAgent: request.userAgent,
    device: request.deviceToken === undefined ? undefined : sha256(request.deviceToken),
    now: clock.now(),
    facts,
  }
  return sessions.open(opened)
}

/** Repeatable: a double click, or a retry after a crash, saves the same result again. */
async function resume(
  { engine, sessions }: InteractionStoreDeps,
  ctx: Context,
  { state, began, browser }: Conversation,
  sessionUid: string,
): Promise<{ readonly url: string }> {
  const { uid, prompt, session, progress } = state
  const { accountId = '', remember } = progress
  const proofs = sessionProofs(state)
  const login = {
    accountId,
    proofs,
    limits: state.client.brand?.session,
    ts: Math.floor(Math.max(...activeOf(proofs).map(({ at }) => at)) / 1000),
    putOffAt: enrolmentPutOff(state) ? state.client.clientId : undefined,
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
