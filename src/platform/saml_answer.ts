/**
 * The envelope of a SAML answer, before any signature is checked: it is taken only in the one shape that providers send, so
 * that there is no second assertion, signature or id for a wrapping attack to hide behind (XSW1-8), and only with algorithms
 * that bind (A19).
 */
import {
  attribute,
  children,
  DSIG,
  elements,
  isNamed,
  onlyChild,
  readXml,
  SAML,
  SAMLP,
  textOf,
  walk,
  XENC,
  type XmlBounds,
  type XmlElement,
  XmlError,
} from './saml_xml.ts'
import { UpstreamError } from './upstream.ts'

/**
 * Far above what providers send (a few kilobytes; some list two hundred groups). Digests are computed before anything is known
 * of the sender, and the library's XPath needs time that grows with the square of the elements: at these bounds it is a tenth
 * of a second at the worst (A102).
 */
const MOST_CHARACTERS = 128 * 1024
const BOUNDS: XmlBounds = { characters: MOST_CHARACTERS, tags: 1200, namespaces: 1000, attributes: 2000 }

const ENVELOPED = `${DSIG}enveloped-signature`
const EXCLUSIVE = 'http://www.w3.org/2001/10/xml-exc-c14n#'
/** No SHA-1, and nothing with a shared key: a public certificate would be the secret of an HMAC. */
const SIGNATURES = new Set([
  'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
  'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512',
  'http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1',
])
const DIGESTS = new Set([`${XENC}sha256`, `${XENC}sha512`])
const CIPHERS = new Set([
  'http://www.w3.org/2009/xmlenc11#aes128-gcm',
  'http://www.w3.org/2009/xmlenc11#aes256-gcm',
  `${XENC}aes128-cbc`,
  `${XENC}aes256-cbc`,
])
/** RSA with PKCS#1 v1.5 padding is an oracle (Bleichenbacher). */
const KEY_TRANSPORT = `${XENC}rsa-oaep-mgf1p`

const SUCCESS = 'urn:oasis:names:tc:SAML:2.0:status:Success'

/** @throws {UpstreamError} always: an answer that does not hold what it must */
export function refuse(reason: string, cause?: unknown): never {
  throw new UpstreamError('answer_refused', reason, { cause })
}

export interface SamlAnswer {
  /** What was read, to be checked in exactly these characters. */
  readonly xml: string
  readonly response: XmlElement
  /** Whether there is a signature over the whole response: it must hold then. */
  readonly responseSigned: boolean
  readonly encrypted: boolean
}

/**
 * Decodes and reads the form field.
 * @throws {UpstreamError} `answer_refused`
 */
export function readAnswer(field: string | undefined): SamlAnswer {
  const xml = decode(field)
  const response = readStrictly(xml, 'xml')
  if (!isNamed(response, SAMLP, 'Response') || attribute(response, 'Version') !== '2.0') refuse('not_a_response')
  const plain = children(response, SAML, 'Assertion')
  const encrypted = children(response, SAML, 'EncryptedAssertion')
  const [assertion] = plain
  checkIds(response)
  checkPlaces(response, assertion)
  const carried = plain.length + encrypted.length
  if (carried > 1 || carried !== (statusOf(response)[0] === SUCCESS ? 1 : 0)) refuse('assertion_count')
  const responseSigned = checkSignature(response)
  // SAML Core 5.4: every assertion is signed by itself, whoever signed the envelope.
  if (assertion !== undefined && !checkSignature(assertion)) refuse('assertion_unsigned')
  if (encrypted[0] !== undefined) checkEncryption(encrypted[0], responseSigned)
  return { xml, response, responseSigned, encrypted: encrypted.length === 1 }
}

/** @throws {UpstreamError} `answer_refused` with this reason */
export function readStrictly(xml: string, reason: string): XmlElement {
  try {
    return readXml(xml, BOUNDS)
  } catch (error) {
    if (error instanceof XmlError) refuse(error.message === 'too long' ? 'too_long' : reason, error)
    throw error
  }
}

function decode(field: string | undefined): string {
  if (field === undefined || field === '') refuse('no_answer')
  if (field.length > MOST_CHARACTERS) refuse('too_long')
  const base64 = field.replace(/[\r\n]+/g, '')
  if (base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) refuse('encoding')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(base64, 'base64'))
  } catch (cause) {
    return refuse('encoding', cause)
  }
}

/** Two elements with one id: which of them the reference of a signature means would be the library's guess. */
function checkIds(response: XmlElement): void {
  const seen = new Set<string>()
  for (const { element } of walk(response)) {
    for (const { localName, value } of Array.from(element.attributes)) {
      if (localName?.toLowerCase() !== 'id') continue
      if (seen.has(value)) refuse('duplicate_id')
      seen.add(value)
    }
  }
}

/** Assertions, their signatures and key information stand where the schema has them, whatever namespace or prefix they claim. */
function checkPlaces(response: XmlElement, assertion: XmlElement | undefined): void {
  for (const { element } of walk(response)) {
    const parent = element.parentNode
    const name = element.localName
    if (name === 'Response' && element !== response) refuse('misplaced')
    if (name === 'Assertion' && element !== assertion) refuse('misplaced')
    if (name === 'EncryptedAssertion' && parent !== response) refuse('misplaced')
    if (name === 'Signature' && parent !== response && parent !== assertion) refuse('misplaced')
    if (element.namespaceURI === DSIG && name === 'Object') refuse('misplaced')
  }
}

/**
 * Whether the element carries a signature, which then is of the one allowed form: over the element itself, with a digest and
 * a signature that bind. Whether it verifies is another matter.
 * @throws {UpstreamError} `answer_refused`
 */
export function checkSignature(signed: XmlElement): boolean {
  const found = elements(signed).filter((element) => element.localName === 'Signature')
  const [signature] = found
  if (signature === undefined) return false
  // Directly after the issuer, as the schema has it: so it belongs to this element and to no other.
  const second = elements(signed)[1]
  if (found.length !== 1 || second !== signature || signature.namespaceURI !== DSIG) refuse('misplaced')
  const [info, value, ...others] = elements(signature)
  const keyInfo = others[0] === undefined || (others.length === 1 && isNamed(others[0], DSIG, 'KeyInfo'))
  if (info === undefined || value === undefined || !keyInfo) refuse('signature_form')
  if (!isNamed(info, DSIG, 'SignedInfo') || !isNamed(value, DSIG, 'SignatureValue')) refuse('signature_form')
  const [canonicalization, method, reference, ...more] = elements(info)
  if (canonicalization === undefined || method === undefined || reference === undefined) refuse('signature_form')
  if (more.length > 0 || !isNamed(canonicalization, DSIG, 'CanonicalizationMethod')) refuse('signature_form')
  if (!isNamed(method, DSIG, 'SignatureMethod') || !isNamed(reference, DSIG, 'Reference')) refuse('signature_form')
  if (attribute(canonicalization, 'Algorithm') !== EXCLUSIVE) refuse('algorithm')
  if (!SIGNATURES.has(attribute(method, 'Algorithm') ?? '')) refuse('algorithm')
  checkReference(reference, attribute(signed, 'ID'))
  return true
}

function checkReference(reference: XmlElement, id: string | undefined): void {
  const [transforms, digest, value, ...more] = elements(reference)
  if (transforms === undefined || digest === undefined || value === undefined) refuse('signature_form')
  if (more.length > 0 || !isNamed(transforms, DSIG, 'Transforms')) refuse('signature_form')
  if (!isNamed(digest, DSIG, 'DigestMethod') || !isNamed(value, DSIG, 'DigestValue')) refuse('signature_form')
  const applied = elements(transforms).map((transform) => attribute(transform, 'Algorithm'))
  if (applied.length !== 2 || applied[0] !== ENVELOPED || applied[1] !== EXCLUSIVE) refuse('algorithm')
  if (!DIGESTS.has(attribute(digest, 'Algorithm') ?? '')) refuse('algorithm')
  if (id === undefined || id === '' || attribute(reference, 'URI') !== `#${id}`) refuse('reference')
}

/**
 * Nothing is decrypted that the provider did not sign: CBC without a signature is an oracle for whoever can post to us
 * (XML encryption, Jager and Somorovsky 2011), and anybody can encrypt to our public key.
 */
function checkEncryption(encrypted: XmlElement, responseSigned: boolean): void {
  if (!responseSigned) refuse('encryption_unsigned')
  const methods = [...walk(encrypted)]
    .map(({ element }) => element)
    .filter(({ localName }) => localName === 'EncryptionMethod')
  for (const method of methods) {
    const allowed = method.parentNode?.nodeName.endsWith('EncryptedKey') ? new Set([KEY_TRANSPORT]) : CIPHERS
    if (!allowed.has(attribute(method, 'Algorithm') ?? '')) refuse('algorithm')
  }
  if (methods.length !== 2) refuse('encryption_form')
}

/** The status and the one that explains it. */
function statusOf(response: XmlElement): [top: string | undefined, second: string | undefined] {
  const top = onlyChild(onlyChild(response, SAMLP, 'Status'), SAMLP, 'StatusCode')
  return [attribute(top, 'Value'), attribute(onlyChild(top, SAMLP, 'StatusCode'), 'Value')]
}

/**
 * What the answer says about itself: it is for us, for this departure, from this provider. All of it can be written by anyone
 * when only the assertion is signed; the assertion says it again.
 * @throws {UpstreamError} `answer_refused`
 */
export function checkEnvelope(
  { response, responseSigned }: SamlAnswer,
  expected: { readonly requestId: string; readonly redirectUri: string; readonly issuer: string },
): void {
  // IdP-initiated answers, which carry none, would be a login that nobody here began (A17).
  if (attribute(response, 'InResponseTo') !== expected.requestId) refuse('in_response_to')
  const destination = attribute(response, 'Destination')
  if (destination === undefined ? responseSigned : destination !== expected.redirectUri) refuse('destination')
  const issuer = onlyChild(response, SAML, 'Issuer')
  if (issuer === undefined ? children(response, SAML, 'Issuer').length > 0 : textOf(issuer) !== expected.issuer) {
    refuse('issuer')
  }
}

/** SAML Core 3.2.2.2, second-level codes first: they say why. */
const FAILURES: Readonly<Record<string, UpstreamError['failure']>> = {
  AuthnFailed: 'cancelled',
  RequestDenied: 'cancelled',
  UnknownPrincipal: 'cancelled',
  NoAuthnContext: 'level_unmet',
  NoAvailableIDP: 'unavailable',
  RequestUnsupported: 'misconfigured',
  InvalidNameIDPolicy: 'misconfigured',
  InvalidAttrNameOrValue: 'misconfigured',
  UnsupportedBinding: 'misconfigured',
  NoSupportedIDP: 'misconfigured',
  RequestVersionTooLow: 'misconfigured',
  RequestVersionTooHigh: 'misconfigured',
  RequestVersionDeprecated: 'misconfigured',
  VersionMismatch: 'misconfigured',
  Requester: 'misconfigured',
  Responder: 'unavailable',
}

/** The failure that the provider states; undefined when it succeeded. Its message is not kept (A97). */
export function statusFailure({ response }: SamlAnswer): UpstreamError | undefined {
  const codes = statusOf(response)
  if (codes[0] === SUCCESS) return undefined
  const prefix = 'urn:oasis:names:tc:SAML:2.0:status:'
  const names = codes.flatMap((code) => (code?.startsWith(prefix) === true ? [code.slice(prefix.length)] : []))
  for (const name of names.reverse()) {
    const failure = Object.hasOwn(FAILURES, name) ? FAILURES[name] : undefined
    if (failure !== undefined) return new UpstreamError(failure, `status_${name}`)
  }
  return new UpstreamError('answer_refused', 'status')
}
