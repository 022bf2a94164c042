/** Certificates of clients as proxies hand them on (RFC 8705 §2, RFC 9440), and names that try to be another's. */
import { describe, expect, it } from '@jest/globals'
import { hasSubject, isIssuedBy, readCertificate } from '../../src/platform/client_certificate.ts'
import { makeCertificate, rfc9440 } from '../support/certificates.ts'

const root = makeCertificate({ subject: '/O=Root Oy/CN=Root', ca: true })
const between = makeCertificate({ subject: '/CN=Between', ca: true, issuer: root })
const leaf = makeCertificate({
  subject: '/C=FI/O=Bank, Oy \\+ "Sons"/OU=b+CN=Client ä/emailAddress=it@bank.example/serialNumber=12',
  issuer: root,
  extensions: [
    'subjectAltName=@names',
    '[names]',
    'DNS.1=Client.bank.example',
    'DNS.2=*.wild.example',
    'URI.1=https://bank.example/a,b',
    'URI.2=https://bank.example/, DNS:smuggled.example',
    'email.1=it@bank.example',
    'IP.1=192.0.2.7',
    'IP.2=2001:db8::1',
  ],
})
const { cert, x509 } = leaf
const base64 = x509.raw.toString('base64')
const now = new Date()

describe('the header', () => {
  it.each([
    ['RFC 9440', rfc9440(leaf)],
    ['nginx, $ssl_client_escaped_cert', encodeURIComponent(cert)],
    ['Apache, line breaks as blanks', cert.replaceAll('\n', ' ')],
    ['HAProxy, ssl_c_der in base64', base64],
    ['Traefik, PEM without its lines', encodeURIComponent(base64)],
    ['Envoy', `By=spiffe://x;Hash=00;Cert="${encodeURIComponent(cert)}";Subject="O=Bank\\, Oy,CN=x";URI=`],
    ['Envoy, with a name that looks like a member', `Subject="CN=\\";Cert=\\"AAAA";Cert="${encodeURIComponent(cert)}"`],
    ['a chain: the first', encodeURIComponent(cert + between.cert + root.cert)],
  ])('is read: %s', (_name, header) => {
    expect(readCertificate(header)?.fingerprint256).toBe(x509.fingerprint256)
  })

  const foreign = encodeURIComponent(root.cert)
  it.each([
    ['empty', ''],
    ['Apache without a certificate', '(null)'],
    ['two headers in one, RFC 9440', `${rfc9440(root)}, ${rfc9440(leaf)}`],
    ['two headers in one, PEM', `${foreign}, ${encodeURIComponent(cert)}`],
    ['two headers in one, DER', `${base64},${base64}`],
    ['two elements of Envoy', `Hash=1;Cert="${foreign}",Hash=2;Cert="${encodeURIComponent(cert)}"`],
    ['Envoy without the certificate', 'Hash=00;Subject="CN=Client"'],
    ['certificates one after the other', Buffer.concat([x509.raw, root.x509.raw]).toString('base64')],
    ['more after it', Buffer.concat([x509.raw, Buffer.from('x')]).toString('base64')],
    ['cut', base64.slice(0, 200)],
    ['a key', encodeURIComponent(leaf.key)],
    ['a broken escape', `${encodeURIComponent(cert)}%zz`],
    ['a distinguished name', 'CN=Client,O=Bank'],
    ['base64url', x509.raw.toString('base64url')],
    ['huge', 'A'.repeat(1_000_000)],
    ['zero bytes', '\u0000\u0000'],
    ['JSON', '{"cert":1}'],
  ])('is no certificate: %s', (_name, header) => {
    expect(readCertificate(header)).toBeUndefined()
  })

  it('is no certificate when a byte of the signature differs', () => {
    const der = Buffer.from(x509.raw)
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1
    const changed = readCertificate(der.toString('base64'))
    expect(changed === undefined || !isIssuedBy(changed, [root.x509], now)).toBe(true)
  })
})

describe('the issuer', () => {
  const ofBetween = makeCertificate({ subject: '/CN=deep', issuer: between }).x509
  const past = makeCertificate({ subject: '/CN=past', issuer: root, from: -3, until: -1 }).x509
  const future = makeCertificate({ subject: '/CN=future', issuer: root, from: 1, until: 3 }).x509
  const sameName = makeCertificate({ subject: '/O=Root Oy/CN=Root', ca: true })
  const ofSameName = makeCertificate({ subject: '/CN=forged', issuer: sameName }).x509
  const expiredRoot = makeCertificate({ subject: '/CN=Old', ca: true, from: -3, until: -1 })
  const self = makeCertificate({ subject: '/CN=self' })
  const noAuthority = makeCertificate({ subject: '/CN=Mere client', issuer: root })
  const ofNoAuthority = makeCertificate({ subject: '/CN=child', issuer: noAuthority }).x509

  it('is one of those that the operator named', () => {
    expect(isIssuedBy(x509, [root.x509], now)).toBe(true)
    expect(isIssuedBy(x509, [sameName.x509, root.x509], now)).toBe(true)
    expect(isIssuedBy(ofBetween, [between.x509], now)).toBe(true)
    expect(isIssuedBy(ofBetween, [root.x509, between.x509], now)).toBe(true)
  })

  it.each([
    ['nobody is trusted', x509, []],
    ['another is trusted', x509, [between.x509]],
    ['the one between is not named', ofBetween, [root.x509]],
    ['it has passed', past, [root.x509]],
    ['it is to come', future, [root.x509]],
    ['the issuer has the same name and another key', ofSameName, [root.x509]],
    ['the issuer has passed', makeCertificate({ subject: '/CN=a', issuer: expiredRoot }).x509, [expiredRoot.x509]],
    ['it issued itself', self.x509, [root.x509]],
    ['the issuer is no authority, though named', ofNoAuthority, [noAuthority.x509]],
    ['it is a client of its own making, though named', self.x509, [self.x509]],
  ])('is not when %s', (_name, certificate, trusted) => {
    expect(isIssuedBy(certificate, trusted, now)).toBe(false)
  })
})

describe('the subject (§2.1.2)', () => {
  const DN = 'serialNumber=12,emailAddress=it@bank.example,CN=Client ä+OU=b,O=Bank\\, Oy \\+ \\"Sons\\",C=FI'
  it.each([
    ['as RFC 4514 writes it', DN],
    ['with hexadecimal escapes', DN.replace('\\,', '\\2C').replace('ä', '\\C3\\A4')],
    ['names of a pair in the other order', DN.replace('CN=Client ä+OU=b', 'OU=b+CN=Client ä')],
    ['other letters, more blanks', DN.toUpperCase().replace('CLIENT Ä', 'client   ä').replaceAll(',C', ' , C')],
    ['types by their numbers', DN.replace('emailAddress', '1.2.840.113549.1.9.1').replace('serialNumber', '2.5.4.5')],
  ])('%s', (_name, dn) => {
    expect(hasSubject(x509, 'tls_client_auth_subject_dn', dn)).toBe(true)
  })

  it.each([
    [
      'in the other direction',
      DN.split(/(?<!\\),/)
        .reverse()
        .join(','),
    ],
    ['less', DN.replace('serialNumber=12,', '')],
    ['more', `DC=com,${DN}`],
    ['another value', DN.replace('=12', '=13')],
    ['a comma that is none', DN.replace('\\,', ',')],
    ['an escaped backslash before the digits of a comma', DN.replace('\\,', '\\\\2C')],
    ['empty', ''],
    ['no name', 'client'],
  ])('not %s', (_name, dn) => {
    expect(hasSubject(x509, 'tls_client_auth_subject_dn', dn)).toBe(false)
  })

  it.each([
    ['a line break in a value', '/O=Bank\nCN=client', 'CN=client,O=Bank'],
    ['a comma in a value', '/CN=client,O=Bank', 'CN=client,O=Bank'],
    ['a plus sign in a value', '/CN=client\\+OU=b', 'CN=client+OU=b'],
    ['a backslash and digits in a value', '/CN=client\\\\2C x', 'CN=client\\, x'],
    ['two names of one type', '/CN=client/CN=other', 'CN=client'],
  ])('cannot be made up by %s', (_name, subject, dn) => {
    const { x509: made } = makeCertificate({ subject, issuer: root })
    expect(hasSubject(made, 'tls_client_auth_subject_dn', dn)).toBe(false)
  })

  it('that is empty is nobody', () => {
    const { x509: made } = makeCertificate({ subject: '/', issuer: root })
    for (const dn of ['', 'CN=', ',', '=']) expect(hasSubject(made, 'tls_client_auth_subject_dn', dn)).toBe(false)
    expect(hasSubject(made, 'tls_client_auth_san_dns', '')).toBe(false)
  })

  it.each([
    ['tls_client_auth_san_dns', 'client.BANK.example', true],
    ['tls_client_auth_san_dns', 'smuggled.example', false],
    ['tls_client_auth_san_dns', 'x.wild.example', false],
    ['tls_client_auth_san_dns', 'bank.example', false],
    ['tls_client_auth_san_uri', 'https://bank.example/a,b', true],
    ['tls_client_auth_san_uri', 'https://bank.example/, DNS:smuggled.example', true],
    ['tls_client_auth_san_uri', 'https://bank.example/a', false],
    ['tls_client_auth_san_uri', 'https://BANK.example/a,b', false],
    ['tls_client_auth_san_email', 'it@bank.example', true],
    ['tls_client_auth_san_email', 'ceo@bank.example', false],
    ['tls_client_auth_san_ip', '192.0.2.7', true],
    ['tls_client_auth_san_ip', '2001:DB8:0:0::1', true],
    ['tls_client_auth_san_ip', '192.0.2.8', false],
    ['tls_client_auth_san_ip', 'Client.bank.example', false],
    ['tls_client_auth_san_ip', '', false],
  ] as const)('%s %s: %s', (member, expected, result) => {
    expect(hasSubject(x509, member, expected)).toBe(result)
  })
})
