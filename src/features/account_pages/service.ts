/** What a person may do to their own account, and what each act drags along. */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import type { Act } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { OWN_CLAIMS } from '../accounts/types.ts'
import { type CodeTarget, codeFailure } from '../email_codes/types.ts'
import type { AccountPagesDeps, Claims, ClientRow, DelegateRow, Profile, SessionRow } from './types.ts'

export type AccountActs = ReturnType<typeof createAccountActs>

export function createAccountActs(deps: AccountPagesDeps) {
  return {
    /**
     * Whoever a domain's provider alone signs in has no password here, and cannot take the account to another domain.
     * @throws AppError managed_by_realm
     */
    async refuseInRealm({ account }: SignedIn): Promise<void> {
      if (await deps.realms.closes(account)) throw new AppError('managed_by_realm', { status: 403, expose: true })
    },
    ...personal(deps),
    ...passwordAct(deps),
    ...emailActs(deps),
    ...sessionActs(deps),
    ...clientActs(deps),
    ...delegateActs(deps),
    ...ending(deps),
  }
}

const done: Act = { ok: true, value: undefined }

function personal({ transaction, accounts }: AccountPagesDeps) {
  const profileOf = async (accountId: string) => (await accounts.find(accountId))?.profile ?? {}
  return {
    profile: (accountId: string): Promise<Claims> => profileOf(accountId),

    /** Replaces what the page shows; claims that it does not show stay. A new number has yet to be proven. */
    async saveProfile({ accountId }: SignedIn, profile: Profile): Promise<void> {
      const { phone_number_verified, ...before } = await profileOf(accountId)
      const isSameNumber = before.phone_number === profile.phone_number
      const proven = isSameNumber && phone_number_verified !== undefined ? { phone_number_verified } : {}
      const kept = Object.entries(before).filter(([claim]) => !(OWN_CLAIMS as readonly string[]).includes(claim))
      const edited = Object.entries(profile).filter(([, value]) => value !== undefined)
      const whole = { ...Object.fromEntries([...kept, ...edited]), ...proven }
      await transaction((tx) => accounts.update(accountId, { profile: whole }, tx))
    },

    async saveLocale({ accountId }: SignedIn, locale: string): Promise<void> {
      await transaction((tx) => accounts.update(accountId, { locale }, tx))
    },
  }
}

function passwordAct(deps: AccountPagesDeps) {
  const { transaction, outbox, passwords, sessions, notices } = deps
  return {
    openApprovals: (accountId: string): Promise<number> => deps.approvals.countOpen(accountId),

    hasPassword: ({ accountId }: SignedIn): Promise<boolean> => passwords.isSet(accountId),

    /** The first password of an account that was signed in to by codes. */
    async setPassword({ accountId, account }: SignedIn, password: string, locale: string): Promise<Act> {
      const set: Fact = { type: 'account.password_changed', accountId, data: { reason: 'first' } }
      const first = await passwords.setFirst(account, password, async (tx) => {
        await outbox.record([set], tx)
        await notices.tell('password_set', account, { locale }, tx)
      })
      return first.ok ? done : { ...first, field: 'password' }
    },

    /** Changes the password; ends all other sessions and their refresh tokens when asked to, in the same transaction. */
    async changePassword(
      { accountId, sessionUid, account }: SignedIn,
      form: { readonly current: string; readonly password: string; readonly others: boolean },
      { ip, locale }: { readonly ip: string; readonly locale: string },
    ): Promise<Act> {
      const verified = await passwords.verifyAccount(accountId, form.current, { ip, clientId: deps.ownClientId })
      if (!verified.ok) {
        const { retryAfter } = verified
        if (retryAfter !== undefined) return { ok: false, code: 'too_many_requests', retryAfter }
        return { ok: false, code: 'current_password_wrong', field: 'current' }
      }
      const prepared = await passwords.prepare(form.password, [account.email, account.name])
      if (!prepared.ok) return { ...prepared, field: 'password' }
      const after = await transaction(async (tx) => {
        await passwords.store(accountId, prepared.hash, tx)
        await outbox.record([{ type: 'account.password_changed', accountId }], tx)
        await notices.tell('password_changed', account, { locale }, tx)
        return form.others ? sessions.endAll(accountId, 'password_changed', { exceptUid: sessionUid }, tx) : undefined
      })
      await after?.()
      return done
    },
  }
}

/** As long as a code may be under way. */
const EMAIL_CHANGE_SECONDS = 3600

interface Sender {
  readonly ip: string
  readonly locale: string
}

interface EmailActs {
  startEmailChange(me: SignedIn, input: string, sender: Sender): Promise<Act>
  resendEmailCode(me: SignedIn, sender: Sender): Promise<Act>
  confirmEmailChange(me: SignedIn, code: string, sender: Sender): Promise<Act>
  resendIn(me: SignedIn, to: string): Promise<number>
  pendingEmail(me: SignedIn): Promise<string | undefined>
  cancelEmailChange(me: SignedIn): Promise<void>
}

function emailActs(deps: AccountPagesDeps): EmailActs {
  const { transaction, notices, accounts, emailCodes, kv, readEmail, realms, ownClientId: clientId } = deps
  const key = ({ sessionUid }: SignedIn) => `email_change:${sessionUid}`
  const pending = (me: SignedIn) => kv.get(key(me))

  return {
    /**
     * Sends a code to the new address; the old one stays until it is proven. Whether another account has the address is
     * not told before the person has shown that the mailbox is theirs.
     */
    async startEmailChange(me, input, sender) {
      const email = await readEmail(input, { ip: sender.ip, clientId, accountId: me.accountId })
      if (email === undefined) return { ok: false, code: 'email_invalid', field: 'email' }
      if (email === me.account.email) return { ok: false, code: 'email_same', field: 'email' }
      if (await realms.closesAddress(email)) return { ok: false, code: 'email_of_realm', field: 'email' }
      await kv.set(key(me), email, EMAIL_CHANGE_SECONDS)
      const sent = await send(deps, me, email, sender)
      return !sent.ok && sent.code === 'code_resend_too_soon' ? done : sent
    },

    async resendEmailCode(me, sender) {
      const email = await pending(me)
      return email === undefined ? { ok: false, code: 'email_change_gone' } : send(deps, me, email, sender)
    },

    /** Seconds until another code may be asked for. */
    resendIn: (me, to) => emailCodes.resendIn(targetOf(me, to)),

    pendingEmail: pending,
    cancelEmailChange: (me) => kv.delete(key(me)),

    /** Proves the new address, and tells the old one, which can take the account back for a week. */
    async confirmEmailChange(me, code, { locale }) {
      const email = await pending(me)
      if (email === undefined) return { ok: false, code: 'email_change_gone' }
      const checked = await emailCodes.check(targetOf(me, email), code)
      if (checked !== 'right') return codeFailure(checked)
      await kv.delete(key(me))
      try {
        const changed = await transaction(async (tx) => {
          const account = await accounts.changeEmail(me.accountId, email, tx)
          if (account !== undefined) await notices.tell('email_changed', me.account, { locale }, tx)
          return account
        })
        return changed === undefined ? { ok: false, code: 'email_change_gone' } : done
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'already_exists') throw error
        return { ok: false, code: 'email_taken' }
      }
    },
  }
}

/** Bound to the session, the account and its present address: none of them may change before the code is used. */
function targetOf({ sessionUid, accountId, account }: SignedIn, to: string): CodeTarget {
  return { purpose: 'change_email', cid: sessionUid, to, bound: `${accountId}\n${account.email}` }
}

async function send({ emailCodes }: AccountPagesDeps, me: SignedIn, to: string, { ip, locale }: Sender): Promise<Act> {
  const mail = { to, template: 'email_codes/verify_email', carriesCode: true, values: () => ({}) }
  try {
    const wait = await emailCodes.resend({ ...targetOf(me, to), ip, locale, accountId: me.accountId, mail })
    return wait === undefined ? done : { ok: false, code: 'code_resend_too_soon', retryAfter: wait }
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'too_many_requests') throw error
    return { ok: false, code: 'too_many_requests', retryAfter: error.retryAfter }
  }
}

function sessionActs({ sessions, clients, ownClientId }: AccountPagesDeps) {
  return {
    /** With the names of the clients that were reached from each. */
    async sessions(accountId: string): Promise<SessionRow[]> {
      const list = await sessions.list(accountId)
      const ids = new Set(list.flatMap(({ clientIds }) => clientIds))
      ids.delete(ownClientId)
      const named = await Promise.all([...ids].map(async (id) => [id, (await clients.view(id))?.name ?? id] as const))
      const names = new Map(named)
      return list.map((session) => ({
        ...session,
        clients: session.clientIds.flatMap((id) => names.get(id) ?? []).sort((a, b) => a.localeCompare(b)),
      }))
    },

    /** Ends one session of this account. False when it is nobody's or somebody else's. */
    async endSession({ accountId }: SignedIn, uid: string): Promise<boolean> {
      const own = (await sessions.list(accountId)).some((session) => session.uid === uid)
      if (own) await sessions.end(uid, 'ended_by_account')
      return own
    },

    async endOthers({ accountId, sessionUid }: SignedIn): Promise<void> {
      await sessions.endAll(accountId, 'ended_by_account', { exceptUid: sessionUid })
    },
  }
}

function clientActs({ sessions, consents, clients, agents, ownClientId }: AccountPagesDeps) {
  return {
    /** Every client that may do something: agreed to, or holding a grant. */
    async clients(accountId: string): Promise<ClientRow[]> {
      const [agreed, details, connected, uses] = await Promise.all([
        consents.listByAccount(accountId),
        consents.detailsByAccount(accountId),
        sessions.connectedClients(accountId),
        agents.lastUses(accountId),
      ])
      const ids = new Set([...agreed, ...connected].map(({ clientId }) => clientId))
      ids.delete(ownClientId)
      const rows = [...ids].map(async (clientId): Promise<ClientRow> => {
        const consent = agreed.find((row) => row.clientId === clientId)
        const grant = connected.find((row) => row.clientId === clientId)
        const client = (await clients.view(clientId)) ?? { clientId, name: clientId, firstParty: false }
        const agreement = consent ?? { scopes: grant?.scopes ?? [], claims: [], resources: {} }
        const since = consent?.grantedAt ?? grant?.since ?? new Date(0)
        const usedAt = client.agent === undefined ? undefined : uses.get(clientId)
        return {
          client,
          permissions: consents.permissionsOf(agreement),
          details: details.filter((detail) => detail.clientId === clientId),
          offline: grant?.offline ?? false,
          since,
          usedAt,
        }
      })
      return (await Promise.all(rows)).sort((a, b) => a.client.name.localeCompare(b.client.name))
    },

    /** False when the client holds nothing of this account. */
    async revokeClient({ accountId }: SignedIn, clientId: string): Promise<boolean> {
      return clientId !== ownClientId && sessions.revokeClient(accountId, clientId)
    },
  }
}

function delegateActs({ clients, agents }: AccountPagesDeps) {
  return {
    /** Agents that act, or acted, through services. Where one of the two is gone, nobody acts. */
    async delegates(accountId: string): Promise<DelegateRow[]> {
      const byActor = Map.groupBy(await agents.delegations(accountId), ({ actorClientId }) => actorClientId)
      const rows = [...byActor].map(async ([actorClientId, ofActor]) => {
        const byService = Map.groupBy(ofActor, ({ subjectClientId }) => subjectClientId)
        const found = [...byService].map(async ([id, at]) => ({ through: await clients.view(id), at }))
        const ways = (await Promise.all(found)).flatMap(({ through, at }) => (through ? [{ through, at }] : []))
        return { client: await clients.view(actorClientId), ways }
      })
      return (await Promise.all(rows))
        .flatMap(({ client, ways }) => (client === undefined || ways.length === 0 ? [] : [{ client, ways }]))
        .sort((a, b) => a.client.name.localeCompare(b.client.name))
    },

    takeBackDelegate: ({ accountId }: SignedIn, actorClientId: string, subjectClientId: string): Promise<boolean> =>
      agents.takeBack({ accountId, actorClientId, subjectClientId }),

    allowDelegate: ({ accountId }: SignedIn, actorClientId: string, subjectClientId: string): Promise<boolean> =>
      agents.allowAgain({ accountId, actorClientId, subjectClientId }),
  }
}

function ending(deps: AccountPagesDeps) {
  const { notices, accounts } = deps
  return {
    /** Deletes the account after its e-mail was typed again: sessions, grants and rows at once, the clients are told. */
    async deleteAccount({ accountId, account }: SignedIn, confirmation: string, locale: string): Promise<Act> {
      if (accounts.canonicalEmail(confirmation) !== account.email) {
        return { ok: false, code: 'confirmation_wrong', field: 'confirmation' }
      }
      await accounts.remove(accountId, (tx) => notices.tell('account_deleted', account, { locale }, tx))
      return done
    },
  }
}
