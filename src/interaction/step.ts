/**
 * The contract between the hosted conversation and the features that fill it. A step reports an outcome; the pure table
 * in `flow.ts` decides what comes next, so no step knows another.
 */
import type { ZodType } from 'zod'
import type { Challenge } from './challenge.ts'

export type PromptName = 'select_account' | 'create' | 'login' | 'consent'

/** What a finished conversation must have shown. Several steps may meet one requirement. */
export type Requirement = 'account' | 'authentication' | 'second_factor' | 'verified_email' | 'enrolment' | 'consent'

/** One thing shown about one account at one time. Proofs of another account are dropped, never mixed. */
export interface Proof {
  /** The name by which the levels know it: `pwd`, `email_code`, `passkey`, `totp`, … */
  readonly method: string
  /** What it is in the ID token's `amr` (RFC 8176); nothing for what proves no authentication. */
  readonly amr?: readonly string[] | undefined
  /** Only ever asked for after another proof: by itself it signs nobody in. */
  readonly second?: true | undefined
  /** The level (`acr`) that it reaches alone, where an operator takes an upstream provider's word for it. */
  readonly reaches?: string | undefined
  /** The upstream provider that vouches for it, and its own session there (by hash), which it may end. */
  readonly by?: { readonly upstream: string; readonly session?: string | undefined } | undefined
  readonly accountId: string
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The account's epoch when the proof was made; "end everything" after it voids the proof. */
  readonly epoch: number
}

/** Where a person stands in the conversation. Kept by us under the Interaction's `cid`, saved by compare-and-set. */
export interface Progress {
  readonly version: number
  /** Which part of the table is walked: sign in, register or recover. */
  readonly path: 'login' | 'create' | 'recover'
  /** The identifier as typed and canonicalised; it names nobody until an account is proven. */
  readonly identifier?: string | undefined
  /** The account the conversation is about. Set only by the server, from a lookup or a creation. */
  readonly accountId?: string | undefined
  readonly proofs: readonly Proof[]
  /** A step chosen by "another way" while it is acceptable. */
  readonly chosen?: string | undefined
  /** `false` after "this is a shared computer": the session becomes transient. */
  readonly remember?: boolean | undefined
  /** Small answers that steps keep for themselves, keyed by step name. Never one-time objects or counters. */
  readonly answers: { readonly [step: string]: unknown }
  /** The browser that this was shown in; no other may go on with it. */
  readonly browser?: string | undefined
  /** The interaction (its hash) that was finished from these proofs, and the session it opened. They serve no other one. */
  readonly finished?: { readonly interaction: string; readonly sessionUid: string } | undefined
}

/** The client as pages may show it. */
export interface ClientView {
  readonly clientId: string
  readonly name: string
  readonly firstParty: boolean
  /** Nobody has checked who is behind it. */
  readonly unverified?: boolean | undefined
  /** What it calls itself, where `name` is the host of the document that it is. */
  readonly selfName?: string | undefined
  readonly logoUri?: string | undefined
  readonly policyUri?: string | undefined
  readonly tosUri?: string | undefined
  readonly clientUri?: string | undefined
  readonly initiateLoginUri?: string | undefined
  /** Claims that its registration page asks for, in this order. */
  readonly registrationFields?: readonly RegistrationField[] | undefined
  /** The language of its pages when nothing else decides. */
  readonly defaultLocale?: string | undefined
  /** The level below which nobody signs in to it, whatever the request says. */
  readonly minimumAcr?: string | undefined
  /** What it wants of accounts that have no second factor; without, what the server's settings say. */
  readonly secondFactor?: EnrolmentPolicy | undefined
  /** The upstream providers that its pages offer, in this order; without, all. */
  readonly upstreams?: readonly string[] | undefined
  /** When it acts for people by itself: who answers for it, for what (empty: nobody vouches), until when or for how long. */
  readonly agent?: Readonly<{ owner: string; purpose: string; expiresAt?: string; seconds?: number }> | undefined
  /** How the client's pages and mails look; pages know more of it. */
  readonly brand?: BrandView | undefined
}

/** What of a brand decides more than looks. */
interface BrandView {
  readonly id: string
  readonly session?: SessionLimits | undefined
  readonly upstreams?: readonly string[] | undefined
}

/** Seconds of silence, and of life, after which a sign-in is over; never later than the server's own limits. */
export interface SessionLimits {
  readonly idleSeconds?: number | undefined
  readonly absoluteSeconds?: number | undefined
}

/** Whether an account must have a second factor, and how many sign-ins it may still put that off. */
export interface EnrolmentPolicy {
  readonly policy: 'none' | 'optional' | 'required'
  readonly grace: number
}

export interface RegistrationField {
  readonly claim: string
  readonly required: boolean
}

/** The provider that people of a proven e-mail domain sign in by. */
export interface Realm {
  readonly domain: string
  /** Name of the provider. */
  readonly upstream: string
  /** Whether it is only offered, people are led there, or it is the only way. */
  readonly policy: 'offer' | 'route' | 'enforce'
  /** Accounts that keep methods of their own for the day on which the provider is away. */
  readonly breakGlass: readonly string[]
}

/** The account as steps may see it. */
export interface AccountView {
  readonly accountId: string
  readonly email: string
  readonly emailVerified: boolean
  readonly active: boolean
  readonly epoch: number
  readonly name?: string | undefined
  readonly locale?: string | undefined
  /** Methods it has set up beside password and mailbox: `totp`, `passkey`, `recovery_code`, … */
  readonly factors: readonly string[]
  /** An operator demands a second factor of it. */
  readonly secondFactorRequired?: boolean | undefined
  /** How often it has put off setting up a required second factor. */
  readonly enrolmentSkips?: number | undefined
  /** Until then it is not asked again to set up something that is optional; milliseconds since the epoch. */
  readonly nudgeAfter?: number | undefined
  /** When the password was set that was read with the account, in milliseconds since the epoch; not every look reads it. */
  readonly passwordAt?: number | undefined
}

/** Methods of which all must have been shown within `maxAgeMs`. */
export interface MethodSet {
  readonly methods: readonly string[]
  readonly maxAgeMs: number
}

/** Who demands more than the weakest level. */
export type Reason = 'request' | 'client' | 'scope' | 'account'

/** A level of authentication to be reached: any one of the sets. */
export interface Demand {
  readonly acr: string
  readonly sets: readonly MethodSet[]
  /** Undefined where the weakest level is enough. */
  readonly reason?: Reason | undefined
}

export interface FlowState {
  readonly uid: string
  /** Hash of the engine's `cid`: what is kept for the whole conversation is kept under it. */
  readonly cid: string
  readonly prompt: {
    readonly name: PromptName
    readonly reasons: readonly string[]
    readonly details: { readonly [key: string]: unknown }
  }
  /** Validated authorization request parameters (`scope`, `login_hint`, …), verbatim; `ui_locales` may be the person's own choice. */
  readonly params: { readonly [key: string]: unknown }
  readonly client: ClientView
  /** The live session of this browser, when there is one. */
  readonly session?: { readonly accountId: string; readonly uid: string; readonly proofs: readonly Proof[] } | undefined
  /** The account named by `progress.accountId`. */
  readonly account?: AccountView | undefined
  readonly progress: Progress
  /** The realm of the account's address; before there is one, of the identifier. */
  readonly realm?: Realm | undefined
  /** Levels to be reached, in this order: what the account's own factors demand, then what the request does. */
  readonly demands: readonly Demand[]
  /** Whether the account must have a second factor of its own. */
  readonly enrolment: EnrolmentPolicy
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly locale: string
}

export interface RequestFacts {
  readonly ip: string
  /** ISO 3166-1 alpha-2, where a trusted proxy tells it. */
  readonly country?: string | undefined
  readonly userAgent: string
  readonly locale: string
  readonly requestId: string
  /** Names this browser by a cookie of its own that outlives sessions; absent until it has one. */
  readonly deviceToken?: string | undefined
}

/**
 * What a step shows: values for its template `views/<feature>/<step>.njk`. With `accountLocale`, the language of an account
 * whose session this is and that the step has read, the page speaks it as after a proof. An `error` { code, retryAfter } in it
 * is answered with status 429.
 */
export type Shown = { readonly [key: string]: unknown; readonly accountLocale?: string | undefined }

/** A button or challenge on another step's page. */
export interface Offer {
  readonly step: string
  /** Message key, and its values. */
  readonly label: string
  readonly values?: { readonly [name: string]: string } | undefined
  /** A field that answers the step at once: its button needs no page of the step. */
  readonly field?: { readonly name: string; readonly value: string } | undefined
  /** The page's script may begin the step's ceremony at once, from the list that the browser fills fields from. */
  readonly autofill?: boolean | undefined
}

/** What a submit changes. `null` forgets the value; `answers` are merged by key. */
export interface Patch {
  readonly path?: Progress['path']
  readonly identifier?: string | null
  readonly accountId?: string | null
  /** The account named by `accountId` as just read, which spares a second look. Not stored. */
  readonly account?: AccountView | undefined
  readonly proof?: Proof
  readonly chosen?: string | null
  readonly remember?: boolean
  readonly answers?: { readonly [step: string]: unknown }
}

export interface FieldError {
  readonly code: string
  readonly field: string
}

export type Outcome =
  | { readonly ok: true; readonly patch: Patch }
  /** The consent was given: the engine's Grant to finish with. */
  | { readonly ok: true; readonly finish: { readonly [key: string]: unknown } }
  /** The browser goes elsewhere after the patch, to come back to the step's `arrive`. */
  | { readonly ok: true; readonly patch: Patch; readonly leave: string }
  /** The person refused: an OAuth error for the client (RFC 6749 §4.1.2.1). */
  | { readonly ok: true; readonly deny: { readonly error: string; readonly description: string } }
  /**
   * An expected failure: the page again with status 400 (429 with `retryAfter` or a code that asks for a proof), text from
   * `error.<code>`.
   * The code `stale` means that the conversation has moved on: the dispatcher shows where it stands.
   */
  | {
      readonly ok: false
      readonly code: string
      readonly field?: string
      readonly retryAfter?: number
      /** What the next try of this form has to show. */
      readonly challenge?: Challenge | undefined
      /** Other fields of the same form that are wrong. */
      readonly others?: readonly FieldError[]
      /** Values to show again; never passwords. */
      readonly values?: { readonly [key: string]: string }
    }

export interface Step<Input = unknown> {
  /** URL segment and view name, snake_case. */
  readonly name: string
  /** The feature's folder, for `views/<feature>/<name>.njk`. */
  readonly feature: string
  readonly prompts: readonly PromptName[]
  readonly meets: readonly Requirement[]
  /** The path whose first page it is; pages lead to a path only when the step that begins it is there. */
  readonly begins?: Progress['path']
  /**
   * Where a realm closes every other way, what keeps this step open: it leads to the provider, or it is for accounts that keep
   * methods of their own.
   */
  readonly inRealm?: 'provider' | 'break_glass'
  /** Pure: whether this step is still to be done. */
  needed(state: FlowState): boolean
  show(state: FlowState, request: RequestFacts): Promise<Shown>
  offer?(state: FlowState): Offer | undefined
  /** The same for a step that has several, of which some must be looked up. */
  offers?(state: FlowState): Promise<readonly Offer[]>
  readonly input: ZodType<Input>
  submit(input: Input, state: FlowState, request: RequestFacts): Promise<Outcome>
  /**
   * A challenge that scripts ask for while a page is open: whoever needs none costs none. A step that gives challenges may be
   * answered from every page that could lead to it.
   */
  challenge?(state: FlowState): Promise<object>
  /** A browser that has left is back: `GET …/<step>?answer=<name of what waits>`. May be answered from every page, as above. */
  arrive?(answer: string, state: FlowState, request: RequestFacts): Promise<Outcome>
}

/** What a browser has told of itself: it can make passkeys. Kept among the answers, under this name. */
export const ABILITIES = 'can'

/**
 * How a page of a second factor hands on the wish to be remembered in this browser (the field `trust` of its form): with the
 * account that it is about, so that it says nothing of another one that is named later.
 */
export function trusting(trust: string | undefined, { progress }: Pick<FlowState, 'progress'>): Progress['answers'] {
  return { trust_device: trust === 'yes' ? progress.accountId : null }
}

/** The method of a proof by the code of a recovery. It allows a new password; by itself it signs nobody in. */
export const MAILBOX = 'mailbox'

/** Whether something that signs in was shown for the named account. */
export function authenticated({ accountId, proofs }: Progress): boolean {
  const signsIn = ({ method, second }: Proof) => method !== MAILBOX && second !== true
  return accountId !== undefined && proofs.some((proof) => proof.accountId === accountId && signsIn(proof))
}

/** Whether another account than the proven one is signed in in this browser, and its owner has not agreed to leave. */
export function needsSwitch({ session, progress: { accountId, answers } }: FlowState): boolean {
  if (session === undefined || accountId === undefined || session.accountId === accountId) return false
  return answers.switch_account !== accountId
}
