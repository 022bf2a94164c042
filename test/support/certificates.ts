/** Certificates for clients (RFC 8705), made by openssl for this run, and the header by which a proxy passes one on. */
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary } from './binaries.ts'

export interface MadeCertificate {
  readonly cert: string
  readonly key: string
  readonly x509: X509Certificate
}

export interface CertificateWishes {
  /** As openssl takes it: `/C=FI/O=Bank/CN=client`. */
  readonly subject: string
  /** More extensions: `subjectAltName=DNS:client.example`. */
  readonly extensions?: readonly string[]
  readonly issuer?: MadeCertificate
  /** Whether it may issue others. */
  readonly ca?: boolean
  /** Days from now; negative ones have passed. */
  readonly from?: number
  readonly until?: number
}

/** Makes a certificate with a new P-256 key: issued by `issuer`, or by itself. */
export function makeCertificate({ subject, extensions = [], issuer, ca = false, ...days }: CertificateWishes) {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-cert-'))
  const path = (name: string) => join(folder, name)
  try {
    const openssl = (...words: string[]) => execFileSync(binary('openssl'), words, { stdio: 'pipe' })
    const wanted = [`basicConstraints=critical,CA:${ca ? 'TRUE' : 'FALSE'}`, ...extensions]
    const key = ['-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-keyout', path('key')]
    const name = ['-utf8', '-multivalue-rdn', '-subj', subject]
    openssl('req', '-new', ...key, ...name, '-out', path('csr'))
    writeFileSync(path('ext'), wanted.join('\n'))
    writeFileSync(path('ca.key'), issuer?.key ?? readFileSync(path('key')))
    if (issuer !== undefined) writeFileSync(path('ca.cert'), issuer.cert)
    const { from = -1, until = 2 } = days
    writeFileSync(path('index'), '')
    writeFileSync(path('serial'), `${Date.now().toString(16).padStart(16, '0')}\n`)
    writeFileSync(path('config'), CA_CONFIG.replaceAll('FOLDER', folder))
    const self = issuer === undefined ? ['-selfsign'] : ['-cert', path('ca.cert')]
    const dates = ['-startdate', dateAfter(from), '-enddate', dateAfter(until)]
    const io = ['-in', path('csr'), '-out', path('cert'), '-keyfile', path('ca.key'), '-extfile', path('ext')]
    openssl('ca', '-batch', '-utf8', '-notext', '-preserveDN', '-config', path('config'), ...self, ...dates, ...io)
    const cert = readFileSync(path('cert'), 'utf8')
    return { cert, key: readFileSync(path('key'), 'utf8'), x509: new X509Certificate(cert) } satisfies MadeCertificate
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const CA_CONFIG = `[ca]
default_ca = own
[own]
new_certs_dir = FOLDER
database = FOLDER/index
serial = FOLDER/serial
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
email_in_dn = yes
[any]
`

function dateAfter(days: number): string {
  return new Date(Date.now() + days * 86_400_000)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-T:]/g, '')
}

/** RFC 9440: DER in base64 between colons. */
export function rfc9440({ x509 }: MadeCertificate): string {
  return `:${x509.raw.toString('base64')}:`
}

/** `cnf` of a token that is bound to the certificate (RFC 8705 §3.1). */
export function certificateThumbprint({ x509 }: MadeCertificate): string {
  return Buffer.from(x509.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')
}
