/** Agents by the front door: who asks is said on the consent page, and what they do and hold on the account page (R27). */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests } from '../../support/token_requests.ts'

let server: Server
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  const expires = new Date(Date.now() + 90 * 86_400_000).toISOString()
  const helper = {
    ...{ client_id: 'helper', client_name: 'Errand helper', client_secret: SECRET },
    ...{ redirect_uris: ['https://helper.test.example/callback'], scope: 'openid offline_access' },
    agent: { owner: 'Harbour Assistants', purpose: 'orders what runs out', expires_at: expires },
  }
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, helper] } })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server?.close())

const account = () => ann.browser.get(`${server.issuer}/account/clients`)

it('an agent says that it is one, whose, what for and for how long', async () => {
  const open = (scope: string) =>
    ann.browser.get(authorizationRequest(server.issuer, 'helper', { scope, prompt: 'consent' }).url)
  const page = await open('openid')
  expect(page.text).toContain('An AI agent asks to act for you')
  expect(page.text).toContain('Harbour Assistants runs it. Its purpose: orders what runs out.')
  expect(page.text).toContain('until you sign out')
  expect((await open('openid offline_access')).text).toMatch(/It may act for you until \w+ \d+, \d{4}/)
  // Another client says nothing of the kind.
  const web = await ann.browser.get(authorizationRequest(server.issuer, 'web').url)
  expect(web.text).toContain('The web shop')
  expect(web.text).not.toContain('AI agent')
})

it('it is shown apart from other services, with its last use, and loses everything at once', async () => {
  await ann.tokens('web')
  expect((await account()).text).not.toContain('Agents acting for you')
  const { refresh } = await ann.tokens('helper', { scope: 'openid offline_access', prompt: 'consent' })
  // Uses are written twice a minute.
  expect((await account()).text).toMatch(/Agents acting for you.*Errand helper.*Other services.*The web shop/s)
  expect((await account()).text).toContain('90 days')
  expect((await client.refresh('helper', refresh)).status).toBe(200)
  const page = await account()
  const revoked = await ann.browser.submit(page, {}, { form: '/account/clients/helper/revoke' })
  expect(revoked.text).not.toContain('Errand helper')
  expect(revoked.text).toContain('The web shop')
  await sleep(50)
  expect((await client.refresh('helper', refresh)).body.error).toBe('invalid_grant')
})

it('its time over, it is not there any more', async () => {
  const { access } = await ann.tokens('helper', { scope: 'openid', prompt: 'consent' })
  expect((await client.userinfo(access)).status).toBe(200)
  await server.shiftDate(91 * 86_400)
  expect((await client.userinfo(access)).status).toBe(401)
  await server.shiftDate(0)
})
