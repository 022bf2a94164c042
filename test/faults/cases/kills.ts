/** F26 to F29: the process is killed, at any point of what people do. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Code, Tokens } from '../acts.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import { type Flow, killIn } from '../kill_points.ts'
import { until } from '../world.ts'
import { attempt, freshCode, patiently, reason, wholeSignIn } from './attempt.ts'
import { FLOWS } from './kill_flows.ts'

const CODE: Flow<Code> = {
  name: 'a code is redeemed',
  prepare: (stage) => freshCode(stage),
  act: ({ world }, code) => acts.redeem(world, code),
  patterns: [
    { store: 'redis', pattern: /oidc:AuthorizationCode/ },
    { store: 'redis', pattern: /oidc:AccessToken/ },
    { store: 'redis', pattern: /oidc:RefreshToken/ },
  ],
  async probe({ world, journal, check }, code, end) {
    let sets = end.value === undefined ? 0 : 1
    for (let times = 0; times < 2; times++) {
      const again = await patiently(() => acts.redeem(world, code))
      if (again.value !== undefined) sets += 1
      else check(again.error?.includes('invalid_grant') === true, `redeemed again: ${reason(again)}`)
    }
    check(sets <= 1, `${sets} sets of tokens for one code`)
    const anew = await patiently(() => freshCode({ world, journal }))
    check(anew.value !== undefined, `a new sign-in: ${reason(anew)}`)
  },
}

const REFRESH: Flow<Tokens> = {
  name: 'a refresh token is rotated',
  prepare: (stage) => wholeSignIn(stage),
  act: ({ world }, { refresh_token }) => acts.tokens(world, 'spa', { grant_type: 'refresh_token', refresh_token }),
  patterns: [
    { store: 'redis', pattern: /oidc:RefreshToken/ },
    { store: 'redis', pattern: /oidc:AccessToken/ },
  ],
  async probe({ world, check }, { refresh_token }, end) {
    const refresh = (token: string) =>
      patiently(() => acts.tokens(world, 'spa', { grant_type: 'refresh_token', refresh_token: token }))
    const again = await refresh(refresh_token)
    const clean = again.value !== undefined || again.error?.includes('invalid_grant') === true
    check(clean, `the same token again: ${reason(again)}`)
    const got = (end.value as Tokens | undefined)?.refresh_token
    const same = got === undefined || again.value === undefined || again.value.refresh_token === got
    check(same, 'one token led to two families')
    if (again.value === undefined) return
    const next = await refresh(again.value.refresh_token)
    check(next.value !== undefined, `the successor: ${reason(next)}`)
  },
}

/** F29: mails that wait for their server when every process is killed. */
async function withMailsQueued(stage: Stage): Promise<void> {
  const { world, check } = stage
  const emails = Array.from({ length: stage.lasting(20, 4) }, () => acts.newEmail('queued'))
  world.all('smtp', (proxy) => proxy.set({ kind: 'blackhole' }))
  for (const email of emails) await acts.beginRegistration(world, 'spa', email, world.person())
  await sleep(stage.random() * 1000)
  await Promise.all(world.instances.map(({ server }) => server.kill()))
  world.all('smtp', (proxy) => proxy.set({ kind: 'none' }))
  await Promise.all(world.instances.map(({ server }) => server.restart()))
  // What a killed process had claimed is taken over when its lease is over: the clock is moved, nobody waits.
  await Promise.all(world.instances.map(({ server }) => server.shiftDate(310)))
  stage.later(() => Promise.all(world.instances.map(({ server }) => server.shiftDate(0))))
  for (const email of emails) {
    const came = await attempt(world.mailbox.to(email, { milliseconds: 30_000 }))
    check(came.value !== undefined, `a mail that was asked for did not come: ${came.error?.split('\n')[0]}`)
  }
  await sleep(1000)
  const ids = new Set<string>()
  for (const email of emails) {
    const mails = (await world.mailbox.all()).filter(({ to }) => to.includes(email))
    for (const { headers } of mails) ids.add(headers['message-id'] ?? '')
  }
  check(ids.size === emails.length, `${ids.size} different mails for ${emails.length} requests`)
  await until(world.ready, 10_000, 'ready')
}

export const KILLS: readonly Case[] = [
  {
    ...{
      id: 'F26',
      title: 'killed between consuming a code and writing tokens',
      cuts: true,
      repeats: true,
      quick: true,
    },
    inject: (stage) => killIn(stage, CODE, stage.lasting(50, 2)),
    heal: async () => {},
  },
  {
    ...{ id: 'F27', title: 'killed in the rotation of a refresh token', cuts: true, repeats: true },
    inject: (stage) => killIn(stage, REFRESH, stage.lasting(50, 3)),
    heal: async () => {},
  },
  {
    ...{ id: 'F28', title: 'killed in register, reset, consent, enrol, delete', cuts: true, repeats: true },
    async inject(stage) {
      for (const flow of FLOWS) await killIn(stage, flow, stage.lasting(50, 3))
    },
    heal: async () => {},
  },
  {
    ...{ id: 'F29', title: 'killed with mails queued', cuts: true, repeats: true },
    inject: withMailsQueued,
    heal: async () => {},
  },
]
