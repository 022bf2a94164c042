/**
 * The rules of approvals: who may be asked and how often, who answers and how they must have proven themselves, and how the
 * engine hears of it. A client learns nothing of whom it names: what is asked about nobody is a row that nobody ever answers.
 */
import type { Fact } from '../../events.ts'
import { hasSecondFactor } from '../../interaction/levels.ts'
import type { AccountView, ClientView } from '../../interaction/step.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import { momentIn } from '../../platform/locales.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Permission } from '../consents/types.ts'
import type { Tell } from '../notices/types.ts'
import type { ApprovalRepository } from './repository.ts'
import type { Answer, Approval, Asked, By, Decided, Decision } from './types.ts'

export interface ApprovalDeps {
  readonly repository: ApprovalRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly clock: { now(): Date }
  readonly newId: () => string
  readonly kv: Pick<KeyValue, 'hit' | 'add' | 'delete'>
  /** Whoever is asked again and again says yes in the end, to have peace. */
  readonly limits: {
    readonly openPerAccount: number
    readonly requestsPerClient: number
    readonly windowSeconds: number
  }
  readonly warn: (error: unknown, message: string) => void
  readonly issuer: string
  /** The language of mails to accounts that have chosen none. */
  readonly locale: string
  readonly notices: { readonly tell: Tell }
  readonly accounts: { view(accountId: string, tx?: Tx): Promise<AccountView | undefined> }
  /** Whether only the account's organisation signs it in: then only that could ask it. */
  readonly isClosed: (account: AccountView) => Promise<boolean>
  readonly atLeast: (acr: string | undefined, least: string) => boolean
  readonly client: (clientId: string) => Promise<ClientView | undefined>
  readonly permissionsOf: (agreed: Approval['agreed']) => Permission[]
  readonly linkClient: (link: {
    readonly sessionUid: string
    readonly accountId: string
    readonly clientId: string
    readonly sid: string
    readonly grantId: string
    readonly offline: boolean
    readonly scope: string
  }) => Promise<boolean>
  /** Tells the engine; what it was told before, or has forgotten, it passes over. Says whether the client waits for a ping. */
  readonly answer: (answer: Answer) => Promise<boolean>
}

export type ApprovalService = ReturnType<typeof createApprovalService>

/** Longer than the engine needs to be told. */
const TELLING_SECONDS = 60

export function createApprovalService(deps: ApprovalDeps) {
  const { repository, clock } = deps
  const tell = teller(deps)
  const decide = decider(deps, tell)
  return {
    /** Keeps what was asked, and writes to the person (CIBA Core §7). Takes as long for whoever cannot be asked. */
    ask: (asked: Asked): Promise<void> => ask(deps, asked),

    countOpen: (accountId: string): Promise<number> => repository.countOpen(accountId, clock.now()),

    /** What waits for the account's answer; of clients that are there. */
    async list(accountId: string) {
      const open = await repository.listOpen(accountId, clock.now())
      const rows = await Promise.all(open.map(async (one) => ({ ...one, client: await deps.client(one.clientId) })))
      return rows.flatMap(({ client, ...approval }) => (client === undefined ? [] : [{ ...approval, client }]))
    },

    /** One that waits for the account's answer. */
    async find(accountId: string, id: string) {
      const approval = await repository.find(id)
      if (approval?.accountId !== accountId || !isOpen(approval, clock.now())) return undefined
      const client = await deps.client(approval.clientId)
      return client && { ...approval, client, permissions: deps.permissionsOf(approval.agreed) }
    },

    decide,

    /** The answer to the request that has this id. */
    async decideRequest(authReqId: string, decision: Decision): Promise<Decided> {
      const approval = await repository.findByRequest(authReqId)
      if (approval?.accountId === undefined) return 'gone'
      const authTime = Math.floor(clock.now().getTime() / 1000)
      const proof = { acr: approval.acr, amr: ['pwd'], authTime }
      return decide(approval.id, { accountId: approval.accountId, proof }, decision)
    },

    tell,

    purge: (before: Date, atMost: number): Promise<number> => repository.deleteExpired(before, atMost),
  }
}

/** The answer of the person. `unexpected`: somebody else is behind the request, and the owner is told what to do. */
function decider(deps: ApprovalDeps, tell: (id: string) => Promise<void>) {
  const { repository, clock } = deps
  return async (id: string, by: By, decision: Decision, unexpected = false): Promise<Decided> => {
    const approval = await repository.find(id)
    if (approval?.accountId !== by.accountId || !isOpen(approval, clock.now())) return 'gone'
    const account = await deps.accounts.view(by.accountId)
    if (account === undefined) return 'gone'
    if (decision === 'granted' && !reaches(deps, approval, by, account)) return 'level'
    const done = await deps.transaction(async (tx) => {
      const own = { id, accountId: by.accountId }
      if (!(await repository.decide(own, { decision, proof: by.proof }, clock.now(), tx))) return false
      await deps.outbox.record([factOf(approval, decision, unexpected)], tx)
      if (unexpected) await deps.notices.tell('approval_unexpected', account, deps, tx)
      return true
    })
    if (!done) return 'gone'
    // What fails here is repeated by the consumer of the fact.
    await tell(id).catch((error: unknown) => deps.warn(error, 'the answer to a client waits'))
    return 'done'
  }
}

async function ask(deps: ApprovalDeps, asked: Asked): Promise<void> {
  const { repository, outbox, clock, newId, limits } = deps
  const account = await deps.accounts.view(asked.accountId)
  const isAskable = account?.active === true && account.emailVerified && !(await deps.isClosed(account))
  const { allowed } = await deps.kv.hit([
    {
      key: `approvals:${asked.clientId}:${asked.accountId}`,
      limit: limits.requestsPerClient,
      windowSeconds: limits.windowSeconds,
    },
  ])
  await deps.transaction(async (tx) => {
    const now = clock.now()
    const isThere = await repository.lockAccount(asked.accountId, tx)
    const hasRoom = (await repository.countOpen(asked.accountId, now, tx)) < limits.openPerAccount
    const reached = isThere && isAskable && allowed && hasRoom ? account : undefined
    const id = newId()
    await repository.insert({ ...asked, id, accountId: reached?.accountId, askedAt: now }, tx)
    const why = isThere && isAskable ? 'limit' : 'nobody'
    const requested: Fact = {
      type: 'approval.requested',
      ...{ accountId: reached?.accountId, clientId: asked.clientId, actor: `client:${asked.clientId}` },
      data: { approval: id, scopes: [...asked.agreed.scopes], unanswered: reached === undefined ? why : undefined },
    }
    await outbox.record([requested, mailOf(deps, asked, id, reached)], tx)
  })
}

/** The mail says that there is a question and where; opening its link answers nothing (A30). */
function mailOf({ issuer, locale: usual }: ApprovalDeps, asked: Asked, id: string, to: AccountView | undefined): Fact {
  const locale = to?.locale ?? usual
  const template = 'approvals/request'
  const values = {
    client: asked.clientName,
    until: momentIn(locale, asked.expiresAt),
    url: `${issuer}/account/approvals/${id}`,
  }
  return {
    type: 'mail.requested',
    ...{ accountId: to?.accountId, clientId: asked.clientId, data: { template } },
    sealed: { to: to?.email ?? null, template, locale, values, brand: asked.brand },
  }
}

function isOpen({ decision, expiresAt }: Approval, now: Date): boolean {
  return decision === undefined && expiresAt > now
}

/** What the client, its request and its scopes demand; the account pages have asked for the highest that the account can show. */
function reaches({ atLeast }: ApprovalDeps, approval: Approval, { proof }: By, account: AccountView): boolean {
  return atLeast(proof.acr, approval.acr) && (!approval.secondFactor || hasSecondFactor(account))
}

function factOf({ id, accountId, clientId, agreed }: Approval, decision: Decision, unexpected: boolean): Fact {
  const { scopes, claims, resources } = agreed
  const data = { approval: id, scopes: [...scopes], claims: [...claims], resources: { ...resources } }
  return decision === 'granted'
    ? { type: 'approval.granted', accountId, clientId, data }
    : { type: 'approval.denied', accountId, clientId, data: { approval: id, unexpected: unexpected || undefined } }
}

/** Gives the engine the answer, once: the one who decided does, and after a crash the consumer of the fact. */
function teller(deps: ApprovalDeps) {
  const { repository, clock, kv } = deps
  return async (id: string): Promise<void> => {
    const approval = await repository.find(id)
    if (approval?.decision === undefined || approval.toldAt !== undefined) return
    const key = `approval_telling:${id}`
    if (!(await kv.add(key, '1', TELLING_SECONDS))) throw new Error('the answer is being told')
    try {
      const isPinged = await deps.answer(answerOf(deps, approval))
      await deps.transaction(async (tx) => {
        if (!(await repository.told(id, clock.now(), tx)) || !isPinged) return
        const { clientId, authReqId } = approval
        await deps.outbox.record([{ type: 'ping.requested', clientId, actor: 'system', sealed: { authReqId } }], tx)
      })
    } finally {
      await kv.delete(key)
    }
  }
}

function answerOf({ linkClient }: ApprovalDeps, approval: Approval): Answer {
  const { accountId, clientId, authReqId, agreed, proof } = approval
  if (approval.decision !== 'granted' || accountId === undefined || proof === undefined) {
    return { granted: false, authReqId }
  }
  const { sessionUid } = proof
  const scope = [...agreed.scopes, ...Object.values(agreed.resources).flat()].join(' ')
  const offline = agreed.scopes.includes('offline_access')
  const link = async (grantId: string, sid: string) =>
    sessionUid === undefined || linkClient({ sessionUid, accountId, clientId, sid, grantId, offline, scope })
  return { granted: true, authReqId, accountId, agreed, proof, link }
}
