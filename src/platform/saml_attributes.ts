/**
 * Attributes of an assertion as claims: each under its own name, and the well-known ones also under the standard name of
 * OpenID Connect Core §5.1. What is too long or too many is left out, never cut.
 */
import { attribute, children, elements, SAML, textOf, type XmlElement } from './saml_xml.ts'
import { type Claims, withVerifiedEmail } from './upstream_claims.ts'

const MOST_ATTRIBUTES = 100
const MOST_VALUES = 200
const NAME_LENGTH = 256
const VALUE_LENGTH = 2048
/** Characters of all claims as JSON: they wait sealed in the store between the callback and the conversation. */
const TOTAL = 32 * 1024
const XSI = 'http://www.w3.org/2001/XMLSchema-instance'

const WS = 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims'
const MICROSOFT = 'http://schemas.microsoft.com/ws/2008/06/identity/claims'
/** eduPerson, by the object identifiers of its attributes. */
const EDU = 'urn:oid:1.3.6.1.4.1.5923.1.1.1'

/**
 * Names of one claim, best first: short ones that operators choose (Google, Okta, Keycloak), X.500, inetOrgPerson and
 * eduPerson by object identifier (MACE-Dir SAML attribute profiles), and the claim URIs of Microsoft Entra ID and AD FS.
 */
const STANDARD: Readonly<Record<string, readonly string[]>> = {
  email: ['email', 'mail', 'emailAddress', 'urn:oid:0.9.2342.19200300.100.1.3', `${WS}/emailaddress`],
  given_name: ['given_name', 'givenName', 'firstName', 'first_name', 'urn:oid:2.5.4.42', `${WS}/givenname`],
  family_name: ['family_name', 'sn', 'surname', 'lastName', 'last_name', 'urn:oid:2.5.4.4', `${WS}/surname`],
  name: [
    'displayName',
    'urn:oid:2.16.840.1.113730.3.1.241',
    'http://schemas.microsoft.com/identity/claims/displayname',
    'name',
    'cn',
    'urn:oid:2.5.4.3',
  ],
  preferred_username: [
    'preferred_username',
    'eduPersonPrincipalName',
    `${EDU}.6`,
    `${WS}/upn`,
    `${WS}/name`,
    'uid',
    'urn:oid:0.9.2342.19200300.100.1.1',
  ],
  nickname: ['nickname', 'eduPersonNickname', `${EDU}.2`],
  locale: ['locale', 'preferredLanguage', 'urn:oid:2.16.840.1.113730.3.1.39'],
  phone_number: [
    'phone_number',
    'mobile',
    'mobilePhone',
    'urn:oid:0.9.2342.19200300.100.1.41',
    `${WS}/mobilephone`,
    'telephoneNumber',
    'urn:oid:2.5.4.20',
  ],
}

const LISTS: Readonly<Record<string, readonly string[]>> = {
  groups: ['groups', 'memberOf', 'isMemberOf', 'urn:oid:1.3.6.1.4.1.5923.1.5.1.1', `${MICROSOFT}/groups`],
  roles: ['roles', 'role', `${MICROSOFT}/role`],
}

/** Whether an attribute of this name is an e-mail address, which people change and pass on: never a subject (A03). */
export const isEmailName = (name: string): boolean => STANDARD.email?.includes(name) === true

type Value = string | boolean

/** Values by the attribute's `Name`; `FriendlyName` is for people only (SAML Core 2.7.3.1). */
export type Attributes = ReadonlyMap<string, readonly Value[]>

export function readAttributes(assertion: XmlElement): Attributes {
  const read = new Map<string, Value[]>()
  for (const statement of children(assertion, SAML, 'AttributeStatement')) {
    for (const element of children(statement, SAML, 'Attribute')) {
      const name = attribute(element, 'Name') ?? ''
      if (name === '' || name.length > NAME_LENGTH) continue
      if (!read.has(name) && read.size >= MOST_ATTRIBUTES) continue
      const values = read.get(name) ?? []
      values.push(...elements(element).flatMap(readValue))
      read.set(name, values)
    }
  }
  const fitting = [...read].filter(([, values]) => values.length > 0 && values.length <= MOST_VALUES)
  return new Map(fitting)
}

/** Text, or a boolean where the value's type says so: the text "true" alone is none (A02). Others have no meaning here. */
function readValue(element: XmlElement): Value[] {
  const text = textOf(element)?.trim() ?? ''
  // References to characters can name NUL and half of a character, which no database takes.
  if (text === '' || text.length > VALUE_LENGTH || text.includes('\0') || !text.isWellFormed()) return []
  if (!/(^|:)boolean$/.test(element.getAttributeNS(XSI, 'type') ?? '')) return [text]
  return /^(true|false|1|0)$/.test(text) ? [text === 'true' || text === '1'] : []
}

/**
 * One value is itself, several are a list; the names and addresses of one person are always one. `nameIdEmail` is the address
 * that the NameID holds where it is one; it counts only when no attribute is an address.
 */
export function claimsOf(
  attributes: Attributes,
  nameIdEmail: string | undefined,
  ownedDomains: readonly string[],
): Claims {
  const claims = new Map<string, Value | readonly Value[]>()
  const valuesOf = (names: readonly string[]) => names.map((name) => attributes.get(name)).find((found) => found)
  for (const [claim, names] of Object.entries(STANDARD)) {
    const value = valuesOf(names)?.[0]
    if (typeof value === 'string') claims.set(claim, value)
  }
  for (const [claim, names] of Object.entries(LISTS)) {
    const values = valuesOf(names)
    if (values !== undefined) claims.set(claim, values)
  }
  for (const [name, [first = '', ...more]] of attributes) {
    if (!claims.has(name) && name !== 'email') claims.set(name, more.length === 0 ? first : [first, ...more])
  }
  const email = claims.get('email') ?? nameIdEmail
  // Own members whatever their name: an attribute called `__proto__` is one more claim.
  const { email: _, ...others } = Object.fromEntries(withinTotal(claims))
  if (typeof email !== 'string' || !isAddress(email)) return withVerifiedEmail(others, 'claim')
  const owned = ownedDomains.some((domain) => email.toLowerCase().endsWith(`@${domain.toLowerCase()}`))
  return withVerifiedEmail({ ...others, email, ...(owned ? { email_verified: true } : {}) }, 'claim')
}

/** Whether it could be delivered to is not asked here; it has no second @ for another parser to prefer. */
const isAddress = (text: string): boolean => /^[^@\s<>,;"]+@[^@\s<>,;"]+$/.test(text)

function withinTotal<Entry>(claims: ReadonlyMap<string, Entry>): [string, Entry][] {
  let left = TOTAL
  return [...claims].filter(([name, value]) => {
    const size = JSON.stringify([name, value]).length
    if (size > left) return false
    left -= size
    return true
  })
}
