/** The developer's hint of a protocol error (R12): in the log, with the id that the answer names, and never a secret. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SECRET, SETTINGS } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person } from '../support/people.ts'
import { type Server, startServer } from '../support/server.ts'
import { basic, clientRequests, postForm } from '../support/token_requests.ts'

let server: Server
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

interface Line {
  readonly msg: string
  readonly requestId: string
  readonly level: string
  readonly [field: string]: unknown
}

const lines = (): Line[] =>
  server
    .logs()
    .filter((line) => line.includes('protocol error'))
    .map((line) => JSON.parse(line) as Line)

/** The line of one answer. */
async function lineOf(headers: { get(name: string): string | null }): Promise<Line> {
  const id = headers.get('x-request-id')
  for (let tries = 0; tries < 100; tries++) {
    const line = lines().find(({ requestId }) => requestId === id)
    if (line !== undefined) return line
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`no line of ${id}`)
}

const machine = (secret: string) =>
  postForm(`${server.issuer}/token`, { grant_type: 'client_credentials' }, basic('machine', secret))

describe('the log of protocol errors', () => {
  it('says why a client was not authenticated, where the answer does not, and not with what', async () => {
    const before = lines().length
    expect((await machine(SECRET)).status).toBe(200)
    const refused = await machine('a-secret-that-is-wrong')
    expect(refused).toMatchObject({ status: 401, body: { error_description: 'client authentication failed' } })
    const line = await lineOf(refused.headers)
    expect(line).toMatchObject({
      ...{ level: 'info', route: 'token', clientId: 'machine', error: 'invalid_client' },
      detail: expect.stringMatching(/secret/),
    })
    expect(JSON.stringify(line)).not.toContain('a-secret-that-is-wrong')
    // The good request has none.
    expect(lines()).toHaveLength(before + 1)
  })

  it('says why a code was refused', async () => {
    const { redeem } = clientRequests(server.issuer)
    const code = await ann.code('own')
    const refused = await redeem(code, { code_verifier: 'x'.repeat(43) })
    expect(refused).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
    const line = await lineOf(refused.headers)
    expect(line).toMatchObject({
      clientId: 'own',
      error: 'invalid_grant',
      detail: expect.stringMatching(/code_verifier/),
    })
    expect(JSON.stringify(line)).not.toContain(code.code)
  })

  it('has the reference that a page shows', async () => {
    const { url } = authorizationRequest(server.issuer, 'web', { redirect_uri: 'https://elsewhere.example/callback' })
    const { headers, body, status } = await clientBrowser().send(url)
    expect(status).toBe(400)
    const id = String(headers['x-request-id'])
    expect(body).toContain(id)
    const line = await lineOf({ get: () => id })
    expect(line).toMatchObject({ clientId: 'web', route: 'authorization', error: 'invalid_redirect_uri' })
  })

  it('leaves out answers of every day', async () => {
    const before = lines().length
    const { url } = authorizationRequest(server.issuer, 'web', { prompt: 'none' })
    expect((await clientBrowser().get(url)).params.get('error')).toBe('login_required')
    await machine('a-secret-that-is-wrong').then(({ headers }) => lineOf(headers))
    expect(lines()).toHaveLength(before + 1)
  })

  it('takes sixty lines a minute and no more, whoever errs how often', async () => {
    const answers = await Promise.all(Array.from({ length: 70 }, () => machine('a-secret-that-is-wrong')))
    expect(answers.every(({ status }) => status === 401 || status === 429)).toBe(true)
    expect(lines().length).toBeLessThanOrEqual(60)
    expect(lines().length).toBeGreaterThan(10)
  })
})
