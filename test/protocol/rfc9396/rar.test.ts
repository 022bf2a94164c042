/** RFC 9396: Rich Authorization Requests, from the words on the page to what a resource server is told, and what is kept. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Page } from '../../support/browser.ts'
import { ACCOUNTS, asking, BALANCES, DETAIL_SETTINGS, DETAIL_TYPES, PAYMENT, PAYMENTS } from '../../support/details.ts'
import { allow } from '../../support/journeys.ts'
import { mailFolder, type SmtpMailbox, startMailbox } from '../../support/mailbox.ts'
import { authorizationRequest, newPerson, type Person, redirectUri, stepOf } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import {
  basic,
  type ClientRequests,
  type Code,
  clientRequests,
  type Fields,
  payloadOf,
  postForm,
  tokensOf,
} from '../../support/token_requests.ts'

const DAY = 86_400
const ISOLATES = /[\u2068\u2069]/g

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))('details on %s', (kind) => {
  let server: Server
  let mailbox: SmtpMailbox
  let ann: Person
  let client: ClientRequests

  beforeAll(async () => {
    mailbox = await startMailbox()
    const stores = kind === 'embedded' ? ({ stores: 'embedded' } as const) : { stores: await realStores() }
    server = await startServer({ settings: DETAIL_SETTINGS, env: { SMTP_URL: mailbox.url }, ...stores })
    client = clientRequests(server.issuer)
    ann = await newPerson(server.issuer, mailbox, 'ann@example.com')
  })
  afterAll(async () => {
    await server?.close()
    await mailbox?.stop()
  })

  const open = (clientId: string, parameters: Fields) =>
    ann.browser.get(authorizationRequest(server.issuer, clientId, parameters).url)
  const accounts = () => ann.browser.get(`${server.issuer}/account/clients`)
  const plain = ({ text }: Page) => text.replace(ISOLATES, '')

  it('declares its types (§10)', async () => {
    const answer = await fetch(`${server.issuer}/.well-known/openid-configuration`)
    expect(await answer.json()).toMatchObject({
      authorization_details_types_supported: DETAIL_TYPES.map(({ type }) => type),
    })
  })

  it('does not start with types that cannot be shown or are for nobody', async () => {
    const wrong = DETAIL_TYPES.map((type) => ({ ...type, resource: 'https://no.example', text: { en: '{payer}' } }))
    const started = startServer({
      settings: { ...DETAIL_SETTINGS, authorization_details_types: wrong },
      stores: 'embedded',
    })
    await expect(started).rejects.toThrow(
      /types\.0\.resource: is not a resource server[\s\S]+types\.2\.text\.en: has the placeholder \{payer\}/,
    )
  })

  it('says each detail in words of the page’s language, and keeps nothing unsaid (§7)', async () => {
    const page = await open('bank', asking(PAYMENT, BALANCES))
    expect(page.text).toContain('Pay 1,249.90 EUR to Harbour Books')
    expect(page.text).toContain('Account: FI21 1234 5600 0007 85')
    expect(page.text).toContain('due: December 24, 2026')
    expect(page.text).toContain('See balances of your accounts')
    expect(page.text).toContain(PAYMENTS)
    const finnish = await open('bank', { ...asking(PAYMENT), ui_locales: 'fi' })
    expect(finnish.text).toMatch(/Maksa 1\s249,90 EUR saajalle Harbour Books/u)
    expect(finnish.text).toContain('Tili: FI21 1234 5600 0007 85')
  })

  it('gives a token what is for its resource server, in the answer, the JWT and at introspection (§7, §9)', async () => {
    const code = await ann.code('bank', {
      ...asking(PAYMENT, BALANCES),
      scope: 'openid offline_access',
      prompt: 'consent',
    })
    const answer = await client.redeem(code, { resource: PAYMENTS })
    const tokens = tokensOf(answer)
    expect(answer.body.authorization_details).toEqual([PAYMENT])
    expect(payloadOf(tokens.access)).toMatchObject({ aud: PAYMENTS, authorization_details: [PAYMENT] })
    expect((await client.introspect('payments', tokens.access)).body).toMatchObject({
      active: true,
      authorization_details: [PAYMENT],
    })
    const other = await client.refresh('bank', tokens.refresh, { resource: ACCOUNTS })
    expect(other.body.authorization_details).toEqual([BALANCES])
    const access = String(other.body.access_token)
    expect((await client.introspect('accounts', access)).body).toMatchObject({ authorization_details: [BALANCES] })
    expect((await client.introspect('payments', access)).body).toEqual({ active: false })
  })

  it('narrows at the token endpoint when asked to (§6)', async () => {
    const second = { ...PAYMENT, amount: '1.00' }
    const asked = { ...asking(PAYMENT, second), scope: 'openid offline_access', prompt: 'consent' }
    const first = await client.redeem(await ann.code('bank', asked), asking(second))
    expect(first.body.authorization_details).toEqual([second])
    const { refresh } = tokensOf(first)
    const narrowed = await client.refresh('bank', refresh, asking(PAYMENT))
    expect(narrowed.body.authorization_details).toEqual([PAYMENT])
    const whole = await client.refresh('bank', String(narrowed.body.refresh_token))
    expect(whole.body.authorization_details).toEqual([PAYMENT, second])
  })

  it('takes pushed requests (RFC 9126)', async () => {
    const { url, verifier } = authorizationRequest(server.issuer, 'bank', asking({ ...PAYMENT, amount: '5' }))
    const pushed = await postForm(
      `${server.issuer}/request`,
      Object.fromEntries(new URL(url).searchParams),
      basic('bank'),
    )
    expect(pushed.status).toBe(201)
    const query = new URLSearchParams({ client_id: 'bank', request_uri: String(pushed.body.request_uri) })
    const page = await ann.browser.get(`${server.issuer}/auth?${query}`)
    expect(page.text).toContain('Pay 5 EUR to Harbour Books')
    const end = await allow(ann.browser, page)
    const code: Code = {
      clientId: 'bank',
      code: end.params.get('code') ?? '',
      verifier,
      redirectUri: redirectUri('bank'),
    }
    expect((await client.redeem(code)).body.authorization_details).toEqual([{ ...PAYMENT, amount: '5' }])
  })

  it('asks each time, also for the operator’s own clients; what lasts is asked again after its days', async () => {
    for (const who of ['bank', 'house']) {
      await ann.tokens(who, asking(PAYMENT, BALANCES))
      expect(stepOf(await open(who, asking(PAYMENT)))).toBe('consent')
      expect((await open(who, { ...asking(PAYMENT), prompt: 'none' })).params.get('error')).toBe('consent_required')
      expect((await open(who, { ...asking(BALANCES), prompt: 'none' })).params.has('code')).toBe(true)
      const other = { type: 'account_information', actions: ['transactions'] }
      expect((await open(who, { ...asking(other), prompt: 'none' })).params.get('error')).toBe('consent_required')
      expect((await open(who, { ...asking(BALANCES, PAYMENT), prompt: 'none' })).params.get('error')).toBe(
        'consent_required',
      )
    }
  })

  it('asks for the level of the type before it asks for agreement', async () => {
    const transfer = asking({ type: 'transfer', amount: '9' })
    expect((await open('bank', { ...transfer, prompt: 'none' })).params.get('error')).toBe('login_required')
    expect(stepOf(await open('bank', transfer))).not.toBe('consent')
    expect(stepOf(await open('bank', asking(PAYMENT)))).toBe('consent')
  })

  it('is for a person in front of a page: no machine, no device and no back channel asks in detail', async () => {
    const asked = { ...asking(PAYMENT), resource: PAYMENTS }
    const machine = { grant_type: 'client_credentials', scope: 'payments:list', resource: PAYMENTS }
    expect((await client.token('payments', machine)).status).toBe(200)
    expect((await client.token('payments', { ...machine, ...asked })).body.error).toBe('invalid_authorization_details')
    for (const [path, clientId, hint] of [
      ['/device/auth', 'tv', {}],
      ['/backchannel', 'till', { login_hint: ann.email }],
    ] as const) {
      const ask = (fields: Fields) =>
        postForm(`${server.issuer}${path}`, { scope: 'openid', ...hint, ...fields }, basic(clientId))
      expect((await ask({})).status).toBe(200)
      expect((await ask(asked)).body.error).toBe('invalid_authorization_details')
    }
  })

  it('shows on the account page what was agreed to, until when, and takes it back with the client', async () => {
    const asked = { ...asking(PAYMENT, BALANCES), scope: 'openid offline_access', prompt: 'consent' }
    const tokens = tokensOf(await client.redeem(await ann.code('bank', asked), { resource: ACCOUNTS }))
    const page = await accounts()
    expect(plain(page)).toContain('Pay 1,249.90 EUR to Harbour Books')
    expect(plain(page)).toMatch(/See balances of your accounts\s+Agreed on .+, until .+/)
    await ann.browser.submit(page, {}, { form: '/account/clients/bank/revoke' })
    expect((await client.introspect('accounts', tokens.access)).body).toEqual({ active: false })
    expect((await client.refresh('bank', tokens.refresh)).body.error).toBe('invalid_grant')
    expect((await open('bank', { ...asking(BALANCES), prompt: 'none' })).params.get('error')).toBe('consent_required')
    expect(await accounts().then(({ forms }) => forms.some(({ action }) => action.includes('/bank/')))).toBe(false)
  })
})

describe('time', () => {
  it('ends what lasts for days: it is dropped from refreshed tokens and from introspection', async () => {
    // Redis forgets by its own clock, which does not move here.
    const [payment, information, ...types] = DETAIL_TYPES
    const server = await startServer({
      stores: 'embedded',
      settings: {
        ...DETAIL_SETTINGS,
        tokens: { access_token_seconds: 3 * DAY, refresh_idle_seconds: 30 * DAY, refresh_absolute_seconds: 60 * DAY },
        authorization_details_types: [payment, { ...information, expires_days: 1 }, ...types],
      },
    })
    try {
      const bob = await newPerson(server.issuer, mailFolder(server.dataDir), 'bob@example.com')
      const client = clientRequests(server.issuer)
      const asked = { ...asking(PAYMENT, BALANCES), scope: 'openid offline_access', prompt: 'consent' }
      const first = await client.redeem(await bob.code('bank', asked), { resource: ACCOUNTS })
      const { access, refresh } = tokensOf(first)
      expect((await client.introspect('accounts', access)).body.authorization_details).toEqual([BALANCES])
      await server.shiftDate(DAY + 60)
      const told = (await client.introspect('accounts', access)).body
      expect(told.active).toBe(true)
      expect(told.authorization_details).toBeUndefined()
      const refreshed = await client.refresh('bank', refresh, { resource: ACCOUNTS })
      expect(refreshed.status).toBe(200)
      expect(refreshed.body.authorization_details).toBeUndefined()
      const lasting = await client.refresh('bank', String(refreshed.body.refresh_token), { resource: PAYMENTS })
      expect(lasting.body.authorization_details).toEqual([PAYMENT])
    } finally {
      await server.close()
    }
  })
})
