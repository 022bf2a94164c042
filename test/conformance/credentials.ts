/** Keys, certificates and secrets of the clients that the conformance suite plays: made once, kept in the data directory. */
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, type JsonWebKey, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary } from '../support/binaries.ts'

/** What one client has. */
export interface Party {
  /** Private, with `kid` and `alg`. */
  readonly jwk: JsonWebKey & { readonly kid: string }
  /** PEM: self-signed, its common name is the party's. */
  readonly certificate: string
  readonly key: string
}

export interface Credentials {
  readonly secret: string
  readonly first: Party
  readonly second: Party
}

/** Reads `conformance.json` of the data directory, or writes it (mode 0600). */
export function loadCredentials(dataDir: string): Credentials {
  const path = join(dataDir, 'conformance.json')
  if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8')) as Credentials
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const made = { secret: randomBytes(32).toString('base64url'), first: newParty('first'), second: newParty('second') }
  writeFileSync(path, JSON.stringify(made), { mode: 0o600 })
  return made
}

/** The environment that `genkan.yaml` beside this file reads. */
export function environment({ secret, first, second }: Credentials, issuer: string, suite: string) {
  return {
    CONFORMANCE_ISSUER: issuer,
    CONFORMANCE_SUITE: suite,
    CONFORMANCE_SECRET: secret,
    CONFORMANCE_CERTIFICATES: first.certificate + second.certificate,
    CONFORMANCE_FIRST_X: String(first.jwk.x),
    CONFORMANCE_FIRST_Y: String(first.jwk.y),
    CONFORMANCE_SECOND_X: String(second.jwk.x),
    CONFORMANCE_SECOND_Y: String(second.jwk.y),
  }
}

function newParty(name: string): Party {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid: name, alg: 'ES256', use: 'sig' }
  return { jwk, ...selfSigned(name) }
}

/** An authority of its own, for a year. */
function selfSigned(name: string): Pick<Party, 'certificate' | 'key'> {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-conformance-'))
  try {
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
    const kind = ['-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-days', '365']
    const values = ['req', ...kind, '-subj', `/CN=${name}`, '-keyout', key, '-out', certificate]
    execFileSync(binary('openssl'), values, { stdio: 'pipe' })
    return { certificate: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
