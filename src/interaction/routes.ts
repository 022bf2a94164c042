/** The routes every step shares: show or finish, submit, switch, abort, choose a language, and the link of a mail. */
import Router from '@koa/router'
import type { Context } from 'koa'
import { AppError } from '../errors.ts'
import type { DeviceCookie } from '../http/device_cookie.ts'
import type { Languages } from '../http/language.ts'
import { asksForProof, type Challenge } from './challenge.ts'
import type { Conversation } from './conversation.ts'
import { type DeadEndDeps, expired, gone } from './dead_ends.ts'
import { abortOf, answerable, next, optional, switchPatch } from './flow.ts'
import { reasonOf } from './levels.ts'
import { type LastUsedDeps, lastUsed, offersBeside } from './offers.ts'
import { isFinished } from './progress.ts'
import { addChallenges, refuseUnknown, withAbilities } from './scripts.ts'
import {
  authenticated,
  type FieldError,
  type Outcome,
  type Patch,
  type RequestFacts,
  type Shown,
  type Step,
} from './step.ts'
import type { InteractionStore } from './store.ts'

export interface InteractionRouteDeps extends DeadEndDeps, LastUsedDeps {
  /** In the order in which they are asked. */
  readonly steps: readonly Step[]
  readonly store: InteractionStore
  readonly deviceCookie: Pick<DeviceCookie, 'read'>
  readonly languages: Languages
  readonly csrf: { check(ctx: Context, token: string | undefined): void }
  readonly readForm: (ctx: Context) => Promise<{ readonly [name: string]: string }>
}

interface PageError {
  readonly code: string
  readonly field?: string | undefined
  readonly retryAfter?: number | undefined
  readonly others?: readonly FieldError[] | undefined
  readonly challenge?: Challenge | undefined
}

/** What a page shows beside its step: an error, what was typed, the code of a link. */
interface Extras {
  readonly error?: PageError
  readonly values?: { readonly [name: string]: string }
  readonly code?: string
  readonly status?: number
}

/** Fields that are shown again after an error. Never a password or a code. */
const SHOWN_AGAIN = ['identifier', 'email', 'shared']
/** Steps that the link of a mail leads to. */
const LINKED = ['verify_email', 'email_code', 'recover_code']
const CODE = /^\d{6}$/

export function interactionRoutes(deps: InteractionRouteDeps): Router {
  const { csrf, readForm, store } = deps
  const router = new Router()

  router.get('/interaction/:uid', async (ctx) => {
    const conversation = await store.load(ctx, uidOf(ctx))
    if (conversation === undefined) return gone(deps, ctx, uidOf(ctx))
    return dispatch(deps, ctx, conversation)
  })

  router.get('/interaction/:uid/:step', (ctx) => {
    refuseUnknown(deps.steps, ctx.params.step)
    return typeof ctx.query.answer === 'string' ? arrive(deps, ctx, ctx.query.answer) : openLink(deps, ctx)
  })

  router.post('/interaction/:uid/:action', async (ctx) => {
    const form = await readForm(ctx)
    csrf.check(ctx, form.csrf)
    const action = ctx.params.action ?? ''
    if (action === 'language') return speak(deps, ctx, form)
    if (!ACTIONS.includes(action)) refuseUnknown(deps.steps, action)
    const conversation = await store.load(ctx, uidOf(ctx))
    if (conversation === undefined) return gone(deps, ctx, uidOf(ctx))
    if (action === 'stay') return stay(deps, ctx, conversation)
    if (action === 'switch') return switchTo(deps, ctx, conversation, form.to ?? '')
    if (action === 'abort') return redirect(ctx, await store.answer(ctx, uidOf(ctx), abortOf(conversation.state)))
    return submit(deps, ctx, conversation, action, form)
  })

  addChallenges(router, deps)
  return router
}

/** What every page of the conversation may post to beside its step. */
const ACTIONS = ['switch', 'abort', 'stay']

/** Shows the step that is due, or finishes. The only place that decides what a person sees next. */
async function dispatch(deps: InteractionRouteDeps, ctx: Context, conversation: Conversation): Promise<void> {
  const { state } = conversation
  const extra = optional(deps.steps, state)
  if (extra !== undefined) return show(deps, ctx, conversation, extra)
  const ended = await deps.store.finish(ctx, conversation, requestOf(deps, ctx))
  if (typeof ended === 'object') return redirect(ctx, ended.url)
  // The proofs were forgotten, or a parallel request was faster: what is due now is read anew.
  if (ended !== 'unfinished') return back(ctx)
  const step = next(deps.steps, state)
  if (step === undefined) return startOver(deps, ctx, conversation)
  return show(deps, ctx, conversation, step)
}

/** Nothing is due and nothing is finished, for instance because the account was deleted: from the beginning, never a loop. */
async function startOver(deps: InteractionRouteDeps, ctx: Context, { state, ...rest }: Conversation): Promise<void> {
  const patch: Patch = { path: 'login', identifier: null, accountId: null, chosen: null }
  const fresh = await deps.store.advance({ ...rest, state }, patch, requestOf(deps, ctx))
  const step = next(deps.steps, fresh.state)
  ctx.state.locale = state.locale
  if (step === undefined || !(await deps.store.save(fresh))) return expired(deps, ctx, state.client)
  return show(deps, ctx, fresh, step)
}

async function show(
  deps: InteractionRouteDeps,
  ctx: Context,
  conversation: Conversation,
  step: Step,
  { status, error, values, code }: Extras = {},
): Promise<void> {
  const { state } = conversation
  const { accountLocale, ...shown } = await step.show(state, requestOf(deps, ctx))
  if (accountLocale !== undefined) {
    const fallback = state.client.defaultLocale
    ctx.state.locale = deps.languages.of(ctx, { uiLocales: state.params.ui_locales, account: accountLocale, fallback })
  }
  const failure = error ?? (shown as Shown & { readonly error?: PageError }).error
  const { code: failed, challenge, retryAfter = asksForProof(failed) ? challenge?.wait : undefined } = failure ?? {}
  if (retryAfter !== undefined) ctx.set('Retry-After', String(retryAfter))
  const offers = await offersBeside(deps.steps, state, step, lastUsed(deps, ctx))
  const extras = { ...(failure && { error: failure }), ...(values && { values }), ...(code && { code }) }
  const paths = deps.steps.flatMap(({ begins }) => begins ?? [])
  const reason = authenticated(state.progress) ? reasonOf(state) : undefined
  const context = {
    ...shown,
    uid: state.uid,
    client: state.client,
    offers,
    paths,
    ...(reason && { reason }),
    ...extras,
    limit: { seconds: deps.store.secondsLeft(conversation), stay: `${pathOf(ctx)}/stay` },
  }
  deps.pages.render(ctx, `${step.feature}/${step.name}`, context, status ?? (failure === undefined ? 200 : 429))
}

async function submit(
  deps: InteractionRouteDeps,
  ctx: Context,
  conversation: Conversation,
  name: string,
  form: { readonly [name: string]: string },
): Promise<void> {
  const { state } = conversation
  const step = answerable(deps.steps, state, name)
  // A finished conversation, an old page, a second tab: back to where the conversation stands.
  if (step === undefined || isFinished(state)) return back(ctx)
  const values = Object.fromEntries(SHOWN_AGAIN.flatMap((field) => (form[field] ? [[field, form[field]]] : [])))
  const parsed = step.input.safeParse(form)
  if (!parsed.success) {
    const [at] = parsed.error.issues[0]?.path ?? []
    const field = at === undefined ? undefined : String(at)
    return show(deps, ctx, conversation, step, { status: 400, values, error: { code: 'invalid_request', field } })
  }
  const outcome = await step.submit(parsed.data, state, requestOf(deps, ctx))
  if (!outcome.ok) return refuse(deps, ctx, conversation, step, outcome, values)
  if ('finish' in outcome) return redirect(ctx, await deps.store.answer(ctx, state.uid, outcome.finish))
  if ('deny' in outcome) {
    const { error, description } = outcome.deny
    return redirect(ctx, await deps.store.answer(ctx, state.uid, { error, error_description: description }))
  }
  const after = await deps.store.advance(conversation, withAbilities(outcome.patch, form), requestOf(deps, ctx))
  if ('leave' in outcome) return redirect(ctx, (await deps.store.save(after)) ? outcome.leave : pathOf(ctx))
  return proceed(deps, ctx, after)
}

/**
 * The way back of a step that sent the browser away. Only a browser that is in the conversation gets here (the cookie is bound
 * to the path), and what the answer says is for the step to read; a failure is told on the page where the conversation stands.
 */
async function arrive(deps: InteractionRouteDeps, ctx: Context, answer: string): Promise<void> {
  const conversation = await deps.store.load(ctx, uidOf(ctx))
  if (conversation === undefined) return gone(deps, ctx, uidOf(ctx))
  const { state } = conversation
  const step = answerable(deps.steps, state, ctx.params.step ?? '')
  if (step?.arrive === undefined || isFinished(state)) return back(ctx)
  const outcome = await step.arrive(answer, state, requestOf(deps, ctx))
  if (!outcome.ok) return refuse(deps, ctx, conversation, next(deps.steps, state) ?? step, outcome, {})
  if (!('patch' in outcome)) return back(ctx)
  const after = await deps.store.advance(conversation, outcome.patch, requestOf(deps, ctx))
  if ('leave' in outcome) return redirect(ctx, (await deps.store.save(after)) ? outcome.leave : pathOf(ctx))
  return proceed(deps, ctx, after)
}

/** Finishes at once when nothing is left to ask; else saves and lets the browser ask for the next page. */
async function proceed(deps: InteractionRouteDeps, ctx: Context, conversation: Conversation): Promise<void> {
  const isOver = optional(deps.steps, conversation.state) === undefined
  const ended = isOver ? await deps.store.finish(ctx, conversation, requestOf(deps, ctx)) : 'unfinished'
  if (typeof ended === 'object') return redirect(ctx, ended.url)
  // Whoever loses the compare-and-set goes back to the dispatcher like the winner.
  if (ended === 'unfinished') await deps.store.save(conversation)
  return back(ctx)
}

async function refuse(
  deps: InteractionRouteDeps,
  ctx: Context,
  conversation: Conversation,
  step: Step,
  { code, field, retryAfter, others, values, challenge }: Extract<Outcome, { ok: false }>,
  typed: { readonly [name: string]: string },
): Promise<void> {
  if (code === 'stale') return back(ctx)
  const status = retryAfter === undefined && !asksForProof(code) ? 400 : 429
  return show(deps, ctx, conversation, step, {
    status,
    values: { ...typed, ...values },
    error: { code, field, retryAfter, others, challenge },
  })
}

/** The chooser of languages. Nothing of the conversation changes but `ui_locales`, also when it has expired meanwhile. */
async function speak(
  { store, languages }: InteractionRouteDeps,
  ctx: Context,
  form: { readonly [name: string]: string },
): Promise<void> {
  await store.speak(ctx, uidOf(ctx), languages.choose(ctx, form.locale))
  redirect(ctx, languages.back(form.return_to, pathOf(ctx)))
}

/** Asked by the script of a page whose time is nearly over (WCAG 2.2.1): how many seconds it has now. */
async function stay({ store }: InteractionRouteDeps, ctx: Context, conversation: Conversation): Promise<void> {
  const seconds = await store.prolong(ctx, conversation)
  if (seconds === undefined)
    throw new AppError('forbidden', { detail: 'the conversation cannot be prolonged any more' })
  ctx.body = { seconds }
}

/** Sign in, register, recover, or another way to show the same. */
async function switchTo(
  deps: InteractionRouteDeps,
  ctx: Context,
  conversation: Conversation,
  to: string,
): Promise<void> {
  const { prompt, progress } = conversation.state
  if (!deps.steps.some(({ name, begins }) => name === to || begins === to)) throw new AppError('forbidden')
  const patch = switchPatch(conversation.state, to)
  if (prompt.name !== 'consent' && progress.finished === undefined) {
    await deps.store.save(await deps.store.advance(conversation, patch, requestOf(deps, ctx)))
  }
  return back(ctx)
}

/** The link of a mail. A GET never consumes (mail scanners open links): it shows the code and a button (A30). */
async function openLink(deps: InteractionRouteDeps, ctx: Context): Promise<void> {
  const name = ctx.params.step ?? ''
  const { code: given } = ctx.query
  const code = typeof given === 'string' && CODE.test(given) ? given : undefined
  if (!LINKED.includes(name)) return back(ctx)
  const conversation = await deps.store.load(ctx, uidOf(ctx))
  if (conversation === undefined) {
    if (code === undefined) return gone(deps, ctx, uidOf(ctx))
    // Without the cookie this is another browser: the code is to be typed where the conversation began.
    return deps.pages.render(ctx, 'interaction/other_browser', { code })
  }
  const step = next(deps.steps, conversation.state)
  if (step === undefined || step.name !== name || code === undefined) return back(ctx)
  return show(deps, ctx, conversation, step, { code })
}

function requestOf({ deviceCookie }: Pick<InteractionRouteDeps, 'deviceCookie'>, ctx: Context): RequestFacts {
  const { ip, country, locale, requestId } = ctx.state as Omit<RequestFacts, 'userAgent' | 'deviceToken'>
  const userAgent = ctx.get('User-Agent').slice(0, 512)
  return { ip, country, locale, requestId, userAgent, deviceToken: deviceCookie.read(ctx) }
}

function uidOf(ctx: Context): string {
  return ctx.params.uid ?? ''
}

function pathOf(ctx: Context): string {
  return `/interaction/${encodeURIComponent(uidOf(ctx))}`
}

const back = (ctx: Context): void => redirect(ctx, pathOf(ctx))

/** 303: the browser follows with GET and never sends a password twice (RFC 9700 §4.12). */
function redirect(ctx: Context, url: string): void {
  ctx.redirect(url)
  ctx.status = 303
  ctx.set('Cache-Control', 'no-store')
}
