/** A driver for SAML with keys and a clock of the test's own, and a departure that `said` answers honestly. */
import { expect } from '@jest/globals'
import { type Departure, type Upstream, UpstreamError, type UpstreamIdentity } from '../../src/platform/upstream.ts'
import { createSamlUpstream, type SamlSettings } from '../../src/platform/upstream_saml.ts'
import { createSamlIdp } from './saml_idp.ts'
import {
  assertionOf,
  authnStatement,
  createCertified,
  encode,
  type HandSigning,
  nameId,
  responseOf,
  type Said,
  signElement,
} from './saml_messages.ts'

/** Years from the time of the machine: whoever asked that would refuse everything here. */
export const NOW = Date.parse('2031-03-04T05:06:07.000Z')
export const REDIRECT_URI = 'https://login.example/upstream/partner/callback'
export const ENTITY_ID = 'https://login.example/upstream/partner'
export const STATE = 'state-of-this-departure'

export const idp = createSamlIdp()
/** Keys of ours, and of somebody whom nobody knows. */
export const [signing, decryption, foreign] = [createCertified(), createCertified(), createCertified()] as const

export interface Room {
  readonly upstream: Upstream
  readonly said: Said
  readonly clock: { time: number }
  readonly burnt: Map<string, number>
  finish(field: string, changed?: Partial<Parameters<Upstream['finish']>[0]>): Promise<UpstreamIdentity>
}

/** A departure, and what an honest provider would say to it. */
export async function room(settings: Partial<SamlSettings> = {}, departure: Partial<Departure> = {}): Promise<Room> {
  const clock = { time: NOW }
  const burnt = new Map<string, number>()
  const upstream = createSamlUpstream(
    { provider: { metadata: idp.metadata }, entityId: ENTITY_ID, redirectUri: REDIRECT_URI, ...settings },
    {
      clock: { now: () => new Date(clock.time) },
      once: async (id, until) => !burnt.has(id) && burnt.set(id, until.getTime()).has(id),
    },
  )
  const { kept } = await upstream.depart({ redirectUri: REDIRECT_URI, state: STATE, ...departure })
  const said: Said = {
    now: NOW,
    issuer: idp.entityId,
    audience: ENTITY_ID,
    destination: REDIRECT_URI,
    recipient: REDIRECT_URI,
    inResponseTo: (kept as { id: string }).id,
    responseId: '_response',
    assertionId: '_assertion',
    nameId: nameId('person-1'),
    attributes: {},
    statement: authnStatement(NOW - 1000),
  }
  const finish: Room['finish'] = (field, changed = {}) =>
    upstream.finish({
      method: 'POST',
      redirectUri: REDIRECT_URI,
      state: STATE,
      parameters: { SAMLResponse: field, RelayState: STATE },
      kept,
      ...changed,
    })
  return { upstream, said, clock, burnt, finish }
}

export const byIdp: HandSigning = { key: idp.key }
/** What `said` gives, with the assertion signed. */
export const answerOf = (said: Said, how: HandSigning = byIdp) =>
  responseOf(said, signElement(assertionOf(said), 'saml:Assertion', how))

export async function failureOf(finishing: Promise<unknown>): Promise<string> {
  const error = await finishing.then(
    (identity) => new Error(`taken: ${JSON.stringify(identity)}`),
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof UpstreamError)) throw error
  return `${error.failure} ${error.reason}`
}

/** Sends what `change` makes of an honest answer, and says why it was refused. */
export async function refusal(make: (said: Said) => string | Promise<string>, settings?: Partial<SamlSettings>) {
  const { said, finish, burnt } = await room(settings)
  const reason = await failureOf(finish(encode(await make(said))))
  // What is refused uses up nothing: a forger could otherwise burn the ids of honest assertions.
  expect(burnt.size).toBe(0)
  return reason
}

/** The refusal of an honest answer with one thing changed before it was signed. */
export const bent = (change: Partial<Said>, settings?: Partial<SamlSettings>) =>
  refusal((said) => answerOf({ ...said, ...change }), settings)
