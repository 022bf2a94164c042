/**
 * Layers of limits, all of one flow counted together or not at all, in one trip; a proof is looked at only where one is warm. A layer of one identifier, address or subnet
 * gets warm at a part of its limit and is used up at the limit. Layers of one autonomous system, of one client and of
 * everywhere only get warm: a hard stop there would let whoever controls enough addresses close the door for everybody (A38).
 */
import type { Challenge, Challenges, Judged } from '../../platform/challenge.ts'
import { networkOf, subnetOf } from '../../platform/client_network.ts'
import { type KeyValue, type Limit, NEVER } from '../../platform/key_value.ts'
import type { Admission, Admitted, Attempt, Flow, IsKnownDevice, RequestGuard, SignInGuard } from './types.ts'

export interface AbuseDeps {
  readonly kv: Pick<KeyValue, 'hit' | 'delete'>
  readonly challenges: Pick<Challenges, 'issue' | 'issueAhead' | 'judge'>
  /** Names a counter without showing the address in the store. */
  readonly mac: (value: string) => string
  readonly isKnownDevice?: IsKnownDevice | undefined
  readonly settings: AbuseSettings
  /** Number of the autonomous system that the requester comes from, where that is known. */
  readonly asn?: (() => string | undefined) | undefined
  /** Told which layer held a try back; `challenge` when a proof was asked for instead. */
  readonly limited?: ((flow: Flow, layer: Layer | 'challenge') => void) | undefined
}

export interface AbuseSettings {
  readonly windowSeconds: number
  /** At which part of a limit a proof is asked for. */
  readonly challengeAtPercent: number
  /** Sign-ins: tries of an identifier or device, failures of the others. */
  readonly signIn: Budgets & { readonly identifier: number; readonly device: number }
  /** Registrations, and recoveries. */
  readonly request: Budgets
}

interface Budgets {
  readonly address: number
  readonly subnet: number
  /** From so many on, everybody who comes from this autonomous system shows a proof: it may be a whole country's carrier. */
  readonly asn: number
  /** From so many on, everybody who comes by this client, or by any, shows a proof. */
  readonly client: number
  readonly all: number
}

export type Layer = 'identifier' | 'device' | 'address' | 'subnet' | 'asn' | 'client' | 'all' | 'slow'

export interface AbuseService {
  readonly signIn: SignInGuard
  readonly request: RequestGuard
}

/** Registrations of, and recoveries for, one address: its owner may be told to prove, never to wait (A38). */
const REQUESTS_PER_IDENTIFIER = 5
const SLOWLY = { limit: 1, windowSeconds: 3600 }

const refusesAll: IsKnownDevice = async () => false

export function createAbuseService(deps: AbuseDeps): AbuseService {
  const { kv, challenges, isKnownDevice = refusesAll, limited = () => {} } = deps
  const layers = layersOf(deps)

  /** On the strangers' budget first; a device that the account knows has its own, which strangers cannot use up. */
  async function admit(attempt: Attempt, wanted: readonly Named[]): Promise<Admission> {
    const { flow, identifier, proof = '', deviceToken } = attempt
    const before = await kv.hit(wanted, attempt.signedIn === true)
    const isAsked = !before.allowed && before.warm && proof !== ''
    const judged: Judged = isAsked ? await challenges.judge(proof, attempt) : { ok: false }
    const hit = judged.ok ? await kv.hit(wanted, true) : before
    if (hit.allowed) return { ok: true, warm: hit.warm && attempt.signedIn !== true, knownDevice: false }
    if (flow === 'sign_in' && deviceToken !== undefined && (await isKnownDevice(identifier, deviceToken))) {
      const own = await kv.hit([layers.device(attempt, deviceToken)])
      if (own.allowed) return { ok: true, warm: false, knownDevice: true }
      limited(flow, 'device')
      return { ok: false, retryAfter: own.retryAfter }
    }
    limited(flow, hit.warm ? 'challenge' : (wanted.find(({ key }) => key === hit.by)?.layer ?? 'all'))
    if (!hit.warm) return { ok: false, retryAfter: hit.retryAfter }
    return ask(attempt, judged)
  }

  /** What is to be shown after a proof that was none. */
  async function ask(attempt: Attempt, judged: Judged): Promise<Admission> {
    const { early, captcha } = judged.ok ? {} : judged
    const kept = early === undefined ? undefined : { ticket: attempt.proof, wait: early }
    const challenge = await challenges.issue(attempt, kept, captcha === 'away')
    if (challenge.captcha === undefined) return { ok: false, code: 'challenge', challenge }
    return { ok: false, code: captcha === 'refused' ? 'captcha_refused' : 'captcha', challenge }
  }

  return {
    signIn: {
      admit: (attempt) => admit(attempt, [layers.identifier(attempt), ...peeked(layers.shared(attempt))]),
      async failed(attempt, { warm, knownDevice }): Promise<Challenge | undefined> {
        const after = knownDevice ? undefined : await kv.hit(layers.shared(attempt))
        const isNext = warm || (after?.warm === true && attempt.signedIn !== true)
        return isNext ? challenges.issueAhead(attempt) : undefined
      },
      async passed(attempt, { knownDevice }): Promise<void> {
        const { deviceToken = '' } = attempt
        const { key } = knownDevice ? layers.device(attempt, deviceToken) : layers.identifier(attempt)
        // What cannot be forgotten holds the next try back a little sooner; it is no reason to refuse this one.
        await kv.delete(key).catch(() => {})
      },
      admitSlowly: async (attempt, admitted: Admitted) =>
        admitted.knownDevice ? admitted : admit({ ...attempt, proof: undefined }, [layers.slow(attempt)]),
    },
    request: {
      admit: (attempt) => admit(attempt, [layers.requests(attempt), ...layers.shared(attempt)]),
      challengeAgain: async (attempt, { warm }) => (warm ? challenges.issueAhead(attempt) : undefined),
    },
  }
}

interface Named extends Limit {
  readonly layer: Layer
}

const peeked = (limits: readonly Named[]): Named[] => limits.map((limit) => ({ ...limit, peek: true }))

function layersOf({ mac, settings, asn = () => undefined }: Pick<AbuseDeps, 'mac' | 'settings' | 'asn'>) {
  const { windowSeconds, challengeAtPercent } = settings
  const hard = (layer: Layer, key: string, limit: number): Named => {
    const warmAt = Math.max(1, Math.ceil((limit * challengeAtPercent) / 100))
    return { layer, key, limit, warmAt, windowSeconds }
  }
  const soft = (layer: Layer, key: string, warmAt: number): Named => {
    return { layer, key, limit: NEVER, warmAt, windowSeconds }
  }
  return {
    identifier: ({ flow, identifier }: Attempt) =>
      hard('identifier', `{${flow}}:id:${mac(identifier)}`, settings.signIn.identifier),
    requests: ({ flow, identifier }: Attempt) =>
      soft('identifier', `{${flow}}:id:${mac(identifier)}`, REQUESTS_PER_IDENTIFIER),
    device: ({ flow, identifier }: Attempt, token: string): Named => ({
      ...hard('device', `{${flow}}:device:${mac(`${identifier}\n${token}`)}`, settings.signIn.device),
      warmAt: undefined,
    }),
    slow: ({ flow, identifier }: Attempt): Named => ({
      ...{ layer: 'slow', key: `{${flow}}:slow:${mac(identifier)}`, ...SLOWLY },
    }),
    /** What many people share. */
    shared({ flow, ip, clientId }: Attempt): Named[] {
      const budgets = flow === 'sign_in' ? settings.signIn : settings.request
      const system = asn()
      return [
        hard('address', `{${flow}}:ip:${networkOf(ip)}`, budgets.address),
        hard('subnet', `{${flow}}:net:${subnetOf(ip)}`, budgets.subnet),
        ...(system === undefined ? [] : [soft('asn', `{${flow}}:asn:${system}`, budgets.asn)]),
        ...(clientId === undefined ? [] : [soft('client', `{${flow}}:client:${clientId}`, budgets.client)]),
        soft('all', `{${flow}}:all`, budgets.all),
      ]
    },
  }
}
