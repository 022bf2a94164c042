/**
 * The rules of notices: whom a mail goes to, which link it carries, and what using the link does. A link works once, for seven
 * days, and acts only by a POST of the page that it opens: mail scanners open links (A30).
 */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import type { AccountView } from '../../interaction/step.ts'
import { sha256 } from '../../platform/ids.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { AfterCommit } from '../sessions/types.ts'
import type { NoticeErrorCode } from './errors.ts'
import type { NoticeRepository } from './repository.ts'
import { type LinkPurpose, type Notice, type NoticeLink, type NoticePage, securityNotice, type Tell } from './types.ts'

export interface NoticeDeps {
  readonly repository: NoticeRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly clock: { now(): Date }
  /** 256 random bits. */
  readonly newToken: () => string
  readonly issuer: string
  /** The path that notices lead to. */
  readonly home: string
  /** The language of mails that follow from no page. */
  readonly locale: string
  readonly kv: Pick<KeyValue, 'hit'>
  readonly accounts: {
    view(accountId: string, tx?: Tx): Promise<AccountView | undefined>
    /** @throws {AppError} `already_exists` when another account has proven the address */
    changeEmail(accountId: string, email: string, tx: Tx): Promise<AccountView | undefined>
    publish(accountId: string): Promise<void>
  }
  readonly sessions: {
    endAll(
      accountId: string,
      reason: 'disowned' | 'email_restored',
      options: { exceptUid?: string | undefined },
      tx: Tx,
    ): Promise<AfterCommit>
  }
  /** The second factors stay: a removal that waits is called off. */
  readonly keepFactors: (accountId: string, tx: Tx) => Promise<void>
}

export type NoticeService = ReturnType<typeof createNoticeService>

export type Used = { readonly ok: true } | { readonly ok: false; readonly code: NoticeErrorCode }

const LINK_DAYS = 7
const DAY_MS = 86_400_000
/** Wrong tries at second factors in a day before the owner is told: whoever gets there knows the first factor. */
const SUSPICIOUS_TRIES = 5

/** The link that goes with an event. What is about nothing any more has none. */
function purposeOf(event: Notice): LinkPurpose | undefined {
  // A breach elsewhere is nobody's act here: a new password is all that it asks for.
  if (event === 'account_deleted' || event === 'password_breached') return undefined
  // Whoever holds the mailbox must not take from its owners what the day without a provider depends on.
  if (event === 'break_glass_used') return undefined
  if (event === 'email_changed') return 'restore_email'
  return event === 'removal_requested' || event === 'removal_near' ? 'keep_factors' : 'disown'
}

export function createNoticeService(deps: NoticeDeps) {
  const { repository, transaction, clock } = deps
  const tell = teller(deps)
  /** Tells of what another room has stated: outside of every request, so in a transaction of its own. */
  const follow = (event: Notice, accountId: string, details: { at: Date; method?: string }): Promise<void> =>
    transaction(async (tx) => {
      const account = await deps.accounts.view(accountId, tx)
      if (account !== undefined) await tell(event, account, deps, tx, details)
    })
  return {
    tell,

    /** Counts a wrong try at a second factor. After several the owner is told, once a day. */
    async tried(accountId: string, at: Date): Promise<void> {
      const told = { key: `{factor_tries}:told:${accountId}`, limit: 1, windowSeconds: DAY_MS / 1000 }
      const wrong = { ...told, key: `{factor_tries}:wrong:${accountId}`, limit: SUSPICIOUS_TRIES - 1 }
      if ((await deps.kv.hit([wrong])).allowed || !(await deps.kv.hit([{ ...told, peek: true }])).allowed) return
      await follow('suspicious_tries', accountId, { at })
      // Last: a mail too many after a crash is better than none.
      await deps.kv.hit([told])
    },

    isLive: (token: string, purpose: LinkPurpose): Promise<boolean> =>
      repository.isLive(sha256(token), purpose, clock.now()),

    use: (token: string, purpose: LinkPurpose, page: NoticePage): Promise<Used> =>
      useLink(deps, tell, token, purpose, page),
  }
}

function teller({ repository, outbox, clock, newToken, ...deps }: NoticeDeps): Tell {
  const { issuer, home } = deps
  return async (event, account, page, tx, details = {}) => {
    const now = clock.now()
    const { accountId, email } = account
    const earlier = event === 'account_deleted' ? [] : await repository.earlierEmails(accountId, now, tx)
    const facts: Fact[] = []
    for (const to of [email, ...earlier.filter((address) => address !== email)]) {
      // Of a change of address only the one that loses the account can take it back.
      const purpose = to !== email && event === 'email_changed' ? 'disown' : purposeOf(event)
      const link = purpose === undefined ? undefined : await issue({ accountId, purpose, to, now }, tx)
      facts.push(securityNotice({ clock, issuer, home }, event, { ...account, email: to }, page, { ...details, link }))
    }
    await outbox.record(facts, tx)
  }

  async function issue(
    { accountId, purpose, to, now }: { accountId: string; purpose: LinkPurpose; to: string; now: Date },
    tx: Tx,
  ): Promise<{ purpose: LinkPurpose; url: string }> {
    const token = newToken()
    const link = { accountId, purpose, email: purpose === 'restore_email' ? to : undefined, createdAt: now }
    await repository.insert(sha256(token), link, new Date(now.getTime() + LINK_DAYS * DAY_MS), tx)
    return { purpose, url: `${issuer}/notices/${purpose}?token=${token}` }
  }
}

async function useLink(
  deps: NoticeDeps,
  tell: Tell,
  token: string,
  purpose: LinkPurpose,
  page: NoticePage,
): Promise<Used> {
  const { repository, transaction, outbox, clock, accounts } = deps
  try {
    const used = await transaction(async (tx) => {
      const link = await repository.consume(sha256(token), purpose, clock.now(), tx)
      if (link === undefined) return undefined
      return { link, after: await ACTS[purpose](deps, tell, link, page, tx) }
    })
    if (used === undefined) return { ok: false, code: 'notice_link_gone' }
    await accounts.publish(used.link.accountId)
    outbox.wake()
    await used.after()
    return { ok: true }
  } catch (error) {
    // Rolled back: the link works again once the address is free.
    if (!(error instanceof AppError) || error.code !== 'already_exists') throw error
    return { ok: false, code: 'notice_email_taken' }
  }
}

type Effect = (deps: NoticeDeps, tell: Tell, link: NoticeLink, page: NoticePage, tx: Tx) => Promise<AfterCommit>

const nothing: AfterCommit = async () => {}

const ACTS: { readonly [purpose in LinkPurpose]: Effect } = {
  /** Everything that is open ends: sessions, grants, trusted browsers (which follow from it), proofs under way. */
  async disown({ accounts, sessions, outbox }, tell, { accountId }, page, tx) {
    const account = await accounts.view(accountId, tx)
    if (account === undefined) return nothing
    const after = await sessions.endAll(accountId, 'disowned', {}, tx)
    await outbox.record([{ type: 'account.disowned', accountId }], tx)
    await tell('disowned', account, page, tx)
    return after
  },

  /**
   * The address from before the change comes back, whatever the account's address is by now: of several changes the first
   * undoes those after it, whose links die. What may take back an earlier one lives on.
   */
  async restore_email({ accounts, sessions, outbox, repository, clock }, tell, link, page, tx) {
    const { accountId, email, createdAt } = link
    const before = await accounts.view(accountId, tx)
    if (before === undefined || email === undefined) return nothing
    const restored = before.email === email ? before : await accounts.changeEmail(accountId, email, tx)
    if (restored === undefined) return nothing
    await repository.voidSince(accountId, 'restore_email', createdAt, clock.now(), tx)
    const after = await sessions.endAll(accountId, 'email_restored', {}, tx)
    await outbox.record([{ type: 'account.email_restored', accountId }], tx)
    await tell('email_restored', restored, page, tx)
    return after
  },

  async keep_factors({ keepFactors }, _tell, { accountId }, _page, tx) {
    await keepFactors(accountId, tx)
    return nothing
  },
}
