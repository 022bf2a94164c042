/** A certificate that its client has issued itself (RFC 8705 §2.2), with a P-256 key of its own. */
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { binary } from './binaries.ts'

export interface SelfSigned {
  readonly pem: string
  readonly x509: X509Certificate
  /** The key as a client registers it. */
  readonly jwk: object
  /** The header by which a proxy passes it on (RFC 9440). */
  readonly header: string
}

export function selfSigned(name: string, days = 30): SelfSigned {
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', String(days)]
  const words = ['req', ...kind, '-subj', `/CN=${name}`, '-keyout', '/dev/null']
  const pem = String(execFileSync(binary('openssl'), words, { stdio: 'pipe' }))
  const x509 = new X509Certificate(pem)
  const der = x509.raw.toString('base64')
  return { pem, x509, jwk: { ...x509.publicKey.export({ format: 'jwk' }), x5c: [der] }, header: `:${der}:` }
}
