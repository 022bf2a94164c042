/**
 * The cookie that says how this browser last signed in, for the word "last used" beside one of several ways. It holds the
 * method and nothing of the person, so it tells whoever sits there next no account; it is a hint for the eye and decides
 * nothing.
 */
import type { Context } from 'koa'
import { hostCookie } from './host_cookie.ts'

export interface LastMethod {
  /** The method, of an upstream provider with its name; undefined when the browser has none, or sends what cannot be one. */
  read(ctx: Context): string | undefined
  write(ctx: Context, method: string): void
}

const YEAR_MS = 365 * 86_400_000
const METHOD = /^[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_-]{0,31})?$/

export function createLastMethod({ issuer }: { readonly issuer: string }): LastMethod {
  const cookie = hostCookie(issuer, 'method')
  return {
    read(ctx) {
      const value = cookie.read(ctx)
      return value !== undefined && METHOD.test(value) ? value : undefined
    },
    write: (ctx, method) => cookie.write(ctx, method, YEAR_MS),
  }
}
