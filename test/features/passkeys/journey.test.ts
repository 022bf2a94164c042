/** Passkeys on the real product, in a real Chromium with a virtual authenticator (WebAuthn L3 §11). */
import { once } from 'node:events'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import type * as oidc from 'openid-client'
import type { Browser, BrowserContext, CDPSession, Page } from 'playwright-core'
import { listenTo, newProfile, startHeadlessShell } from '../../support/chromium.ts'
import { authorization, discover, PASSWORD, redeem, SETTINGS } from '../../support/journeys.ts'
import { codeFrom, type Mailbox, mailFolder } from '../../support/mailbox.ts'
import { type Server, startServer } from '../../support/server.ts'

const PHR = 'phr'
let browser: Browser
let server: Server
let mailbox: Mailbox
let client: oidc.Configuration
let callback: string
let clients: HttpServer
let ahead = 0

beforeAll(async () => {
  clients = createServer((_request, response) => response.end('the client')).listen(0, '127.0.0.1')
  await once(clients, 'listening')
  callback = `http://127.0.0.1:${(clients.address() as AddressInfo).port}/callback`
  const own = SETTINGS.clients.find(({ client_id: id }) => id === 'own')
  const settings = {
    ...SETTINGS,
    clients: [
      { ...own, redirect_uris: [callback], post_logout_redirect_uris: undefined, initiate_login_uri: undefined },
    ],
    passkeys: { related_origins: ['https://brand.example'] },
  }
  server = await startServer({ settings })
  mailbox = mailFolder(server.dataDir)
  client = await discover(server.issuer, 'own')
  browser = await startHeadlessShell()
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
  clients?.close()
})

let context: BrowserContext
let page: Page
let cdp: CDPSession
let authenticatorId: string
let said: string[]

beforeEach(async () => {
  context = await newProfile(browser)
  page = await context.newPage()
  page.setDefaultTimeout(10_000)
  said = listenTo(page)
  cdp = await context.newCDPSession(page)
  await cdp.send('WebAuthn.enable', { enableUI: false })
  authenticatorId = await addAuthenticator()
})
afterEach(async () => {
  await context.close()
})

async function addAuthenticator(isUserVerified = true): Promise<string> {
  const added = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified,
      automaticPresenceSimulation: true,
      defaultBackupEligibility: true,
      defaultBackupState: true,
    },
  })
  return added.authenticatorId
}
const credentials = async () => (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials

/** Answers prompts of itself, or waits for one that never comes. */
const present = (enabled: boolean) => cdp.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled })

async function start(parameters: { readonly [name: string]: string } = {}) {
  const request = await authorization(client, callback, parameters)
  await page.goto(request.url)
  return request
}

const press = (name: string) => page.getByRole('button', { name, exact: true }).click()
const stopped = (request: Awaited<ReturnType<typeof start>>) => page.waitForURL(`${request.redirectUri}?**`)

async function claims(request: Awaited<ReturnType<typeof start>>) {
  await stopped(request)
  const tokens = await redeem(client, request, { url: page.url() } as Parameters<typeof redeem>[2])
  return decodeJwt(tokens.id_token ?? '')
}

async function typeCode(email: string) {
  await page.locator('input[name=code]').fill(codeFrom(await mailbox.to(email)))
  await page.locator('form[action$="/verify_email"]').first().locator('button[type=submit]').first().click()
}

/** Registers with a password; ends at the offer. */
async function signUp(email: string, password: string = PASSWORD) {
  const request = await start({ prompt: 'create' })
  await page.locator('input[name=email]').fill(email)
  if (password !== '') await page.locator('input[name=password]').fill(password)
  await press('Create account')
  await typeCode(email)
  return request
}

/** Registers and takes the offer, so that the browser holds a passkey; then forgets the cookies. */
async function withPasskey(email: string) {
  const request = await signUp(email)
  await page.getByRole('heading', { name: 'Sign in faster next time' }).waitFor()
  await press('Create a passkey')
  const given = await claims(request)
  await context.clearCookies()
  return given
}

describe('signing up', () => {
  it('without a password, with a passkey, in one conversation', async () => {
    const request = await signUp('new@browser.example', '')
    await page.getByRole('heading', { name: 'Sign in faster next time' }).waitFor()
    await press('Create a passkey')
    const first = await claims(request)
    expect(first).toMatchObject({ acr: PHR, amr: expect.arrayContaining(['otp', 'pop', 'mfa']) })
    expect(await credentials()).toHaveLength(1)
    expect((await credentials())[0]?.userHandle).toBe(Buffer.from(String(first.sub)).toString('base64'))
    await context.clearCookies()
    const again = await start()
    expect(await claims(again)).toMatchObject({ sub: first.sub, acr: PHR, amr: ['pop', 'mfa'] })
  })

  it('offers a passkey once, and not again for 30 days after "not now"', async () => {
    const email = 'nudge@browser.example'
    const request = await signUp(email)
    await press('Not now')
    expect(await claims(request)).toMatchObject({ acr: 'urn:genkan:acr:basic', amr: ['pwd'] })
    const signIn = async () => {
      await context.clearCookies()
      const request = await start({ login_hint: email })
      await page.locator('input[name=password]').fill(PASSWORD)
      await press('Sign in')
      return request
    }
    await stopped(await signIn())
    ahead += 31 * 86_400
    await server.shiftDate(ahead)
    await signIn()
    await page.getByRole('heading', { name: 'Sign in faster next time' }).waitFor()
    const metrics = await (await fetch(`${server.managementOrigin}/metrics`)).text()
    expect(metrics).toMatch(/genkan_passkey_offers_total\{result="declined"\} 1/)
    expect(metrics).toMatch(/genkan_passkey_offers_total\{result="taken"\} 1/)
    expect(metrics).toMatch(/genkan_passkey_offers_total\{result="shown"\} [3-9]/)
  })

  it('offers none on a shared computer, nor in a browser that can make none', async () => {
    const request = await start({ prompt: 'create' })
    await page.locator('input[name=email]').fill('shared@browser.example')
    await page.locator('input[name=password]').fill(PASSWORD)
    await page.locator('input[name=shared]').check()
    await press('Create account')
    await typeCode('shared@browser.example')
    await stopped(request)
    await context.clearCookies()
    await cdp.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId })
    await stopped(await signUp('cannot@browser.example'))
  })
})

describe('signing in', () => {
  it('by the list that the browser fills fields from, without a click', async () => {
    const { sub } = await withPasskey('autofill@browser.example')
    const request = await start()
    expect(await claims(request)).toMatchObject({ sub, acr: PHR, amr: ['pop', 'mfa'] })
    expect(said).toEqual([])
  })

  it('by the list of the password page too', async () => {
    const { sub } = await withPasskey('password-page@browser.example')
    const request = await start({ login_hint: 'somebody.else@browser.example' })
    expect(await claims(request)).toMatchObject({ sub, amr: ['pop', 'mfa'] })
  })

  it('by the button, where the browser has no such list', async () => {
    const { sub } = await withPasskey('button@browser.example')
    await page.addInitScript('PublicKeyCredential.isConditionalMediationAvailable = async () => false')
    const request = await start()
    await press('Sign in with a passkey')
    expect(await claims(request)).toMatchObject({ sub, amr: ['pop', 'mfa'] })
  })

  it('in a browser without the JSON forms of WebAuthn', async () => {
    await page.addInitScript(`delete PublicKeyCredential.parseRequestOptionsFromJSON
      delete PublicKeyCredential.parseCreationOptionsFromJSON
      delete PublicKeyCredential.prototype.toJSON`)
    const { sub } = await withPasskey('old@browser.example')
    expect(await claims(await start())).toMatchObject({ sub, amr: ['pop', 'mfa'] })
  })

  it('lets the waiting list go when the form is sent, without a word on the console', async () => {
    await withPasskey('aborts@browser.example')
    await present(false)
    const request = await start()
    await page.locator('input[name=identifier]').fill('aborts@browser.example')
    await press('Continue')
    await page.locator('input[name=password]').fill(PASSWORD)
    await press('Sign in')
    expect(await claims(request)).toMatchObject({ amr: ['pwd'] })
    expect(said).toEqual([])
  })

  it('marks the way that this browser took last, and keeps nothing else of the person', async () => {
    const email = 'badge@browser.example'
    await withPasskey(email)
    const kept = async () => (await context.cookies()).filter(({ name }) => name === 'genkan_method')
    const visit = async () => {
      await context.clearCookies({ name: /^(?!genkan_method$)/ })
      return start({ login_hint: email })
    }
    const marked = () => page.getByRole('button', { name: /Last used/ }).allInnerTexts()
    const byPassword = async () => {
      await present(false)
      const request = await visit()
      const seen = await marked()
      await page.locator('input[name=password]').fill(PASSWORD)
      await press('Sign in')
      await stopped(request)
      return seen
    }
    expect(await byPassword()).toEqual([])
    expect(await kept()).toMatchObject([{ value: 'pwd', httpOnly: true }])
    await present(true)
    await stopped(await visit())
    expect(await kept()).toMatchObject([{ value: 'passkey', httpOnly: true }])
    expect(await byPassword()).toEqual([expect.stringMatching(/^Sign in with a passkey\s+Last used$/)])
  })

  it('says on the page that no passkey was used, and lets try again', async () => {
    await withPasskey('again@browser.example')
    await page.addInitScript('PublicKeyCredential.isConditionalMediationAvailable = async () => false')
    const request = await start()
    await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false })
    await press('Sign in with a passkey')
    await page.getByText('No passkey was used.').waitFor()
    await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true })
    await press('Sign in with a passkey')
    await stopped(request)
  })

  it('lets the browser forget a passkey that is nobody’s', async () => {
    await withPasskey('forgets@browser.example')
    expect(await credentials()).toHaveLength(1)
    await page.addInitScript(`PublicKeyCredential.isConditionalMediationAvailable = async () => false
      globalThis.signalled = []
      PublicKeyCredential.signalUnknownCredential = async (told) => { globalThis.signalled.push(told) }`)
    const [credential] = await credentials()
    await cdp.send('WebAuthn.removeCredential', { authenticatorId, credentialId: credential?.credentialId ?? '' })
    const { privateKey = '', rpId = '', userHandle = '' } = credential ?? {}
    const credentialId = Buffer.alloc(16, 7).toString('base64')
    await cdp.send('WebAuthn.addCredential', {
      authenticatorId,
      credential: { credentialId, privateKey, rpId, userHandle, isResidentCredential: true, signCount: 0 },
    })
    await start()
    await press('Sign in with a passkey')
    await page.getByText('This passkey does not work here').first().waitFor()
    expect(await page.evaluate('globalThis.signalled')).toEqual([
      { rpId: 'localhost', credentialId: Buffer.alloc(16, 7).toString('base64url') },
    ])
  })

  it('without JavaScript says so and leads another way', async () => {
    const plain = await newProfile(browser, { javaScriptEnabled: false })
    const still = await plain.newPage()
    await still.goto((await authorization(client, callback)).url)
    await still.getByRole('button', { name: 'Sign in with a passkey' }).click()
    await still.getByText('Passkeys cannot be used in this browser').waitFor()
    expect(await still.getByRole('button', { name: 'Sign in with a passkey' }).count()).toBe(0)
    await still.getByRole('button', { name: 'Sign in another way' }).click()
    await still.locator('input[name=identifier]').waitFor()
    const field = await still.locator('input[name=identifier]').getAttribute('autocomplete')
    expect(field).toBe('username webauthn')
    await plain.close()
  })

  it('as a second factor, when a client asks for a level that only a passkey reaches', async () => {
    const email = 'second@browser.example'
    await withPasskey(email)
    await present(false)
    const request = await start({ acr_values: PHR, login_hint: email })
    await page.locator('input[name=password]').fill(PASSWORD)
    await press('Sign in')
    await page.getByRole('heading', { name: 'Use your passkey' }).waitFor()
    await present(true)
    await press('Sign in with a passkey')
    expect(await claims(request)).toMatchObject({ acr: PHR, amr: ['pwd', 'pop', 'mfa'] })
  })

  it('sets one up where the level is asked for and the account has none', async () => {
    const request = await signUp('steps-up@browser.example')
    await press('Not now')
    await stopped(request)
    const asked = await start({ acr_values: PHR })
    await press('Use a passkey')
    await press('Create a passkey')
    expect(await claims(asked)).toMatchObject({ acr: PHR })
  })
})

describe('the account pages', () => {
  it('add a passkey, name it, tell where it lives, and take it away', async () => {
    const email = 'pages@browser.example'
    await signUp(email)
    await press('Not now')
    await page.goto(`${server.issuer}/account/passkeys`)
    await page.getByText('You have no passkey yet.').waitFor()
    await page.getByRole('link', { name: 'Add a passkey' }).click()
    await press('Create a passkey')
    await page.getByText('Your passkey is ready').waitFor()
    expect((await mailbox.to(email, { count: 2 })).text).toContain('A new passkey can now be used')
    await page.getByText('Synced').waitFor()
    await page.getByText('Not used yet').waitFor()
    // What changes a passkey asks for the passkey.
    await page.getByRole('link', { name: 'Rename or remove' }).click()
    await page.waitForURL('**/account/passkeys/*')
    await page.locator('input[name=name]').fill('My laptop')
    await press('Save')
    await page.getByText('My laptop').waitFor()
    await page.getByText(/Last used/).waitFor()
    await page.goto(`${server.issuer}/account/security`)
    await page.getByText('1 passkey').waitFor()
    await page.goto(`${server.issuer}/account/passkeys`)
    await page.getByRole('link', { name: 'Rename or remove' }).click()
    await press('Remove this passkey')
    await page.getByText('The passkey was removed').waitFor()
    await page.getByText('You have no passkey yet.').waitFor()
    // The authenticator was told (Signal API, where this Chromium has it).
    const told = await page.evaluate("'signalAllAcceptedCredentials' in PublicKeyCredential")
    if (told) await expectGone()
    expect(said).toEqual([])
  })

  async function expectGone() {
    for (let tries = 0; tries < 50 && (await credentials()).length > 0; tries++) await page.waitForTimeout(50)
    expect(await credentials()).toEqual([])
  }

  it('tell the keeper of passkeys the new name of the account', async () => {
    await page.addInitScript(`globalThis.signalled = []
      PublicKeyCredential.signalCurrentUserDetails = async (told) => { globalThis.signalled.push(told) }`)
    const { sub } = await withPasskey('renamed@browser.example')
    await page.goto(`${server.issuer}/account/profile`)
    await page.waitForURL('**/account/profile')
    expect(await page.evaluate('globalThis.signalled')).toEqual([])
    await page.locator('input[name=name]').fill('Ada Lovelace')
    await press('Save')
    await page.locator('.alert.success').waitFor()
    const userId = Buffer.from(String(sub)).toString('base64url')
    expect(await page.evaluate('globalThis.signalled')).toEqual([
      { rpId: 'localhost', userId, name: 'renamed@browser.example', displayName: 'Ada Lovelace' },
    ])
  })

  it('make no second passkey on the same authenticator', async () => {
    await signUp('twice@browser.example')
    await press('Create a passkey')
    await page.waitForURL('**/callback?**')
    await page.goto(`${server.issuer}/account/passkeys/new`)
    await press('Create a passkey')
    await page.getByText('No passkey was created.').waitFor()
    expect(await credentials()).toHaveLength(1)
  })

  it('say where passkeys are made and managed, and which origins may use them', async () => {
    const endpoints = await fetch(`${server.issuer}/.well-known/passkey-endpoints`, { redirect: 'error' })
    expect(endpoints.headers.get('content-type')).toMatch(/^application\/json/)
    expect(await endpoints.json()).toEqual({
      enroll: `${server.issuer}/account/passkeys/new`,
      manage: `${server.issuer}/account/passkeys`,
    })
    const related = await fetch(`${server.issuer}/.well-known/webauthn`, { redirect: 'error' })
    expect(related.headers.get('content-type')).toMatch(/^application\/json/)
    expect(await related.json()).toEqual({ origins: ['https://brand.example'] })
  })
})
