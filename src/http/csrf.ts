/**
 * Cross-site request forgery (A55): a token that only our pages carry, bound by a MAC to a cookie that only our host can
 * set, and the browser's own word (Origin, Sec-Fetch-Site) where it gives it.
 */
import type { Context, Middleware, Next } from 'koa'
import { AppError } from '../errors.ts'
import { newToken, sha256 } from '../platform/ids.ts'

export interface CsrfDeps {
  readonly issuer: string
  readonly mac: (value: string) => string
  readonly macMatches: (value: string, mac: string) => boolean
}

export interface Csrf {
  /** Puts the function `ctx.state.csrf`, which makes the cookie when a page first asks for its token. */
  readonly offer: Middleware
  /**
   * Lets a state-changing request pass only with the token in its form.
   * @throws {AppError} `forbidden`
   */
  check(ctx: Context, token: string | undefined): void
}

/** Builds the defence for one issuer. */
export function createCsrf({ issuer, mac, macMatches }: CsrfDeps): Csrf {
  const https = issuer.startsWith('https:')
  const cookie = https ? '__Host-genkan_csrf' : 'genkan_csrf'
  const options = { httpOnly: true, sameSite: 'lax', secure: https, signed: false, path: '/' } as const
  const read = (ctx: Context) => {
    const value = ctx.cookies.get(cookie, { signed: false })
    return value !== undefined && /^[\w-]{20,64}$/.test(value) ? value : undefined
  }
  return {
    offer(ctx: Context, next: Next) {
      let value: string | undefined
      // Not made in the assignment: V8 puts functions that are assigned to members among the old objects, with all they reach.
      const csrf = () => {
        value ??= read(ctx)
        if (value === undefined) {
          value = newToken()
          ctx.cookies.set(cookie, value, options)
        }
        return mac(value)
      }
      ctx.state.csrf = csrf
      return next()
    },
    check(ctx, token) {
      const origin = ctx.get('Origin')
      // Under `Referrer-Policy: no-referrer` browsers say `null` on our own forms too (Fetch §3.2): then Sec-Fetch-Site,
      // the Lax cookie and the token decide.
      if (origin !== '' && origin !== 'null' && origin !== issuer) throw refused('the form was sent from another site')
      const site = ctx.get('Sec-Fetch-Site')
      if (site !== '' && site !== 'same-origin' && site !== 'none') throw refused('the form was sent from another site')
      const value = read(ctx)
      if (value === undefined || token === undefined || !macMatches(value, token)) throw refused('the form is too old')
    },
  }
}

/**
 * A name for the browser that only it and we know: its anti-forgery token rests on a cookie that only our host can set,
 * which the cookies of an interaction do not, since they are bound to a path (A51, A57).
 */
export function browserOf(ctx: { readonly state: object }): string {
  return sha256(String((ctx.state as { csrf?: () => string }).csrf?.()))
}

function refused(detail: string): AppError {
  return new AppError('forbidden', { detail })
}
