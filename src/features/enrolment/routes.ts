/** The account page that lists what the account signs in with. */
import Router from '@koa/router'
import type { AccountArea, SecurityRow } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'

export interface SecurityRouteDeps {
  readonly area: AccountArea
  /** One of each room, in the order of the page; none where there is nothing to see and nothing to do. */
  readonly rows: readonly ((me: SignedIn) => Promise<SecurityRow | undefined>)[]
}

export function createSecurityRouter({ area, rows }: SecurityRouteDeps): Router {
  const router = new Router()
  router.get('/account/security', async (ctx) => {
    const me = await area.gate.enter(ctx, '/account/security')
    if (me === undefined) return
    const shown = await Promise.all(rows.map((row) => row(me)))
    area.show(ctx, me, 'enrolment/security', { rows: shown.filter((row) => row !== undefined) })
  })
  return router
}
