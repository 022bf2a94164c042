/** F34 to F37: times that differ, keys that change, keys that are gone. */
import { randomBytes } from 'node:crypto'
import { existsSync, rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { SETTINGS } from '../../support/journeys.ts'
import { authorizationRequest } from '../../support/people.ts'
import { startServer } from '../../support/server.ts'
import { scratchFolder } from '../../support/services.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import type { Instance } from '../world.ts'
import { attempt, freshCode, machineToken, reason, wholeSignIn } from './attempt.ts'

/** F34: one instance a minute and a half off, either way: people who meet both notice nothing, and nothing counts twice. */
async function skewed(stage: Stage, off: Instance, right: Instance, seconds: number): Promise<void> {
  const { world } = stage
  const check = (ok: boolean, otherwise: string) => stage.check(ok, `${seconds} s: ${otherwise}`)
  await off.server.shiftDate(seconds)
  for (const [here, there] of [
    [off, right],
    [right, off],
  ] as const) {
    world.route(here)
    const began = await attempt(freshCode(stage))
    check(began.value !== undefined, `a sign-in: ${reason(began)}`)
    world.route(there)
    if (began.value === undefined) continue
    const redeemed = await attempt(acts.redeem(world, began.value))
    check(redeemed.value !== undefined, `a code of the other instance: ${reason(redeemed)}`)
    world.route(here)
    if (redeemed.value === undefined) continue
    const fields = { grant_type: 'refresh_token', refresh_token: redeemed.value.refresh_token }
    const renewed = await attempt(acts.tokens(world, 'spa', fields))
    check(renewed.value !== undefined, `a refresh token of the other instance: ${reason(renewed)}`)
    const again = await attempt(acts.redeem(world, began.value))
    check(again.value === undefined, 'a code was redeemed at both')
  }
  world.route()
  await off.server.shiftDate(0)
}

async function clocks(stage: Stage): Promise<void> {
  const { check, later } = stage
  const [off, right] = stage.world.instances
  if (off === undefined || right === undefined) return
  later(() => off.server.shiftDate(0))
  for (const seconds of [90, -90]) await skewed(stage, off, right, seconds)
  for (const seconds of [3600, -3600]) {
    await off.server.shiftDate(seconds)
    const doctor = await off.server.run('doctor')
    const alarmed = doctor.code !== 0 && /clock/.test(doctor.stdout + doctor.stderr)
    check(alarmed, `${seconds} s: the doctor says nothing of the clock: ${doctor.stdout.slice(0, 200)}`)
    const ready = await fetch(`${off.server.managementOrigin}/readyz`)
    const said = await ready.text()
    check(ready.status === 503 && said.includes('clock'), `${seconds} s: /readyz answers ${ready.status} ${said}`)
    stage.world.route(right)
    const { value: code } = await attempt(freshCode(stage))
    const first = code && (await attempt(acts.redeem(stage.world, code)))
    stage.world.route(off)
    const second = code && (await attempt(acts.redeem(stage.world, code)))
    check(first?.value === undefined || second?.value === undefined, `${seconds} s: a code was redeemed at both`)
    stage.world.route()
  }
  await off.server.shiftDate(0)
}

/** F35: a resource server that fetches keys when it meets one that it does not know, and takes every token. */
async function rotated(stage: Stage): Promise<void> {
  const { world, check } = stage
  const keys = createRemoteJWKSet(new URL(`${world.issuer}/jwks`), { cooldownDuration: 500 })
  let [stopped, verified] = [false, 0]
  const wrong: string[] = []
  const lane = async () => {
    while (!stopped) {
      const { value, refused, error } = await attempt(machineToken(stage))
      if (value === undefined) wrong.push(refused ?? error ?? '')
      else
        await jwtVerify(value.access_token, keys, { issuer: world.issuer }).then(
          () => (verified += 1),
          (failure: Error) => wrong.push(failure.message),
        )
      await sleep(20)
    }
  }
  const lanes = [lane(), lane(), lane()]
  for (let times = 0; times < stage.lasting(10, 3); times++) {
    const { server } = world.instances[times % world.instances.length] as Instance
    const made = await server.run('keys', 'rotate', '--publish', '3s')
    check(made.code === 0, `keys rotate: ${made.stderr || made.stdout}`)
    await sleep(5000)
  }
  stopped = true
  await Promise.all(lanes)
  check(wrong.length === 0, `${wrong.length} of ${verified + wrong.length} tokens failed: ${wrong[0]}`)
}

/** F36: secret keys are renewed as the README says, an instance at a time; sessions and tokens live on. */
async function renewed(stage: Stage): Promise<void> {
  const { world, journal, check } = stage
  const old = world.instances[0]?.server.env.GENKAN_SECRET_KEYS ?? ''
  const fresh = randomBytes(32).toString('base64')
  let { refresh_token: token } = await wholeSignIn(stage)
  const [account] = journal.consents
  for (const keys of [`${old},${fresh}`, `${fresh},${old}`]) {
    for (const instance of [...world.instances]) {
      Object.assign(instance, { held: true, up: false })
      await sleep(300)
      await instance.server.restart({ GENKAN_SECRET_KEYS: keys })
      instance.held = false
      const ask = authorizationRequest(world.issuer, 'web', { prompt: 'none', scope: 'openid email' })
      for (const each of world.instances) {
        world.route(each)
        const there = await account?.browser.get(ask.url)
        check(there?.params.has('code') === true, `a session: ${there?.params.get('error') ?? there?.status}`)
        const end = await attempt(acts.tokens(world, 'spa', { grant_type: 'refresh_token', refresh_token: token }))
        check(end.value !== undefined, `a refresh: ${reason(end)}`)
        token = end.value?.refresh_token ?? token
      }
      world.route()
    }
  }
  const resealed = await world.instances[0]?.server.run('keys', 'reseal')
  check(resealed?.code !== undefined, 'keys reseal did not run')
}

/** F37: a data directory whose key is damaged or gone. */
async function withoutKey(stage: Stage): Promise<void> {
  const { check } = stage
  for (const damage of ['truncated', 'removed'] as const) {
    const dataDir = join(await scratchFolder('keyless-'), 'data')
    const first = await startServer({ settings: SETTINGS, dataDir, empty: true, process: 'own' })
    await first.stop()
    const file = join(dataDir, 'secret.key')
    if (damage === 'truncated') truncateSync(file, 10)
    else rmSync(file)
    const second = await startServer({ settings: SETTINGS, dataDir, empty: true, process: 'own', wait: false })
    stage.later(() => second.close())
    const code = await Promise.race([second.exited(), sleep(20_000, 'still running' as const)])
    check(code !== 0 && code !== 'still running', `with a key that was ${damage} it ended with ${code}`)
    check(second.logs().join('\n').includes('secret.key'), `a key that was ${damage} is not named`)
    check(damage === 'truncated' || !existsSync(file), 'a new key was made silently')
    await first.close()
  }
}

export const KEYS_AND_CLOCKS: readonly Case[] = [
  {
    ...{ id: 'F34', title: 'clocks that differ' },
    world: { settings: { ...SETTINGS, clock_tolerance_seconds: 120 } },
    inject: clocks,
    heal: async ({ world }) => world.route(),
  },
  {
    ...{ id: 'F35', title: 'signing keys rotated under load' },
    inject: rotated,
    heal: async () => {},
  },
  {
    ...{ id: 'F36', title: 'secret keys renewed, an instance at a time', cuts: true, world: {} },
    inject: renewed,
    heal: async ({ world }) => world.route(),
  },
  {
    ...{ id: 'F37', title: 'the key file is damaged or gone', harmless: true },
    inject: withoutKey,
    heal: async () => {},
  },
]
