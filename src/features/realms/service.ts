/**
 * The rules of realms. A domain is proven by a DNS record that holds a token of ours, and checked again each day: a record that
 * the DNS says is gone, several days in a row, un-proves it; a DNS that does not answer changes nothing. Only a proven realm
 * routes, vouches or closes anything (A11).
 */
import type { Fact } from '../../events.ts'
import { isConfined } from '../../interaction/realms.ts'
import type { AccountView, Realm } from '../../interaction/step.ts'
import { afterCheck, proofRecord, type Seen, seenIn } from '../../platform/domain_proof.ts'
import type { Invalidation } from '../../platform/invalidation.ts'
import type { Tx } from '../../platform/postgres.ts'
import { createRowCache } from '../../platform/row_cache.ts'
import type { LookUpTxt } from '../../platform/txt_records.ts'
import { realmError } from './errors.ts'
import type { RealmRepository } from './repository.ts'
import { canonicalDomain, type RealmDeclaration, type RealmSettings, readRealm, readRealms } from './schema.ts'
import type { RealmManaged, RealmRecord, RealmState, Realms } from './types.ts'
import { domainOf, realmFact as fact, problemOfBreakGlass, REALMS_TOPIC, toState } from './types.ts'

export interface RealmsDeps {
  readonly repository: RealmRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly invalidation: Invalidation
  readonly clock: { now(): Date }
  /** 256 random bits. */
  readonly newToken: () => string
  readonly lookUp: LookUpTxt
  readonly upstreams: { states(): Promise<readonly { readonly name: string }[]> }
  /** By id, or by an address that it has proven. */
  readonly findAccount: (idOrEmail: string) => Promise<AccountView | undefined>
}

export type RealmsService = ReturnType<typeof createRealmsService>

export function createRealmsService(deps: RealmsDeps) {
  const write = createWriter(deps)
  return { ...lookups(deps), ...commands(deps, write), ...proofs(deps, write), ...declarations(deps, write) }
}

/** The one key of the list: there are few realms, and every sign-in asks. */
const ALL = ''

function lookups({ repository, invalidation, upstreams }: RealmsDeps): Realms & { states(): Promise<RealmState[]> } {
  const proven = createRowCache<ReadonlyMap<string, RealmRecord>>({
    load: async () => new Map((await repository.listProven()).map((row) => [row.domain, row])),
    fingerprint: (all) => JSON.stringify([...all.values()]),
    invalidation: {
      ...invalidation,
      subscribe: (topic, listener) => invalidation.subscribe(topic, () => listener(undefined)),
    },
    topic: REALMS_TOPIC,
  })
  const of = async (email: string) => (await proven.get(ALL))?.get(domainOf(email))
  const closes = (realm: Realm | undefined, by: readonly (string | undefined)[], accountId?: string) =>
    isConfined(realm, accountId) && !by.includes(realm.upstream)
  return {
    of,
    closes: async ({ accountId, email }, ...by) => closes(await of(email), by, accountId),
    closesAny: async () => [...((await proven.get(ALL))?.values() ?? [])].some(({ policy }) => policy === 'enforce'),
    closesAddress: async (email, by) => closes(await of(email), [by]),

    async vouches(upstream, email) {
      const realm = await of(email)
      if (realm?.upstream === upstream) return true
      return realm?.policy === 'enforce' ? false : undefined
    },

    async states() {
      const [rows, providers] = await Promise.all([repository.list(), upstreams.states()])
      return rows.map((row) =>
        toState(
          row,
          providers.map(({ name }) => name),
        ),
      )
    },
  }
}

type Write = ReturnType<typeof createWriter>

/** Each change and its fact are one transaction; caches hear of it after the commit. */
function createWriter({ repository, transaction, invalidation }: RealmsDeps) {
  return async <T>(domain: string, work: (tx: Tx, row: RealmRecord | undefined) => Promise<T>): Promise<T> => {
    const result = await transaction(async (tx) => {
      await repository.lock(tx)
      return work(tx, await repository.find(domain, tx))
    })
    await invalidation.publish(REALMS_TOPIC, domain)
    return result
  }
}

function commands(deps: RealmsDeps, write: Write) {
  const { repository, outbox, upstreams, newToken, findAccount } = deps
  const own = (row: RealmRecord | undefined) => {
    if (row?.managed !== 'file') return
    throw realmError('realm_managed_by_file', `realm ${row.domain} is declared: change the configuration`)
  }
  return {
    /**
     * Makes the realm, not proven yet, or changes its provider and policy.
     * @returns the record that proves it
     * @throws AppError invalid_realm with every problem, one a line
     */
    async set(typed: string, given: unknown): Promise<RealmState['record']> {
      const { domain, settings } = readRealm(typed, given)
      const { upstream } = settings
      if (!(await upstreams.states()).some(({ name }) => name === upstream)) {
        throw realmError('invalid_realm', `there is no upstream ${upstream}`)
      }
      return write(domain, async (tx, row) => {
        own(row)
        const { token, fact } = await put(deps, domain, settings, 'command', row, tx, newToken)
        if (fact !== undefined) await outbox.record([fact], tx)
        return proofRecord({ domain, token })
      })
    },

    /** @returns whether there was one */
    remove(typed: string): Promise<boolean> {
      const domain = canonicalDomain(typed) ?? typed
      return write(domain, async (tx, row) => {
        own(row)
        if (row === undefined) return false
        await repository.delete(domain, tx)
        await outbox.record([fact('realm.deleted', domain, 'operator')], tx)
        return true
      })
    },

    /**
     * Lets an account of the domain keep its own methods, or not any more. It must have a second factor already: nobody
     * could set one up on the day that it is for. @returns whether it changed; undefined when there is no such realm
     */
    async setBreakGlass(typed: string, who: string, keeps: boolean): Promise<boolean | undefined> {
      const domain = canonicalDomain(typed) ?? typed
      const account = await findAccount(who)
      if (account === undefined) throw realmError('invalid_realm', `there is no account ${who}`)
      const problem = keeps ? problemOfBreakGlass(account, domain) : undefined
      if (problem !== undefined) throw realmError('invalid_realm', problem)
      return write(domain, async (tx, row) => {
        own(row)
        if (row === undefined) return undefined
        return setBreakGlass(deps, row, account.accountId, keeps, 'operator', tx)
      })
    },
  }
}

async function setBreakGlass(
  { repository, outbox }: RealmsDeps,
  { domain, breakGlass }: RealmRecord,
  accountId: string,
  keeps: boolean,
  actor: string,
  tx: Tx,
): Promise<boolean> {
  if (breakGlass.includes(accountId) === keeps) return false
  if (keeps) await repository.insertBreakGlass(domain, accountId, tx)
  else await repository.deleteBreakGlass(domain, accountId, tx)
  await outbox.record(
    [{ ...fact(keeps ? 'realm.break_glass_added' : 'realm.break_glass_removed', domain, actor), accountId }],
    tx,
  )
  return true
}

const CHECK_MS = 86_400_000
const AT_ONCE = 10

function proofs(deps: RealmsDeps, write: Write) {
  const { repository, outbox, clock } = deps
  return {
    /** Looks for the record; undefined when there is no such realm. A record that is not there un-proves nothing yet. */
    async prove(typed: string): Promise<Seen | undefined> {
      const domain = canonicalDomain(typed) ?? typed
      const row = await repository.find(domain)
      if (row === undefined) return undefined
      const seen = await look(deps, row)
      if (seen !== 'proven') return seen
      return write(domain, async (tx, now) => {
        // Made anew meanwhile, with another token.
        if (now?.token !== row.token) return 'other_value'
        const at = clock.now()
        const proof = { provenAt: now.provenAt ?? at, checkedAt: at, missedSince: undefined, misses: 0 }
        await repository.updateProof(domain, proof, tx)
        if (now.provenAt === undefined) await outbox.record([fact('realm.verified', domain, 'operator')], tx)
        return 'proven'
      })
    },

    /** Looks again at proofs that are a day old. */
    async recheck(now: Date): Promise<void> {
      const before = new Date(now.getTime() - CHECK_MS)
      const due = await repository.listDue(before)
      for (let first = 0; first < due.length; first += AT_ONCE) {
        await Promise.all(due.slice(first, first + AT_ONCE).map((row) => recheckOne(deps, write, row, before, now)))
      }
    },
  }
}

async function look({ lookUp }: RealmsDeps, row: RealmRecord): Promise<Seen> {
  const { name, value } = proofRecord(row)
  return seenIn(await lookUp(name), value)
}

async function recheckOne(deps: RealmsDeps, write: Write, row: RealmRecord, before: Date, now: Date): Promise<void> {
  const { repository, outbox } = deps
  const seen = await look(deps, row)
  if (typeof seen === 'object') return
  await write(row.domain, async (tx, current) => {
    // Another instance was faster, or an operator.
    if (current?.token !== row.token || current.checkedAt === undefined || current.checkedAt > before) return
    const after = afterCheck(current, seen === 'proven', now)
    await repository.updateProof(row.domain, after, tx)
    const data = { reason: seen === 'missing' ? 'record_gone' : 'record_changed' }
    if (after.provenAt === undefined) await outbox.record([fact('realm.lapsed', row.domain, 'system', data)], tx)
  })
}

/** What the configuration file declares. */
function declarations(deps: RealmsDeps, write: Write) {
  const { repository, clock, outbox, newToken } = deps
  return {
    /**
     * Brings the declared realms into the database, at start and under the migration lock; those which left the file are
     * disabled. An unchanged file writes nothing.
     * @returns the domains that changed, to `announce` after the commit
     * @throws AppError invalid_realm with every problem of every declaration, one a line
     */
    async syncDeclared(declared: readonly RealmDeclaration[], tx: Tx): Promise<string[]> {
      const wanted = readRealms(declared)
      await repository.lock(tx)
      const current = new Map((await repository.list(tx)).map((row) => [row.domain, row]))
      const facts: Fact[] = []
      for (const [domain, settings] of wanted) {
        const row = current.get(domain)
        if (row?.managed === 'command') {
          throw realmError('realm_exists', `realms.${domain}: was made by a command; remove it there first`)
        }
        const { fact: changed } = await put(deps, domain, settings, 'file', row, tx, newToken)
        if (changed !== undefined) facts.push(changed)
      }
      for (const { domain, managed, disabledAt } of current.values()) {
        if (managed !== 'file' || disabledAt !== undefined || wanted.has(domain)) continue
        await repository.updateDisabled(domain, true, clock.now(), tx)
        facts.push(fact('realm.disabled', domain, 'system', { reason: 'left_file' }))
      }
      if (facts.length > 0) await outbox.record(facts, tx)
      return facts.map(({ data }) => String(data?.domain))
    },

    /** Tells all instances that these realms have changed. */
    async announce(domains: readonly string[]): Promise<void> {
      for (const domain of domains) await deps.invalidation.publish(REALMS_TOPIC, domain)
    },

    /** The accounts that the file lets keep their own methods, by address. @returns what an operator should know */
    async syncBreakGlass(declared: readonly RealmDeclaration[]): Promise<string[]> {
      const warnings: string[] = []
      for (const [domain, settings] of readRealms(declared)) {
        const found = await Promise.all(settings.break_glass.map(deps.findAccount))
        const wanted = found.flatMap((account, index) => {
          const email = settings.break_glass[index] ?? ''
          const problem = account === undefined ? 'there is no such account yet' : problemOfBreakGlass(account, domain)
          if (problem !== undefined) warnings.push(`realms.${domain}.break_glass: ${email}: ${problem}`)
          return account === undefined || problem?.includes('address') === true ? [] : [account.accountId]
        })
        const had = (await repository.find(domain))?.breakGlass ?? []
        if (had.length === wanted.length && wanted.every((id) => had.includes(id))) continue
        await write(domain, async (tx, now) => {
          if (now === undefined) return
          const all = new Set([...wanted, ...now.breakGlass])
          for (const id of all) await setBreakGlass(deps, now, id, wanted.includes(id), 'system', tx)
        })
      }
      return warnings
    },
  }
}

async function put(
  { repository, clock }: RealmsDeps,
  domain: string,
  { upstream, policy }: RealmSettings,
  managed: RealmManaged,
  row: RealmRecord | undefined,
  tx: Tx,
  newToken: () => string,
): Promise<{ readonly token: string; readonly fact?: Fact }> {
  const actor = managed === 'file' ? 'system' : 'operator'
  if (row === undefined) {
    const token = newToken()
    await repository.insert({ domain, upstream, policy, token, managed }, clock.now(), tx)
    return { token, fact: fact('realm.created', domain, actor, { upstream, policy }) }
  }
  const { token } = row
  const isSame = row.upstream === upstream && row.policy === policy
  if (isSame && row.disabledAt === undefined) return { token }
  if (!isSame) await repository.updateSettings(domain, { upstream, policy }, clock.now(), tx)
  if (row.disabledAt !== undefined) await repository.updateDisabled(domain, false, clock.now(), tx)
  return {
    token,
    fact: fact(row.disabledAt === undefined ? 'realm.updated' : 'realm.enabled', domain, actor, { upstream, policy }),
  }
}
