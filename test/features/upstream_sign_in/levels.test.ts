/** Levels of people who come from a provider: what is asked of it, what its answer is worth, and what is asked here (A42, R18). */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import * as oidc from 'openid-client'
import type { Browser, Page } from '../../support/browser.ts'
import { API, allow, authorization, redeem, SETTINGS, signIn } from '../../support/journeys.ts'
import { authorizationRequest, stepOf } from '../../support/people.ts'
import { type Clock, clockOf, openAccount, type Protected, signUpWithApp } from '../../support/second_factors.ts'
import { CALLBACK } from '../../support/target.ts'
import { startUpstreamRoom, type UpstreamRoom } from '../../support/upstreams.ts'

const [BASIC, MFA, PHR] = ['urn:genkan:acr:basic', 'urn:genkan:acr:mfa', 'phr'] as const
const [OWN] = SETTINGS.clients.filter(({ client_id }) => client_id === 'own')
const clientLike = (id: string, more: object) => ({
  ...OWN,
  ...{ client_id: id, redirect_uris: [`https://${id}.test.example/callback`], post_logout_redirect_uris: [] },
  ...more,
})

let room: UpstreamRoom
let clock: Clock
let ada: Protected
beforeAll(async () => {
  room = await startUpstreamRoom({
    upstream: {
      trusted_domains: ['acme.example'],
      levels: { 'level:two': MFA, 'level:three': PHR, 'level:none': BASIC },
    },
    // The same provider without any levels, and as one that cannot let people show it again.
    others: [
      { name: 'plain', trusted_domains: ['acme.example'] },
      { name: 'unfresh', trusted_domains: ['acme.example'], proves_freshness: false },
    ],
    settings: {
      scope_levels: { 'orders:write': MFA },
      clients: [
        ...SETTINGS.clients.filter(({ client_id }) => client_id !== 'own'),
        { ...OWN, scope: 'openid profile email offline_access orders:read orders:write', resources: [API] },
        clientLike('strict', { minimum_acr: MFA }),
        clientLike('enrolled', { second_factor: 'required' }),
      ],
    },
  })
  clock = clockOf(room.target)
  // Accounts that have been linked, by an address that both sides vouch for.
  ada = await signUpWithApp(room.target, clock, 'ada@acme.example')
  await room.target.signUp('una@acme.example')
})
afterAll(() => room?.close())
beforeEach(() => room.fake.tell({ reset: true, automatic: 'continue', ...ADA }))

const ADA = { account: 'ada', claims: { email: 'ada@acme.example', email_verified: true } }
/** Has nothing but a password. */
const UNA = { account: 'una', claims: { email: 'una@acme.example', email_verified: true } }
const at = (who: typeof ADA, acr: string, more: object = {}) => ({ ...who, claims: { ...who.claims, acr, ...more } })

/** Through the provider, for a client that stands on no server. */
async function come(clientId = 'own', parameters: { [name: string]: string } = {}, provider = 'acme') {
  const browser = room.person()
  const { url } = authorizationRequest(room.target.issuer, clientId, parameters)
  return { browser, page: await room.through(browser, await browser.get(url), provider) }
}

/** The same, to the tokens of `own`. */
async function tokens(parameters: { [name: string]: string } = {}, show = async (_: Browser, page: Page) => page) {
  const browser = room.person()
  const request = await authorization(room.target.client, CALLBACK, parameters)
  const page = await room.through(browser, await browser.get(request.url))
  return redeem(room.target.client, request, await show(browser, page))
}

async function showCode(browser: Browser, page: Page): Promise<Page> {
  expect(stepOf(page)).toBe('totp')
  await clock.later(30)
  return browser.submit(page, { code: ada.app.code(clock.now()) }, { form: '/totp' })
}

/** What the last departure asked of the provider. */
async function asked(): Promise<{ readonly [name: string]: string } | undefined> {
  return (await room.fake.seen()).requests.findLast(({ path }) => path === '/request')?.body
}

describe('A42: the account has a second factor', () => {
  it.each([
    ['of a provider that says no level', ADA, 'plain'],
    ['of a provider without levels that says one', at(ADA, 'level:two'), 'plain'],
    ['of a level that is not mapped', at(ADA, 'level:one'), 'acme'],
    ['of a level that is mapped to the weakest', at(ADA, 'level:none'), 'acme'],
    ['of a level that an object has by itself', at(ADA, 'constructor'), 'acme'],
    ['of amr alone, whatever it says', { ...ADA, amr: ['mfa', 'hwk'] }, 'acme'],
  ])('is asked for after a sign-in %s', async (_, told, provider) => {
    await room.fake.tell(told)
    const { browser, page } = await come('own', {}, provider)
    expect((await showCode(browser, page)).params.has('code')).toBe(true)
  })

  it('is asked for by no page where the provider has reached its level, which the ID token says', async () => {
    await room.fake.tell({ ...at(ADA, 'level:two'), amr: ['hwk', 'mfa'] })
    const authTime = Math.floor(clock.now().getTime() / 1000) - 300
    await room.fake.tell(at(ADA, 'level:two', { auth_time: authTime }))
    const claims = (await tokens()).claims()
    expect(claims).toMatchObject({ sub: ada.sub, acr: MFA, amr: ['hwk', 'mfa'], auth_time: authTime })
  })

  it('stays true in tokens of a refresh', async () => {
    await room.fake.tell({ ...at(ADA, 'level:two'), amr: ['hwk'] })
    const offline = { scope: 'openid offline_access', prompt: 'consent' }
    const first = await tokens(offline, (browser, page) => allow(browser, page))
    const { acr, amr, auth_time } = decodeJwt(first.id_token ?? '')
    expect([acr, amr]).toEqual([MFA, ['hwk']])
    await clock.later(120)
    const refreshed = await oidc.refreshTokenGrant(room.target.client, first.refresh_token ?? '')
    expect(decodeJwt(refreshed.id_token ?? '')).toMatchObject({ acr, amr, auth_time })
  })
})

describe('a request that demands a level', () => {
  it.each([
    ['by acr_values', 'own', { acr_values: MFA }, 'level:two level:three'],
    ['by the claim acr', 'own', { claims: JSON.stringify({ id_token: { acr: { value: PHR } } }) }, 'level:three'],
    ['by the client', 'strict', {}, 'level:two level:three'],
    ['by the client, whatever the address says', 'strict', { acr_values: BASIC }, 'level:two level:three'],
    ['by a scope', 'own', { scope: 'openid orders:write', resource: API }, 'level:two level:three'],
    ['not at all', 'own', {}, undefined],
    ['by an unknown level', 'own', { acr_values: 'gold' }, undefined],
  ])('%s asks the provider for what reaches it', async (_, clientId, parameters, acrValues) => {
    await come(clientId, parameters)
    expect((await asked())?.acr_values).toBe(acrValues)
  })

  it('asks nothing of a provider that reaches no level', async () => {
    await come('strict', {}, 'plain')
    expect((await asked())?.acr_values).toBeUndefined()
  })

  it('is answered by a provider that reaches it, and for who has nothing here too', async () => {
    await room.fake.tell(at(UNA, 'level:two'))
    expect((await come('strict')).page.params.has('code')).toBe(true)
  })

  it('is not answered by less: the app of the account is asked, or something is set up', async () => {
    await room.fake.tell(at(ADA, 'level:one'))
    const { browser, page } = await come('strict')
    expect((await showCode(browser, page)).params.has('code')).toBe(true)
    await room.fake.tell(at(UNA, 'level:one'))
    const una = await come('strict')
    // Nothing is set up by whoever merely came: what the account has is shown first.
    expect(una.page.params.has('code')).toBe(false)
    expect(stepOf(una.page)).toBe('enrol')
    await room.fake.tell(at(UNA, 'level:two'))
    expect((await come('own', { acr_values: PHR })).page.params.has('code')).toBe(false)
  })

  it('that the provider refuses to meet is asked of it once more without the wish, and then met here', async () => {
    const unmet = { automatic: 'unmet_authentication_requirements' }
    await room.fake.tell({ ...ADA, ...unmet })
    const first = await come('strict')
    expect(first.page.url).toContain(room.fake.issuer)
    expect((await asked())?.acr_values).toBeUndefined()
    await room.fake.tell({ automatic: 'continue' })
    const page = await room.comeBack(first.browser, first.page)
    expect((await showCode(first.browser, page)).params.has('code')).toBe(true)
    await room.fake.tell(unmet)
    const second = await come('strict')
    const refused = await room.comeBack(second.browser, second.page)
    expect([refused.status, stepOf(refused)]).toEqual([400, 'identifier'])
  })

  it('RFC 9470: steps a session by a provider up, or leaves the request unmet', async () => {
    await room.fake.tell(at(ADA, 'level:two'))
    const { browser } = await come()
    expect((await step(browser, MFA)).params.has('code')).toBe(true)
    await room.fake.tell(UNA)
    const una = await come()
    const left = await una.browser.submit(await step(una.browser, MFA), {}, { form: '/enrol' })
    expect(left.params.get('error')).toBe('unmet_authentication_requirements')
  })
})

const step = (browser: Browser, acr: string, more: object = {}) =>
  browser.get(authorizationRequest(room.target.issuer, 'own', { acr_values: acr, ...more }).url)

describe('a client that wants accounts with a second factor', () => {
  it('is met by a provider that has seen two, also from the session; else one is set up (A45)', async () => {
    await room.fake.tell(at(UNA, 'level:two'))
    const { browser, page } = await come('enrolled')
    expect(page.params.has('code')).toBe(true)
    const silent = authorizationRequest(room.target.issuer, 'enrolled', { prompt: 'none' }).url
    expect((await browser.get(silent)).params.has('code')).toBe(true)
    await room.fake.tell(UNA)
    const low = await come('enrolled')
    expect(stepOf(low.page)).toBe('enrol')
    const other = await come('own')
    expect((await other.browser.get(silent)).params.get('error')).toBe('login_required')
  })
})

describe('whoever must show it again', () => {
  const providersOn = (page: Page) =>
    page.forms.flatMap(({ fields }) => fields.flatMap(({ name, value }) => (name === 'provider' ? [value] : [])))

  it.each([
    ['prompt=login', { prompt: 'login' }],
    ['max_age', { max_age: '3600' }],
  ])('by %s finds no button of a provider that cannot let them', async (_, parameters) => {
    const browser = room.person()
    expect(providersOn(await room.target.open(browser))).toEqual(['acme', 'plain', 'unfresh'])
    const page = await room.target.open(browser, parameters)
    expect(providersOn(page)).toEqual(['acme', 'plain'])
    const form = page.forms.findIndex(({ fields }) => fields.some(({ value }) => value === 'plain'))
    const forged = await browser.submit(page, { provider: 'unfresh' }, { form })
    expect([forged.status, stepOf(forged)]).toEqual([400, 'upstream'])
  })

  it('is shown by what the provider says, and the moment is the provider’s', async () => {
    await room.fake.tell({ ...UNA, idToken: { claims: { auth_time: Math.floor(clock.now().getTime() / 1000) } } })
    const { browser, page } = await come('own', { prompt: 'login' })
    expect(page.params.has('code')).toBe(true)
    expect((await asked())?.max_age).toBe('0')
    await room.fake.tell({ idToken: { claims: { auth_time: Math.floor(Date.now() / 1000) - 3600 } } })
    const again = await room.through(browser, await room.target.open(browser, { prompt: 'login' }))
    expect([again.status, again.params.has('code')]).toEqual([400, false])
  })

  it('on the account pages cannot come by it, and may still connect it there', async () => {
    const browser = room.person()
    const member = await room.target.signUp('linker@acme.example')
    const page = await openAccount(room.target, browser, '/account/identities', { email: member.email, clock })
    expect(providersOn(page)).toContain('unfresh')
    await room.fake.tell({ account: 'linker', claims: {} })
    const linked = await room.through(browser, page, 'unfresh')
    expect([linked.status, linked.url]).toEqual([200, expect.stringContaining('/account/identities')])
    expect((await asked())?.max_age).toBeUndefined()
    await clock.later(600)
    const gate = await browser.get(`${room.target.issuer}/account/identities`)
    expect(providersOn(gate)).toEqual(['acme', 'plain'])
    expect((await signIn(browser, gate, member.email)).url).toContain('/account/identities')
  })
})

describe('as time passes', () => {
  it('a level by a provider is lost after twelve hours, and the sign-in is not', async () => {
    await room.fake.tell(at(ADA, 'level:two'))
    const { browser } = await come()
    for (let hours = 0; hours < 13; hours++) {
      expect((await step(browser, BASIC, { prompt: 'none' })).params.has('code')).toBe(true)
      await clock.later(3600)
    }
    expect((await step(browser, MFA, { prompt: 'none' })).params.get('error')).toBe('login_required')
  })
})
