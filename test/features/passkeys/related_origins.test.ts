/**
 * The passkeys of the issuer's host on a page of another site (WebAuthn Level 3 §5.11): a real Chromium asks the issuer whether
 * that site may use them. Two hosts of different sites, both over TLS.
 */
import { once } from 'node:events'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import type { Browser, CDPSession, Page } from 'playwright-core'
import { newProfile, startHeadlessShell } from '../../support/chromium.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { codeFrom, mailFolder } from '../../support/mailbox.ts'
import { type Server, startServer } from '../../support/server.ts'
import { freePort } from '../../support/services.ts'
import { startTlsProxy, type TlsProxy } from '../../support/tls_proxy.ts'

const RP_ID = 'id.genkan.example'
const ISSUER = `https://${RP_ID}`
const SHOP = 'https://shop.example'
const STRANGER = 'https://stranger.example'
const EMAIL = 'ada@related.example'

let server: Server
let sites: HttpServer
let proxies: TlsProxy[]
let browser: Browser
let page: Page
let cdp: CDPSession

beforeAll(async () => {
  const port = await freePort()
  server = await startServer({
    settings: { ...SETTINGS, passkeys: { related_origins: [SHOP] } },
    ...{ port, issuer: ISSUER, env: { TRUSTED_PROXIES: '127.0.0.1' } },
  })
  sites = createServer((_request, response) =>
    response.setHeader('content-type', 'text/html').end('<title>a site</title>'),
  )
  sites.listen(0, '127.0.0.1')
  await once(sites, 'listening')
  proxies = [
    await startTlsProxy({ target: `http://127.0.0.1:${port}` }),
    await startTlsProxy({ target: `http://127.0.0.1:${(sites.address() as AddressInfo).port}` }),
  ]
  const [id, other] = proxies.map(({ origin }) => `127.0.0.1:${new URL(origin).port}`)
  const rules = `MAP ${RP_ID} ${id}, MAP shop.example ${other}, MAP stranger.example ${other}`
  // The question about the site is the browser's own: no page's exception for certificates is good for it.
  browser = await startHeadlessShell([`--host-resolver-rules=${rules}`, '--ignore-certificate-errors'])
  page = await (await newProfile(browser)).newPage()
  cdp = await page.context().newCDPSession(page)
  await cdp.send('WebAuthn.enable', { enableUI: false })
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      ...{ protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true },
      ...{ isUserVerified: true, automaticPresenceSimulation: true },
    },
  })
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
  for (const proxy of proxies ?? []) await proxy.stop()
  sites?.close()
})

/** What a page of the site gets that asks for a passkey of the issuer's host: the origin it was shown at, or why not. */
function ask(): Promise<string> {
  return page.evaluate(`navigator.credentials
    .get({ publicKey: { challenge: new Uint8Array(32), rpId: '${RP_ID}', userVerification: 'required' } })
    .then(({ response }) => JSON.parse(new TextDecoder().decode(response.clientDataJSON)).origin, ({ name }) => name)`)
}

it('are shown on a site that the settings name, and on no other', async () => {
  await page.goto(`${ISSUER}/account`)
  await page.getByRole('button', { name: 'Create an account' }).click()
  await page.locator('input[name=email]').fill(EMAIL)
  await page.getByRole('button', { name: 'Create account', exact: true }).click()
  await page.locator('input[name=code]').fill(codeFrom(await mailFolder(server.dataDir).to(EMAIL)))
  await page.locator('form[action$="/verify_email"] button[type=submit]').first().click()
  await page.getByRole('button', { name: 'Create a passkey' }).click()
  await page.waitForURL(`${ISSUER}/account`)
  expect(await ask()).toBe(ISSUER)
  await page.goto(SHOP)
  expect(await ask()).toBe(SHOP)
  await page.goto(STRANGER)
  expect(await ask()).toBe('SecurityError')
}, 60_000)
