/** A closed domain and the word of others: only its own provider vouches for its people, by assertions (RFC 7523) as by sign-ins. */
import { createPrivateKey, randomUUID, sign } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { JWT_BEARER } from '../../support/assertion_room.ts'
import { jws } from '../../support/forged_jwts.ts'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { type RealmRoom, startRealmRoom } from '../../support/realms.ts'
import { clientRequests } from '../../support/token_requests.ts'

let room: RealmRoom
beforeAll(async () => {
  room = await startRealmRoom({
    naming: (issuer) => ({
      assertion_issuers: [{ issuer, jwks_uri: `${issuer}/jwks`, algorithms: ['RS256'], upstream: 'other' }],
      clients: [
        ...SETTINGS.clients,
        {
          ...{ client_id: 'partner', client_secret: SECRET, scope: 'orders:read', grant_types: [JWT_BEARER] },
          assertion_issuers: [{ issuer, resource: API, scopes: ['orders:read'] }],
        },
      ],
    }),
  })
  await room.fake.tell({ reset: true, automatic: 'continue' })
})
afterAll(() => room?.close())

async function outcome(sub: string) {
  const { key } = await room.fake.seen()
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: room.fake.issuer, sub, aud: room.target.issuer, jti: randomUUID(), exp: now + 60 }
  const privateKey = createPrivateKey({ key: key as never, format: 'jwk' })
  const assertion = jws({ alg: 'RS256', kid: key.kid }, claims, (data) => sign('sha256', data, privateKey))
  const { status, body } = await clientRequests(room.target.server.origin).token('partner', {
    ...{ grant_type: JWT_BEARER, assertion },
  })
  return status === 200 ? 200 : [status, body.error]
}

it('another provider vouches only while the domain is open', async () => {
  const carla = await room.target.signUp('carla@closed.example')
  const claims = { email: carla.email, email_verified: true }
  expect((await room.come('carla-elsewhere', claims, 'other')).page.params.has('code')).toBe(true)
  expect(await outcome('carla-elsewhere')).toBe(200)
  await room.prove('closed.example', '--policy', 'enforce')
  expect(await outcome('carla-elsewhere')).toEqual([400, 'invalid_grant'])
  expect(await room.run('remove', 'closed.example')).toMatchObject({ code: 0 })
  expect(await outcome('carla-elsewhere')).toBe(200)
})
