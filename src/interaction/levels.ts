/**
 * Levels of authentication as a table (`acr`, OIDC Core §2): which methods, shown together and not too long ago, reach
 * which level. Pure: the conversation asks by it what is missing, the engine says by it what was reached. The client's wish
 * can only raise what the server itself demands, so that an edited URL lowers nothing.
 */
import {
  type AccountView,
  authenticated,
  type Demand,
  type FlowState,
  type MethodSet,
  type Proof,
  type Reason,
} from './step.ts'

export interface Level {
  readonly acr: string
  /** Sets of methods that reach it: any one set, and of it every method. */
  readonly methods: readonly (readonly string[])[]
  /** Seconds for which a proof counts towards it; without, as long as the session. */
  readonly maxAge?: number | undefined
}

/** What an authorization request asks for (OIDC Core §3.1.2.1, §5.5.1.1), in the client's order of preference. */
export interface Wishes {
  readonly acrs: readonly string[]
  /** The claim `acr` was named essential: whatever is none of `acrs` is no answer. */
  readonly essential: boolean
}

export type Levels = ReturnType<typeof createLevels>

/** Shown for an account without being one of its factors: they stand in for one that is, and demand nothing. */
const STAND_INS: readonly string[] = ['recovery_code', 'device']
/** Not an act of the person: no answer to a request for a fresh authentication. */
const PASSIVE = 'device'
/** As on the account pages. */
const SET_UP_MS = 300_000
/** How a set names a level that one proof reaches alone; no method is called so, and none can be asked for by it. */
const LEVEL = 'acr:'
const reaching = (acr: string) => `${LEVEL}${acr}`

/** The level that a name demands, of those that demand one. */
type Demanded = { readonly [name: string]: string }

/** The table, weakest level first; `ofScopes` and `ofDetails` name the level that a scope, and a type of details, demands. */
export function createLevels(table: readonly Level[], ofScopes: Demanded = {}, ofDetails: Demanded = {}) {
  const indexOf = (acr: string | undefined) => table.findIndex((level) => level.acr === acr)
  /** A demanded level that has left the table demands the highest: nothing fails open. */
  const leastOf = (acr: string | undefined) => {
    if (acr === undefined) return 0
    const index = indexOf(acr)
    return index < 0 ? table.length - 1 : index
  }
  const sets = table.map(({ acr, methods, maxAge = Number.POSITIVE_INFINITY }) =>
    [...methods, [reaching(acr)]].map((set): MethodSet => ({ methods: set, maxAgeMs: maxAge * 1000 })),
  )
  /** A set of a higher level serves every lower one. */
  const from = (index: number, reason?: Reason): Demand => ({
    acr: table[index]?.acr ?? '',
    sets: sets.slice(index).flat(),
    reason: index > 0 ? reason : undefined,
  })
  const alone = new Set(table.flatMap(({ methods }) => methods.filter(({ length }) => length === 1).flat()))
  const lowestWith = (method: string) => table.findIndex(({ methods }) => methods.some((set) => set.includes(method)))

  return {
    /** Every `acr` there is, weakest first (`acr_values_supported`). */
    acrs: table.map(({ acr }) => acr),

    /** What must be reached before a request is answered: the highest of what it, the client and its scopes demand. */
    demand(params: Params, minimumAcr: string | undefined): Demand {
      const wished = wishesOf(params)
        .acrs.map(indexOf)
        .filter((index) => index >= 0)
      const scopes = typeof params.scope === 'string' ? params.scope.split(' ') : []
      const demands: readonly (readonly [number, Reason])[] = [
        [wished.length === 0 ? 0 : Math.min(...wished), 'request'],
        [leastOf(minimumAcr), 'client'],
        [
          Math.max(
            ...demandedBy(ofScopes, scopes).map(leastOf),
            ...demandedBy(ofDetails, typesIn(params)).map(leastOf),
            0,
          ),
          'scope',
        ],
      ]
      const [index, reason] = demands.reduce((high, other) => (other[0] > high[0] ? other : high))
      return from(Math.max(0, index), reason)
    },

    /**
     * What an account's own factors demand of every sign-in, whoever asks: who has set up a second step is asked for it.
     * Methods that reach a level alone (a passkey) are another way in and demand nothing. Undefined when none does.
     */
    ofFactors(factors: readonly string[]): Demand | undefined {
      const asking = factors.filter((method) => !alone.has(method) && !STAND_INS.includes(method)).map(lowestWith)
      return asking.some((index) => index > 0) ? from(Math.max(...asking), 'account') : undefined
    },

    /**
     * What an account must show that a realm leaves its own methods: more than the weakest level, without a remembered
     * browser. Where there is no higher level, nothing is enough.
     */
    ofBreakGlass: (): Demand => afresh(from(1, 'account')),

    /** The highest level that these methods can reach: what changes of them must be protected by. */
    highest(factors: readonly string[]): string {
      const reachable = (set: readonly string[]) => set.every((method) => available(method, factors))
      const index = table.findLastIndex(({ methods }) => methods.some(reachable))
      return table[Math.max(0, index)]?.acr ?? ''
    },

    /**
     * Whether a provider's word stands in for a second factor of the account's own: it was shown there at the lowest level
     * that takes two, or at a higher one, and not too long ago.
     */
    isVouchedFor(proofs: readonly Proof[], now: number): boolean {
      const least = table.findIndex(({ methods }) => methods.some(({ length }) => length > 1))
      if (least < 0) return false
      const alone = table.slice(least).map(({ acr, maxAge = Number.POSITIVE_INFINITY }): MethodSet => {
        return { methods: [reaching(acr)], maxAgeMs: maxAge * 1000 }
      })
      return met({ sets: alone }, proofs, now)
    },

    /** Whether the level `acr` is at least `least`. */
    atLeast: (acr: string | undefined, least: string): boolean => indexOf(acr) >= Math.max(0, indexOf(least)),

    /**
     * The `acr` and `amr` that these proofs are worth now: the client's first wish that they reach (it compares strings),
     * else the highest level. Undefined when they have all grown too old.
     */
    worth(proofs: readonly Proof[], now: number, { acrs }: Pick<Wishes, 'acrs'>): { acr?: string; amr: string[] } {
      const reached = table.findLastIndex((_, index) =>
        sets[index]?.some((set) => missing(set, proofs, now).length === 0),
      )
      if (reached < 0) return { amr: [] }
      const wish = acrs.map(indexOf).find((index) => index >= 0 && index <= reached)
      const index = wish ?? reached
      const { acr = '', maxAge = Number.POSITIVE_INFINITY } = table[index] ?? {}
      return { acr, amr: amrOf(proofs.filter(({ at }) => now - at <= maxAge * 1000)) }
    },
  }
}

/** Parameters of an authorization request, validated; `claims` as sent or as parsed. */
type Params = { readonly [name: string]: unknown }

/** The levels that a request names. */
export function wishesOf({ acr_values: values, claims }: Params): Wishes {
  const parsed = (typeof claims === 'string' ? JSON.parse(claims) : claims) as
    | { id_token?: { acr?: unknown } }
    | undefined
  const acr = parsed?.id_token?.acr as { essential?: unknown; value?: unknown; values?: unknown } | null | undefined
  const named = Array.isArray(acr?.values) ? acr.values : [acr?.value]
  const acrs = named.filter((value) => typeof value === 'string')
  if (acrs.length > 0) return { acrs, essential: acr?.essential === true }
  return { acrs: typeof values === 'string' ? values.split(' ').filter(Boolean) : [], essential: false }
}

const demandedBy = (demanded: Demanded, names: readonly string[]) =>
  names.filter((name) => Object.hasOwn(demanded, name)).map((name) => demanded[name])

/** Types of the authorization details that a request asks for (RFC 9396 §2), which was validated before. */
function typesIn({ authorization_details: details }: Params): string[] {
  const parsed: unknown = typeof details === 'string' ? JSON.parse(details) : undefined
  return Array.isArray(parsed) ? parsed.map((detail: { type?: unknown }) => String(detail.type)) : []
}

/** Whether what the demand asks for has been shown. */
export function met({ sets }: Pick<Demand, 'sets'>, proofs: readonly Proof[], now: number): boolean {
  return sets.some((set) => missing(set, proofs, now).length === 0)
}

/** Whether a remembered browser can be part of the answer. */
export function takesDevice({ sets }: Demand): boolean {
  return sets.some(({ methods }) => methods.includes(PASSIVE))
}

/** The demand as a fresh authentication must meet it: by what the person does now. */
export function afresh(demand: Demand): Demand {
  return { ...demand, sets: demand.sets.filter(({ methods }) => !methods.includes(PASSIVE)) }
}

/**
 * Whether the demand can only be met by setting something up. Whoever does that must have shown what there is already, by
 * themselves and a moment ago: a remembered browser, or a session that somebody left open, adds no factor (A48).
 */
export function needsSetUp(demand: Demand, proofs: readonly Proof[], now: number, account: AccountView): boolean {
  return !met(demand, proofs, now) && completing(demand, proofs, now, account).length === 0
}

/** Proofs that count where a factor is set up: acts, of the last five minutes. */
export function justShown(proofs: readonly Proof[], now: number): readonly Proof[] {
  return activeOf(proofs).filter(({ at }) => now - at <= SET_UP_MS)
}

/** Proofs that are acts of the person. */
export function activeOf(proofs: readonly Proof[]): readonly Proof[] {
  return proofs.filter(({ method }) => method !== PASSIVE)
}

/** Methods that would complete the demand with the fewest further questions, of those that the account has. */
function completing(
  { sets }: Demand,
  proofs: readonly Proof[],
  now: number,
  { factors }: Pick<AccountView, 'factors'>,
): readonly string[] {
  const open = sets
    .map((set) => missing(set, proofs, now))
    .filter((methods) => methods.every((method) => available(method, factors)))
  const fewest = Math.min(...open.map(({ length }) => length))
  return [...new Set(open.filter(({ length }) => length === fewest).flat())]
}

/** Methods that the account lacks and that, set up now, would meet the demand. */
function enrollable({ sets }: Demand, proofs: readonly Proof[], now: number): readonly string[] {
  return [
    ...new Set(
      sets
        .map((set) => missing(set, proofs, now))
        .filter(({ length }) => length === 1)
        .flat()
        // What only a provider reaches is nothing to set up.
        .filter((method) => !method.startsWith(LEVEL)),
    ),
  ]
}

/** RFC 8176 values for the ID token's `amr`, in the order of the proofs; `mfa` when more than one factor was shown. */
export function amrOf(proofs: readonly Proof[]): string[] {
  const values = proofs.flatMap(({ amr }) => amr ?? [])
  const several = proofs.filter(({ amr = [] }) => amr.length > 0).length > 1 && proofs.some(({ second }) => second)
  return [...new Set([...values, ...(several ? ['mfa'] : [])])]
}

function missing({ methods, maxAgeMs }: MethodSet, proofs: readonly Proof[], now: number): readonly string[] {
  const shows = ({ method: shown, reaches }: Proof, method: string) =>
    shown === method || (reaches !== undefined && reaching(reaches) === method)
  return methods.filter((method) => !proofs.some((proof) => shows(proof, method) && now - proof.at <= maxAgeMs))
}

/** A code can be mailed to every account, and a password set by every one. */
function available(method: string, factors: readonly string[]): boolean {
  return method === 'pwd' || method === 'email_code' || factors.includes(method)
}

/**
 * The methods to ask for next, of which one is enough for now: what begins a sign-in, then what the account's own factors
 * demand, then what the request does. Empty when everything is shown, or when the account has nothing that would do.
 */
export function wanted({ demands, progress, account, now }: FlowState): readonly string[] {
  if (!authenticated(progress) || account === undefined) return []
  const open = demands.find((demand) => !met(demand, progress.proofs, now))
  return open === undefined ? [] : completing(open, progress.proofs, now, account)
}

/**
 * Methods of which the account must set up one, because nothing it has would do. Only once all that it has was shown: else
 * whoever knows a password would add a factor of their own beside its owner's.
 */
export function lacking(state: FlowState): readonly string[] {
  const { demands, progress, account, now } = state
  if (!authenticated(progress) || account === undefined || !account.emailVerified) return []
  const open = demands.find((demand) => !met(demand, progress.proofs, now))
  if (open === undefined || open.reason === 'account') return []
  return completing(open, progress.proofs, now, account).length > 0 ? [] : enrollable(open, progress.proofs, now)
}

/** Why more than one proof is asked for, for the page that does; undefined when nothing more is. */
export function reasonOf({ demands, progress, now }: FlowState): Demand['reason'] {
  return demands.find((demand) => !met(demand, progress.proofs, now))?.reason
}

/**
 * The answer of a person who sets up a second factor later, counted on the account when it is given. It names the account:
 * answers outlive a change of account, and nobody's put-off is another's.
 */
export const putOffBy = (accountId: string) => ({ enrolment: accountId })

/** Whether a required second factor is still to be set up before this sign-in ends. */
export function enrolmentDue({
  enrolment,
  account,
  progress,
}: Pick<FlowState, 'enrolment' | 'account' | 'progress'>): boolean {
  if (enrolment.policy !== 'required' || account === undefined) return false
  return !hasSecondFactor(account) && !enrolmentPutOff({ account, progress })
}

/** Whether the person has put it off in this conversation. */
export function enrolmentPutOff({ account, progress }: Pick<FlowState, 'account' | 'progress'>): boolean {
  return account !== undefined && progress.answers.enrolment === account.accountId
}

/** Whether the account has more than its password and its mailbox. */
export function hasSecondFactor({ factors }: Pick<AccountView, 'factors'>): boolean {
  return factors.some((method) => method !== 'recovery_code')
}
