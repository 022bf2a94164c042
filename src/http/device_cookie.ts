/**
 * The cookie that names a browser for as long as it keeps cookies. It signs nobody in: an account may know the browser by it,
 * and may have said that its second factor need not be asked for here. Only a hash of it is stored.
 */
import type { Context } from 'koa'
import { hostCookie } from './host_cookie.ts'

export interface DeviceCookie {
  /** The browser's token; undefined when it has none yet, or sends what is none of ours. */
  read(ctx: Context): string | undefined
  /** On a shared computer the cookie goes with the browser. */
  write(ctx: Context, token: string, options: { readonly transient: boolean }): void
}

/** The longest that browsers keep a cookie (RFC 6265bis §5.5). */
const DAYS = 400
const TOKEN = /^[\w-]{43}$/

export function createDeviceCookie({ issuer }: { readonly issuer: string }): DeviceCookie {
  const cookie = hostCookie(issuer, 'device')
  return {
    read(ctx) {
      const value = cookie.read(ctx)
      return value !== undefined && TOKEN.test(value) ? value : undefined
    },
    write: (ctx, token, { transient }) => cookie.write(ctx, token, transient ? undefined : DAYS * 86_400_000),
  }
}
