/** F30 to F33: processes that end, hang, or have nothing left to work with. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { SETTINGS } from '../../support/journeys.ts'
import { authorizationRequest, redirectUri, stepOf } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { freshDatabaseUrl, scratchFolder, startRedis } from '../../support/services.ts'
import type { Account } from '../acts.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import { readiness, statusOf, until } from '../world.ts'
import { attempt, reason } from './attempt.ts'

const HOOK = fileURLToPath(new URL('../fault_hook.ts', import.meta.url))

interface Answer {
  readonly status: number
  readonly closes: boolean
}

/** One request over a connection that is kept; rejects when it is cut. */
function keptPost(origin: string, agent: Agent, fields: { readonly [name: string]: string }): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const body = new URLSearchParams(fields).toString()
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length }
    const sent = request(`${origin}/token`, { method: 'POST', agent, headers }, (response) => {
      response.resume()
      response.once('error', reject)
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, closes: response.headers.connection === 'close' }),
      )
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

/** F30: what is in flight is answered, then the process ends by itself. */
async function drained(stage: Stage): Promise<void> {
  const { world, check } = stage
  const [instance] = world.instances
  if (instance === undefined) return
  const { server } = instance
  const count = stage.lasting(200, 200)
  const agent = new Agent({ keepAlive: true, maxSockets: count })
  instance.redis.set({ kind: 'delay', milliseconds: 300 })
  Object.assign(instance, { held: true, up: false })
  stage.later(async () => {
    instance.held = false
  })
  const fields = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: 'x'.repeat(43) }
  const flying = Array.from({ length: count }, () => keptPost(server.origin, agent, fields))
  await sleep(250)
  const began = Date.now()
  server.signal('SIGTERM')
  await sleep(50)
  const status = await readiness(server)
  check(status === 503, `/readyz was answered ${status} after SIGTERM`)
  const ends = await Promise.allSettled(flying)
  const cut = ends.filter((end) => end.status === 'rejected').length
  check(cut === 0, `${cut} of ${count} requests in flight were cut`)
  const answers = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []))
  const odd = answers.filter(({ status: each }) => each !== 400 && each !== 503)
  check(odd.length === 0, `requests in flight were answered ${odd[0]?.status}`)
  check(
    answers.some(({ closes }) => closes),
    'no answer says that the connection closes',
  )
  const code = await server.exited()
  check(code === 0, `exit code ${code}`)
  check(Date.now() - began < 30_000, `it took ${Date.now() - began} ms`)
  agent.destroy()
  instance.redis.set({ kind: 'none' })
  await server.restart()
  instance.held = false
}

/** F31: people in the middle of signing in, while every instance is replaced. */
async function rolling(stage: Stage): Promise<void> {
  const { world, journal, check } = stage
  const people = await Promise.all(
    Array.from({ length: stage.lasting(10, 4) }, async () => {
      const { account } = await acts.register(world, 'spa', acts.newEmail('rolling'))
      journal.accounts.push(account)
      return account
    }),
  )
  const count = stage.lasting(500, 40)
  const begun: { account: Account; url: string; verifier: string }[] = []
  for (let each = 0; each < count; each++) {
    const account = acts.elsewhere(world, people[each % people.length] as Account)
    const ask = { login_hint: account.email, scope: 'openid email' }
    const { url, verifier } = authorizationRequest(world.issuer, 'spa', ask)
    const page = await acts.open(account.browser, url)
    begun.push({ account, url: page.url, verifier })
  }
  let left = world.instances.length
  const restarts = (async () => {
    for (const { server } of [...world.instances]) {
      const instance = world.instances.find((each) => each.server === server)
      if (instance === undefined) continue
      Object.assign(instance, { held: true, up: false })
      await server.restart()
      instance.held = false
      await until(world.ready, 20_000, 'ready again')
      await sleep(500)
      left -= 1
    }
  })()
  const wrong: string[] = []
  for (const { account, url, verifier } of begun) {
    const end = await attempt(finish(world, account, url, verifier))
    if (end.value === undefined) wrong.push(reason(end).slice(0, 150))
    if (left > 0) await sleep(stage.lasting(50, 150))
  }
  await restarts
  check(wrong.length === 0, `${wrong.length} of ${count} sign-ins did not finish: ${wrong[0]}`)
}

async function finish(world: Stage['world'], account: Account, url: string, verifier: string) {
  const there = await acts.open(account.browser, url)
  if (stepOf(there) !== 'password') throw new Error(`not the password page: ${there.status} ${there.url}`)
  const end = await acts.step(account.browser, there, '/password', { password: account.password })
  const code = end.params.get('code')
  if (code === null) throw new Error(`no code: ${end.status} ${end.url}`)
  return acts.tokens(world, 'spa', {
    ...{ grant_type: 'authorization_code', code, code_verifier: verifier },
    redirect_uri: redirectUri('spa'),
  })
}

/** F32: a worker that fails by itself is replaced, and others serve meanwhile. */
async function failing(stage: Stage): Promise<void> {
  const { check } = stage
  const fault = join(await scratchFolder('fault-'), 'fault')
  const server = await startServer({
    settings: SETTINGS,
    stores: { databaseUrl: await freshDatabaseUrl(), redisUrl: (await startRedis()).url },
    command: ['serve', '--workers', '2'],
    env: {
      GENKAN_TEST_FAULT: fault,
      NODE_OPTIONS: `--disable-warning=ExperimentalWarning --max-old-space-size=128 --import=${HOOK}`,
    },
  })
  stage.later(() => server.close())
  for (const what of ['reject', 'heap', 'block']) {
    writeFileSync(fault, what)
    await until(() => workersOf(server).length === 2, 20_000, 'two workers')
    await until(async () => (await statusOf(`${server.origin}/readyz`)) === 200, 10_000, 'ready')
    const before = workersOf(server)
    const victim = before[0] ?? 0
    process.kill(victim, 'SIGUSR2')
    const replaced = () => {
      const now = workersOf(server)
      return now.length === 2 && !now.includes(victim)
    }
    // Running out of memory takes a moment by itself.
    const limit = what === 'heap' ? 15_000 : 10_000
    const after = await until(replaced, limit, 'replaced').catch(() => undefined)
    check(after !== undefined, `a worker that fails (${what}) is not replaced within ${limit / 1000} s`)
    if (after === undefined) process.kill(victim, 'SIGKILL')
  }
}

/** Children of the first process. */
function workersOf(server: Server): number[] {
  const pid = server.pid()
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** F33: more connections than the process may have files. */
async function withoutDescriptors(stage: Stage): Promise<void> {
  const { world, check } = stage
  const [instance] = world.instances
  if (instance === undefined) return
  const { server } = instance
  const limit = (count: number) =>
    execFileSync('prlimit', ['--pid', String(server.pid()), `--nofile=${count}:4096`], { stdio: 'ignore' })
  limit(256)
  stage.later(async () => limit(4096))
  const sockets: Socket[] = []
  for (let count = 0; count < 400; count++) {
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => {})
    sockets.push(socket)
  }
  await sleep(stage.lasting(10_000, 3000))
  check(await isAlive(server), 'the process is gone')
  for (const socket of sockets) socket.destroy()
  const back = await until(async () => (await readiness(server)) === 200, 10_000, 'back').catch(() => undefined)
  check(back !== undefined, 'not ready within 10 s after descriptors are free again')
  const machine = await attempt(
    acts.tokens({ issuer: server.origin }, 'machine', {
      grant_type: 'client_credentials',
      resource: 'https://api.test.example',
    }),
  )
  check(machine.value !== undefined, `client credentials afterwards: ${reason(machine)}`)
}

async function isAlive(server: Server): Promise<boolean> {
  const gone = Symbol('still there')
  return (await Promise.race([server.exited(), sleep(50, gone)])) === gone
}

export const PROCESSES: readonly Case[] = [
  {
    ...{ id: 'F30', title: 'SIGTERM under load', cuts: true },
    inject: drained,
    heal: async () => {},
  },
  {
    ...{ id: 'F31', title: 'rolling restart', cuts: true },
    inject: rolling,
    heal: async () => {},
  },
  {
    ...{ id: 'F32', title: 'out of memory, an unhandled rejection, a blocked loop' },
    inject: failing,
    heal: async () => {},
  },
  {
    ...{ id: 'F33', title: 'no file descriptors left', cuts: true },
    inject: withoutDescriptors,
    heal: async () => {},
  },
]
