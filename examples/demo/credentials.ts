/** The demo's secrets: made at the first start, kept in the data directory, never committed. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'

/** Environment of the demo's processes, the partner's private key included. */
export type Credentials = { readonly [name: string]: string }

/**
 * Reads `demo.env` of the data directory, or writes it with new credentials (mode 0600). `addresses` are written beside them
 * each time, so that the partner example, started by hand, finds the running demo.
 */
export function loadCredentials(dataDir: string, addresses: { readonly [name: string]: string }): Credentials {
  const path = join(dataDir, 'demo.env')
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const kept = existsSync(path) ? (parseEnv(readFileSync(path, 'utf8')) as Credentials) : newCredentials()
  const credentials = { ...kept, ...addresses }
  const lines = Object.entries(credentials).map(([name, value]) => `${name}=${value}\n`)
  writeFileSync(path, lines.join(''), { mode: 0o600 })
  return credentials
}

function newCredentials(): Credentials {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: 'demo-partner' }
  const secret = () => randomBytes(32).toString('base64url')
  return {
    DEMO_WEB_SECRET: secret(),
    DEMO_PARTNER_SECRET: secret(),
    DEMO_PARTNER_KEY: Buffer.from(JSON.stringify(jwk)).toString('base64url'),
    DEMO_PARTNER_KEY_X: String(jwk.x),
    DEMO_PARTNER_KEY_Y: String(jwk.y),
  }
}
