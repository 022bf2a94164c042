/**
 * The headers every answer carries: pages, errors, assets and protocol endpoints alike. Set before the rest runs, so
 * that a failure further in cannot lose them.
 */
import type { Middleware } from 'koa'

const ONE_YEAR = 31_536_000

const FIXED = {
  // Whatever may be kept says so itself: assets, discovery and keys.
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  // Nothing of ours belongs in a frame; the old header is for browsers that do not know frame-ancestors (clickjacking).
  'X-Frame-Options': 'DENY',
  // Codes, interaction ids and tickets live in our URLs: no site that we link to may learn them.
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()',
} as const

/**
 * For answers that are no page of ours. `report-sample` allows nothing by itself: it keeps the directive there for the
 * engine, which adds the hash of its one script to it (response_mode=form_post, and logout without a session).
 */
const NO_PAGE = "default-src 'none'; script-src 'report-sample'; base-uri 'none'; frame-ancestors 'none'"

/** What a page lets somebody else's widget do, which no other page does. */
export interface WidgetSources {
  readonly frame: readonly string[]
  readonly connect: readonly string[]
  readonly style: readonly string[]
}

/**
 * Content-Security-Policy of an answer (CSP Level 3). There is no `form-action`: Chromium applies it to the whole redirect
 * chain of a submit, which would block the redirect to the client after a sign-in.
 *
 * With a widget, its script may bring others (`strict-dynamic`), as our own with the nonce brings it. The hosts of vendors are
 * not listed for scripts: they serve much else, by which markup that was smuggled in would run.
 */
export function pagePolicy(nonce: string, imageOrigins: readonly string[] = [], widget?: WidgetSources): string {
  return [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'${widget === undefined ? '' : " 'strict-dynamic'"}`,
    ["style-src 'self'", ...(widget?.style ?? [])].join(' '),
    ["img-src 'self' data:", ...imageOrigins].join(' '),
    "font-src 'self'",
    ["connect-src 'self'", ...(widget?.connect ?? [])].join(' '),
    ...(widget === undefined ? [] : [['frame-src', ...widget.frame].join(' ')]),
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/** The policy of a page that is made once for everybody, and so has no script: a nonce that many know protects nobody. */
export const STATIC_PAGE =
  "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; frame-ancestors 'none'"

/** The same headers for answers that are given in front of the chain. */
export function securityHeaders({ issuer }: { readonly issuer: string }): { readonly [name: string]: string } {
  const secure = issuer.startsWith('https:')
  return {
    ...FIXED,
    'Content-Security-Policy': NO_PAGE,
    ...(secure ? { 'Strict-Transport-Security': `max-age=${ONE_YEAR}; includeSubDomains` } : {}),
  }
}

/** `issuer` tells whether the site is served by https: only then may Strict-Transport-Security be promised (RFC 6797 §7.2). */
export function createSecurityHeaders(deps: { issuer: string }): Middleware {
  const fixed = Object.entries(securityHeaders(deps))
  return (ctx, next) => {
    for (const [name, value] of fixed) ctx.res.setHeader(name, value)
    return next()
  }
}
