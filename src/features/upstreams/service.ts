/** The rules of upstream providers: who may change them, which are on, and the driver that each is spoken to with. */
import { isDeepStrictEqual } from 'node:util'
import type { Fact } from '../../events.ts'
import type { Invalidation } from '../../platform/invalidation.ts'
import type { Tx } from '../../platform/postgres.ts'
import { createRowCache } from '../../platform/row_cache.ts'
import type { Upstream } from '../../platform/upstream.ts'
import { identifyingOf } from '../identifications/types.ts'
import { upstreamError } from './errors.ts'
import type { UpstreamRepository } from './repository.ts'
import {
  acrsReaching,
  type Connection,
  connectionOf,
  readSettings,
  type UpstreamSettings,
  upstreamName,
} from './schema.ts'
import {
  fact,
  IMPORTED,
  type ImportRule,
  type Inspected,
  type LiveUpstream,
  titleOf,
  toState,
  UPSTREAMS_TOPIC,
  type UpstreamRecord,
  type UpstreamState,
  updated,
} from './types.ts'

export interface UpstreamsDeps {
  readonly repository: UpstreamRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly invalidation: Invalidation
  readonly clock: { now(): Date }
  /** Makes the driver; it keeps what it has learned of the provider as long as the settings stay. */
  readonly connect: (name: string, connection: Connection) => Upstream
  /** The levels (`acr`) that there are. */
  readonly acrs: readonly string[]
  /** Names of others who verify persons: what either has verified is recorded under its name. */
  readonly reserved: readonly string[]
}

/** As the configuration file has it. */
export type UpstreamDeclaration = { readonly name: string; readonly [setting: string]: unknown }

type Row = UpstreamRecord<UpstreamSettings>

export type UpstreamsService = ReturnType<typeof createUpstreamsService>

export function createUpstreamsService(deps: UpstreamsDeps) {
  const write = createWriter(deps)
  return { ...lookups(deps), ...commands(deps, write), ...declarations(deps) }
}

/** The one key of the list. */
const ALL = ''

function lookups(deps: UpstreamsDeps) {
  const { repository } = deps
  const rows = createRowCache<Row>({
    load: (name) => repository.find(name),
    fingerprint: (row) => JSON.stringify(row),
    invalidation: deps.invalidation,
    topic: UPSTREAMS_TOPIC,
  })
  const names = createRowCache<readonly string[]>({
    load: async () => (await repository.list()).map(({ name }) => name),
    fingerprint: (list) => list.join(' '),
    // Any provider may come or go.
    invalidation: {
      ...deps.invalidation,
      subscribe: (topic, listener) => deps.invalidation.subscribe(topic, () => listener(undefined)),
    },
    topic: UPSTREAMS_TOPIC,
  })
  // An unchanged row keeps its object, and with it its driver.
  const live = new WeakMap<Row, LiveUpstream>()
  const find = async (name: string): Promise<LiveUpstream | undefined> => {
    const row = upstreamName.safeParse(name).success ? await rows.get(name) : undefined
    if (row === undefined || row.disabledAt !== undefined) return undefined
    const found = live.get(row) ?? toLive(deps, row)
    live.set(row, found)
    return found
  }
  const titled = async (name: string): Promise<string | undefined> => {
    const row = await rows.get(name)
    return row === undefined ? undefined : titleOf(row.name, row.settings)
  }
  return {
    /** The provider, when it is on: a change acts at once here, elsewhere within a second. */
    find,

    /** Those that a client offers, in its order; without, all in theirs. */
    async offered(wanted?: readonly string[]): Promise<readonly LiveUpstream[]> {
      const found = await Promise.all((wanted ?? (await names.get(ALL)) ?? []).map(find))
      return found.filter((upstream) => upstream !== undefined)
    },

    /** How pages call it, also while it is off. */
    async title(name: string): Promise<string> {
      return (await titled(name)) ?? name
    },

    /** The same; undefined when there is no such one, on or off. */
    titled,

    /** Whether its protocol tells us of logouts. */
    async tellsLogouts(name: string): Promise<boolean> {
      return (await repository.list()).some(
        (row) => row.name === name && connectionOf(row.settings).protocol === 'oidc',
      )
    },

    async states(): Promise<UpstreamState[]> {
      return (await repository.list()).map(toState)
    },
  }
}

function toLive({ connect, acrs }: UpstreamsDeps, row: Row): LiveUpstream {
  const { name, settings } = row
  const trusted = new Set(settings.trusted_domains)
  return {
    ...{ name, title: titleOf(row.name, row.settings) },
    keepsTokens: settings.kind !== 'saml' && settings.keep_tokens,
    driver: connect(name, connectionOf(settings)),
    vouchesFor: (domain) => trusted.has(domain),
    rule: (claim) => (settings.import as { readonly [claim: string]: ImportRule })[claim] ?? 'fill_if_empty',
    levelOf: (acr) => (acr !== undefined && Object.hasOwn(settings.levels, acr) ? settings.levels[acr] : undefined),
    acrsReaching: (levels) => acrsReaching(settings, acrs, levels),
    identification: settings.identification && identifyingOf(settings.identification),
    // Whoever takes its word for a level takes its word for how that was reached.
    passesAmr: Object.keys(settings.levels).length > 0,
  }
}

/** Each change and its fact are one transaction; caches hear of it after the commit. */
function createWriter({ repository, transaction, invalidation }: UpstreamsDeps) {
  return async <T>(name: string, work: (tx: Tx, row: Row | undefined) => Promise<T>): Promise<T> => {
    const result = await transaction(async (tx) => {
      await repository.lock(tx)
      return work(tx, await repository.find(name, tx))
    })
    await invalidation.publish(UPSTREAMS_TOPIC, name)
    return result
  }
}

function commands(deps: UpstreamsDeps, write: ReturnType<typeof createWriter>) {
  const { repository, outbox, clock, connect } = deps
  const own = (row: Row | undefined) => {
    if (row?.managed !== 'file') return
    throw upstreamError('upstream_managed_by_file', `upstream ${row.name} is declared: change the configuration`)
  }
  return {
    /** Makes the provider or replaces its settings. @throws AppError invalid_upstream with every problem, one a line */
    set(name: string, given: unknown): Promise<void> {
      const settings = checked(deps, name, given)
      return write(name, async (tx, row) => {
        own(row)
        if (row === undefined) await repository.insert({ name, settings, managed: 'command' }, clock.now(), tx)
        else await repository.updateSettings(name, settings, clock.now(), tx)
        await outbox.record([row ? updated(row, settings, 'operator') : fact('upstream.created', name, 'operator')], tx)
      })
    },

    /** Switches it on or off, declared or not: an attack does not wait for a configuration. Undefined without such a one. */
    setDisabled(name: string, disabled: boolean, reason?: string): Promise<boolean | undefined> {
      return write(name, async (tx, row) => {
        if (row === undefined) return undefined
        if ((row.disabledAt !== undefined) === disabled) return false
        await repository.updateDisabled(name, disabled ? 'command' : undefined, clock.now(), tx)
        await outbox.record(
          [fact(disabled ? 'upstream.disabled' : 'upstream.enabled', name, 'operator', { reason })],
          tx,
        )
        return true
      })
    },

    /** Identities stay, for a provider that comes back under the name. @returns whether there was one */
    remove(name: string): Promise<boolean> {
      return write(name, async (tx, row) => {
        own(row)
        if (row === undefined) return false
        await repository.delete(name, tx)
        await outbox.record([fact('upstream.deleted', name, 'operator')], tx)
        return true
      })
    },

    /** Asks the provider what it is. Undefined when there is no such one. */
    async inspect(name: string): Promise<Inspected | undefined> {
      const row = await repository.find(name)
      if (row === undefined) return undefined
      const report = await connect(name, connectionOf(row.settings)).inspect()
      const rules = IMPORTED.map((claim) => [claim, row.settings.import[claim] ?? 'fill_if_empty'] as const)
      return { ...report, rules: Object.fromEntries(rules) }
    },
  }
}

/** What the configuration file declares. */
function declarations(deps: UpstreamsDeps) {
  const { repository, clock, outbox } = deps
  return {
    /**
     * Brings the declared providers into the database, at start and under the migration lock: new and changed ones are
     * written, those which left the file are disabled. An unchanged file writes nothing.
     * @returns the names that changed, to `announce` after the commit
     * @throws AppError invalid_upstream with every problem of every declaration, one a line
     */
    async syncDeclared(declared: readonly UpstreamDeclaration[], tx: Tx): Promise<string[]> {
      const wanted = allChecked(deps, declared)
      await repository.lock(tx)
      const current = new Map((await repository.list(tx)).map((row) => [row.name, row]))
      const taken = deps.reserved.find((name) => current.has(name))
      if (taken !== undefined) throw upstreamError('upstream_exists', `proofings.${taken}: is an upstream's name`)
      const facts: Fact[] = []
      for (const [name, settings] of wanted) facts.push(...(await sync(deps, name, settings, current.get(name), tx)))
      for (const { name, managed, disabledAt } of current.values()) {
        if (managed !== 'file' || disabledAt !== undefined || wanted.has(name)) continue
        await repository.updateDisabled(name, 'file', clock.now(), tx)
        facts.push(fact('upstream.disabled', name, 'system', { reason: 'left_file' }))
      }
      if (facts.length > 0) await outbox.record(facts, tx)
      return [...new Set(facts.map(({ data }) => String(data?.upstream)))]
    },

    /** Tells all instances that these providers have changed. */
    async announce(names: readonly string[]): Promise<void> {
      for (const name of names) await deps.invalidation.publish(UPSTREAMS_TOPIC, name)
    },
  }
}

async function sync(
  { repository, clock }: UpstreamsDeps,
  name: string,
  settings: UpstreamSettings,
  current: Row | undefined,
  tx: Tx,
): Promise<Fact[]> {
  if (current?.managed === 'command') {
    throw upstreamError('upstream_exists', `upstreams.${name}: was made by a command; choose another name`)
  }
  if (current === undefined) {
    await repository.insert({ name, settings, managed: 'file' }, clock.now(), tx)
    return [fact('upstream.created', name, 'system')]
  }
  const facts: Fact[] = []
  if (!isDeepStrictEqual(current.settings, JSON.parse(JSON.stringify(settings)))) {
    await repository.updateSettings(name, settings, clock.now(), tx)
    facts.push(updated(current, settings, 'system'))
  }
  if (current.disabledBy === 'file') {
    await repository.updateDisabled(name, undefined, clock.now(), tx)
    facts.push(fact('upstream.enabled', name, 'system'))
  }
  return facts
}

function allChecked(deps: UpstreamsDeps, declared: readonly UpstreamDeclaration[]): Map<string, UpstreamSettings> {
  const problems: string[] = []
  const wanted = new Map<string, UpstreamSettings>()
  for (const { name, ...given } of declared) {
    const found = problemsOf(deps, name, given)
    problems.push(...found.problems.map((problem) => `upstreams.${name}.${problem}`))
    if (found.settings !== undefined) wanted.set(name, found.settings)
  }
  if (problems.length > 0) throw upstreamError('invalid_upstream', problems.join('\n'))
  return wanted
}

function checked(deps: UpstreamsDeps, name: string, given: unknown): UpstreamSettings {
  const { problems, settings } = problemsOf(deps, name, given)
  if (settings === undefined || problems.length > 0) throw upstreamError('invalid_upstream', problems.join('\n'))
  return settings
}

function problemsOf(
  { acrs, connect, reserved }: UpstreamsDeps,
  name: string,
  given: unknown,
): { readonly problems: readonly string[]; readonly settings?: UpstreamSettings } {
  const named = upstreamName.safeParse(name)
  if (!named.success) return { problems: named.error.issues.map(({ message }) => `name: ${message}`) }
  if (reserved.includes(name)) return { problems: ['name: is that of a proofing'] }
  const read = readSettings(given)
  if ('problems' in read) return read
  const unknown = Object.entries(read.settings.levels).filter(([, acr]) => !acrs.includes(acr))
  if (unknown.length > 0)
    return { problems: unknown.map(([theirs, acr]) => `levels.${theirs}: there is no level ${acr}`) }
  try {
    connect(name, connectionOf(read.settings))
  } catch (error) {
    return { problems: [`kind: ${error instanceof Error ? error.message : 'cannot be used'}`] }
  }
  return { problems: [], settings: read.settings }
}
