/**
 * What the product has acknowledged: accounts, consents, revocations, codes and refresh tokens that were used. A background load adds
 * to it while something is broken; afterwards everything in it is asked for (I1, I2).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { API, PASSWORD, SECRET } from '../support/journeys.ts'
import { authorizationRequest } from '../support/people.ts'
import * as acts from './acts.ts'
import { type Account, type Code, NotDone } from './acts.ts'
import type { World } from './world.ts'

/** The tokens of one sign-in, refreshed in turn. */
interface Family {
  current: string
  /** Used, with the time of its use. */
  readonly used: { readonly token: string; readonly at: number }[]
  /** Since when a refresh has had no answer: it may have taken effect. */
  doubtful?: number | undefined
  ended: boolean
}

export interface Journal {
  readonly accounts: Account[]
  readonly consents: Account[]
  readonly revoked: string[]
  readonly codes: Code[]
  readonly families: Family[]
  /** Addresses that a code was asked for, and how often. */
  readonly asked: Map<string, number>
  /** Nothing of these may be in a log. */
  readonly secrets: Set<string>
  /** Outcomes of the load. */
  readonly outcomes: { done: number; refused: number; lost: number; strayed: number }
  /** What may never happen, in words. */
  readonly violations: string[]
  /** What may happen only where Redis has lost what it held. */
  readonly forgotten: string[]
}

/** `graceSeconds` of the product: a rotated token leads to its successor for so long. */
const GRACE_MS = 15_000
const SLACK_MS = 4000

export function createJournal(): Journal {
  return {
    ...{ accounts: [], consents: [], revoked: [], codes: [], families: [], violations: [], forgotten: [] },
    asked: new Map(),
    secrets: new Set([PASSWORD, SECRET]),
    outcomes: { done: 0, refused: 0, lost: 0, strayed: 0 },
  }
}

/** One of everything, done while nothing is broken. */
export async function seed(world: World, journal: Journal): Promise<void> {
  await registerOne(world, journal)
  await signInOne(world, journal)
  await refreshOne(world, journal)
  await revokeOne(world, journal)
}

async function registerOne(world: World, journal: Journal): Promise<void> {
  const email = acts.newEmail('person')
  journal.asked.set(email, 1)
  const { account, code, agreed } = await acts.register(world, 'web', email)
  journal.accounts.push(account)
  if (agreed) journal.consents.push(account)
  journal.codes.push(code)
  keep(journal, code.code)
}

async function signInOne(world: World, journal: Journal): Promise<void> {
  const account = pick(journal.accounts)
  if (account === undefined) return
  const { code } = await acts.signIn(world, 'spa', acts.elsewhere(world, account))
  keep(journal, code.code)
  const tokens = await acts.redeem(world, code)
  if (acts.subOf(tokens) !== account.sub) journal.violations.push('a sign-in led to the tokens of somebody else')
  journal.families.push({ current: tokens.refresh_token, used: [], ended: false })
  keep(journal, tokens.refresh_token, tokens.access_token)
}

async function refreshOne(world: World, journal: Journal): Promise<void> {
  const family = pick(journal.families.filter(({ ended }) => !ended))
  if (family !== undefined) await refresh(world, journal, family)
}

async function refresh(world: World, journal: Journal, family: Family): Promise<void> {
  const presented = family.current
  const began = Date.now()
  const fields = { grant_type: 'refresh_token', refresh_token: presented }
  const { status, body } = await acts.post(world, '/token', 'spa', fields).catch((error: unknown) => {
    family.doubtful ??= began
    throw error
  })
  // Another lane was faster; what it got is the successor.
  if (family.current !== presented) return
  if (status === 200) {
    family.used.push({ token: presented, at: Date.now() })
    family.current = String(body.refresh_token)
    family.doubtful = undefined
    keep(journal, family.current, String(body.access_token))
    return
  }
  family.ended = true
  const since = family.doubtful
  // A retry after the window is taken for theft, as documented; before it, or without a doubt, something was lost.
  if (since !== undefined && Date.now() - since > GRACE_MS - SLACK_MS) return
  journal.forgotten.push(`a refresh token that was never used is ${status} ${body.error}`)
}

async function revokeOne(world: World, journal: Journal): Promise<void> {
  const account = pick(journal.accounts)
  if (account === undefined) return
  const { code } = await acts.signIn(world, 'spa', acts.elsewhere(world, account))
  const { refresh_token: token } = await acts.redeem(world, code)
  keep(journal, token)
  const { status } = await acts.post(world, '/token/revocation', 'spa', { token })
  if (status === 200) journal.revoked.push(token)
  else journal.violations.push(`a revocation was answered ${status}`)
}

async function machineOne(world: World): Promise<void> {
  const { status, body } = await acts.post(world, '/token', 'machine', {
    grant_type: 'client_credentials',
    resource: API,
  })
  if (status !== 200) throw new Error(`client_credentials: ${status} ${body.error}`)
}

function keep(journal: Journal, ...secrets: readonly string[]): void {
  for (const secret of secrets) journal.secrets.add(secret)
}

function pick<T>(from: readonly T[]): T | undefined {
  return from[Math.floor(Math.random() * from.length)]
}

export interface Load {
  /** Resolves when the last act is over. */
  stop(): Promise<void>
}

/** A light load over all instances. `broken` says whether a conversation may stray or an answer get lost now. */
export function startLoad(world: World, journal: Journal, broken: () => boolean): Load {
  let stopped = false
  const lane = async (pauseMs: number, name: string, work: () => Promise<void>) => {
    while (!stopped) {
      const wasBroken = broken()
      try {
        await work()
        journal.outcomes.done += 1
      } catch (error) {
        note(journal, name, error, wasBroken || broken())
      }
      await sleep(pauseMs * (0.5 + Math.random()))
    }
  }
  const lanes = [
    lane(150, 'client_credentials', () => machineOne(world)),
    lane(200, 'refresh', () => refreshOne(world, journal)),
    lane(700, 'sign-in', () => signInOne(world, journal)),
    lane(2500, 'registration', () => registerOne(world, journal)),
    lane(3000, 'revocation', () => revokeOne(world, journal)),
  ]
  return {
    stop: async () => {
      stopped = true
      await Promise.all(lanes)
    },
  }
}

function note({ outcomes, violations }: Journal, name: string, error: unknown, broken: boolean): void {
  if (error instanceof NotDone) outcomes[error.kind] += 1
  else outcomes.strayed += 1
  if (!broken) violations.push(`${name}, while nothing is broken: ${error instanceof Error ? error.message : error}`)
}

export interface Asked {
  /** Sessions and tokens may be lost (Redis lost them), never what was used or revoked come back. */
  readonly mayForget: boolean
}

/** Asks for everything that was acknowledged. Ends the families and codes that it asks for. */
export async function verify(world: World, journal: Journal, { mayForget }: Asked): Promise<string[]> {
  const wrong = [...journal.violations, ...(mayForget ? [] : journal.forgotten)]
  const say = (text: string) => void wrong.push(text)
  await verifyRows(world, journal, say)
  for (const account of journal.accounts.slice(-3)) {
    await acts
      .signIn(world, 'spa', account)
      .then(({ code }) => acts.redeem(world, code))
      .then((tokens) => acts.subOf(tokens) === account.sub || say('an account is somebody else now'))
      .catch((error: unknown) => say(`an account that was acknowledged cannot sign in: ${String(error)}`))
  }
  for (const account of journal.consents.slice(-2)) await verifyConsent(world, account, mayForget, say)
  for (const token of journal.revoked.slice(-5)) await mustBeDead(world, token, 'revoked', say)
  await verifyFamilies(world, journal, mayForget, say)
  for (const { clientId, code, verifier } of journal.codes.slice(-3)) {
    await acts.redeem(world, { clientId, code, verifier }).then(
      () => say('a code that was used was redeemed again'),
      (error: Error) => error.message.includes('invalid_grant') || say(`a used code: ${error.message}`),
    )
  }
  return wrong
}

/** Rows: each account once, whole, and with its facts. */
async function verifyRows(world: World, { accounts, consents }: Journal, say: (text: string) => void): Promise<void> {
  const ids = accounts.map(({ sub }) => sub)
  const count = async (sql: string, values: readonly unknown[] = [ids]) =>
    Number((await world.sql<{ n: string }>(sql, values))[0]?.n)
  const whole = await count(
    `select count(*) n from accounts a join passwords p on p.account_id = a.id where a.id = any($1)`,
  )
  if (whole !== ids.length)
    say(`${ids.length - whole} of ${ids.length} acknowledged accounts are gone or without a password`)
  const facts = await count(`select count(*) n from outbox where account_id = any($1) and type = 'account.registered'`)
  if (facts !== ids.length) say(`${facts} facts account.registered of ${ids.length} accounts`)
  const agreed = consents.map(({ sub }) => sub)
  const kept = await count(`select count(distinct account_id) n from consents where account_id = any($1)`, [agreed])
  if (kept !== agreed.length) say(`${agreed.length - kept} consents that were given are gone`)
  const halves = await count(
    `select count(*) n from accounts a where a.email_verified_at is not null
     and not exists (select 1 from passwords p where p.account_id = a.id)`,
    [],
  )
  if (halves > 0) say(`${halves} accounts are half-made`)
}

async function verifyConsent(world: World, account: Account, mayForget: boolean, say: (text: string) => void) {
  const ask = { prompt: 'none', scope: 'openid email' }
  const { params } = await account.browser.get(authorizationRequest(world.issuer, 'web', ask).url)
  if (params.has('code')) return
  if (params.get('error') !== 'login_required') return say(`a consent is gone: ${params.get('error')}`)
  if (!mayForget) say('a session is gone')
  const { agreed } = await acts.signIn(world, 'web', acts.elsewhere(world, account))
  if (agreed) say('a consent that was given is asked for again')
}

async function mustBeDead(world: World, token: string, what: string, say: (text: string) => void): Promise<void> {
  const { status, body } = await acts.post(world, '/token', 'spa', {
    grant_type: 'refresh_token',
    refresh_token: token,
  })
  if (status === 200) say(`a refresh token that was ${what} works again`)
  else if (body.error !== 'invalid_grant') say(`a refresh token that was ${what}: ${status} ${body.error}`)
}

async function verifyFamilies(world: World, journal: Journal, mayForget: boolean, say: (text: string) => void) {
  const living = journal.families.filter(({ ended }) => !ended).slice(-4)
  const before = journal.forgotten.length
  for (const family of living) await refresh(world, journal, family)
  const lost = journal.forgotten.splice(before)
  if (!mayForget) for (const text of lost) say(text)
  for (const family of living) {
    family.ended = true
    const old = family.used.find(({ at }) => Date.now() - at > GRACE_MS + SLACK_MS)
    if (old !== undefined) await mustBeDead(world, old.token, 'used', say)
  }
}
