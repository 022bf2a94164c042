/** What other rooms may know of upstream providers. */
import { isDeepStrictEqual } from 'node:util'
import type { Fact } from '../../events.ts'
import type { Upstream, UpstreamReport } from '../../platform/upstream.ts'
import type { Identifying } from '../identifications/types.ts'

/** Settings hold secrets of ours: they are sealed as a whole, under the keys of personal data, which are renewed by themselves. */
export const SEALED_SETTINGS = { table: 'upstreams', key: 'name', column: 'sealed_settings' } as const

/** Cache topic of the invalidation channel. */
export const UPSTREAMS_TOPIC = 'upstream'

/** Who may change a provider: the configuration file or the command line. */
export type UpstreamManaged = 'file' | 'command'

/** What becomes of a claim at a sign-in: it fills a gap, it is always taken over, or it is left alone. */
export type ImportRule = 'fill_if_empty' | 'always' | 'never'

/** Claims that may be taken over, each by its rule; the address has rules of its own, and a number is proven here or not at all. */
export const IMPORTED = [
  ...(['name', 'given_name', 'family_name', 'nickname', 'birthdate'] as const),
  ...(['zoneinfo', 'website', 'picture', 'locale'] as const),
]

/** A provider that people may sign in by now. */
export interface LiveUpstream {
  /** In URLs. */
  readonly name: string
  /** As pages call it: "Google". */
  readonly title: string
  /** Whether its word for an address of this e-mail domain is as good as a code that we have mailed there. */
  vouchesFor(domain: string): boolean
  rule(claim: string): ImportRule
  /** The level (`acr`) of ours that its `acr` stands for, where the operator takes its word. */
  levelOf(acr: string | undefined): string | undefined
  /** Whether its tokens may be stored. */
  readonly keepsTokens: boolean
  /** Those of its `acr` that stand for all of these levels of ours or more, the lowest first: nobody is asked for more than is needed. */
  acrsReaching(levels: readonly string[]): readonly string[]
  /** What a sign-in by it verifies of a person. */
  readonly identification?: Identifying | undefined
  /** Whether `amr` values of its own are passed on. */
  readonly passesAmr: boolean
  readonly driver: Upstream
}

/** As operators see it in a list. */
export interface UpstreamState {
  readonly name: string
  readonly kind: string
  readonly title: string
  readonly managed: UpstreamManaged
  readonly isOn: boolean
}

/** What a provider says of itself, and what becomes of its claims. */
export interface Inspected extends UpstreamReport {
  readonly rules: { readonly [claim: string]: ImportRule }
}

export interface UpstreamRecord<Settings> {
  readonly name: string
  readonly settings: Settings
  readonly managed: UpstreamManaged
  readonly disabledAt: Date | undefined
  /** What an operator has switched off is not switched on by a restart. */
  readonly disabledBy: UpstreamManaged | undefined
  readonly createdAt: Date
  readonly updatedAt: Date
}

interface NamedSettings {
  readonly kind: string
  readonly title?: string | undefined
}

const TITLES: { readonly [kind: string]: string } = {
  google: 'Google',
  apple: 'Apple',
  microsoft: 'Microsoft',
  facebook: 'Facebook',
  github: 'GitHub',
  linkedin: 'LinkedIn',
}

/** As pages call it. */
export function titleOf(name: string, { kind, title }: NamedSettings): string {
  return title ?? TITLES[kind] ?? name
}

export function toState({ name, settings, managed, disabledAt }: UpstreamRecord<NamedSettings>): UpstreamState {
  return { name, kind: settings.kind, title: titleOf(name, settings), managed, isOn: disabledAt === undefined }
}

/** The facts that this room states. */
export function fact(type: Fact['type'], upstream: string, actor: string, data: Fact['data'] = {}): Fact {
  return { type, actor, data: { upstream, ...data } }
}

/** Which settings changed; their values may be secrets. */
export function updated(
  { name, settings: before }: { readonly name: string; readonly settings: object },
  after: object,
  actor: string,
): Fact {
  const [old, fresh] = [before, after] as { readonly [setting: string]: unknown }[]
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  const changed = names.filter((setting) => !isDeepStrictEqual(old?.[setting], fresh?.[setting]))
  return fact('upstream.updated', name, actor, { changed })
}
