/** What the scripts of pages ask for and tell; every page is complete without them. */
import type Router from '@koa/router'
import type { Context } from 'koa'
import { AppError } from '../errors.ts'
import { answerable } from './flow.ts'
import { isFinished } from './progress.ts'
import { ABILITIES, type FlowState, type Patch, type Step } from './step.ts'
import type { InteractionStore } from './store.ts'

interface ChallengeDeps {
  readonly steps: readonly Step[]
  readonly store: Pick<InteractionStore, 'load'>
  readonly csrf: { check(ctx: Context, token: string | undefined): void }
  readonly readForm: (ctx: Context) => Promise<{ readonly [name: string]: string }>
}

/** Of a module that is switched off there is no step: refused, whatever an old page or a forged form says (A96). */
export function refuseUnknown(steps: readonly Step[], name: string | undefined): void {
  if (!steps.some((step) => step.name === name)) throw new AppError('forbidden')
}

/** Challenges (WebAuthn) for the steps that give some, as JSON. */
export function addChallenges(router: Router, { steps, store, csrf, readForm }: ChallengeDeps): void {
  router.post('/interaction/:uid/:step/challenge', async (ctx) => {
    const { uid = '', step = '' } = ctx.params
    const form = await readForm(ctx)
    csrf.check(ctx, form.csrf)
    refuseUnknown(steps, step)
    const conversation = await store.load(ctx, uid)
    const challenge = await challengeFor(steps, conversation?.state, step)
    // The script lets the page be loaded again, which says where the conversation stands.
    if (challenge === undefined) ctx.status = 409
    ctx.body = challenge ?? {}
    ctx.set('Cache-Control', 'no-store')
  })
}

/** A challenge of the named step, when it may be answered now. */
async function challengeFor(
  steps: readonly Step[],
  state: FlowState | undefined,
  name: string,
): Promise<object | undefined> {
  if (state === undefined || isFinished(state)) return undefined
  return answerable(steps, state, name)?.challenge?.(state)
}

/** The script says with every form what the browser can do, so that nobody is offered what they cannot take. */
export function withAbilities(patch: Patch, form: { readonly [name: string]: string }): Patch {
  return form.can === 'passkey' ? { ...patch, answers: { [ABILITIES]: 'passkey', ...patch.answers } } : patch
}
