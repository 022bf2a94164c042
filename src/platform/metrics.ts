/** Prometheus metrics on a registry of our own. Label values come from fixed sets: what requesters send never makes a series (A107). */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export interface Metrics {
  readonly registry: Registry
  /** A finished attempt to sign in. `result`: success, failure, limited, error; `method`: an `amr` value. */
  signIn(result: string, method: string): void
  /** What became of an offer to make a passkey: shown, taken, declined. */
  passkeyOffered(result: string): void
  /** A typed identifier that was refused: why, and whether it was `stated` as a fact or only `counted`. */
  identifierRefused(reason: string, as: string): void
  /** A token response, by `grant_type`. */
  token(grantType: string): void
  /** An answered request: the name of its route, its status, its duration in seconds. */
  request(route: string, method: string, status: number, seconds: number): void
  jobFailed(job: string): void
  /** Seconds the oldest fact waits to be sealed. */
  outboxLag(seconds: number): void
}

interface Options {
  /** Names of the matched routes. */
  readonly routes: readonly string[]
  readonly jobs?: readonly string[] | undefined
  /** Read when scraped. */
  readonly passwordHash?: (() => { running: number; queued: number }) | undefined
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
export function createMetrics({ routes, jobs = [], passwordHash, processMetrics = true }: Options): Metrics {
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
  const passkeyOffers = offersCounter(registry)
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
  if (passwordHash !== undefined) hashGauges(registry, passwordHash)

  const known = {
    result: oneOf(RESULTS),
    method: oneOf(METHODS),
    grant: oneOf(GRANTS),
    reason: oneOf(['mixed_script']),
    as: oneOf(['stated', 'counted']),
    offer: oneOf(['shown', 'taken', 'declined']),
    route: oneOf(routes),
    httpMethod: oneOf(HTTP_METHODS),
    job: oneOf(jobs),
  }
  return {
    registry,
    signIn: (result, method) => signIns.inc({ result: known.result(result), method: known.method(method) }),
    passkeyOffered: (result) => passkeyOffers.inc({ result: known.offer(result) }),
    identifierRefused: (reason, as) => refusals.inc({ reason: known.reason(reason), as: known.as(as) }),
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

function offersCounter(registry: Registry): Counter {
  return new Counter({
    name: 'genkan_passkey_offers_total',
    help: 'Offers to make a passkey after signing in, by what became of them',
    labelNames: ['result'],
    registers: [registry],
  })
}

function hashGauges(registry: Registry, stats: () => { running: number; queued: number }): void {
  for (const part of ['running', 'queued'] as const) {
    new Gauge({
      name: `genkan_password_hash_${part}`,
      help: `Password hashes that are ${part}`,
      registers: [registry],
      collect() {
        this.set(stats()[part])
      },
    })
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
