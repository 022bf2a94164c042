/** Addresses that lead nowhere but to our own pages (A100). */
import type { Context } from 'koa'

/** A path that no browser and no proxy takes for a host: `//x`, `/\x` and their encoded forms are none, nor is anything with controls. */
const PATH = /^\/(?![/\\]|%2f|%5c)[^\\\p{Cc}\p{Z}]*$/iu

/** Path and query of this request. A request for `//evil.example` must not become a link to that host. */
export function ownPathOf(ctx: Context): string {
  return `${ctx.path.replace(/^[/\\]+/, '/')}${ctx.search}`
}

/** The URL of a path at our origin, whole, so that nothing is left to resolve; undefined for anything else. */
export function ownUrl(origin: string, path: string): URL | undefined {
  if (!PATH.test(path) || !URL.canParse(path, origin)) return undefined
  const url = new URL(path, origin)
  // `/.//x` resolves to a path of `//x`.
  return url.origin === new URL(origin).origin && !url.pathname.startsWith('//') ? url : undefined
}
