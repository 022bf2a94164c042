import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { loadConfig } from '../../src/config/config.ts'
import { readDeclaration } from '../../src/features/brands/schema.ts'
import { parseDeclarations } from '../../src/features/clients/rules.ts'
import { readProofings } from '../../src/features/proofings/schema.ts'
import { readSettings } from '../../src/features/upstreams/schema.ts'
import { SCOPES } from '../../src/oidc/claims.ts'
import { readDetailTypes } from '../../src/platform/authorization_details.ts'
import { createViews } from '../../src/platform/views.ts'

const views = createViews({ viewsDir: 'views' })
const SECRET = 's'.repeat(43)
const KEYS = Buffer.alloc(32, 1).toString('base64')
const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url))

describe('settings that people copy', () => {
  it.each([
    [
      'config/genkan.example.yaml',
      { SHOP_SECRET: SECRET, API_SECRET: SECRET, GOOGLE_SECRET: SECRET, BANK_SECRET: SECRET },
    ],
    [
      'examples/demo.genkan.yaml',
      {
        DEMO_WEB_URL: 'http://localhost:4001',
        DEMO_SPA_URL: 'http://localhost:4002',
        DEMO_MCP_URL: 'http://localhost:4004',
        DEMO_AGENT_UNTIL: '2030-01-01T00:00:00.000Z',
        DEMO_WEB_SECRET: SECRET,
        DEMO_PARTNER_SECRET: SECRET,
        DEMO_PARTNER_KEY_X: 'x',
        DEMO_PARTNER_KEY_Y: 'y',
      },
    ],
  ])('%s is valid, with all its clients, brands and providers', async (file, env) => {
    const config = loadConfig({ ...env, GENKAN_CONFIG: path(file), GENKAN_SECRET_KEYS: KEYS })
    const { wanted, problems } = parseDeclarations(config.clients, {
      scopes: new Set([...SCOPES, ...config.resources.flatMap(({ scopes }) => scopes)]),
      resources: new Set(config.resources.map(({ identifier }) => identifier)),
      detailTypes: new Set(config.detailTypes.map(({ type }) => type)),
      locales: new Set(['en', 'fi']),
      acrs: new Set(config.levels.map(({ acr }) => acr)),
      scopesOf: new Map(config.resources.map(({ identifier, scopes }) => [identifier, scopes])),
      ...{ legacy: config.legacyProfile, mtls: config.mtls !== undefined, trustedCa: true, approvals: true },
    })
    expect(problems).toEqual([])
    const acrs = config.levels.map(({ acr }) => acr)
    const resources = config.resources.map(({ identifier }) => identifier)
    expect(readDetailTypes(config.detailTypes, { resources, acrs }).problems).toEqual([])
    expect(wanted.length).toBeGreaterThan(3)
    for (const { name, ...settings } of config.upstreams) {
      expect([name, readSettings(settings)]).toEqual([name, { settings: expect.anything() }])
    }
    expect(readProofings(config.proofings, [])).toHaveProperty('providers')
    const brands = await Promise.all(
      config.brands.map((brand) => readDeclaration(brand, views, (file) => readFile(file))),
    )
    expect(brands.flatMap((brand) => ('problems' in brand ? brand.problems : []))).toEqual([])
  })

  it('shows the defaults as they are', () => {
    const secrets = { SHOP_SECRET: SECRET, API_SECRET: SECRET, GOOGLE_SECRET: SECRET, BANK_SECRET: SECRET }
    const env = { GENKAN_SECRET_KEYS: KEYS, ...secrets }
    const {
      clients: _,
      resources: __,
      detailTypes: _details,
      brands: _brands,
      upstreams: _upstreams,
      ...shown
    } = loadConfig({ ...env, GENKAN_CONFIG: path('config/genkan.example.yaml') })
    const {
      clients: ___,
      resources: ____,
      detailTypes: __details,
      brands: _____,
      upstreams: ______,
      ...defaults
    } = loadConfig({ GENKAN_SECRET_KEYS: KEYS })
    expect(shown).toEqual(defaults)
  })
})
