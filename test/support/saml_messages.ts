/**
 * SAML answers for tests, written in their canonical form, so that a test can bend any of it and sign it anew: `signElement`
 * signs without a library, with whatever algorithm an attacker would name.
 */
import { execFileSync } from 'node:child_process'
import { createHash, createHmac, createSign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary } from './binaries.ts'

export interface Certified {
  readonly privateKey: string
  readonly certificate: string
}

/** A key with a self-signed certificate of ten years; `kind` as `openssl req -newkey` takes it. */
export function createCertified(kind = 'rsa:2048', days = 3650): Certified {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-saml-'))
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const options = [
      '-x509',
      '-nodes',
      '-newkey',
      kind,
      '-days',
      String(days),
      '-subj',
      '/CN=saml',
      '-keyout',
      key,
      '-out',
      cert,
    ]
    execFileSync(binary('openssl'), ['req', ...options], { stdio: 'pipe' })
    return { privateKey: readFileSync(key, 'utf8'), certificate: readFileSync(cert, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export const bare = (pem: string): string => pem.replace(/-----[^-]+-----|\s+/g, '')
export const encode = (xml: string): string => Buffer.from(xml).toString('base64')

/** Key information that brings a certificate along. */
export const keyInfoOf = ({ certificate }: Certified): string =>
  `<ds:KeyInfo><ds:X509Data><ds:X509Certificate>${bare(certificate)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`

const ASSERTION_NS = 'urn:oasis:names:tc:SAML:2.0:assertion'
const PROTOCOL_NS = 'urn:oasis:names:tc:SAML:2.0:protocol'
export const DSIG = 'http://www.w3.org/2000/09/xmldsig#'
export const RSA_SHA256 = 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256'
const SHA256 = 'http://www.w3.org/2001/04/xmlenc#sha256'
const EXCLUSIVE = 'http://www.w3.org/2001/10/xml-exc-c14n#'
const STATUS = 'urn:oasis:names:tc:SAML:2.0:status:'
export const PERSISTENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'

/** What an answer says; every member can be bent. */
export interface Said {
  readonly now: number
  readonly issuer: string
  readonly audience: string
  readonly destination: string
  readonly recipient: string
  readonly inResponseTo: string
  readonly subjectInResponseTo?: string
  readonly responseId: string
  readonly assertionId: string
  /** The whole NameID element, or what stands in its place. */
  readonly nameId: string
  readonly attributes: Readonly<Record<string, string | readonly string[]>>
  readonly statement: string
  readonly confirmation?: string
  readonly conditions?: string
}

export const instant = (time: number): string => new Date(time).toISOString()

export const nameId = (value: string, format: string | null = PERSISTENT, more = ''): string =>
  `<saml:NameID${format === null ? '' : ` Format="${format}"`}${more}>${value}</saml:NameID>`

export const authnStatement = (
  time: number,
  acr = 'urn:oasis:names:tc:SAML:2.0:ac:classes:Password',
  more = '',
): string =>
  `<saml:AuthnStatement AuthnInstant="${instant(time)}" SessionIndex="_session1"${more}><saml:AuthnContext>` +
  `<saml:AuthnContextClassRef>${acr}</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`

function attributeStatement(attributes: Said['attributes']): string {
  const value = (text: string) => `<saml:AttributeValue>${text}</saml:AttributeValue>`
  const written = Object.entries(attributes).map(
    ([name, values]) => `<saml:Attribute Name="${name}">${[values].flat().map(value).join('')}</saml:Attribute>`,
  )
  return written.length === 0 ? '' : `<saml:AttributeStatement>${written.join('')}</saml:AttributeStatement>`
}

/** An assertion without a signature, in canonical form. */
export function assertionOf(said: Said): string {
  const { now } = said
  const until = instant(now + 300_000)
  const confirmation =
    said.confirmation ??
    `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData ` +
      `InResponseTo="${said.subjectInResponseTo ?? said.inResponseTo}" NotOnOrAfter="${until}" ` +
      `Recipient="${said.recipient}"></saml:SubjectConfirmationData></saml:SubjectConfirmation>`
  const conditions =
    said.conditions ??
    `<saml:Conditions NotBefore="${instant(now - 5000)}" NotOnOrAfter="${until}"><saml:AudienceRestriction>` +
      `<saml:Audience>${said.audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>`
  return (
    `<saml:Assertion xmlns:saml="${ASSERTION_NS}" ID="${said.assertionId}" IssueInstant="${instant(now)}" Version="2.0">` +
    `<saml:Issuer>${said.issuer}</saml:Issuer><saml:Subject>${said.nameId}${confirmation}</saml:Subject>` +
    `${conditions}${said.statement}${attributeStatement(said.attributes)}</saml:Assertion>`
  )
}

/** A response around `body`. `status` is one code, or two with a space between. */
export function responseOf(said: Said, body: string, status = 'Success'): string {
  const [top = '', second] = status.split(' ')
  const inner = second === undefined ? '' : `<samlp:StatusCode Value="${STATUS}${second}"></samlp:StatusCode>`
  return (
    `<samlp:Response xmlns:samlp="${PROTOCOL_NS}" Destination="${said.destination}" ID="${said.responseId}" ` +
    `InResponseTo="${said.inResponseTo}" IssueInstant="${instant(said.now)}" Version="2.0">` +
    `<saml:Issuer xmlns:saml="${ASSERTION_NS}">${said.issuer}</saml:Issuer>` +
    `<samlp:Status><samlp:StatusCode Value="${STATUS}${top}">${inner}</samlp:StatusCode></samlp:Status>${body}</samlp:Response>`
  )
}

export interface HandSigning {
  readonly key: Certified
  readonly algorithm?: string
  readonly digestAlgorithm?: string
  readonly canonicalization?: string
  readonly transforms?: readonly string[]
  /** Makes the signature value of SignedInfo: RSA with SHA-256 unless told otherwise. */
  readonly value?: (signedInfo: string) => string
  readonly digest?: (canonical: string) => string
  readonly keyInfo?: string
}

/**
 * Puts a signature after the issuer of one element written in canonical form: `wanted` is its start tag's name, and the
 * element is the whole of `xml` or occurs once in it.
 */
export function signElement(xml: string, wanted: 'saml:Assertion' | 'samlp:Response', how: HandSigning): string {
  const element = xml.slice(xml.indexOf(`<${wanted} `), xml.indexOf(`</${wanted}>`) + wanted.length + 3)
  const id = /ID="([^"]*)"/.exec(element)?.[1] ?? ''
  const digest = how.digest ?? ((text: string) => createHash('sha256').update(text).digest('base64'))
  const transforms = (how.transforms ?? [`${DSIG}enveloped-signature`, EXCLUSIVE])
    .map((algorithm) => `<ds:Transform Algorithm="${algorithm}"></ds:Transform>`)
    .join('')
  const info = (namespace: string) =>
    `<ds:SignedInfo${namespace}><ds:CanonicalizationMethod Algorithm="${how.canonicalization ?? EXCLUSIVE}">` +
    `</ds:CanonicalizationMethod><ds:SignatureMethod Algorithm="${how.algorithm ?? RSA_SHA256}"></ds:SignatureMethod>` +
    `<ds:Reference URI="#${id}"><ds:Transforms>${transforms}</ds:Transforms>` +
    `<ds:DigestMethod Algorithm="${how.digestAlgorithm ?? SHA256}"></ds:DigestMethod>` +
    `<ds:DigestValue>${digest(element)}</ds:DigestValue></ds:Reference></ds:SignedInfo>`
  const value = (how.value ?? rsa('RSA-SHA256', how.key))(info(` xmlns:ds="${DSIG}"`))
  const keyInfo = how.keyInfo ?? keyInfoOf(how.key)
  const signature = `<ds:Signature xmlns:ds="${DSIG}">${info('')}<ds:SignatureValue>${value}</ds:SignatureValue>${keyInfo}</ds:Signature>`
  const place = element.indexOf('</saml:Issuer>') + '</saml:Issuer>'.length
  return xml.replace(element, () => element.slice(0, place) + signature + element.slice(place))
}

export const rsa =
  (algorithm: string, { privateKey }: Certified) =>
  (text: string): string =>
    createSign(algorithm).update(text).sign(privateKey, 'base64')

export const hmac =
  (hash: string, key: string) =>
  (text: string): string =>
    createHmac(hash, key).update(text).digest('base64')
