import { describe, expect, it } from '@jest/globals'
import { systemClock } from '../../src/platform/clock.ts'
import { createOidcUpstream } from '../../src/platform/upstream_oidc.ts'
import { apple, google, type MicrosoftAccounts, microsoft } from '../../src/platform/upstream_presets.ts'

const CLIENT = { clientId: 'client', clientSecret: 'secret' }
const TENANT = 'aaaaaaaa-2222-3333-4444-555555555555'
const host = 'https://login.microsoftonline.com'
const deps = { http: { fetch: () => Promise.reject(new Error('not asked')) }, clock: systemClock }

describe('presets', () => {
  it.each<[MicrosoftAccounts, string, string]>([
    ['common', '{tenantid}', 'common'],
    ['organizations', '{tenantid}', 'organizations'],
    ['consumers', '9188040d-6c67-4c5b-b112-36a304b66dad', 'consumers'],
    [{ tenantId: TENANT }, TENANT, TENANT],
  ])('Microsoft for %j speaks as the tenant it must', (accounts, issuer, path) => {
    const settings = microsoft({ ...CLIENT, accounts })
    expect(settings.issuer).toBe(`${host}/${issuer}/v2.0`)
    expect(settings.discoveryUrl).toBe(`${host}/${path}/v2.0/.well-known/openid-configuration`)
    expect(settings.emailRule).toBe('domain_owner')
    const create = () => createOidcUpstream(settings, deps)
    // Who may come of many tenants is never a default.
    if (issuer === '{tenantid}') expect(create).toThrow('tenants_missing')
    else expect(create).not.toThrow()
  })

  it('of one provider each can be made', () => {
    const own = { clientId: 'client', teamId: 'TEAM', keyId: 'KEY', privateKey: 'PEM' }
    for (const settings of [google(CLIENT), apple(own), microsoft({ ...CLIENT, accounts: 'common', tenants: 'any' })]) {
      expect(createOidcUpstream(settings, deps).readLogout).toBeDefined()
    }
  })
})
