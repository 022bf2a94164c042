/** The account pages as a client of their own provider: the request, the response, and the ticket in the cookie. */
import { createHash } from 'node:crypto'
import type { ZodType } from 'zod'
import type { AccountView } from '../../interaction/step.ts'
import { type Pending, pendingListSchema, responseSchema, type Ticket, ticketSchema } from './schema.ts'
import type { RedeemedCode, SignedIn } from './types.ts'

export interface AccountSignInDeps {
  readonly issuer: string
  readonly clientId: string
  readonly authorizationEndpoint: string
  readonly secretBox: {
    seal(plaintext: string, purpose: string): string
    open(sealed: string, purpose: string): string
  }
  readonly clock: { now(): Date }
  /** 256 random bits. */
  readonly newToken: () => string
  readonly redeem: (code: string, verifier: string, redirectUri: string) => Promise<RedeemedCode | undefined>
  readonly sessions: {
    findLive(
      uid: string,
    ): Promise<
      | { readonly accountId: string; readonly seenAt: Date; readonly upstreams?: readonly string[] | undefined }
      | undefined
    >
    touch(uid: string, now: Date): Promise<void>
    end(uid: string, reason: 'logout'): Promise<unknown>
  }
  readonly accounts: { view(accountId: string): Promise<AccountView | undefined> }
  /** Whether only another provider than these signs the account in, whatever its session was begun by. */
  readonly isClosed: (account: AccountView, ...upstreams: readonly string[]) => Promise<boolean>
  readonly levels: {
    /** The highest level that an account with these factors can reach. */
    highest(factors: readonly string[]): string
    atLeast(acr: string | undefined, least: string): boolean
  }
}

export type AccountSignInService = ReturnType<typeof createAccountSignInService>

/** Where a person asks to go, and as whom. */
export interface Leave {
  /** A path of the account pages. */
  readonly returnTo: string
  /** Asks for a fresh authentication of this account. */
  readonly fresh?: AccountView | undefined
  /** Begins with a new password. */
  readonly recover?: true | undefined
}

export type Arrival =
  | {
      readonly kind: 'signed_in'
      readonly ticket: string
      readonly pending: string | undefined
      readonly returnTo: string
    }
  /** Nothing came back with the browser that left: going on would be a loop. */
  | { readonly kind: 'no_cookie' }
  /** An old or bookmarked address: begin again. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'refused'; readonly error: string }

/** A sign-in may take this long between leaving and coming back. */
const PENDING_SECONDS = 3600
/** Tabs that may be on their way at once; more would outgrow the cookie. */
const PENDING_TABS = 4
/** For sensitive acts. */
const FRESH_SECONDS = 300
/** The provider and its pages share a clock but not a process. */
const SKEW_MS = 15_000
/** The session's last use is noted once in this time. */
const TOUCH_MS = 300_000
const PENDING = 'account_pending'
const TICKET = 'account_ticket'

export function createAccountSignInService(deps: AccountSignInDeps) {
  const { issuer, clock, secretBox } = deps
  const redirectUri = `${issuer}/account/callback`

  /** A sealed value that does not open, or opens to something else, is as good as none. */
  function open<T>(sealed: string | undefined, purpose: string, schema: ZodType<T>): T | undefined {
    if (sealed === undefined || sealed.length > 4096) return undefined
    try {
      return schema.safeParse(JSON.parse(secretBox.open(sealed, purpose))).data
    } catch {
      return undefined
    }
  }

  function pendingOf(sealed: string | undefined): Pending[] {
    const since = clock.now().getTime() - PENDING_SECONDS * 1000
    return (open(sealed, PENDING, pendingListSchema) ?? []).filter(({ startedAt }) => startedAt > since)
  }

  const sealPending = (list: readonly Pending[]) =>
    list.length === 0 ? undefined : secretBox.seal(JSON.stringify(list), PENDING)

  return {
    /** The authorization request to leave with, and the cookie that binds its answer to this browser. */
    leave({ returnTo, fresh, recover }: Leave, pendingCookie: string | undefined): { url: string; pending: string } {
      const [state, nonce, verifier] = [deps.newToken(), deps.newToken(), deps.newToken()]
      const startedAt = clock.now().getTime()
      const entry: Pending = { state, nonce, verifier, returnTo, startedAt, fresh: fresh?.accountId }
      const list = [...pendingOf(pendingCookie).slice(1 - PENDING_TABS), entry]
      const url = new URL(deps.authorizationEndpoint)
      url.search = new URLSearchParams({
        ...{ client_id: deps.clientId, response_type: 'code', scope: 'openid', redirect_uri: redirectUri },
        ...{ state, nonce, code_challenge: challengeOf(verifier), code_challenge_method: 'S256' },
        ...(recover ? RECOVERY : fresh === undefined ? {} : afresh(deps, fresh)),
      }).toString()
      return { url: url.href, pending: sealPending(list) ?? '' }
    },

    /** Judges the authorization response. Every path ends on a page or at a place that needs no second trip. */
    async arrive(query: unknown, pendingCookie: string | undefined): Promise<Arrival> {
      if (pendingCookie === undefined) return { kind: 'no_cookie' }
      const list = pendingOf(pendingCookie)
      const response = responseSchema.safeParse(query).data
      const entry = list.find(({ state }) => state === response?.state)
      if (response === undefined || entry === undefined) return { kind: 'unknown' }
      // This provider always sends it, so a response without it is none of its own (RFC 9207 §2.4, A75).
      if (response.iss !== issuer) return { kind: 'refused', error: 'access_denied' }
      if (response.code === undefined) return { kind: 'refused', error: response.error ?? 'server_error' }
      const redeemed = await deps.redeem(response.code, entry.verifier, redirectUri)
      if (redeemed === undefined || redeemed.nonce !== entry.nonce) return { kind: 'refused', error: 'server_error' }
      const { accountId, sessionUid, authTime, acr } = redeemed
      const ticket = { accountId, sessionUid, authTime, acr }
      const found = await alive(deps, ticket)
      if (found === undefined) return { kind: 'refused', error: 'access_denied' }
      // Asking again would be a loop: the provider did not do what it was asked to, or the request was edited on its way.
      const isStale = entry.fresh !== undefined && authTime * 1000 < entry.startedAt - SKEW_MS
      const isLow = entry.fresh === accountId && !isHighest(deps, acr, found.account)
      if (isStale || isLow) return { kind: 'refused', error: 'server_error' }
      const isOther = entry.fresh !== undefined && entry.fresh !== accountId
      return {
        kind: 'signed_in',
        ticket: secretBox.seal(JSON.stringify(ticket), TICKET),
        pending: sealPending(list.filter((other) => other !== entry)),
        // Somebody else signed in instead: the act that was begun is not theirs.
        returnTo: isOther ? '/account' : entry.returnTo,
      }
    },

    /** Who a ticket stands for; undefined once the session has ended or the account is not active (A53, A59). */
    async read(ticketCookie: string | undefined): Promise<SignedIn | undefined> {
      const ticket = open(ticketCookie, TICKET, ticketSchema)
      const found = ticket === undefined ? undefined : await alive(deps, ticket)
      if (ticket === undefined || found === undefined) return undefined
      const now = clock.now()
      if (now.getTime() - found.seenAt.getTime() > TOUCH_MS) await deps.sessions.touch(ticket.sessionUid, now)
      const { accountId, sessionUid, authTime, acr } = ticket
      return { accountId, sessionUid, authTime: new Date(authTime * 1000), acr, account: found.account }
    },

    /** Ends the session behind a ticket, as its owner signing out; a ticket that is worth nothing ends nothing. */
    async signOut(ticketCookie: string | undefined): Promise<void> {
      const ticket = open(ticketCookie, TICKET, ticketSchema)
      if (ticket !== undefined) await deps.sessions.end(ticket.sessionUid, 'logout')
    },

    /** Whether the last sign-in is new enough for a sensitive act, and as strong as the account allows (ASVS 7.5.1, A48). */
    isFresh: ({ authTime, acr, account }: SignedIn): boolean =>
      clock.now().getTime() - authTime.getTime() <= FRESH_SECONDS * 1000 && isHighest(deps, acr, account),
  }
}

/** The conversation begins with a new password. */
const RECOVERY = { prompt: 'login', genkan_begin: 'recover' }

function afresh({ levels }: AccountSignInDeps, { email, factors, locale }: AccountView): { [name: string]: string } {
  const asked = { prompt: 'login', login_hint: email, acr_values: levels.highest(factors) }
  // The provider may not know yet who is there; who is asked anew is.
  return locale === undefined ? asked : { ...asked, ui_locales: locale }
}

function isHighest({ levels }: AccountSignInDeps, acr: string | undefined, { factors }: AccountView): boolean {
  return levels.atLeast(acr, levels.highest(factors))
}

interface Alive {
  readonly account: AccountView
  readonly seenAt: Date
}

async function alive({ sessions, accounts, isClosed }: AccountSignInDeps, ticket: Ticket): Promise<Alive | undefined> {
  const session = await sessions.findLive(ticket.sessionUid)
  if (session?.accountId !== ticket.accountId) return undefined
  const account = await accounts.view(ticket.accountId)
  if (!account?.active || !account.emailVerified) return undefined
  // The domain of the account may have been closed since.
  return (await isClosed(account, ...(session.upstreams ?? []))) ? undefined : { account, seenAt: session.seenAt }
}

/** RFC 7636 §4.2. */
function challengeOf(verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url')
}
