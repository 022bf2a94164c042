/**
 * Certificates of clients (RFC 8705) as a proxy that ends TLS hands them on: read from a header, and compared with what a
 * client has registered. Whether the header may be believed was decided before (`http/request_context`).
 */
import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { CERTIFICATE_SUBJECTS } from './client_protocol.ts'

/** What no certificate of a client is longer than; the rest is not looked at. */
const MOST_CHARACTERS = 16_384
const PEM = /-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/

/**
 * The certificate in a header: base64 of DER between colons (RFC 9440 `Client-Cert`), or PEM, as it is, in base64 alone, or
 * with percent escapes (nginx `$ssl_client_escaped_cert`, HAProxy `ssl_c_der`, Traefik, Apache), or the member `Cert` of
 * Envoy's `X-Forwarded-Client-Cert`. Of a chain in PEM it is the first. undefined for anything else, and for two headers in
 * one: the first of them would be the sender's own.
 */
export function readCertificate(header: string): X509Certificate | undefined {
  if (header === '' || header.length > MOST_CHARACTERS) return undefined
  try {
    const value = header.includes('Cert="') ? envoyMember(header) : header
    const text = value.includes('%') ? decodeURIComponent(value) : value
    const base64 = (PEM.exec(text)?.[1] ?? text).replace(/^:|:$|\s/g, '')
    if (text.includes(',') || !/^[A-Za-z0-9+/]+=*$/.test(base64)) return undefined
    const der = Buffer.from(base64, 'base64')
    const certificate = new X509Certificate(der)
    return certificate.raw.equals(der) ? certificate : undefined
  } catch {
    return undefined
  }
}

/** One proxy only is believed, so only one certificate is. */
function envoyMember(header: string): string {
  const found = [...header.matchAll(/(?:^|[;,])Cert="([^"]*)"/g)]
  return found.length === 1 ? (found[0]?.[1] ?? '') : ''
}

/**
 * Whether the certificate is good now and was issued by one of the trusted ones (RFC 8705 §2.1): each of them, whoever has
 * issued it, was named by the operator. Asks nobody: revocation is the proxy's or the authority's to say.
 */
export function isIssuedBy(certificate: X509Certificate, trusted: readonly X509Certificate[], now: Date): boolean {
  return isGood(certificate, now) && trusted.some((issuer) => isGood(issuer, now) && issued(issuer, certificate))
}

function issued(issuer: X509Certificate, subject: X509Certificate): boolean {
  return issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey)
}

function isGood({ validFrom, validTo }: X509Certificate, now: Date): boolean {
  return Date.parse(validFrom) <= now.getTime() && now.getTime() <= Date.parse(validTo)
}

type Subject = (typeof CERTIFICATE_SUBJECTS)[number]

/** Whether the certificate has the registered subject (RFC 8705 §2.1.2). */
export function hasSubject(certificate: X509Certificate, member: Subject, expected: string): boolean {
  switch (member) {
    case 'tls_client_auth_subject_dn':
      return sameNames(subjectNames(certificate), distinguishedName(expected))
    case 'tls_client_auth_san_dns':
      return names(certificate, 'DNS').some((name) => name.toLowerCase() === expected.toLowerCase())
    case 'tls_client_auth_san_email':
      return names(certificate, 'email').includes(expected)
    case 'tls_client_auth_san_uri':
      return names(certificate, 'URI').includes(expected)
    case 'tls_client_auth_san_ip':
      return isIP(expected) !== 0 && certificate.checkIP(expected) !== undefined
  }
}

/** Node quotes a value that holds what could be taken for the next one, as a JSON string. */
function names({ subjectAltName }: X509Certificate, kind: string): string[] {
  const found = (subjectAltName ?? '').matchAll(/(?:^|, )([\w ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g)
  return [...found]
    .filter(([, type]) => type === kind)
    .map(([, , value = '']) => (value.startsWith('"') ? String(JSON.parse(value)) : value))
}

type Names = readonly (readonly [type: string, value: string])[]

/** Node writes one name a line, the most general first; names of several values are on one line, between plus signs. */
function subjectNames({ subject }: { readonly subject?: string }): Names {
  return (subject ?? '').split('\n').reverse().flatMap(relativeName)
}

/** RFC 4514: the most special first. */
function distinguishedName(text: string): Names {
  return (text.match(/(?:[^,\\]|\\.)+/g) ?? []).flatMap(relativeName)
}

function relativeName(text: string): [string, string][] {
  const parts = (text.match(/(?:[^+\\]|\\.)+/g) ?? []).map((part): [string, string] => {
    const at = part.indexOf('=')
    return [typeOf(part.slice(0, at).trim()), unescaped(part.slice(at + 1).trim())]
  })
  return parts.sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Types that Node and RFC 4514 spell in different ways. */
const TYPES: { readonly [spelling: string]: string } = {
  EMAILADDRESS: '1.2.840.113549.1.9.1',
  E: '1.2.840.113549.1.9.1',
  SERIALNUMBER: '2.5.4.5',
  ORGANIZATIONIDENTIFIER: '2.5.4.97',
  BUSINESSCATEGORY: '2.5.4.15',
  JURISDICTIONC: '1.3.6.1.4.1.311.60.2.1.3',
  S: 'ST',
}

function typeOf(spelling: string): string {
  const upper = spelling.toUpperCase().replace(/^OID\./, '')
  return TYPES[upper] ?? upper
}

/** `\\,` and `\\2C` are a comma; of blanks in a row one counts (RFC 4517 §4.2.11), capital letters do not. */
function unescaped(value: string): string {
  const text = value.replace(/((?:\\[0-9a-fA-F]{2})+)|\\(.)/g, (_whole, hex?: string, plain = '') =>
    hex === undefined ? plain : Buffer.from(hex.replaceAll('\\', ''), 'hex').toString(),
  )
  return text.replace(/ +/g, ' ').trim().toLowerCase()
}

function sameNames(a: Names, b: Names): boolean {
  return a.length > 0 && JSON.stringify(a) === JSON.stringify(b)
}
