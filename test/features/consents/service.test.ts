import { describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import type { ConsentRepository } from '../../../src/features/consents/repository.ts'
import { askedBy, createConsentService, permissionsOf } from '../../../src/features/consents/service.ts'
import { createConsentStep } from '../../../src/features/consents/step.ts'
import type { Agreement, Consent } from '../../../src/features/consents/types.ts'
import type { FlowState, RequestFacts } from '../../../src/interaction/step.ts'
import { detailDigest, readDetailTypes } from '../../../src/platform/authorization_details.ts'
import { ACCOUNTS, asking, BALANCES, DETAIL_TYPES, PAYMENT, PAYMENTS } from '../../support/details.ts'

const { types: detailTypes } = readDetailTypes(DETAIL_TYPES, {
  resources: [PAYMENTS, ACCOUNTS],
  acrs: ['urn:genkan:acr:mfa'],
})
const NOW = new Date('2026-11-01T12:00:00.000Z')
const REQUEST: RequestFacts = { ip: '192.0.2.1', userAgent: 'Test/1', locale: 'en', requestId: 'r' }

const stateOf = (more: Partial<FlowState> = {}): FlowState => ({
  uid: 'u1',
  cid: 'c1',
  prompt: {
    name: 'consent',
    reasons: ['op_scopes_missing'],
    details: { missingOIDCScope: ['openid', 'email'], missingResourceScopes: { 'https://api.example': ['read'] } },
  },
  params: { scope: 'openid email read', redirect_uri: 'https://web.example:8443/callback' },
  client: { clientId: 'web', name: '<script>alert(1)</script>', firstParty: false },
  session: { accountId: 'ann', uid: 's1', proofs: [] },
  progress: { version: 1, path: 'login', proofs: [], answers: {} },
  demands: [],
  enrolment: { policy: 'none', grace: 0 },
  now: 0,
  locale: 'en',
  ...more,
})

const consentOf = (agreement: Partial<Agreement>): Consent => ({
  ...{ accountId: 'ann', clientId: 'web', scopes: [], claims: [], resources: {}, grantedAt: NOW, updatedAt: NOW },
  ...agreement,
})

describe('what is asked', () => {
  it('comes from the details of the engine', () => {
    expect(askedBy(stateOf())).toEqual({
      scopes: ['openid', 'email'],
      claims: [],
      resources: { 'https://api.example': ['read'] },
    })
  })

  it('repeats what was agreed before only as far as this request asks for it', () => {
    const before = consentOf({ scopes: ['openid', 'phone'], resources: { 'https://api.example': ['write', 'read'] } })
    const prompt = { name: 'consent' as const, reasons: [], details: { missingOIDCScope: ['email'] } }
    expect(askedBy(stateOf({ prompt }), before)).toEqual({
      scopes: ['openid', 'email'],
      claims: [],
      resources: { 'https://api.example': ['read'] },
    })
  })

  it('ignores scopes of the request that the engine does not know', () => {
    const params = { scope: 'openid admin root' }
    const prompt = { name: 'consent' as const, reasons: [], details: { missingOIDCScope: ['openid'] } }
    expect(askedBy(stateOf({ params, prompt })).scopes).toEqual(['openid'])
  })

  it.each([
    [{ missingOIDCScope: 'openid' }],
    [{ missingOIDCScope: [1, null, {}], missingOIDCClaims: {}, missingResourceScopes: { a: 'b', c: [2] } }],
    [{ missingResourceScopes: null }],
    [{}],
  ])('odd details %j ask for nothing', (details) => {
    const state = stateOf({ prompt: { name: 'consent', reasons: [], details }, params: { scope: ['x'] } })
    expect(askedBy(state)).toEqual({ scopes: [], claims: [], resources: {} })
  })
})

describe('the page', () => {
  it('A73: shows what is new when the scopes grow, lasting access last', () => {
    const asked = {
      scopes: ['offline_access', 'email', 'custom', 'openid'],
      claims: ['birthdate'],
      resources: { 'https://api.example': ['read', 'write'] },
    }
    const before = consentOf({ scopes: ['openid', 'email'], resources: { 'https://api.example': ['read'] } })
    expect(permissionsOf(asked, before)).toEqual([
      { name: 'openid', isNew: false, resource: '' },
      { name: 'email', isNew: false, resource: '' },
      { name: 'custom', isNew: true, resource: '' },
      { name: 'offline_access', isNew: true, resource: '' },
      { name: 'birthdate', isNew: true, resource: '' },
      { name: 'read', isNew: false, resource: 'https://api.example' },
      { name: 'write', isNew: true, resource: 'https://api.example' },
    ])
  })
})

describe('step consent', () => {
  function build(before?: Consent) {
    const log: unknown[] = []
    const facts: Fact[] = []
    const repository = {
      find: async () => before,
      grant: async (_id: string, accountId: string, clientId: string, added: Agreement) => {
        log.push(['stored', accountId, clientId, added])
        return consentOf({ ...added, scopes: [...new Set([...(before?.scopes ?? []), ...added.scopes])] })
      },
      bindDetails: async (ids: readonly string[], grantId: string) => log.push(['bound', ids, grantId]),
    } as unknown as ConsentRepository
    const service = createConsentService({
      repository,
      outbox: {
        insert: (stated) => {
          facts.push(...stated)
          return { sql: '', bindings: [] }
        },
        wake: () => {},
      },
      clock: { now: () => NOW },
      newId: () => 'id',
      grantFor: async (grant) => {
        log.push(['grant', grant])
        return 'grant-1'
      },
    })
    const accounts = { view: async () => ({ email: 'ann@example.com', active: true }) }
    return { step: createConsentStep({ consents: service, accounts, detailTypes }), log, facts }
  }

  it('agrees to details in the words of the page, and says their digests to the engine and the ledger', async () => {
    const { step, log, facts } = build()
    const state = stateOf({ params: asking(PAYMENT, BALANCES), now: NOW.getTime() })
    const { shown, details } = (await step.show(state, REQUEST)) as { shown: string; details: { until: string }[] }
    expect(details.map(({ until }) => until)).toEqual(['', 'January 30, 2027'])
    expect(await step.submit({ action: 'allow' }, state, REQUEST)).toEqual({ ok: false, code: 'consent_changed' })
    expect([log, facts]).toEqual([[], []])
    const digests = [PAYMENT, BALANCES].map(detailDigest)
    expect(await step.submit({ action: 'allow', shown }, state, REQUEST)).toEqual({
      ok: true,
      finish: { consent: { grantId: 'grant-1', details: digests } },
    })
    expect(log[0]).toMatchObject([
      'stored',
      'ann',
      'web',
      {
        details: [
          { digest: digests[0], detail: PAYMENT, expiresAt: undefined, locale: 'en' },
          { digest: digests[1], detail: BALANCES, expiresAt: new Date('2027-01-30T12:00:00.000Z') },
        ],
      },
    ])
    expect(log.at(-1)).toEqual(['bound', ['id', 'id'], 'grant-1'])
    expect(facts).toMatchObject([{ type: 'consent.granted', data: { details: digests } }])
  })

  it('grants nothing that the settings have no words for any more', async () => {
    const { step, log } = build()
    const state = stateOf({ params: asking(PAYMENT, { type: 'gone' }) })
    const { shown } = (await step.show(state, REQUEST)) as { shown: string }
    expect(await step.submit({ action: 'allow', shown }, state, REQUEST)).toEqual({
      ok: false,
      code: 'consent_changed',
    })
    expect(log).toEqual([])
  })

  it('is needed for the prompt consent only', () => {
    const { step } = build()
    expect(step.needed(stateOf())).toBe(true)
    expect(step.needed(stateOf({ prompt: { name: 'login', reasons: [], details: {} } }))).toBe(false)
  })

  it('shows the account, the host and the scopes', async () => {
    expect(await build().step.show(stateOf(), REQUEST)).toMatchObject({
      account: { email: 'ann@example.com' },
      clientHost: 'web.example:8443',
      hadConsent: false,
    })
  })

  it.each([
    ['com.example.app:/cb', 'com.example.app:'],
    ['not a url', ''],
    [undefined, ''],
  ])('the host of %s is %s', async (redirect_uri, clientHost) => {
    expect(await build().step.show(stateOf({ params: { redirect_uri } }), REQUEST)).toMatchObject({ clientHost })
  })

  it('allow stores the consent with its fact, then makes the Grant of all that is agreed', async () => {
    const { step, log, facts } = build(consentOf({ scopes: ['phone'] }))
    expect(await step.submit({ action: 'allow' }, stateOf(), REQUEST)).toEqual({
      ok: true,
      finish: { consent: { grantId: 'grant-1' } },
    })
    const asked = { scopes: ['openid', 'email'], claims: [], resources: { 'https://api.example': ['read'] } }
    expect(log).toEqual([
      ['stored', 'ann', 'web', { ...asked, details: [] }],
      [
        'grant',
        { ...asked, accountId: 'ann', clientId: 'web', scopes: ['phone', 'openid', 'email'], grantId: undefined },
      ],
    ])
    expect(facts).toEqual([{ type: 'consent.granted', accountId: 'ann', clientId: 'web', data: asked }])
  })

  it('shows and adds to what the engine found when it asked, without a look of its own', async () => {
    const agreed = { scopes: ['openid'], claims: [], resources: {} }
    const details = { missingOIDCScope: ['email'], agreed }
    const state = stateOf({ prompt: { name: 'consent', reasons: ['op_scopes_missing'], details } })
    const { step, log } = build(consentOf({ scopes: ['openid', 'email'] }))
    expect(await step.show(state, REQUEST)).toMatchObject({
      hadConsent: true,
      scopes: [
        { name: 'openid', isNew: false },
        { name: 'email', isNew: true },
      ],
    })
    await step.submit({ action: 'allow' }, state, REQUEST)
    expect(log[0]).toEqual(['stored', 'ann', 'web', { ...agreed, scopes: ['openid', 'email'], details: [] }])
    const none = stateOf({ prompt: { ...state.prompt, details: { ...details, agreed: null } } })
    expect(await step.show(none, REQUEST)).toMatchObject({ hadConsent: false })
  })

  it('deny stores nothing and tells the client access_denied', async () => {
    const { step, log, facts } = build()
    expect(await step.submit({ action: 'deny' }, stateOf(), REQUEST)).toMatchObject({
      ok: true,
      deny: { error: 'access_denied' },
    })
    expect([log, facts]).toEqual([[], []])
  })

  it('A66: consent belongs to the account that is signed in in this browser, whatever the conversation says', async () => {
    const { step, log } = build()
    const progress = { version: 1, path: 'login' as const, proofs: [], answers: {}, accountId: 'mallory' }
    await step.submit({ action: 'allow' }, stateOf({ progress }), REQUEST)
    expect(log[0]).toEqual(['stored', 'ann', 'web', expect.anything()])
    const gone = build()
    const { session: _, ...without } = stateOf({ progress })
    expect(await gone.step.submit({ action: 'allow' }, without, REQUEST)).toEqual({ ok: false, code: 'session_ended' })
    expect(gone.log).toEqual([])
  })

  it('scopes of a form are never read', () => {
    const parsed = build().step.input.parse({ action: 'allow', scope: 'admin', scopes: 'admin', accountId: 'mallory' })
    expect(parsed).toEqual({ action: 'allow' })
    expect(build().step.input.safeParse({ action: 'maybe' }).success).toBe(false)
    expect(build().step.input.safeParse({}).success).toBe(false)
  })
})
