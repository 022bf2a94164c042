/** Cookies that no script reads, bound to this very host where there is TLS (RFC 6265bis §4.1.3.2). */
import type { Context } from 'koa'

export interface HostCookie {
  /** What the browser sends, whatever it is; undefined without the cookie. */
  read(ctx: Context): string | undefined
  /** Without `maxAgeMs` the cookie goes with the browser. */
  write(ctx: Context, value: string, maxAgeMs?: number): void
}

/** The cookie `genkan_<name>`, with the prefix that no sibling host can set (A57). */
export function hostCookie(issuer: string, name: string): HostCookie {
  const secure = issuer.startsWith('https:')
  const full = `${secure ? '__Host-' : ''}genkan_${name}`
  const options = { httpOnly: true, sameSite: 'lax', secure, signed: false, path: '/', overwrite: true } as const
  return {
    read: (ctx) => ctx.cookies.get(full, { signed: false }),
    write(ctx, value, maxAgeMs) {
      ctx.cookies.set(full, value, { ...options, ...(maxAgeMs === undefined ? {} : { maxAge: maxAgeMs }) })
    },
  }
}
