/** Cookies of the session and of the conversation are bearer values: almost the same is nothing. Attack A68. */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { PASSWORD, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'

let server: Server
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

/** Asks for a code without a question, with this session cookie alone. */
async function silently(cookie: string): Promise<string> {
  const { url } = authorizationRequest(server.issuer, 'own', { prompt: 'none' })
  const answer = await fetch(url, { headers: { cookie: `genkan_session=${cookie}` }, redirect: 'manual' })
  return answer.headers.get('location') ?? `${answer.status} ${await answer.text()}`
}

it('100 mutations of the session cookie are nobody, and so are the ids that clients see', async () => {
  const session = ann.browser.jar.all().find(({ name }) => name === 'genkan_session')?.value ?? ''
  expect(await silently(session)).toContain('code=')
  const { access, id } = await ann.tokens('own')
  const believed: string[] = []
  for (const value of [...mutations(session, 100), access, id]) {
    // Semicolons, commas, blanks and the like end a cookie's value (RFC 6265 §4.1.1): that would be the true one again.
    if (!/^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/.test(value)) continue
    const end = await silently(value)
    if (!end.includes('error=login_required') && !end.startsWith('4')) believed.push(`${value}: ${end}`)
  }
  expect(believed).toEqual([])
  expect(await ann.signedIn()).toBe(true)
})

it('a conversation is not entered by an address that is almost its own, or without its cookie', async () => {
  const browser = clientBrowser()
  const start = await browser.get(authorizationRequest(server.issuer, 'own').url)
  const uid = new URL(start.url).pathname.split('/')[2] ?? ''
  for (const value of mutations(uid, 100)) {
    const page = await browser.get(`${server.issuer}/interaction/${encodeURIComponent(value)}`)
    expect([value, page.status >= 400 && page.status < 500]).toEqual([value, true])
  }
  expect((await clientBrowser().get(start.url)).status).toBe(400)
  const asked = await browser.submit(start, { identifier: ann.email }, { form: '/identifier' })
  expect((await browser.submit(asked, { password: PASSWORD }, { form: '/password' })).params.has('code')).toBe(true)
})
