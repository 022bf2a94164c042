/** An issuer that is an IP address: WebAuthn knows no such RP ID, so nobody is led to a button that cannot work. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser } from '../../support/browser.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { freePort } from '../../support/services.ts'

describe('at an issuer that is an address', () => {
  let server: Server
  let browser: Browser

  beforeAll(async () => {
    const port = await freePort()
    server = await startServer({ settings: SETTINGS, port, issuer: `http://127.0.0.1:${port}` })
    browser = (await newPerson(server.issuer, mailFolder(server.dataDir), 'ada@address.example')).browser
  })
  afterAll(() => server?.close())

  it('the sign-in offers none, and there is no step to post one to', async () => {
    const person = clientBrowser()
    const page = await person.get(authorizationRequest(server.issuer, 'own').url)
    expect(page.html).toContain('name="identifier"')
    expect(page.html).not.toContain('data-passkey=')
    expect((await person.get(`${page.url}/passkey`)).status).toBe(403)
  })

  it('the account page names none, and no document leads to one', async () => {
    const page = await browser.get(`${server.issuer}/account/security`)
    expect(page.text).toContain('Authenticator app')
    expect(page.links.map(({ href }) => href)).not.toContain('/account/passkeys')
    for (const path of ['/account/passkeys', '/.well-known/passkey-endpoints'])
      expect([path, (await browser.get(`${server.issuer}${path}`)).status]).toEqual([path, 404])
  })
})
