/** Is the process alive, and may it get traffic? Served on both ports, without cookies, pages or store access for the first. */
import type { Context, Middleware, Next } from 'koa'

/** What stands in the way of serving: names of parts that do not answer. Empty when ready. */
export type Readiness = () => Promise<readonly string[]>

const PATHS = ['/livez', '/readyz']
const READS = ['GET', 'HEAD']

/** Answers `/livez` (process only) and `/readyz` (stores, migrations, keys; 503 while draining). */
export function createHealth(readiness: Readiness): Middleware {
  return (ctx: Context, next: Next) =>
    PATHS.includes(ctx.path) && READS.includes(ctx.method) ? answer(ctx, readiness) : next()
}

async function answer(ctx: Context, readiness: Readiness): Promise<void> {
  ctx.set('Cache-Control', 'no-store')
  const missing = ctx.path === '/livez' ? [] : await readiness()
  ctx.status = missing.length === 0 ? 200 : 503
  if (missing.length > 0) ctx.set('Retry-After', '2')
  ctx.body = { status: missing.length === 0 ? 'ok' : 'unavailable', ...(missing.length > 0 ? { missing } : {}) }
}
