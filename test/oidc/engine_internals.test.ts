/**
 * The engine's inside that our grants stand on. A version of it that was not read fails here: read `src/oidc/engine_internals.ts`
 * beside the new sources, then write the new version down.
 */
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { type Configuration, Provider } from 'oidc-provider'
import * as grants from 'oidc-provider/lib/helpers/grants.js'
import * as jwt from 'oidc-provider/lib/helpers/jwt.js'
import Router from 'oidc-provider/lib/helpers/router.js'
import * as internals from 'oidc-provider/lib/helpers/weak_cache.js'

const READ = '9.13.3'
/** Without the engine's warnings about its own defaults. */
const bare = () => {
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
  const configuration = {
    adapter: () => ({}),
    jwks: { keys: [jwk] },
    features: { devInteractions: { enabled: false } },
  }
  return new Provider('https://id.example', configuration as unknown as Configuration)
}
const folder = new URL('../../node_modules/oidc-provider/', import.meta.url)

describe("the engine's inside", () => {
  it(`is that of ${READ}`, () => {
    const { version } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8'))
    expect(version).toBe(READ)
  })

  it('has functions of these names, with so many parameters', () => {
    const shape = (module: object) =>
      Object.fromEntries(
        Object.entries(module).flatMap(([name, value]) => (typeof value === 'function' ? [[name, value.length]] : [])),
      )
    expect(shape(grants)).toEqual({
      applyAuthorizationDetails: 4,
      applyRefreshTokenBindings: 4,
      buildTokenResponse: 1,
      checkDpopReplay: 4,
      checkDpopRequired: 3,
      checkMtlsCert: 2,
      consumeGrantSource: 4,
      findAccount: 4,
      findGrantSource: 5,
      resolveAndApplyResource: 6,
      resolveRequestedResources: 2,
      shouldIssueRefreshToken: 3,
      validateClientScope: 2,
      validateDpop: 3,
      validateGrant: 3,
    })
    expect(shape(jwt)).toMatchObject({ sign: 3 })
    expect(shape(internals)).toMatchObject({ get: 1 })
  })

  it('keeps configuration and keys where we look for them', () => {
    const provider = bare()
    const { configuration, keystore } = internals.get(provider)
    expect(configuration.clockTolerance).toBe(15)
    expect(configuration.features.mTLS).toMatchObject({ enabled: false, getCertificate: expect.any(Function) })
    expect(keystore).toMatchObject({ selectForSign: expect.any(Function), getKeyObject: expect.any(Function) })
  })

  it('looks for what answers a grant type in a map, each with the context alone', () => {
    const { grantTypeHandlers } = internals.get(bare())
    expect([...grantTypeHandlers.keys()]).toEqual(expect.arrayContaining(['authorization_code', 'refresh_token']))
    for (const handler of grantTypeHandlers.values()) expect(handler).toHaveLength(1)
  })

  it('hangs its context on a request in a layer of this name, first of each endpoint', () => {
    const { get, post } = Router.prototype
    const first: string[] = []
    for (const [method, register] of Object.entries({ get, post }) as ['get' | 'post', typeof get][]) {
      Router.prototype[method] = function (name, path, ...layers) {
        first.push(layers[0]?.name ?? '')
        return register.call(this, name, path, ...layers)
      }
    }
    try {
      bare()
    } finally {
      Object.assign(Router.prototype, { get, post })
    }
    expect(first.length).toBeGreaterThan(5)
    expect(new Set(first)).toEqual(new Set(['ensureOIDC']))
  })

  it('has the members of models that we set and read', () => {
    const { AccessToken, Client, Grant } = bare() as unknown as {
      [model: string]: { prototype: object; IN_PAYLOAD: readonly string[]; find: unknown }
    }
    for (const member of ['setThumbprint', 'save']) expect(AccessToken?.prototype).toHaveProperty(member)
    expect(AccessToken?.IN_PAYLOAD).toEqual(
      expect.arrayContaining(['accountId', 'aud', 'extra', 'exp', 'jkt', 'x5t#S256']),
    )
    expect(Client?.prototype).toHaveProperty('includeSid')
    expect(Grant?.prototype).toHaveProperty('addResourceScope')
  })
})
