/** Cookies and redirects of the account pages' sign-in and sign-out. */
import Router from '@koa/router'
import type { Context } from 'koa'
import { readForm } from '../../http/form.ts'
import type { Languages } from '../../http/language.ts'
import type { AccountSignInService, Leave } from './service.ts'
import type { SignedIn } from './types.ts'

/** What the account pages use to know who is there. */
export interface Gate {
  /** The signed-in person; undefined when there is none, and then the answer is a redirect that comes back to `page`. */
  enter(ctx: Context, page: string): Promise<SignedIn | undefined>
  /** The same for sensitive acts: whoever proved themselves too long ago is asked again, and comes back to `page`. */
  enterFresh(ctx: Context, page: string): Promise<SignedIn | undefined>
  /** Leads to the choice of a new password, and after it to the account pages. */
  recover(ctx: Context): void
  /** Forgets this browser: cookies and what it kept of the pages. */
  forget(ctx: Context): void
}

export interface AccountSignInRouteDeps {
  readonly issuer: string
  readonly service: AccountSignInService
  readonly languages: Pick<Languages, 'of'>
  readonly csrf: { check(ctx: Context, token: string | undefined): void }
  readonly pages: {
    render(ctx: Context, template: string, context: { readonly [name: string]: unknown }, status?: number): void
  }
}

const PATH = /^\/account(\/[\w-]+)*$/

export function createGate({ issuer, service, languages }: AccountSignInRouteDeps): Gate {
  const cookies = cookiesOf(issuer)
  const leave = (ctx: Context, page: string, how: Omit<Leave, 'returnTo'> = {}) => {
    const returnTo = PATH.test(page) ? page : '/account'
    const { url, pending } = service.leave({ returnTo, ...how }, cookies.get(ctx, 'pending'))
    cookies.set(ctx, 'pending', pending)
    redirect(ctx, url)
  }
  const enter: Gate['enter'] = async (ctx, page) => {
    const signedIn = await service.read(cookies.get(ctx, 'ticket'))
    if (signedIn === undefined) leave(ctx, page)
    else ctx.state.locale = languages.of(ctx, { account: signedIn.account.locale })
    return signedIn
  }
  return {
    enter,
    async enterFresh(ctx, page) {
      const signedIn = await enter(ctx, page)
      if (signedIn === undefined || service.isFresh(signedIn)) return signedIn
      leave(ctx, page, { fresh: signedIn.account })
      return undefined
    },
    recover: (ctx) => leave(ctx, '/account', { recover: true }),
    forget(ctx) {
      cookies.set(ctx, 'ticket', undefined)
      cookies.set(ctx, 'pending', undefined)
      // Not "cookies": that would sign the person out of every site of the registrable domain.
      ctx.set('Clear-Site-Data', '"cache", "storage"')
    },
  }
}

export function createSignInRouter(deps: AccountSignInRouteDeps, gate: Pick<Gate, 'forget' | 'recover'>): Router {
  const { issuer, service, pages, csrf } = deps
  const cookies = cookiesOf(issuer)
  const router = new Router()
  router.get('/account/callback', async (ctx) => {
    const arrival = await service.arrive({ ...ctx.query }, cookies.get(ctx, 'pending'))
    const hasTicket = cookies.get(ctx, 'ticket') !== undefined
    if (arrival.kind === 'no_cookie' && !hasTicket) {
      pages.render(ctx, 'interaction/cookies_blocked', { retryUrl: '/account', client: undefined }, 400)
    } else if (arrival.kind === 'refused') {
      pages.render(ctx, 'account_sign_in/refused', { denied: arrival.error === 'access_denied' }, 400)
    } else if (arrival.kind === 'signed_in') {
      cookies.set(ctx, 'ticket', arrival.ticket)
      cookies.set(ctx, 'pending', arrival.pending)
      redirect(ctx, arrival.returnTo)
    } else {
      redirect(ctx, '/account')
    }
  })
  router.get('/account/recover', (ctx) => gate.recover(ctx))
  router.post('/account/sign-out', async (ctx) => {
    csrf.check(ctx, (await readForm(ctx)).csrf)
    await service.signOut(cookies.get(ctx, 'ticket'))
    gate.forget(ctx)
    redirect(ctx, '/account/signed-out')
  })
  router.get('/account/signed-out', (ctx) => {
    pages.render(ctx, 'logout/done', { client: undefined, backUrl: undefined, signInUrl: '/account' })
  })
  return router
}

/** 303: whatever the method was, the next request is a GET. */
function redirect(ctx: Context, url: string): void {
  ctx.set('Cache-Control', 'no-store')
  ctx.redirect(url)
  ctx.status = 303
}

function cookiesOf(issuer: string) {
  const secure = issuer.startsWith('https:')
  // Without max-age: they go with the browser, and the provider's own session decides whether it is remembered.
  const options = { httpOnly: true, sameSite: 'lax', secure, signed: false, path: '/', overwrite: true } as const
  const prefix = secure ? '__Host-genkan_account' : 'genkan_account'
  const names = { ticket: prefix, pending: `${prefix}_pending` }
  return {
    get: (ctx: Context, name: keyof typeof names) => ctx.cookies.get(names[name], { signed: false }),
    set: (ctx: Context, name: keyof typeof names, value: string | undefined) => {
      ctx.cookies.set(names[name], value ?? null, options)
    },
  }
}
