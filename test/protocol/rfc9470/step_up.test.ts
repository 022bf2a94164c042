/**
 * RFC 9470 and OpenID Connect Core §3.1.2.1, §5.5.1.1: levels of authentication by the front door. What a client asks for is
 * a wish upwards only; what the server demands holds whatever the address says; and a token tells what was shown.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import * as oidc from 'openid-client'
import type { Browser, Page } from '../../support/browser.ts'
import { API, allow, authorization, redeem, SETTINGS, signIn } from '../../support/journeys.ts'
import { authorizationRequest, stepOf } from '../../support/people.ts'
import { type Clock, clockOf, type Protected, signUpWithApp } from '../../support/second_factors.ts'
import { CALLBACK, startTarget, type Target } from '../../support/target.ts'
import { clientRequests, payloadOf, tokensOf } from '../../support/token_requests.ts'

const [BASIC, MFA, PHR] = ['urn:genkan:acr:basic', 'urn:genkan:acr:mfa', 'phr'] as const
const [OWN] = SETTINGS.clients.filter(({ client_id }) => client_id === 'own')
const clientLike = (id: string, more: object) => ({
  ...OWN,
  ...{ client_id: id, redirect_uris: [`https://${id}.test.example/callback`], post_logout_redirect_uris: [] },
  ...more,
})
const settings = {
  ...SETTINGS,
  scope_levels: { 'orders:write': MFA },
  clients: [
    ...SETTINGS.clients.filter(({ client_id }) => client_id !== 'own'),
    { ...OWN, scope: 'openid profile email offline_access orders:read orders:write', resources: [API] },
    clientLike('strict', { minimum_acr: MFA }),
    clientLike('asking', { default_acr_values: [MFA] }),
  ],
}

let target: Target
let clock: Clock
let ada: Protected
let browser: Browser

beforeAll(async () => {
  target = await startTarget({ settings })
  clock = clockOf(target)
  ada = await signUpWithApp(target, clock, 'ada@levels.example')
})
afterAll(() => target?.close())

/** Signed in by the password alone: as an account that had no app yet, so that only requests ask for more. */
beforeEach(async () => {
  browser = target.person({ stopAt: ['https://'] })
  await target.sql(`update accounts set factors = '[]' where id = $1`, [ada.sub])
  const end = await signIn(browser, await target.open(browser), ada.email)
  expect(end.params.has('code')).toBe(true)
  await target.sql(`update accounts set factors = '["totp","recovery_code"]' where id = $1`, [ada.sub])
})

const open = (clientId: string, parameters: { readonly [name: string]: string | undefined } = {}) =>
  browser.get(authorizationRequest(target.issuer, clientId, parameters).url)

async function showCode(page: Page): Promise<Page> {
  expect(stepOf(page)).toBe('totp')
  await clock.later(30)
  return browser.submit(page, { code: ada.app.code(clock.now()) }, { form: '/totp' })
}

/** Goes through an authorization request of `own`, showing what `show` shows, to its tokens. */
async function tokens(parameters: { readonly [name: string]: string }, show: (page: Page) => Promise<Page>) {
  const request = await authorization(target.client, CALLBACK, parameters)
  return redeem(target.client, request, await show(await browser.get(request.url)))
}

const asIs = async (page: Page) => page

describe('a request', () => {
  it('for a higher level asks for the missing factor only, says for whom, and auth_time is its moment', async () => {
    const before = payloadOf((await tokens({}, asIs)).id_token ?? '')
    expect(before).toMatchObject({ acr: BASIC, amr: ['pwd'] })
    await clock.later(600)
    const page = await target.open(browser, { acr_values: MFA })
    expect(page.text).toContain('The own shop')
    await showCode(page)
    const after = payloadOf((await tokens({ acr_values: MFA }, asIs)).id_token ?? '')
    expect(after).toMatchObject({ acr: MFA, amr: ['pwd', 'otp', 'mfa'], sub: before.sub })
    expect(Number(after.auth_time) - Number(before.auth_time)).toBeGreaterThanOrEqual(600)
  })

  it.each([
    ['the claim acr, essential', { claims: JSON.stringify({ id_token: { acr: { essential: true, values: [MFA] } } }) }],
    ['the claim acr, as a wish', { claims: JSON.stringify({ id_token: { acr: { value: MFA } } }) }],
    ['acr_values among unknown ones', { acr_values: `1 ${MFA} 2` }],
  ])('asks by %s', async (_, parameters) => {
    const granted = await tokens(parameters, showCode)
    expect(payloadOf(granted.id_token ?? '')).toMatchObject({ acr: MFA })
  })

  it('of unknown levels alone asks for nothing; an essential one is an error at once', async () => {
    expect(payloadOf((await tokens({ acr_values: '1 2' }, asIs)).id_token ?? '')).toMatchObject({ acr: BASIC })
    const claims = JSON.stringify({ id_token: { acr: { essential: true, value: 'gold' } } })
    expect((await open('own', { claims })).params.get('error')).toBe('unmet_authentication_requirements')
  })

  it('without a page is login_required while the level is not reached, and answered after', async () => {
    const silent = { acr_values: MFA, prompt: 'none' }
    expect((await open('own', silent)).params.get('error')).toBe('login_required')
    await showCode(await open('own', { acr_values: MFA }))
    expect((await open('own', silent)).params.has('code')).toBe(true)
  })

  it('that the person leaves is unmet, and gives no token of that level (A43)', async () => {
    const page = await open('own', { acr_values: MFA })
    const left = await browser.submit(page, {}, { form: '/abort' })
    expect(left.params.get('error')).toBe('unmet_authentication_requirements')
    expect(payloadOf((await tokens({}, asIs)).id_token ?? '')).toMatchObject({ acr: BASIC })
  })

  it('by max_age or prompt=login asks for everything anew, whatever the session has shown', async () => {
    await showCode(await open('own', { acr_values: MFA }))
    expect(stepOf(await open('own', { acr_values: MFA, prompt: 'login' }))).toBe('password')
    await clock.later(120)
    expect(stepOf(await open('own', { acr_values: MFA, max_age: '60' }))).toBe('password')
  })

  it('is answered by the level it named when a higher one was reached', async () => {
    const granted = await tokens({ acr_values: `${BASIC} ${MFA}` }, asIs)
    expect(payloadOf(granted.id_token ?? '').acr).toBe(BASIC)
    await showCode(await open('own', { acr_values: MFA }))
    expect(payloadOf((await tokens({ acr_values: BASIC }, asIs)).id_token ?? '').acr).toBe(BASIC)
    expect(payloadOf((await tokens({}, asIs)).id_token ?? '').acr).toBe(MFA)
  })
})

describe('the server', () => {
  it('demands the level of a client and of a scope, and an edited address lowers nothing', async () => {
    const claims = JSON.stringify({ id_token: { acr: { essential: true, value: BASIC } } })
    for (const edited of [{}, { acr_values: BASIC }, { acr_values: '' }, { acr_values: 'x' }, { claims }]) {
      expect(stepOf(await open('strict', edited))).toBe('totp')
    }
    const scope = 'openid orders:write'
    expect(stepOf(await open('own', { scope, resource: API, acr_values: BASIC }))).toBe('totp')
    expect((await open('own', { scope: 'openid orders:read', resource: API })).params.has('code')).toBe(true)
  })

  it('asks by the client’s default_acr_values when the request names none', async () => {
    expect(stepOf(await open('asking'))).toBe('totp')
    expect((await open('asking', { acr_values: BASIC })).params.has('code')).toBe(true)
  })

  it('announces its levels', async () => {
    expect(target.client.serverMetadata().acr_values_supported).toEqual([BASIC, MFA, PHR])
  })

  it('forgets a level when its proofs have grown old; the session goes on (12 hours)', async () => {
    await showCode(await open('own', { acr_values: MFA }))
    for (let hours = 0; hours < 12; hours += 6) {
      await clock.later(6 * 3600)
      await open('own', { prompt: 'none' })
    }
    expect(payloadOf((await tokens({}, asIs)).id_token ?? '').acr).toBe(BASIC)
    expect((await open('own', { acr_values: MFA, prompt: 'none' })).params.get('error')).toBe('login_required')
    // The password has grown too old as well.
    expect(stepOf(await open('own', { acr_values: MFA }))).toBe('password')
  })

  it('renews the session’s id with the level (ASVS 7.2.4)', async () => {
    const cookie = () => browser.jar.all().find(({ name }) => name.endsWith('genkan_session'))?.value
    const before = cookie()
    await showCode(await open('own', { acr_values: MFA }))
    expect(before).toBeDefined()
    expect(cookie()).not.toBe(before)
  })
})

describe('tokens', () => {
  const OFFLINE = { scope: 'openid offline_access', prompt: 'consent' }

  it('of a refresh repeat acr, amr and auth_time, and never become stronger by a later step-up', async () => {
    const first = await tokens(OFFLINE, (page) => allow(browser, page))
    await clock.later(60)
    await showCode(await open('own', { acr_values: MFA }))
    const refreshed = await oidc.refreshTokenGrant(target.client, first.refresh_token ?? '')
    const { acr, amr, auth_time } = decodeJwt(first.id_token ?? '')
    expect(decodeJwt(refreshed.id_token ?? '')).toMatchObject({ acr, amr, auth_time })
    expect(acr).toBe(BASIC)
  })

  it('for a resource server say how the person signed in (RFC 9068 §2.2.1), and so does introspection', async () => {
    const granted = await tokens({ scope: 'openid orders:write', resource: API }, showCode)
    const { auth_time } = payloadOf(granted.id_token ?? '')
    const said = { acr: MFA, amr: ['pwd', 'otp', 'mfa'], auth_time }
    expect(payloadOf(granted.access_token)).toMatchObject({ ...said, aud: API })
    const requests = clientRequests(target.server.origin)
    expect((await requests.introspect('api', granted.access_token)).body).toMatchObject({ active: true, ...said })
  })

  it('of a machine say nothing of the kind', async () => {
    const requests = clientRequests(target.server.origin)
    const { access } = tokensOf(await requests.token('machine', { grant_type: 'client_credentials', resource: API }))
    for (const name of ['acr', 'amr', 'auth_time']) expect(payloadOf(access)).not.toHaveProperty(name)
  })
})
