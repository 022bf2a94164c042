/** Prometheus metrics on a registry of our own. Label values come from fixed sets: what requesters send never makes a series (A107). */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { FairQueueOptions, QueueStats } from './fair_queue.ts'

export interface Metrics {
  readonly registry: Registry
  /** A finished attempt to sign in. `result`: success, failure, limited, error; `method`: an `amr` value. */
  signIn(result: string, method: string): void
  /** What became of an offer to make a passkey: shown, taken, declined. */
  passkeyOffered(result: string): void
  /** A typed identifier that was refused: why, and whether it was `stated` as a fact or only `counted`. */
  identifierRefused(reason: string, as: string): void
  /** What became of a text message, or why there is none: cost must be watched. */
  textMessage(event: string): void
  /** A proof of work: `issued`, `solved`, `waited` (a ticket) or `refused`; a CAPTCHA: `captcha_issued` and what its vendor said. */
  challenge(result: string): void
  /** A try that was held back: of which flow, and by which layer of limits (`challenge`: a proof was asked for). */
  limited(flow: string, layer: string): void
  /** A new password that was looked for in breaches: in which source, and whether it was `clean`, `breached` or `failed`. */
  breachCheck(source: string, result: string): void
  /** A token response, by `grant_type`. */
  token(grantType: string): void
  /** An answered request: the name of its route, its status, its duration in seconds. */
  request(route: string, method: string, status: number, seconds: number): void
  jobFailed(job: string): void
  /** Seconds the oldest fact waits to be sealed. */
  outboxLag(seconds: number): void
  /** Whether Redis may throw records away. */
  redisEvicting(isEvicting: boolean): void
  /** Told by the queue in front of password hashing. */
  readonly hashQueue: NonNullable<FairQueueOptions['watch']>
}

interface Options {
  /** Names of the matched routes. */
  readonly routes: readonly string[]
  readonly jobs?: readonly string[] | undefined
  /** Read when scraped. */
  readonly hashQueue?: (() => QueueStats) | undefined
  /** CPU, memory and event loop of the process; on by default. */
  readonly processMetrics?: boolean | undefined
}

const RESULTS = ['success', 'failure', 'limited', 'error']
const METHODS = ['pwd', 'email_code', 'passkey', 'totp', 'sms_code', 'recovery_code', 'device', 'none']
const GRANTS = [
  'authorization_code',
  'refresh_token',
  'client_credentials',
  'device_code',
  'token_exchange',
  'jwt_bearer',
]
const HTTP_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]

/** Makes the registry and its counters. Whatever is outside of the known sets is counted as `other`. */
export function createMetrics({ routes, jobs = [], hashQueue, processMetrics = true }: Options): Metrics {
  const registry = new Registry()
  const registers = [registry]
  if (processMetrics) collectDefaultMetrics({ register: registry })
  const signIns = new Counter({
    name: 'genkan_sign_ins_total',
    help: 'Finished attempts to sign in',
    labelNames: ['result', 'method'],
    registers,
  })
  const refusals = new Counter({
    name: 'genkan_identifiers_refused_total',
    help: 'Typed addresses that were refused as deceptive, stated as a fact or only counted',
    labelNames: ['reason', 'as'],
    registers,
  })
  const tokens = new Counter({
    name: 'genkan_tokens_issued_total',
    help: 'Successful token responses by grant type',
    labelNames: ['grant'],
    registers,
  })
  const requests = new Histogram({
    name: 'genkan_http_request_duration_seconds',
    help: 'Duration of answered requests',
    labelNames: ['route', 'method', 'status_class'],
    buckets: BUCKETS,
    registers,
  })
  const failedJobs = new Counter({
    name: 'genkan_jobs_failed_total',
    help: 'Failed runs of jobs',
    labelNames: ['job'],
    registers,
  })
  const lag = new Gauge({
    name: 'genkan_outbox_lag_seconds',
    help: 'Age of the oldest fact that is not sealed',
    registers,
  })
  if (hashQueue !== undefined) hashGauges(registry, hashQueue)

  const known = {
    result: oneOf(RESULTS),
    method: oneOf(METHODS),
    grant: oneOf(GRANTS),
    reason: oneOf(['mixed_script']),
    as: oneOf(['stated', 'counted']),
    route: oneOf(routes),
    httpMethod: oneOf(HTTP_METHODS),
    job: oneOf(jobs),
  }
  return {
    registry,
    signIn: (result, method) => signIns.inc({ result: known.result(result), method: known.method(method) }),
    identifierRefused: (reason, as) => refusals.inc({ reason: known.reason(reason), as: known.as(as) }),
    ...abuseCounters(registers),
    ...textCounter(registers),
    ...offersCounter(registers),
    ...redisGauge(registers),
    hashQueue: hashCounters(registers),
    // Extension grants are URNs: `urn:ietf:params:oauth:grant-type:device_code`.
    token: (grantType) => tokens.inc({ grant: known.grant(grantType.replace(/^.*[:]/, '').replaceAll('-', '_')) }),
    request: (route, method, status, seconds) =>
      requests.observe(
        { route: known.route(route), method: known.httpMethod(method), status_class: statusClass(status) },
        seconds,
      ),
    jobFailed: (job) => failedJobs.inc({ job: known.job(job) }),
    outboxLag: (seconds) => lag.set(seconds),
  }
}

function redisGauge(registers: Registry[]): Pick<Metrics, 'redisEvicting'> {
  const evicting = new Gauge({
    name: 'genkan_redis_evicting',
    help: '1 while the maxmemory-policy of Redis throws records away when its memory is full',
    registers,
  })
  return { redisEvicting: (isEvicting) => evicting.set(isEvicting ? 1 : 0) }
}

function offersCounter(registers: Registry[]): Pick<Metrics, 'passkeyOffered'> {
  const offers = new Counter({
    name: 'genkan_passkey_offers_total',
    help: 'Offers to make a passkey after signing in, by what became of them',
    labelNames: ['result'],
    registers,
  })
  const known = oneOf(['shown', 'taken', 'declined'])
  return { passkeyOffered: (result) => offers.inc({ result: known(result) }) }
}

/** What text messages do: asked for, held back by limits of the person (limited) or of the house, and what became of them. */
function textCounter(registers: Registry[]): Pick<Metrics, 'textMessage'> {
  const texts = new Counter({
    name: 'genkan_text_messages_total',
    help: 'Text messages: requested, limited, refused, stopped (a prefix), sent, failed, used',
    labelNames: ['event'],
    registers,
  })
  const event = oneOf(['requested', 'limited', 'refused', 'stopped', 'sent', 'failed', 'used'])
  return { textMessage: (name) => texts.inc({ event: event(name) }) }
}

const CAPTCHAS = ['captcha_issued', 'captcha_passed', 'captcha_refused', 'captcha_away']
const LAYERS = ['identifier', 'device', 'address', 'subnet', 'asn', 'client', 'all', 'slow', 'challenge']

/** What the defence against guessing does. */
function abuseCounters(registers: Registry[]): Pick<Metrics, 'challenge' | 'limited' | 'breachCheck'> {
  const challenges = new Counter({
    name: 'genkan_challenges_total',
    help: 'Proofs of work: issued, solved, waited for (without JavaScript) or refused. CAPTCHAs: issued, passed, refused, or the vendor away',
    labelNames: ['result'],
    registers,
  })
  const limits = new Counter({
    name: 'genkan_limited_total',
    help: 'Tries that were held back, by flow and by the layer of limits that did',
    labelNames: ['flow', 'layer'],
    registers,
  })
  const breaches = new Counter({
    name: 'genkan_breach_checks_total',
    help: 'New passwords that were looked for in breaches',
    labelNames: ['source', 'result'],
    registers,
  })
  const known = {
    challenge: oneOf(['issued', 'solved', 'waited', 'refused', ...CAPTCHAS]),
    flow: oneOf(['sign_in', 'register', 'recover']),
    layer: oneOf(LAYERS),
    source: oneOf(['file', 'api']),
    breach: oneOf(['clean', 'breached', 'failed']),
  }
  return {
    challenge: (result) => challenges.inc({ result: known.challenge(result) }),
    limited: (flow, layer) => limits.inc({ flow: known.flow(flow), layer: known.layer(layer) }),
    breachCheck: (source, result) => breaches.inc({ source: known.source(source), result: known.breach(result) }),
  }
}

/** Load of the queue in front of password hashing; `running` and `length` over their limits are what a fleet grows by. */
function hashGauges(registry: Registry, stats: () => QueueStats): void {
  const gauge = (name: string, help: string, read: (stats: QueueStats) => number) =>
    new Gauge({
      ...{ name: `genkan_hash_queue_${name}`, help, registers: [registry] },
      collect() {
        this.set(read(stats()))
      },
    })
  gauge('running', 'Password hashes that are running', ({ running }) => running)
  gauge('width', 'Password hashes that may run at once', ({ width }) => width)
  gauge('places', 'Password hashes that may wait, at the speed of the last ones', ({ places }) => places)
  new Gauge({
    name: 'genkan_hash_queue_length',
    help: 'Password hashes that wait for their turn',
    labelNames: ['priority'],
    registers: [registry],
    collect() {
      const { queued, signUps } = stats()
      this.set({ priority: 'sign_in' }, queued - signUps)
      this.set({ priority: 'sign_up' }, signUps)
    },
  })
}

/** What the queue in front of password hashing did. */
function hashCounters(registers: Registry[]): Metrics['hashQueue'] {
  const waits = new Histogram({
    name: 'genkan_hash_queue_wait_seconds',
    help: 'How long password hashes waited for their turn',
    labelNames: ['priority'],
    buckets: BUCKETS,
    registers,
  })
  const refusals = new Counter({
    name: 'genkan_hash_queue_refused_total',
    help: 'Password hashes that were refused: the share of an address or an account is used up, the queue is full, or no turn came',
    labelNames: ['reason', 'priority'],
    registers,
  })
  for (const priority of ['sign_in', 'sign_up']) {
    for (const reason of ['address', 'account', 'full', 'late']) refusals.inc({ reason, priority }, 0)
  }
  return {
    waited: (priority, seconds) => waits.observe({ priority }, seconds),
    refused: (reason, priority) => refusals.inc({ reason, priority }),
  }
}

function oneOf(names: readonly string[]): (name: string) => string {
  const set = new Set(names)
  return (name) => (set.has(name) ? name : 'other')
}

function statusClass(status: number): string {
  const digit = Math.floor(status / 100)
  return digit >= 1 && digit <= 5 ? `${digit}xx` : 'other'
}
