/** RFC 6749 §2.3 and §5.2: who may speak as a client. PROTOCOL.md E 28. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SECRET, SETTINGS } from '../../support/journeys.ts'
import { type Server, startServer } from '../../support/server.ts'
import { basic, type Fields, postForm } from '../../support/token_requests.ts'

const odd = 'p%c+t:"~ &=/?'.padEnd(40, ':%+')
const settings = {
  ...SETTINGS,
  clients: [
    ...SETTINGS.clients,
    {
      client_id: 'post',
      client_secret: SECRET,
      token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['client_credentials'],
      scope: 'orders:read',
      resources: [SETTINGS.resources[0].identifier],
    },
  ],
}

let server: Server
beforeAll(async () => {
  server = await startServer({ settings })
})
afterAll(() => server.close())

const grant = { grant_type: 'client_credentials', resource: SETTINGS.resources[0].identifier, scope: 'orders:read' }
const ask = (fields: Fields, headers: { [name: string]: string } = {}, path = '/token') =>
  postForm(`${server.issuer}${path}`, { ...grant, ...fields }, headers)

describe('a secret', () => {
  it('is taken from the header and from the body', async () => {
    expect((await ask({}, basic('machine'))).status).toBe(200)
    expect((await ask({ client_id: 'post', client_secret: SECRET })).status).toBe(200)
  })

  it.each(['wrong', `${SECRET}x`, SECRET.slice(0, -1), SECRET.toUpperCase(), odd, 'stored hashed'])(
    'that is wrong (%s) gets 401 invalid_client and a challenge',
    async (secret) => {
      const answer = await ask({}, basic('machine', secret))
      expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client'])
      expect(answer.headers.get('www-authenticate')).toMatch(/^Basic .*realm=/)
      expect(answer.headers.get('cache-control')).toContain('no-store')
      const posted = await ask({ client_id: 'post', client_secret: secret })
      expect([posted.status, posted.body.error]).toEqual([401, 'invalid_client'])
    },
  )

  it('answers alike for a client that does not exist', async () => {
    const [unknown, known] = [await ask({}, basic('nobody')), await ask({}, basic('machine', 'wrong'))]
    expect([unknown.status, unknown.body]).toEqual([known.status, known.body])
  })

  it.each([['/token'], ['/token/introspection'], ['/token/revocation']])('is asked for at %s', async (path) => {
    for (const headers of [{}, basic('machine', 'wrong')]) {
      const answer = await ask({ client_id: 'machine', token: 'x' }, headers, path)
      expect([401, 'invalid_client']).toEqual([answer.status, answer.body.error])
    }
  })
})

describe('two ways at once are refused', () => {
  const both: readonly (readonly [string, Fields])[] = [
    ['header and body', { client_secret: SECRET }],
    ['header and an assertion', { client_assertion: 'a.b.c', client_assertion_type: 'x' }],
    ['header and the body of another client', { client_id: 'post', client_secret: SECRET }],
    ['header and the id of another client', { client_id: 'post' }],
  ]
  it.each(both)('%s', async (_name, fields) => {
    const answer = await ask(fields, basic('machine'))
    expect([400, 401]).toContain(answer.status)
    expect(['invalid_request', 'invalid_client']).toContain(answer.body.error)
  })
})

describe('not by', () => {
  const others: readonly (readonly [string, Fields, { [name: string]: string }])[] = [
    ['the query', {}, {}],
    ['the id alone', { client_id: 'machine' }, {}],
    ['the id of a browser app and a secret', { client_id: 'spa', client_secret: SECRET }, {}],
    ['the id of our own pages', { client_id: 'genkan-account' }, {}],
    ['a Bearer header', { client_id: 'machine' }, { authorization: `Bearer ${SECRET}` }],
    ['a header that is no base64', {}, { authorization: 'Basic !!!' }],
    ['a header without a colon', {}, { authorization: `Basic ${btoa('machine')}` }],
    ['a header with broken escapes', {}, { authorization: `Basic ${btoa('machine:%zz')}` }],
    ['an id twice', { client_id: 'machine,machine', client_secret: SECRET }, {}],
    ['an empty id', { client_id: '', client_secret: SECRET }, {}],
    ['the id of a prototype', { client_id: '__proto__', client_secret: SECRET }, {}],
  ]
  it.each(others)('%s', async (_name, fields, headers) => {
    const answer = await ask(fields, headers, `/token?client_id=machine&client_secret=${SECRET}`)
    expect([400, 401]).toContain(answer.status)
    expect(['invalid_request', 'invalid_client', 'unauthorized_client']).toContain(answer.body.error)
    expect(answer.body).not.toHaveProperty('access_token')
  })
})

describe('a grant type the client is not registered for', () => {
  it.each([
    ['web', 'client_credentials'],
    ['machine', 'authorization_code'],
    ['machine', 'refresh_token'],
  ])('%s: %s', async (clientId, type) => {
    const answer = await ask({ grant_type: type }, basic(clientId))
    expect([answer.status, answer.body.error]).toEqual([400, 'unauthorized_client'])
  })
})

describe('scope of a machine (A77)', () => {
  it.each(['orders:write', 'orders:read orders:write', 'openid', 'orders:read admin'])(
    '%s is refused',
    async (scope) => {
      const answer = await ask({ scope }, basic('machine'))
      expect([answer.status, answer.body.error]).toEqual([400, 'invalid_scope'])
    },
  )

  it('a resource that is not its own is refused', async () => {
    for (const resource of ['https://evil.example', 'not a uri', `${grant.resource}/`]) {
      expect((await ask({ resource }, basic('machine'))).body.error).toBe('invalid_target')
    }
  })
})
