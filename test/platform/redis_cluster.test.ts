/**
 * Every script and command of the product stays in one slot (ARCHITECTURE.md §5): it walks here on a Redis in cluster mode,
 * which computes the slot of every key and refuses a second one, and names each script's keys to us as well.
 */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { Redis } from 'ioredis'
import * as oidc from 'openid-client'
import { authorization, choose, PASSWORD, redeem, signIn } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { freshDatabaseUrl, startBreakable } from '../support/services.ts'
import { CALLBACK, startTarget, type Target } from '../support/target.ts'

let target: Target
let watcher: Redis
let monitor: Redis
const scripts: (readonly string[])[] = []

beforeAll(async () => {
  const { url: redisUrl } = await startBreakable('redis_cluster')
  watcher = new Redis(redisUrl)
  monitor = await watcher.monitor()
  monitor.on('monitor', (_time: string, [command = '', _script = '', count = '0', ...rest]: string[]) => {
    if (/^eval/i.test(command)) scripts.push(rest.slice(0, Number(count)))
  })
  target = await startTarget({ stores: { databaseUrl: await freshDatabaseUrl(), redisUrl } })
}, 120_000)
afterAll(async () => {
  await target?.close()
  monitor?.disconnect()
  watcher?.disconnect()
})

/** The slot of a key, as the Redis Cluster specification says: CRC-16/XMODEM of the hash tag, modulo 16,384. */
function slotOf(key: string): number {
  const open = key.indexOf('{')
  const close = open < 0 ? -1 : key.indexOf('}', open)
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key
  let crc = 0
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc % 16_384
}

it('the slots computed here are those of Redis, which refuses two of them in one script', async () => {
  for (const key of ['foo', '{user1000}.following', 'foo{}{bar}', 'foo{{bar}}zap', 'kv:{sign_in}:ip:192.0.2.1'])
    expect([key, slotOf(key)]).toEqual([key, await watcher.cluster('KEYSLOT', key)])
  await expect(watcher.eval('return 1', 2, 'kv:sign_in:ip:a', 'kv:sign_in:id:b')).rejects.toThrow('CROSSSLOT')
  scripts.length = 0
})

it('sign-up, sign-in, wrong passwords, recovery, refresh, reuse, PAR and sign-out stay in one slot each', async () => {
  const member = await target.signUp('slots@shop.example')
  const browser = target.person()
  const request = await authorization(target.client, CALLBACK, { scope: 'openid offline_access', prompt: 'consent' })
  const asked = await browser.submit(
    await browser.get(request.url),
    { identifier: member.email },
    { form: '/identifier' },
  )
  const wrong = await browser.submit(asked, { password: 'wrong password 1' }, { form: '/password' })
  expect(wrong.status).toBe(400)
  let end = await browser.submit(wrong, { password: PASSWORD }, { form: '/password' })
  if (end.forms.some(({ action }) => action.endsWith('/consent')))
    end = await browser.submit(end, {}, { form: '/consent', button: 'allow' })
  const tokens = await redeem(target.client, request, end)
  const renewed = await oidc.refreshTokenGrant(target.client, tokens.refresh_token ?? '')
  await oidc.refreshTokenGrant(target.client, renewed.refresh_token ?? '')
  await expect(oidc.refreshTokenGrant(target.client, tokens.refresh_token ?? '')).rejects.toThrow()

  const forgetful = target.person()
  const start = await target.open(forgetful, { login_hint: member.email })
  const recover = await choose(forgetful, start, 'recover')
  const sent = await forgetful.submit(recover, { identifier: member.email }, { form: '/recover' })
  await target.settled()
  const guessed = await forgetful.submit(sent, { code: '000000' }, { form: '/recover_code' })
  expect(guessed.status).toBe(400)
  const code = codeFrom(await target.mailbox.to(member.email, { count: 2 }))
  const form = await forgetful.submit(guessed, { code }, { form: '/recover_code' })
  const recovered = await forgetful.submit(form, { password: 'another quiet lantern 48' }, { form: '/new_password' })
  expect(recovered.params.get('code')).not.toBeNull()

  const last = target.person()
  const pushed = await oidc.buildAuthorizationUrlWithPAR(target.client, {
    ...{ redirect_uri: CALLBACK, scope: 'openid', code_challenge_method: 'S256' },
    code_challenge: await oidc.calculatePKCECodeChallenge(oidc.randomPKCECodeVerifier()),
  })
  const arrived = await signIn(last, await last.get(pushed.href), member.email, 'another quiet lantern 48')
  expect(arrived.params.get('code')).not.toBeNull()
  await last.get(`${target.issuer}/account`)

  const together = scripts.filter((keys) => keys.length > 1)
  expect(together.length).toBeGreaterThan(5)
  expect(scripts.filter((keys) => new Set(keys.map(slotOf)).size !== 1)).toEqual([])
  // The failures that Redis would have answered: pages that say that the service is not there, and lines in the log.
  expect(target.server.logs().filter((line) => /CROSSSLOT|"level":"(error|fatal)"/.test(line))).toEqual([])
})
