/** What a SAML identity provider says of itself, and whether its certificates serve. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import {
  attribute,
  children,
  DSIG,
  instantOf,
  isNamed,
  METADATA,
  onlyChild,
  readXml,
  textOf,
  walk,
  type XmlElement,
} from './saml_xml.ts'
import { webUriProblem } from './uri_rules.ts'

const REDIRECT = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect'
export const PERSISTENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'
const PROTOCOL = 'urn:oasis:names:tc:SAML:2.0:protocol'

/** Federations publish thousands of providers in one file; one of them is to be cut out before. */
const BOUNDS = { characters: 2_000_000, tags: 50_000, namespaces: 5000, attributes: 100_000 }
/** Each certificate is one more try at each signature. */
const MOST_CERTIFICATES = 4
const ENTITY_ID_LENGTH = 1024
const LEAST_RSA_BITS = 2048
const DAY = 86_400_000
const WARNED_DAYS = 30

/** What a provider is known by: its metadata, or the same things one by one. */
export type SamlProvider =
  | {
      readonly metadata: string
      /** Which one, when the metadata describe several. */
      readonly entityId?: string | undefined
    }
  | {
      readonly entityId: string
      /** Where an AuthnRequest is sent by HTTP-Redirect. */
      readonly signOnUrl: string
      /** PEM or bare base64; several while the provider changes its key. */
      readonly certificates: readonly string[]
    }

export interface KnownProvider {
  readonly entityId: string
  readonly signOnUrl: string
  readonly certificates: readonly X509Certificate[]
  readonly nameIdFormats: readonly string[]
  readonly wantsRequestsSigned: boolean
  readonly validUntil?: number | undefined
}

/** @throws {Error} saying in plain words what cannot be used */
export function readProvider(provider: SamlProvider): KnownProvider {
  const known = 'metadata' in provider ? ofMetadata(provider.metadata, provider.entityId) : ofSettings(provider)
  if (known.entityId.length < 1 || known.entityId.length > ENTITY_ID_LENGTH) {
    throw new Error(`The EntityID must have 1 to ${ENTITY_ID_LENGTH} characters`)
  }
  const problem = webUriProblem(known.signOnUrl)
  if (problem !== undefined) throw new Error(`The single sign-on URL ${problem}`)
  if (known.certificates.length === 0) throw new Error('There is no certificate for signatures')
  if (known.certificates.length > MOST_CERTIFICATES) {
    throw new Error(`There are more than ${MOST_CERTIFICATES} certificates for signatures`)
  }
  for (const certificate of known.certificates) checkKey(certificate)
  return known
}

function ofSettings({
  entityId,
  signOnUrl,
  certificates,
}: Extract<SamlProvider, { signOnUrl: string }>): KnownProvider {
  const read = certificates.map(certificateOf)
  return { entityId, signOnUrl, certificates: read, nameIdFormats: [], wantsRequestsSigned: false }
}

/** The signature of metadata is not checked: whoever configures them vouches for where they come from. */
function ofMetadata(xml: string, entityId: string | undefined): KnownProvider {
  const found = [...walk(readXml(xml, BOUNDS, { comments: true }))]
    .map(({ element }) => element)
    .filter((element) => isNamed(element, METADATA, 'EntityDescriptor'))
    .filter((entity) => entityId === undefined || attribute(entity, 'entityID') === entityId)
    .flatMap((entity) => children(entity, METADATA, 'IDPSSODescriptor').map((role) => ({ entity, role })))
    .filter(({ role }) => attribute(role, 'protocolSupportEnumeration')?.split(/\s+/).includes(PROTOCOL) === true)
  const [one, second] = found
  if (one === undefined) throw new Error('The metadata describe no SAML 2.0 identity provider')
  if (second !== undefined)
    throw new Error('The metadata describe several identity providers: say which by its EntityID')
  const services = children(one.role, METADATA, 'SingleSignOnService')
  const redirect = services.find((service) => attribute(service, 'Binding') === REDIRECT)
  if (redirect === undefined) throw new Error('The metadata offer no single sign-on by HTTP-Redirect')
  return {
    entityId: attribute(one.entity, 'entityID') ?? '',
    signOnUrl: attribute(redirect, 'Location') ?? '',
    certificates: signingCertificates(one.role),
    nameIdFormats: children(one.role, METADATA, 'NameIDFormat').map((format) => (textOf(format) ?? '').trim()),
    wantsRequestsSigned: /^(true|1)$/.test(attribute(one.role, 'WantAuthnRequestsSigned') ?? ''),
    validUntil: instantOf(attribute(one.role, 'validUntil') ?? attribute(one.entity, 'validUntil')),
  }
}

function signingCertificates(role: XmlElement): X509Certificate[] {
  return children(role, METADATA, 'KeyDescriptor')
    .filter((key) => (attribute(key, 'use') ?? 'signing') === 'signing')
    .map((key) => onlyChild(key, DSIG, 'KeyInfo'))
    .flatMap((keyInfo) => (keyInfo === undefined ? [] : children(keyInfo, DSIG, 'X509Data')))
    .flatMap((data) => children(data, DSIG, 'X509Certificate'))
    .map((certificate) => certificateOf(textOf(certificate) ?? ''))
}

function certificateOf(text: string): X509Certificate {
  try {
    if (text.includes('-----BEGIN')) return new X509Certificate(text)
    return new X509Certificate(Buffer.from(text.replace(/\s+/g, ''), 'base64'))
  } catch (cause) {
    throw new Error('A certificate cannot be read', { cause })
  }
}

/** Signatures are checked with RSA only; a short key could be factored. */
function checkKey({ publicKey }: X509Certificate): void {
  if (publicKey.asymmetricKeyType !== 'rsa') throw new Error('A certificate has a key that is not RSA')
  const bits = publicKey.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < LEAST_RSA_BITS) throw new Error(`A certificate has an RSA key of fewer than ${LEAST_RSA_BITS} bits`)
}

/** A private key of ours (PEM) and the certificate that the provider is given for it (PEM). */
export interface SamlKey {
  readonly privateKey: string
  readonly certificate: string
}

/** @throws {Error} when it is not one RSA key with its own certificate */
export function checkOwnKey(name: string, { privateKey, certificate }: SamlKey): void {
  const read = certificateOf(certificate)
  checkKey(read)
  try {
    if (read.checkPrivateKey(createPrivateKey(privateKey))) return
  } catch (cause) {
    throw new Error(`The ${name} key cannot be read`, { cause })
  }
  throw new Error(`The certificate is not that of the ${name} key`)
}

/** What is wrong, or will soon be, with the times of a certificate. */
export function certificateProblems(certificate: string | X509Certificate, now: number, whose: string): string[] {
  const { validFrom, validTo, fingerprint256 } = new X509Certificate(certificate.toString())
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)]
  const name = `${whose} certificate ${fingerprint256.slice(0, 23)}…`
  if (now >= to) return [`${name} expired on ${day(to)}`]
  if (now < from) return [`${name} is valid from ${day(from)} only`]
  return to - now < WARNED_DAYS * DAY ? [`${name} expires on ${day(to)}`] : []
}

/**
 * What is wrong with the times of a provider. They stop no sign-in: a certificate here only carries a key, as the metadata
 * interoperability profile has it, and one that expires at night would lock everybody out.
 */
export function timeProblems(known: KnownProvider, now: number): string[] {
  const problems = known.certificates.flatMap((certificate) => certificateProblems(certificate, now, "The provider's"))
  if (known.validUntil !== undefined && now >= known.validUntil) {
    problems.push(`The metadata were valid until ${day(known.validUntil)}: fetch them anew`)
  }
  return problems
}

export const day = (time: number): string => new Date(time).toISOString().slice(0, 10)
