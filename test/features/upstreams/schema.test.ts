import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { connectionOf, readSettings } from '../../../src/features/upstreams/schema.ts'

const client = { client_id: 'x', client_secret: 'y' }
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
const url = 'https://provider.example'

const KINDS: { readonly [kind: string]: object } = {
  oidc: { ...client, issuer: url },
  oauth2: {
    ...{ ...client, issuer: url, authorization_endpoint: url, token_endpoint: url, profile_endpoint: url },
    ...{ subject: 'id', claims: {} },
  },
  microsoft: { ...client, accounts: 'common', tenants: 'any' },
  apple: { client_id: 'x', team_id: 't', key_id: 'k', private_key: pem },
  google: client,
  facebook: client,
  github: client,
  linkedin: client,
}

function keeps(kind: string, more: object): boolean | undefined {
  const read = readSettings({ kind, ...KINDS[kind], ...more })
  if ('problems' in read) throw new Error(read.problems.join())
  const { settings } = connectionOf(read.settings)
  return 'keepTokens' in settings ? settings.keepTokens : undefined
}

describe('tokens are kept', () => {
  it.each(Object.keys(KINDS))('of %s where it is asked for, and only there', (kind) => {
    expect([keeps(kind, {}), keeps(kind, { keep_tokens: false })].some((kept) => kept === true)).toBe(false)
    expect(keeps(kind, { keep_tokens: true })).toBe(true)
  })

  it('never of SAML, which has none', () => {
    const saml = { kind: 'saml', metadata: '<x/>', keep_tokens: true }
    expect(readSettings(saml)).toEqual({ problems: [expect.stringContaining('keep_tokens')] })
  })

  it.each(['true', 1, null])('not for %p: it is said in so many words', (keep_tokens) => {
    expect(readSettings({ kind: 'google', ...client, keep_tokens })).toHaveProperty('problems')
  })
})
