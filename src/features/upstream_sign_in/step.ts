/**
 * Signing in by a provider in the hosted conversation: the buttons and the way there and back, the page where somebody new gets
 * an account, and the one where an account that was proven is connected.
 */

import { justShown } from '../../interaction/levels.ts'
import { isConfined, isRouted } from '../../interaction/realms.ts'
import {
  type AccountView,
  authenticated,
  type FlowState,
  type Offer,
  type Outcome,
  type Patch,
  type PromptName,
  type Proof,
  type RegistrationField,
  type RequestFacts,
  type Step,
} from '../../interaction/step.ts'
import { sha256 } from '../../platform/ids.ts'
import { failureOf, type RequestGuard } from '../abuse/types.ts'
import type { ReadEmail } from '../identifiers/types.ts'
import { isOutside, type Realms } from '../realms/types.ts'
import { readProfile } from '../registration/types.ts'
import type { LiveUpstream } from '../upstreams/types.ts'
import {
  type LinkUpstreamForm,
  linkUpstreamForm,
  type UpstreamAccountForm,
  type UpstreamForm,
  upstreamAccountForm,
  upstreamForm,
} from './schema.ts'
import type { UpstreamSignInService } from './service.ts'
import { ARRIVED, type Arrived, arrivedIn, freshnessOf, levelsOf, type Target } from './types.ts'

export interface UpstreamStepDeps {
  readonly service: UpstreamSignInService
  readonly upstreams: {
    /** Those that the client shows, in its order. */
    offered(names: readonly string[] | undefined): Promise<readonly Offered[]>
    title(name: string): Promise<string>
  }
  readonly realms: Realms
  readonly readEmail: ReadEmail
  readonly guard: RequestGuard
  readonly clock: { now(): Date }
}

export type Offered = Pick<LiveUpstream, 'name' | 'title'> & {
  readonly driver: Pick<LiveUpstream['driver'], 'provesFreshness'>
}

const PROMPTS: readonly PromptName[] = ['login', 'create', 'select_account']

/** The buttons of the providers, and the way there and back. */
export function createUpstreamStep(deps: UpstreamStepDeps): Step<UpstreamForm> {
  const { service, upstreams } = deps
  const needed = ({ progress }: FlowState) =>
    !authenticated(progress) && (progress.path === 'login' || (progress.path === 'create' && !progress.accountId))
  const open = async (state: FlowState): Promise<readonly Offered[]> => {
    const { client, realm } = state
    // The provider of the typed address needs no button of the client; where it is the only way, there is no other.
    const own = realm === undefined ? [] : await upstreams.offered([realm.upstream])
    const shown = isConfined(realm) ? [] : await upstreams.offered(client.upstreams)
    const all = [...shown, ...own.filter(({ name }) => !shown.some((other) => other.name === name))]
    // A button that could only end in a failure is none.
    return freshnessOf(state) === true ? all.filter(({ driver }) => driver.provesFreshness) : all
  }
  const offersOf = async (state: FlowState): Promise<readonly Offer[]> =>
    (await open(state)).map(({ name, title }) => ({
      ...{ step: 'upstream', label: 'upstream.offer', values: { provider: title } },
      field: { name: 'provider', value: name },
    }))
  const offers = async (state: FlowState): Promise<readonly Offer[]> => {
    if (!needed(state) || arrivedIn(state.progress) !== undefined) return []
    const all = await offersOf(state)
    // The page of the realm is its provider's button.
    return isRouted(state) ? all.filter(({ field }) => field?.value !== state.realm?.upstream) : all
  }
  return {
    name: 'upstream',
    feature: 'upstream_sign_in',
    prompts: PROMPTS,
    meets: ['account', 'authentication'],
    inRealm: 'provider',
    needed,
    offers,
    input: upstreamForm,
    show: async (state) => ({ providers: await offersOf(state) }),

    async submit({ provider }, state, request) {
      const offered = (await open(state)).some(({ name }) => name === provider)
      if (!offered) return { ok: false, code: 'upstream_disabled' }
      return leave(deps, provider, state, request, levelsOf(state))
    },

    async arrive(answer, state, request) {
      const came = await service.arrive(answer, targetOf(state))
      if (came === undefined) return { ok: false, code: 'stale' }
      // Once more without the wish: what is missing is then asked for here. SAML has no wishes but demands.
      if (!came.ok && 'below' in came) return leave(deps, came.below, state, request, [])
      if (!came.ok) return came
      const { arrived, account } = came
      if (account !== undefined) return { ok: true, patch: signedIn(arrived, account) }
      return settle(deps, arrived, state)
    },
  }
}

export function depart(
  service: Pick<UpstreamSignInService, 'depart'>,
  provider: string,
  email: string | undefined,
  state: FlowState,
  { ip, locale }: Pick<RequestFacts, 'ip' | 'locale'>,
  levels = levelsOf(state),
) {
  return service.depart(provider, targetOf(state), { ip, locale, email, fresh: freshnessOf(state), levels })
}

async function leave(
  { service }: UpstreamStepDeps,
  provider: string,
  state: FlowState,
  request: RequestFacts,
  levels: readonly string[],
): Promise<Outcome> {
  const departed = await depart(service, provider, state.progress.identifier, state, request, levels)
  return departed.ok ? { ok: true, patch: {}, leave: departed.url } : departed
}

/** Somebody whom nobody knows yet: linked where both sides vouch for the address, else asked who they are. */
async function settle({ service }: UpstreamStepDeps, arrived: Arrived, state: FlowState): Promise<Outcome> {
  const owner = await service.ownerOf(arrived)
  const linked = owner && (await service.link(arrived, owner, pageOf(state)))
  if (owner !== undefined && linked === 'linked') return { ok: true, patch: signedIn(arrived, owner) }
  // Whatever was proven before was not proven for this identity (A05).
  const patch: Patch = { path: 'login', identifier: null, accountId: null, chosen: null }
  return { ok: true, patch: { ...patch, answers: { [ARRIVED]: arrived } } }
}

/** What was imported is shown, what is missing is asked for, and the account is made: one page. */
export function createUpstreamAccountStep(deps: UpstreamStepDeps): Step<UpstreamAccountForm> {
  const { upstreams } = deps
  return {
    name: 'upstream_account',
    feature: 'upstream_sign_in',
    prompts: PROMPTS,
    meets: ['account', 'authentication'],
    inRealm: 'provider',
    needed: ({ progress }) => {
      const arrived = arrivedIn(progress)
      return arrived !== undefined && arrived.mode === undefined && progress.accountId === undefined
    },
    input: upstreamAccountForm as Step<UpstreamAccountForm>['input'],
    async show(state) {
      const arrived = arrivedIn(state.progress)
      if (arrived === undefined) return {}
      return {
        provider: await upstreams.title(arrived.upstream),
        email: arrived.email ?? '',
        vouched: arrived.vouched,
        imported: Object.entries(arrived.profile)
          .filter(([claim]) => SHOWN.includes(claim))
          .map(([claim, value]) => ({ claim, value })),
        fields: missingFields(state, arrived).map((field) => ({
          ...field,
          value: arrived.suggested?.[field.claim] ?? '',
        })),
        today: todayOf(deps.clock),
      }
    },
    async submit(form, state, request) {
      const arrived = arrivedIn(state.progress)
      if (arrived === undefined) return { ok: false, code: 'stale' }
      if (form.action === 'back') return { ok: true, patch: { answers: { [ARRIVED]: null } } }
      if (form.action === 'link') return { ok: true, patch: { answers: { [ARRIVED]: { ...arrived, mode: 'link' } } } }
      return begin(deps, arrived, form, state, request)
    },
  }
}

/** Claims that a person recognises; a picture is not loaded from elsewhere. */
const SHOWN = ['name', 'given_name', 'family_name', 'nickname', 'birthdate', 'website']

/** What the client asks for and the provider has not said, and what the browser brought along: to be read before it is believed. */
function missingFields({ client }: FlowState, { profile, suggested = {} }: Arrived): readonly RegistrationField[] {
  const asked = (client.registrationFields ?? []).filter(({ claim }) => profile[claim] === undefined)
  const brought = SHOWN.filter((claim) => suggested[claim] !== undefined && profile[claim] === undefined)
  const more = brought.filter((claim) => !asked.some((field) => field.claim === claim))
  return [...asked, ...more.map((claim) => ({ claim, required: false }))]
}

async function begin(
  { service, realms, readEmail, guard, clock }: UpstreamStepDeps,
  arrived: Arrived,
  form: UpstreamAccountForm,
  state: FlowState,
  { ip }: RequestFacts,
): Promise<Outcome> {
  const { client, locale } = state
  const email = arrived.vouched ? arrived.email : await readEmail(form.email, { ip, clientId: client.clientId })
  const typed = Object.fromEntries(
    Object.entries(form).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
  const { profile, wrong } = readProfile(missingFields(state, arrived), typed, todayOf(clock))
  const all = [...(email === undefined ? [{ code: 'email_invalid', field: 'email' }] : []), ...wrong]
  const [first, ...others] = all
  if (email === undefined || first !== undefined) {
    return { ok: false, code: 'email_invalid', ...first, others, values: typed }
  }
  const admitted = await guard.admit({
    flow: 'register',
    identifier: email,
    ip,
    clientId: client.clientId,
    proof: form.proof,
  })
  if (!admitted.ok) return { ...failureOf(admitted), values: typed }
  if (await isOutside(realms, arrived, { email })) {
    return { ok: true, patch: { path: 'login', identifier: email, answers: { [ARRIVED]: null } } }
  }
  const account = await service.begin(arrived, { email, profile: { ...arrived.profile, ...profile }, locale })
  if (account === 'taken') return { ok: false, code: 'stale' }
  if (account === 'disabled') return { ok: false, code: 'upstream_disabled' }
  return { ok: true, patch: { ...signedIn(arrived, account), remember: form.shared !== 'yes' } }
}

/** Connects the provider to an account that was just proven by what it had before. */
export function createLinkUpstreamStep({ service, upstreams }: UpstreamStepDeps): Step<LinkUpstreamForm> {
  return {
    name: 'link_upstream',
    feature: 'upstream_sign_in',
    prompts: PROMPTS,
    meets: [],
    needed: ({ progress, account }) => {
      const arrived = arrivedIn(progress)
      if (arrived?.mode !== 'link' || !authenticated(progress) || account?.emailVerified !== true) return false
      return arrived.begun !== account.accountId
    },
    input: linkUpstreamForm,
    async show({ progress, account }) {
      const arrived = arrivedIn(progress)
      if (arrived === undefined) return {}
      const provider = await upstreams.title(arrived.upstream)
      return { provider, label: arrived.label, email: account?.email ?? '', identity: nameOf(arrived) }
    },
    async submit({ action, identity }, state) {
      const { progress, account, now } = state
      const arrived = arrivedIn(progress)
      if (arrived === undefined || account === undefined || identity !== nameOf(arrived))
        return { ok: false, code: 'stale' }
      if (action === 'skip') return { ok: true, patch: { answers: { [ARRIVED]: null } } }
      // A page that was left open adds no way in.
      if (justShown(progress.proofs, now).length === 0) return { ok: true, patch: { accountId: null } }
      const linked = await service.link(arrived, account, pageOf(state))
      if (linked === 'taken') return { ok: false, code: 'identity_taken' }
      if (linked === 'too_many') return { ok: false, code: 'identity_too_many' }
      if (linked === 'disabled') return { ok: false, code: 'upstream_disabled' }
      return { ok: true, patch: { answers: { [ARRIVED]: null } } }
    },
  }
}

function todayOf(clock: UpstreamStepDeps['clock']): string {
  return clock.now().toISOString().slice(0, 10)
}

/** Changes with every identity, and tells nobody who it is. */
function nameOf({ issuer, subject }: Arrived): string {
  return sha256(`${issuer}\n${subject}`)
}

/** The account is named and proven. One that has not proven its address goes on with that, as after a registration. */
function signedIn(arrived: Arrived, account: AccountView): Patch {
  const { accountId, email, emailVerified } = account
  // Whoever finds that they have an account already may still connect it.
  const waits = emailVerified ? null : { ...arrived, mode: 'link', begun: accountId }
  return {
    ...{ accountId, account, identifier: email, proof: proofOf(arrived, account), chosen: null },
    path: emailVerified ? 'login' : 'create',
    answers: { [ARRIVED]: waits },
  }
}

function proofOf({ upstream, session, amr, reaches, at }: Arrived, { accountId, epoch }: AccountView): Proof {
  return { method: 'upstream', amr, reaches, by: { upstream, session }, accountId, at, epoch }
}

function targetOf({ uid, cid }: FlowState): Target {
  return { kind: 'interaction', uid, cid }
}

function pageOf({ locale, client }: FlowState) {
  return { locale, brand: client.brand?.id }
}
