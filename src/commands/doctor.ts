/** `genkan doctor`: what an operator should know before it hurts. Each check is a row; a failing one does not stop the rest. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { servesPasskeys } from '../features/passkeys/types.ts'
import * as argon2id from '../platform/argon2id.ts'
import { checkMailServer } from '../platform/mail_check.ts'
import { createPasswordHash } from '../platform/password_hash.ts'
import { type Command, type CommandServices, failure, JSON_OPTION, show } from './command.ts'

export type DoctorNeeds = Pick<
  CommandServices,
  | 'config'
  | 'database'
  | 'realms'
  | 'keys'
  | 'sealed'
  | 'facts'
  | 'now'
  | 'pendingMigrations'
  | 'redis'
  | 'captcha'
  | 'upstreams'
  | 'assertionIssuers'
>

interface Finding {
  readonly state: 'ok' | 'warn' | 'fail'
  readonly text: string
}
const ok = (text: string): Finding => ({ state: 'ok', text })
const warn = (text: string): Finding => ({ state: 'warn', text })
const fail = (text: string): Finding => ({ state: 'fail', text })

const SKEW_WARN_MS = 1000
const SKEW_FAIL_MS = 10_000
const HASHES = 3
const FAST_MS = 15
const SLOW_MS = 250

const CHECKS: readonly { readonly name: string; readonly run: (needs: DoctorNeeds) => Promise<Finding> }[] = [
  { name: 'issuer', run: checkIssuer },
  { name: 'proxies', run: checkProxies },
  { name: 'data folder', run: checkDataFolder },
  { name: 'database', run: checkDatabase },
  { name: 'migrations', run: checkMigrations },
  { name: 'clock', run: checkClock },
  { name: 'signing keys', run: checkKeys },
  { name: 'sealed data', run: checkSealed },
  { name: 'redis', run: checkRedis },
  { name: 'mail', run: checkMail },
  { name: 'text messages', run: checkTextMessages },
  { name: 'captcha', run: checkCaptcha },
  { name: 'upstreams', run: checkUpstreams },
  { name: 'assertion issuers', run: checkAssertionIssuers },
  { name: 'passwords', run: checkPasswords },
  { name: 'realms', run: checkRealms },
  { name: 'look-alikes', run: checkLookAlikes },
]

export const doctor: Command<DoctorNeeds> = {
  name: 'doctor',
  summary: 'check configuration, stores, clock, keys, mail and password hashing',
  options: [JSON_OPTION],
  async run(needs, input, out) {
    const findings: (Finding & { readonly check: string })[] = []
    for (const { name, run } of CHECKS) {
      const finding = await run(needs).catch((error: unknown) => fail(reason(error)))
      findings.push({ check: name, ...finding })
    }
    show(input, out, findings, () =>
      findings.map(({ check, state, text }) => `${state.padEnd(5)} ${check.padEnd(13)} ${text}`).join('\n'),
    )
    const failed = findings.filter(({ state }) => state === 'fail').length
    if (failed > 0) throw failure(`${failed} of ${findings.length} checks failed`)
  },
}

async function checkIssuer({ config }: DoctorNeeds): Promise<Finding> {
  const { issuer, https, production } = config
  const insecure = `${issuer} is http on loopback: cookies are not Secure, sign-in works on this machine only`
  if (!https && production) return fail(insecure)
  if (!servesPasskeys(issuer)) return warn(`${issuer} is an address, for which browsers make no passkeys: use a name`)
  return https ? ok(`${issuer}; cookies are Secure and bound to the host`) : warn(insecure)
}

async function checkProxies({ config }: DoctorNeeds): Promise<Finding> {
  if (config.trustedProxies.length > 0)
    return ok(`forwarded addresses are believed from ${config.trustedProxies.join(', ')}`)
  if (!config.https) return ok('none: addresses are those of the connections')
  return warn(
    'an https issuer is served through a proxy, but TRUSTED_PROXIES is empty: all people share its address in limits',
  )
}

async function checkDataFolder({ config }: DoctorNeeds): Promise<Finding> {
  if (!config.embedded && config.smtpUrl !== undefined) return ok('not used')
  const folder = await mode(config.dataDir)
  if (folder === undefined) return warn(`${config.dataDir} is not there yet`)
  const key = await mode(join(config.dataDir, 'secret.key'))
  if (key !== undefined && (key & 0o077) !== 0)
    return fail(`secret.key in ${config.dataDir} can be read by others: chmod 600`)
  if ((folder & 0o077) !== 0) return warn(`${config.dataDir} can be entered by others: chmod 700`)
  return ok(`${config.dataDir} is closed to others`)
}

async function mode(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mode
  } catch {
    return undefined
  }
}

async function checkDatabase({ config, database }: DoctorNeeds): Promise<Finding> {
  await database.ping()
  const { rows } = await database.db.raw("select current_setting('server_version_num')::int as version")
  const version = Math.floor(Number(rows[0]?.version) / 10_000)
  if (config.embedded) {
    return config.production ? warn('embedded, in production: one process, no standby') : ok('embedded')
  }
  return version < 15 ? fail(`PostgreSQL ${version}: 15 or later is needed`) : ok(`PostgreSQL ${version}`)
}

async function checkMigrations({ pendingMigrations }: DoctorNeeds): Promise<Finding> {
  const pending = await pendingMigrations()
  return pending.length === 0 ? ok('up to date') : warn(`${pending.length} to do: genkan migrate, or at the next start`)
}

async function checkClock({ database }: DoctorNeeds): Promise<Finding> {
  const before = Date.now()
  const theirs = await database.ping()
  const skew = Math.round(Math.abs(theirs.getTime() - (before + Date.now()) / 2))
  const text = `${skew} ms from the database's`
  return skew > SKEW_FAIL_MS
    ? fail(`${text}: tokens would be refused; synchronise clocks`)
    : skew > SKEW_WARN_MS
      ? warn(text)
      : ok(text)
}

async function checkKeys({ keys, now, pendingMigrations }: DoctorNeeds): Promise<Finding> {
  if ((await pendingMigrations()).length > 0) return warn('made at the first start')
  const signing = (await keys.current(now())).filter(({ state }) => state === 'signing')
  return ok(signing.map(({ alg, kid }) => `${alg} ${kid}`).join(', '))
}

/** What keeps an older key from leaving `GENKAN_SECRET_KEYS`. */
async function checkSealed({ sealed, pendingMigrations }: DoctorNeeds): Promise<Finding> {
  if ((await pendingMigrations()).length > 0) return warn('not known before the migrations')
  const { personal, secrets } = await sealed.stale()
  if (personal + secrets === 0) return ok('everything is under the newest keys')
  return warn(
    `${secrets} values are under an older secret key, ${personal} under an older data key: genkan keys reseal`,
  )
}

async function checkRedis({ config, redis }: DoctorNeeds): Promise<Finding> {
  if (redis === undefined) {
    return config.embedded
      ? ok('not used')
      : warn('not configured: state is kept in PostgreSQL, and caches of clients live a second only')
  }
  const { masters, policy, appendsOnly } = await redis()
  if (policy !== undefined) {
    return fail(`maxmemory-policy is ${policy}: sessions and limits would vanish under pressure; set noeviction`)
  }
  if (appendsOnly === false) return warn('appendonly is off: a restart signs people out')
  return ok(`${masters > 1 ? `${masters} masters are` : 'it is'} reachable, noeviction, append-only`)
}

async function checkMail({ config }: DoctorNeeds): Promise<Finding> {
  if (config.smtpUrl === undefined) {
    const text = `written as files to ${join(config.dataDir, 'mail')}: set SMTP_URL to send`
    return config.production ? fail(text) : warn(text)
  }
  await checkMailServer(config.smtpUrl)
  return ok('the SMTP server answers and lets us in')
}

const STOPPED = 'sms.stopped'

/** Nothing is sent to try: each message costs, and the number would be somebody's. */
async function checkTextMessages({ config, facts, now, pendingMigrations }: DoctorNeeds): Promise<Finding> {
  const { sms, dataDir } = config
  if (sms === undefined) return ok('not configured: no codes go to phones')
  if (sms.countries.length === 0)
    return fail('sms.countries is empty: every number is refused; name the countries you serve')
  if (sms.provider === undefined) return warn(`written as files to ${join(dataDir, 'sms')}: set sms.url to send`)
  const { protocol, host } = new URL(sms.provider.url)
  if ((await pendingMigrations()).length > 0) return warn('not known before the migrations')
  const stopped = await facts.count(STOPPED, new Date(now().getTime() - WEEK_MS))
  if (stopped > 0) {
    return warn(
      `prefixes were stopped ${stopped} times in the last 7 days, since nobody used their codes: genkan audit list --type ${STOPPED}`,
    )
  }
  if (sms.countries === 'any') return warn(`sent by ${host} to any country: name those you serve, others only cost`)
  const to = sms.countries.join(', ')
  return protocol === 'https:' ? ok(`sent by ${host} to ${to}`) : warn(`sent by ${host} to ${to}, over plain http`)
}

/** Asked about a token that is none: every vendor says first whether it knows the secret. */
async function checkCaptcha({ config, captcha }: DoctorNeeds): Promise<Finding> {
  if (config.captcha === undefined || captcha === undefined)
    return ok('not configured: our own proof of work is asked for')
  const { vendor, verifyUrl } = config.captcha
  const { host } = new URL(verifyUrl)
  const known = await captcha.secretIsKnown().catch((cause: unknown) => {
    throw new Error(`${vendor} cannot be asked at ${host}, people get our own proof of work: ${reason(cause)}`, {
      cause,
    })
  })
  if (!known) return fail(`${vendor} at ${host} does not take captcha.secret: people get our own proof of work`)
  return ok(`${vendor} at ${host} answers and takes the secret`)
}

/** All are asked at once; each has a few seconds. Nobody but their own people is kept out by what is wrong with one. */
async function checkUpstreams({ upstreams, pendingMigrations }: DoctorNeeds): Promise<Finding> {
  if ((await pendingMigrations()).length > 0) return warn('not known before the migrations')
  const on = (await upstreams.states()).filter(({ isOn }) => isOn)
  if (on.length === 0) return ok('none: people sign in by what is here')
  const problemsOf = async ({ name }: { readonly name: string }) => {
    const asked = upstreams.inspect(name).then((report) => report?.problems ?? [])
    return (await asked.catch((error: unknown) => [reason(error)])).map((problem) => `${name}: ${problem}`)
  }
  const problems = (await Promise.all(on.map(problemsOf))).flat()
  return problems.length === 0
    ? ok(`${on.map(({ name }) => name).join(', ')}: as they should be`)
    : warn(problems.join('; '))
}

async function checkAssertionIssuers({ assertionIssuers, config, pendingMigrations }: DoctorNeeds): Promise<Finding> {
  const { length } = config.assertionIssuers
  if (length === 0) return ok("none: nobody's word is taken as a grant")
  if ((await pendingMigrations()).length > 0) return warn('not known before the migrations')
  const problems = await assertionIssuers.problems()
  return problems.length === 0 ? ok(`${length}: as they should be`) : warn(problems.join('; '))
}

async function checkPasswords({ config }: DoctorNeeds): Promise<Finding> {
  const hashing = createPasswordHash(config.passwords, argon2id)
  const times: number[] = []
  for (let i = 0; i < HASHES; i++) {
    const start = performance.now()
    await hashing.hash(`correct horse battery ${i}`)
    times.push(performance.now() - start)
  }
  const median = Math.round(times.sort((a, b) => a - b)[Math.floor(HASHES / 2)] ?? 0)
  const { memoryKib, passes, parallelism, maxConcurrent } = config.passwords
  const rate = Math.round((1000 / Math.max(median, 1)) * maxConcurrent)
  const text = `argon2id m=${memoryKib} t=${passes} p=${parallelism} takes ${median} ms: about ${rate} sign-ins a second`
  if (median < FAST_MS) return warn(`${text}; this machine can afford more: raise passwords.memory_kib`)
  if (median > SLOW_MS)
    return warn(`${text}; that is slow: lower passwords.memory_kib (not below 7168), or use a faster machine`)
  return ok(text)
}

const REFUSED = 'identifier.refused'
const WEEK_MS = 7 * 86_400_000

/** Somebody tries addresses that look like those of others (A105). They were refused, but an operator should know. */
async function checkLookAlikes({ facts, now, pendingMigrations }: DoctorNeeds): Promise<Finding> {
  if ((await pendingMigrations()).length > 0) return warn('not known before the migrations')
  const found = await facts.count(REFUSED, new Date(now().getTime() - WEEK_MS))
  if (found === 0) return ok('no address of mixed script was tried in the last 7 days')
  return warn(
    `addresses of mixed script, as look-alikes have, were refused ${found} times or more in the last 7 days: genkan audit list --type ${REFUSED}`,
  )
}

function reason(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error)
  return text.split('\n')[0] ?? ''
}

/** Domains that nobody has proven, whose record is gone, or whose provider is not there. */
async function checkRealms({ realms, pendingMigrations }: DoctorNeeds): Promise<Finding> {
  if ((await pendingMigrations()).length > 0) return warn('not known before the migrations')
  const all = await realms.states()
  const problems = all.flatMap(({ domain, state, record, upstream, upstreamExists, breakGlass, policy }) => [
    ...(state === 'unproven' ? [`${domain} is not proven: publish ${record.name} TXT "${record.value}"`] : []),
    ...(state === 'failing' ? [`the record of ${domain} is gone: ${record.name}`] : []),
    ...(upstreamExists ? [] : [`${domain} leads to ${upstream}, which is not there`]),
    ...(policy === 'enforce' && breakGlass.length === 0 ? [`${domain} is closed and has no break-glass account`] : []),
  ])
  if (problems.length > 0) return warn(problems.join('; '))
  return ok(all.length === 0 ? 'none' : `${all.length} proven`)
}
