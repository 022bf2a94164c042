/** What operators hear of providers before it hurts (R26 f): `genkan doctor`, and facts before a certificate expires. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { createCertified } from '../../support/saml_messages.ts'
import { freePort } from '../../support/services.ts'
import { startUpstreamRoom, type UpstreamRoom } from '../../support/upstreams.ts'

const DAY = 86_400

/** A SAML provider whose certificate is good for so many days; ours, for signing, for as many as `ours` says. */
function partner(days: number, ours?: number) {
  const signing = ours === undefined ? undefined : createCertified('rsa:2048', ours)
  return {
    ...{ kind: 'saml', entity_id: `https://idp-${days}.example`, sign_on_url: 'https://idp.example/sso' },
    certificates: [createCertified('rsa:2048', days).certificate],
    ...(signing && { signing: { private_key: signing.privateKey, certificate: signing.certificate } }),
  }
}

let room: UpstreamRoom
beforeAll(async () => {
  const nobody = `http://127.0.0.1:${await freePort()}`
  room = await startUpstreamRoom({
    beside: [
      { name: 'good', ...partner(100) },
      { name: 'month', ...partner(20) },
      { name: 'own', ...partner(100, 5) },
      { name: 'dead', kind: 'oidc', issuer: nobody, client_id: 'x', client_secret: 'y' },
    ],
  })
})
afterAll(() => room?.close())

const stated = async (count: number) => {
  const read = () =>
    room.target.sql<{ data: { upstream: string; days: number } }>(
      "select data from outbox where type = 'upstream.expiry_neared' order by occurred_at, id",
    )
  for (let tries = 0; tries < 200 && (await read()).length < count; tries++) await sleep(100)
  return (await read()).map(({ data }) => [data.upstream, data.days]).sort()
}

it('a certificate that will expire, theirs or ours, is a fact a month, a week and a day before, each once', async () => {
  const { server } = room.target
  const first = [
    ['month', 19],
    ['own', 4],
  ]
  expect(await stated(2)).toEqual(first)
  await server.shiftDate(DAY)
  await server.restart()
  // The first runs of all jobs are over.
  await sleep(8000)
  expect(await stated(2)).toEqual(first)
  await server.shiftDate(13.5 * DAY)
  await server.restart()
  expect(await stated(4)).toEqual([
    ['month', 19],
    ['month', 6],
    ['own', 0],
    ['own', 4],
  ])
}, 120_000)

it('the doctor names what is wrong with each, and does not wait for who does not answer', async () => {
  const { server } = room.target
  await server.shiftDate(0)
  const { stdout } = await server.run('doctor', '--json')
  const row = (JSON.parse(stdout) as { check: string; state: string; text: string }[]).find(
    ({ check }) => check === 'upstreams',
  )
  expect(row?.state).toBe('warn')
  expect(row?.text).toMatch(/month: The provider's certificate .* expires on/)
  expect(row?.text).toMatch(/own: Our certificate .* expires on/)
  expect(row?.text).toMatch(/dead: its discovery document cannot be used/)
  expect(row?.text).not.toContain('good:')
  for (const name of ['month', 'own', 'dead', 'acme']) await server.run('upstreams', 'disable', name)
  const again = await server.run('doctor', '--json')
  expect(JSON.parse(again.stdout)).toContainEqual({ check: 'upstreams', state: 'ok', text: 'good: as they should be' })
}, 120_000)
