/** The account pages of recovery codes: how many are left, new ones, and their one showing. */
import Router from '@koa/router'
import { AppError } from '../../errors.ts'
import { hasSecondFactor } from '../../interaction/levels.ts'
import { dayIn } from '../../platform/locales.ts'
import { type AccountArea, requestOf } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { savedForm } from './schema.ts'
import type { RecoveryCodeService } from './service.ts'
import { FEW, type Holder } from './types.ts'

export interface RecoveryCodeRouteDeps {
  readonly codes: RecoveryCodeService
  readonly area: AccountArea
}

const PAGE = '/account/recovery-codes'
/** Where the codes are shown that were made a moment ago. */
export const SHOWN = '/account/recovery-codes/new'

export function createRecoveryCodeRouter({ codes, area }: RecoveryCodeRouteDeps): Router {
  const router = new Router()
  const { gate, show, done, form, need, redirect } = area

  router.get(PAGE, async (ctx) => {
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    const found = await codes.find(me.accountId)
    const since = found === undefined ? '' : dayIn(requestOf(ctx).locale, found.madeAt)
    const left = found?.left ?? 0
    show(ctx, me, 'recovery_codes/codes', { left, since, isFew: left <= FEW, possible: hasSecondFactor(me.account) })
  })

  router.post(PAGE, async (ctx) => {
    await form(ctx)
    const me = await gate.enterFresh(ctx, PAGE)
    if (me === undefined) return
    if (!(await codes.regenerate(holderOf(me), me.account, requestOf(ctx)))) throw new AppError('forbidden')
    redirect(ctx, SHOWN)
  })

  // Only what this very session has made, a moment ago: there is nothing to ask a fresh proof for.
  router.get(SHOWN, async (ctx) => {
    const me = await gate.enter(ctx, PAGE)
    if (me === undefined) return
    const shown = await codes.shown(holderOf(me))
    if (shown === undefined) return redirect(ctx, PAGE)
    show(ctx, me, 'recovery_codes/shown_codes', { codes: shown })
  })

  router.post(SHOWN, async (ctx) => {
    need(savedForm, await form(ctx))
    const me = await gate.enter(ctx, PAGE)
    if (me === undefined) return
    await codes.forget(holderOf(me))
    done(ctx, '/account/security', 'recovery_codes_saved')
  })
  return router
}

export function holderOf({ sessionUid, accountId }: SignedIn): Holder {
  return { id: sessionUid, accountId }
}
