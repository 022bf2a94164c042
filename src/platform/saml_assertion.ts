/**
 * What an assertion must hold, read from the signed characters alone (SAML Profiles 4.1.4.3, SAML Core 2.5). All times are
 * compared with the clock that is passed in; the library's own checks of time are off.
 */
import { refuse } from './saml_answer.ts'
import { type Attributes, claimsOf, readAttributes } from './saml_attributes.ts'
import { PERSISTENT } from './saml_metadata.ts'
import {
  attribute,
  children,
  elements,
  instantOf,
  isNamed,
  onlyChild,
  SAML,
  textOf,
  type XmlElement,
} from './saml_xml.ts'
import type { Json, UpstreamIdentity } from './upstream.ts'

/** How far the provider's clock may be from ours. */
const SKEW = 60_000
/** An assertion is posted at once; what is older waited somewhere. */
const MOST_AGE = 5 * 60_000
const BEARER = 'urn:oasis:names:tc:SAML:2.0:cm:bearer'
const EMAIL_ADDRESS = 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress'
/** Conditions that ask nothing of us beyond what is checked anyway. */
const KNOWN_CONDITIONS = new Set(['AudienceRestriction', 'OneTimeUse', 'ProxyRestriction'])
const SUBJECT_LENGTH = 255

export interface Expected {
  readonly now: number
  readonly requestId: string
  readonly redirectUri: string
  readonly issuer: string
  /** Our EntityID. */
  readonly audience: string
  /** The attribute that names the person; without it the persistent NameID does. */
  readonly subjectAttribute?: string | undefined
  readonly ownedDomains?: readonly string[] | undefined
}

export interface ReadAssertion {
  readonly identity: UpstreamIdentity
  readonly id: string
  /** From this moment on it would be refused as too old anyway; milliseconds since the epoch. */
  readonly until: number
}

/** @throws {UpstreamError} `answer_refused` */
export function readAssertion(assertion: XmlElement, expected: Expected): ReadAssertion {
  if (!isNamed(assertion, SAML, 'Assertion') || attribute(assertion, 'Version') !== '2.0') refuse('not_an_assertion')
  const id = attribute(assertion, 'ID')
  if (id === undefined || id === '') refuse('not_an_assertion')
  if (textOf(onlyChild(assertion, SAML, 'Issuer')) !== expected.issuer) refuse('issuer')
  const issued = instantOf(attribute(assertion, 'IssueInstant'))
  if (issued === undefined || issued > expected.now + SKEW) refuse('issue_instant')
  const until = issued + MOST_AGE + SKEW
  if (expected.now >= until) refuse('too_old')
  checkConditions(assertion, expected)
  const subject = onlyChild(assertion, SAML, 'Subject')
  if (subject === undefined) refuse('no_subject')
  checkConfirmation(subject, expected)
  const attributes = readAttributes(assertion)
  const named = nameIdOf(subject)
  const nameIdEmail = named?.format === EMAIL_ADDRESS ? named.value : undefined
  const claims = claimsOf(attributes, nameIdEmail, expected.ownedDomains ?? [])
  const identity: UpstreamIdentity = {
    issuer: expected.issuer,
    subject: subjectOf(named, attributes, claims.email, expected),
    claims,
    ...authenticationOf(assertion, expected.now),
  }
  return { identity, id, until }
}

function checkConditions(assertion: XmlElement, { now, audience }: Expected): void {
  const conditions = onlyChild(assertion, SAML, 'Conditions')
  if (conditions === undefined) refuse('conditions')
  checkTimes(conditions, now)
  // SAML Core 2.5.1: a condition that is not understood makes the assertion indeterminate.
  const unknown = elements(conditions).some(
    ({ namespaceURI, localName }) => namespaceURI !== SAML || !KNOWN_CONDITIONS.has(localName),
  )
  if (unknown) refuse('conditions')
  const restrictions = children(conditions, SAML, 'AudienceRestriction')
  const ours = restrictions.every((restriction) =>
    children(restriction, SAML, 'Audience').some((element) => textOf(element) === audience),
  )
  if (restrictions.length === 0 || !ours) refuse('audience')
}

/** `NotBefore` and `NotOnOrAfter` where they stand; a time that cannot be read is no time at all. */
function checkTimes(element: XmlElement, now: number): void {
  if (element.hasAttribute('NotBefore')) {
    const from = instantOf(attribute(element, 'NotBefore'))
    if (from === undefined || now + SKEW < from) refuse('not_yet_valid')
  }
  if (element.hasAttribute('NotOnOrAfter')) {
    const to = instantOf(attribute(element, 'NotOnOrAfter'))
    if (to === undefined || now - SKEW >= to) refuse('expired')
  }
}

/** One bearer confirmation, for this place, this departure and this time. */
function checkConfirmation(subject: XmlElement, { now, requestId, redirectUri }: Expected): void {
  const bearers = children(subject, SAML, 'SubjectConfirmation').filter((one) => attribute(one, 'Method') === BEARER)
  const [bearer] = bearers
  // Several would be tried one by one, and the reason for a refusal lost; no provider sends them.
  if (bearer === undefined || bearers.length > 1) refuse('confirmation')
  const data = onlyChild(bearer, SAML, 'SubjectConfirmationData')
  if (data === undefined || !data.hasAttribute('NotOnOrAfter')) refuse('confirmation')
  if (attribute(data, 'Recipient') !== redirectUri) refuse('recipient')
  if (attribute(data, 'InResponseTo') !== requestId) refuse('in_response_to')
  checkTimes(data, now)
}

interface NameId {
  readonly value: string
  readonly format: string | undefined
  readonly qualifiers: readonly [provider: string | undefined, ours: string | undefined]
}

function nameIdOf(subject: XmlElement): NameId | undefined {
  const element = onlyChild(subject, SAML, 'NameID')
  const value = textOf(element)
  if (value === undefined) return undefined
  const qualifiers = [attribute(element, 'NameQualifier'), attribute(element, 'SPNameQualifier')] as const
  return { value, format: attribute(element, 'Format'), qualifiers }
}

/**
 * Who it is: the persistent NameID, or the attribute that the operator named. A transient one names a visit and an e-mail
 * address whoever holds it this year (A03); absent, empty or doubled ones would make strangers one person (A07).
 */
function subjectOf(
  named: NameId | undefined,
  attributes: Attributes,
  email: Json | undefined,
  { subjectAttribute, issuer, audience }: Expected,
): string {
  const values = subjectAttribute === undefined ? persistent(named, issuer, audience) : attributes.get(subjectAttribute)
  const [value, second] = values ?? []
  if (typeof value !== 'string' || second !== undefined) refuse('no_subject')
  // \p{C}: control, format (zero width) and unassigned characters, with which two names look like one.
  if (value === '' || value.length > SUBJECT_LENGTH || value !== value.trim() || /\p{C}/u.test(value)) refuse('subject')
  if (typeof email === 'string' && email.toLowerCase() === value.toLowerCase()) refuse('subject_is_email')
  return value
}

function persistent(named: NameId | undefined, issuer: string, audience: string): string[] {
  if (named === undefined) refuse('no_subject')
  if (named.format !== PERSISTENT) refuse('subject_format')
  // SAML Core 8.3.7: the name is unique within its qualifiers only. A foreign one is somebody else's namespace.
  const [provider = issuer, ours = audience] = named.qualifiers
  if (provider !== issuer || ours !== audience) refuse('subject_qualifier')
  return [named.value]
}

function authenticationOf(
  assertion: XmlElement,
  now: number,
): Pick<UpstreamIdentity, 'acr' | 'authenticatedAt' | 'sessionId'> {
  const statement = onlyChild(assertion, SAML, 'AuthnStatement')
  const authenticatedAt = instantOf(attribute(statement, 'AuthnInstant'))
  if (statement === undefined || authenticatedAt === undefined || authenticatedAt > now + SKEW) refuse('authentication')
  const ends = attribute(statement, 'SessionNotOnOrAfter')
  if (ends !== undefined && now - SKEW >= (instantOf(ends) ?? 0)) refuse('expired')
  const context = onlyChild(statement, SAML, 'AuthnContext')
  const acr = textOf(context === undefined ? undefined : onlyChild(context, SAML, 'AuthnContextClassRef'))
  return {
    acr: acr?.trim() || undefined,
    authenticatedAt,
    sessionId: attribute(statement, 'SessionIndex') || undefined,
  }
}
