/** What an assertion must hold before it names somebody (SAML Core 2.3-2.7, Profiles 4.1.4.3), all of it properly signed. */
import { describe, expect, it } from '@jest/globals'
import type { SamlSettings } from '../../src/platform/upstream_saml.ts'
import {
  assertionOf,
  authnStatement,
  encode,
  instant,
  nameId,
  responseOf,
  type Said,
  signElement,
} from '../support/saml_messages.ts'
import {
  answerOf,
  bent,
  byIdp,
  ENTITY_ID,
  failureOf,
  idp,
  NOW,
  REDIRECT_URI,
  refusal,
  room,
} from '../support/saml_room.ts'

const SKEW = 60_000
const BEARER = 'urn:oasis:names:tc:SAML:2.0:cm:bearer'

const confirmation = (attributes: string, method = BEARER) =>
  `<saml:SubjectConfirmation Method="${method}"><saml:SubjectConfirmationData${attributes}></saml:SubjectConfirmationData>` +
  '</saml:SubjectConfirmation>'
const audience = (name: string) =>
  `<saml:AudienceRestriction><saml:Audience>${name}</saml:Audience></saml:AudienceRestriction>`
const conditions = (inner: string, attributes = ` NotOnOrAfter="${instant(NOW + 1000)}"`) =>
  `<saml:Conditions${attributes}>${inner}</saml:Conditions>`

/** The refusal when `change` was made to the assertion before it was signed. */
const changed = (change: (assertion: string) => string) =>
  refusal((said) => {
    const assertion = change(assertionOf(said))
    expect(assertion).not.toBe(assertionOf(said))
    return responseOf(said, signElement(assertion, 'saml:Assertion', byIdp))
  })

/** The identity that an honest answer with these changes names. */
async function taken(change: Partial<Said>, settings: Partial<SamlSettings> = {}) {
  const { said, finish } = await room(settings)
  return finish(encode(answerOf({ ...said, ...change })))
}

describe('for whom, from whom, to what', () => {
  it('another issuer, in the assertion, the response, or both', async () => {
    expect(await bent({ issuer: 'https://evil.example/saml' })).toBe('answer_refused issuer')
    const inner = (said: Said) =>
      responseOf(said, signElement(assertionOf({ ...said, issuer: 'https://evil.example' }), 'saml:Assertion', byIdp))
    expect(await refusal(inner)).toBe('answer_refused issuer')
    const outer = (said: Said) =>
      responseOf({ ...said, issuer: 'https://evil.example' }, signElement(assertionOf(said), 'saml:Assertion', byIdp))
    expect(await refusal(outer)).toBe('answer_refused issuer')
    expect(await bent({ issuer: `${idp.entityId} ` })).toBe('answer_refused issuer')
  })

  it('another audience, none, or one of two restrictions without us', async () => {
    expect(await bent({ audience: 'https://other.example' })).toBe('answer_refused audience')
    expect(await bent({ audience: `${ENTITY_ID}/` })).toBe('answer_refused audience')
    expect(await bent({ conditions: conditions('') })).toBe('answer_refused audience')
    const both = audience(ENTITY_ID) + audience('https://other.example')
    expect(await bent({ conditions: conditions(both) })).toBe('answer_refused audience')
    const among = audience(`https://other.example</saml:Audience><saml:Audience>${ENTITY_ID}`)
    expect((await taken({ conditions: conditions(among) })).subject).toBe('person-1')
  })

  it('another recipient or destination: a sibling provider’s callback, http, a query, none', async () => {
    for (const url of [`${REDIRECT_URI}2`, REDIRECT_URI.replace('https', 'http'), `${REDIRECT_URI}?x`, '']) {
      expect(await bent({ recipient: url })).toBe('answer_refused recipient')
      expect(await bent({ destination: url })).toBe('answer_refused destination')
    }
  })

  it('a destination may be absent only where nobody signed the response (Bindings 3.5.5.2)', async () => {
    const without = (xml: string) => xml.replace(/ Destination="[^"]*"/, '')
    const { said, finish } = await room()
    expect((await finish(encode(without(answerOf(said))))).subject).toBe('person-1')
    const signed = (one: Said) => signElement(without(answerOf(one)), 'samlp:Response', byIdp)
    expect(await refusal(signed)).toBe('answer_refused destination')
  })

  it('IdP-initiated, or in response to something else (A17)', async () => {
    const unsolicited = (said: Said) => answerOf(said).replace(/(<samlp:Response [^>]*) InResponseTo="[^"]*"/, '$1')
    expect(await refusal(unsolicited)).toBe('answer_refused in_response_to')
    expect(await bent({ inResponseTo: '_other' })).toBe('answer_refused in_response_to')
    expect(await bent({ subjectInResponseTo: '_other' })).toBe('answer_refused in_response_to')
    expect(await changed((assertion) => assertion.replace(/ InResponseTo="[^"]*"/, ''))).toBe(
      'answer_refused in_response_to',
    )
  })
})

describe('confirmation of the subject', () => {
  const until = ` NotOnOrAfter="${instant(NOW + 1000)}" Recipient="${REDIRECT_URI}"`
  it.each([
    ['none', '', 'confirmation'],
    ['holder of key', confirmation(until, 'urn:oasis:names:tc:SAML:2.0:cm:holder-of-key'), 'confirmation'],
    ['no data', `<saml:SubjectConfirmation Method="${BEARER}"></saml:SubjectConfirmation>`, 'confirmation'],
    // Refused by the library, which reads that time before we do.
    ['no end', confirmation(` Recipient="${REDIRECT_URI}"`), 'signature'],
    ['two', confirmation(until) + confirmation(until), 'confirmation'],
  ])('%s', async (_name, xml, reason) => {
    expect(await bent({ confirmation: xml })).toBe(`answer_refused ${reason}`)
  })
})

describe('times, by the clock that is passed in', () => {
  const at = async (offset: number, change: (said: Said) => Partial<Said> = () => ({})) => {
    const { said, finish, clock } = await room()
    clock.time = NOW + offset
    const field = encode(answerOf({ ...said, ...change(said) }))
    return finish(field).then(
      ({ subject }) => subject,
      (error: Error) => error.message.replace('upstream answer_refused: ', ''),
    )
  }

  it('issue: neither from the future nor older than five minutes', async () => {
    const long = (said: Said) => {
      const end = instant(NOW + 86_400_000)
      return {
        conditions: conditions(audience(ENTITY_ID), ` NotOnOrAfter="${end}"`),
        confirmation: confirmation(
          ` InResponseTo="${said.inResponseTo}" NotOnOrAfter="${end}" Recipient="${REDIRECT_URI}"`,
        ),
        statement: authnStatement(NOW - 3_600_000),
      }
    }
    expect(await at(-SKEW, long)).toBe('person-1')
    expect(await at(-SKEW - 1, long)).toBe('issue_instant')
    expect(await at(300_000 + SKEW - 1, long)).toBe('person-1')
    expect(await at(300_000 + SKEW, long)).toBe('too_old')
  })

  it('conditions: within a minute of their ends', async () => {
    const within = (from: number, to: number) => () => ({
      conditions: conditions(audience(ENTITY_ID), ` NotBefore="${instant(from)}" NotOnOrAfter="${instant(to)}"`),
    })
    const window = within(NOW + 30_000, NOW + 90_000)
    expect(await at(30_000 - SKEW, window)).toBe('person-1')
    expect(await at(30_000 - SKEW - 1, window)).toBe('not_yet_valid')
    expect(await at(90_000 + SKEW - 1, window)).toBe('person-1')
    expect(await at(90_000 + SKEW, window)).toBe('expired')
  })

  it('confirmation: within a minute of its end, and not before a beginning it should not have', async () => {
    const data = (times: string) => (said: Said) => ({
      confirmation: confirmation(` InResponseTo="${said.inResponseTo}"${times} Recipient="${REDIRECT_URI}"`),
    })
    const end = data(` NotOnOrAfter="${instant(NOW + 1000)}"`)
    expect(await at(1000 + SKEW - 1, end)).toBe('person-1')
    expect(await at(1000 + SKEW, end)).toBe('expired')
    const later = data(` NotBefore="${instant(NOW + SKEW + 1)}" NotOnOrAfter="${instant(NOW + 200_000)}"`)
    expect(await at(0, later)).toBe('not_yet_valid')
    expect(await at(1, later)).toBe('person-1')
  })

  it('authentication: not in the future; and no session that ended', async () => {
    const when =
      (time: number, more = '') =>
      () => ({ statement: authnStatement(time, 'urn:x', more) })
    expect(await at(0, when(NOW + SKEW))).toBe('person-1')
    expect(await at(0, when(NOW + SKEW + 1))).toBe('authentication')
    expect(await at(0, when(NOW, ` SessionNotOnOrAfter="${instant(NOW - SKEW + 1)}"`))).toBe('person-1')
    expect(await at(0, when(NOW, ` SessionNotOnOrAfter="${instant(NOW - SKEW)}"`))).toBe('expired')
  })

  const ends = (time: string) => conditions(audience(ENTITY_ID), ` NotOnOrAfter="${time}"`)
  const begins = (time: string) =>
    conditions(audience(ENTITY_ID), ` NotBefore="${time}" NotOnOrAfter="${instant(NOW + 1000)}"`)
  it.each(['2031-03-05', '2031-03-04T05:07:00+00:00', '+275760-09-13T00:00:00Z', '2031-03-04 05:07:00Z'])(
    'a time written as %p is none',
    async (time) => {
      expect(await bent({ conditions: ends(time) })).toBe('answer_refused expired')
      expect(await bent({ conditions: begins(time) })).toBe('answer_refused not_yet_valid')
    },
  )
  it.each(['', 'never', '4102444800', '2031-02-31T99:00:00Z'])('%p is not even one for the library', async (time) => {
    expect(await bent({ conditions: ends(time) })).toBe('answer_refused signature')
    expect(await bent({ conditions: begins(time) })).toBe('answer_refused not_yet_valid')
  })

  it('an assertion without conditions, with two, or with one that is not understood', async () => {
    expect(await bent({ conditions: '' })).toBe('answer_refused conditions')
    const one = conditions(audience(ENTITY_ID))
    expect(await bent({ conditions: one + one })).toBe('answer_refused signature')
    const unknown = `${audience(ENTITY_ID)}<saml:Condition>only on Mondays</saml:Condition>`
    expect(await bent({ conditions: conditions(unknown) })).toBe('answer_refused conditions')
    const known = `${audience(ENTITY_ID)}<saml:OneTimeUse></saml:OneTimeUse>`
    expect((await taken({ conditions: conditions(known) })).subject).toBe('person-1')
  })

  it('no statement of authentication, or two', async () => {
    expect(await bent({ statement: '' })).toBe('answer_refused authentication')
    expect(await bent({ statement: authnStatement(NOW) + authnStatement(NOW) })).toBe('answer_refused authentication')
  })

  it('no version, no issue instant', async () => {
    expect(await changed((assertion) => assertion.replace('Version="2.0"', 'Version="1.1"'))).toBe(
      'answer_refused not_an_assertion',
    )
    expect(await changed((assertion) => assertion.replace(/IssueInstant="[^"]*"/, 'IssueInstant="x"'))).toBe(
      'answer_refused signature',
    )
  })
})

describe('the subject (A03, A07)', () => {
  const format = (name: string) => `urn:oasis:names:tc:SAML:${name}`
  it.each<[string, string, string]>([
    ['absent', '', 'no_subject'],
    ['empty', nameId(''), 'subject'],
    [
      'nil',
      nameId('', undefined, ' xsi:nil="true"').replace(' ', ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '),
      'subject',
    ],
    ['blank', nameId('  \n '), 'subject'],
    ['with a blank before', nameId(' person-1'), 'subject'],
    ['with a zero-width space', nameId('person\u200b-1'), 'subject'],
    ['with a control character', nameId('person\t1'), 'subject'],
    ['with NUL', nameId('person\u00001'), 'subject'],
    ['of 256 characters', nameId('x'.repeat(256)), 'subject'],
    ['made of elements', nameId('<saml:x></saml:x>'), 'no_subject'],
    ['twice', nameId('person-1') + nameId('person-2'), 'no_subject'],
    ['encrypted', '<saml:EncryptedID></saml:EncryptedID>', 'no_subject'],
    [
      'of another namespace',
      nameId('person-1').replace('<saml:NameID', '<NameID').replace('</saml:NameID', '</NameID'),
      'no_subject',
    ],
    ['transient', nameId('person-1', format('2.0:nameid-format:transient')), 'subject_format'],
    ['an e-mail address', nameId('ada@example.com', format('1.1:nameid-format:emailAddress')), 'subject_format'],
    ['of no stated format', nameId('person-1', format('1.1:nameid-format:unspecified')), 'subject_format'],
    ['without a format', nameId('person-1', null), 'subject_format'],
    [
      'qualified by another provider',
      nameId('person-1', undefined, ' NameQualifier="https://other.example"'),
      'subject_qualifier',
    ],
    [
      'qualified for another of us',
      nameId('person-1', undefined, ' SPNameQualifier="https://other.example"'),
      'subject_qualifier',
    ],
  ])('%s', async (_name, xml, reason) => {
    expect(await bent({ nameId: xml })).toBe(`answer_refused ${reason}`)
  })

  it('no subject at all', async () => {
    expect(await changed((assertion) => assertion.replace(/<saml:Subject>.*<\/saml:Subject>/, ''))).toBe(
      'answer_refused no_subject',
    )
  })

  it('255 characters, and our own qualifiers', async () => {
    const own = ` NameQualifier="${idp.entityId}" SPNameQualifier="${ENTITY_ID}"`
    expect((await taken({ nameId: nameId('x'.repeat(255), undefined, own) })).subject).toBe('x'.repeat(255))
  })

  it('a persistent name that is the e-mail address in truth', async () => {
    const change = { nameId: nameId('Ada@Example.com'), attributes: { mail: 'ada@example.com' } }
    expect(await bent(change)).toBe('answer_refused subject_is_email')
  })

  describe('named by an attribute', () => {
    const settings = { subjectAttribute: 'employeeNumber' }
    const email = nameId('ada@example.com', format('1.1:nameid-format:emailAddress'))
    const transient = nameId('_visit', format('2.0:nameid-format:transient'))

    it('whatever the NameID is; one that is an e-mail address is that claim', async () => {
      const attributes = { employeeNumber: '4711' }
      expect(await taken({ nameId: email, attributes }, settings)).toMatchObject({
        subject: '4711',
        claims: { email: 'ada@example.com' },
      })
      const visit = await taken({ nameId: transient, attributes }, settings)
      expect(visit).toMatchObject({ subject: '4711' })
      expect(visit.claims).not.toHaveProperty('email')
      expect((await taken({ nameId: '', attributes }, settings)).subject).toBe('4711')
    })

    it.each<[string, Said['attributes'], string]>([
      ['absent', {}, 'no_subject'],
      ['empty', { employeeNumber: '' }, 'no_subject'],
      ['without a value', { employeeNumber: [] }, 'no_subject'],
      ['with two values', { employeeNumber: ['1', '2'] }, 'no_subject'],
      ['made of elements', { employeeNumber: '<saml:x></saml:x>' }, 'no_subject'],
      ['too long', { employeeNumber: 'x'.repeat(256) }, 'subject'],
      ['an e-mail address', { employeeNumber: 'ada@example.com' }, 'subject_is_email'],
      ['another of the same beginning', { employeeNumber2: '4711' }, 'no_subject'],
    ])('%s', async (_name, attributes, reason) => {
      expect(await bent({ nameId: email, attributes }, settings)).toBe(`answer_refused ${reason}`)
    })
  })
})

describe('attributes', () => {
  const WS = 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims'
  const MICROSOFT = 'http://schemas.microsoft.com/ws/2008/06/identity/claims'
  const claimsFrom = async (attributes: Said['attributes']) => (await taken({ attributes })).claims

  it.each<[string, Said['attributes'], object]>([
    [
      'eduPerson and inetOrgPerson',
      {
        'urn:oid:0.9.2342.19200300.100.1.3': 'ada@example.com',
        'urn:oid:2.5.4.42': 'Ada',
        'urn:oid:2.5.4.4': 'Lovelace',
        'urn:oid:2.16.840.1.113730.3.1.241': 'Ada Lovelace',
        'urn:oid:1.3.6.1.4.1.5923.1.1.1.6': 'ada@uni.example',
        'urn:oid:2.16.840.1.113730.3.1.39': 'en-GB',
        'urn:oid:2.5.4.20': '+44 20 7946 0000',
        'urn:oid:1.3.6.1.4.1.5923.1.5.1.1': 'staff',
      },
      {
        email: 'ada@example.com',
        given_name: 'Ada',
        family_name: 'Lovelace',
        name: 'Ada Lovelace',
        preferred_username: 'ada@uni.example',
        locale: 'en-GB',
        phone_number: '+44 20 7946 0000',
        groups: ['staff'],
      },
    ],
    [
      'Microsoft',
      {
        [`${WS}/emailaddress`]: 'ada@example.com',
        [`${WS}/givenname`]: 'Ada',
        [`${WS}/surname`]: 'Lovelace',
        [`${WS}/name`]: 'ada@corp.example',
        'http://schemas.microsoft.com/identity/claims/displayname': 'Ada Lovelace',
        [`${MICROSOFT}/groups`]: ['g1', 'g2'],
        [`${MICROSOFT}/role`]: 'Admin',
      },
      {
        email: 'ada@example.com',
        given_name: 'Ada',
        family_name: 'Lovelace',
        name: 'Ada Lovelace',
        preferred_username: 'ada@corp.example',
        groups: ['g1', 'g2'],
        roles: ['Admin'],
      },
    ],
    [
      'names as operators give them (Google, Okta)',
      { email: 'ada@example.com', firstName: 'Ada', lastName: 'Lovelace' },
      { email: 'ada@example.com', given_name: 'Ada', family_name: 'Lovelace' },
    ],
  ])('%s', async (_name, attributes, claims) => {
    expect(await claimsFrom(attributes)).toEqual({ ...attributes, ...claims, email_verified: false })
  })

  it('of several addresses the first is the person’s', async () => {
    expect(await claimsFrom({ mail: ['a@example.com', 'b@example.com'] })).toEqual({
      mail: ['a@example.com', 'b@example.com'],
      email: 'a@example.com',
      email_verified: false,
    })
  })

  it('hostile ones are left out, and the account stays clean', async () => {
    const many = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`a${i}`, 'x']))
    expect(Object.keys(await claimsFrom(many))).toHaveLength(100)
    const claims = await claimsFrom({
      displayName: 'x'.repeat(2049),
      ['n'.repeat(257)]: 'x',
      '': 'x',
      groups: Array.from({ length: 201 }, (_, i) => `g${i}`),
      nested: '<saml:a><saml:b></saml:b></saml:a>',
      nickname: 'Ada',
    })
    expect(claims).toEqual({ nickname: 'Ada' })
  })

  describe('an e-mail address', () => {
    const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    const typed = (type: string, text: string) =>
      `<saml:AttributeStatement><saml:Attribute Name="email_verified"><saml:AttributeValue ${XSI} xsi:type="${type}">${text}` +
      '</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>'
    const verified = async (statement: string, settings?: Partial<SamlSettings>, mail = 'Ada@Example.com') => {
      const change = { attributes: { mail }, statement: authnStatement(NOW) + statement }
      return (await taken(change, settings)).claims.email_verified
    }

    it.each([
      ['xs:boolean', 'true', true],
      ['xs:boolean', '1', true],
      ['boolean', 'true', true],
      ['xs:boolean', 'false', false],
      ['xs:boolean', 'yes', false],
      ['xs:string', 'true', false],
      ['xs:notboolean', 'true', false],
    ])('is verified only by a boolean that says so: %s %s (A02)', async (type, text, result) => {
      expect(await verified(typed(type, text))).toBe(result)
    })

    it('is no boolean whatever its type claims: left out', async () => {
      const statement = authnStatement(NOW) + typed('xs:boolean', 'yes').replace('email_verified', 'active')
      expect((await taken({ statement })).claims).toEqual({})
      const said = authnStatement(NOW) + typed('xs:boolean', '1').replace('email_verified', 'active')
      expect((await taken({ statement: said })).claims).toEqual({ active: true })
    })

    it('is verified in a domain that the operator knows to be the provider’s own (A11)', async () => {
      const settings = { ownedDomains: ['Example.com'] }
      expect(await verified('', settings)).toBe(true)
      expect(await verified('', settings, 'ada@notexample.com')).toBe(false)
      expect(await verified('', settings, 'ada@sub.example.com')).toBe(false)
    })

    it.each([
      '7',
      'ada',
      'a@b@example.com',
      'ada@',
      '@example.com',
      'Ada &lt;ada@example.com&gt;',
      'a@x.example,b@y.example',
    ])('is not %s', async (mail) => {
      const { claims } = await taken({ attributes: { email: mail, email_verified: 'true' } })
      expect(claims).toEqual({})
    })
  })

  it('NUL and half characters, which XML cannot say but references can, are left out', async () => {
    const { claims } = await taken({ attributes: { nickname: 'a\0b', givenName: 'Ada' } })
    expect(claims).toEqual({ givenName: 'Ada', given_name: 'Ada' })
  })

  it('two hundred groups, each with the namespaces and the type that Keycloak writes', async () => {
    const groups = Array.from({ length: 200 }, (_, i) => `/partners/example/group-${i}`)
    const { said, finish } = await room()
    const plain = responseOf(said, assertionOf({ ...said, attributes: { groups } }))
    const spaces = 'xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    const typed = plain.replaceAll('<saml:AttributeValue>', `<saml:AttributeValue ${spaces} xsi:type="xs:string">`)
    expect((await finish(encode(idp.sign(typed, ['assertion', 'response'])))).claims).toEqual({ groups })
  })

  it('32 KiB in all, the standard ones first', async () => {
    const long = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`a${i}`, 'x'.repeat(2000)]))
    const { claims } = await taken({ attributes: { ...long, mail: 'ada@example.com' } })
    expect(JSON.stringify(claims).length).toBeLessThan(33_000)
    expect(Object.keys(claims).length).toBeGreaterThan(10)
    expect(claims.email).toBe('ada@example.com')
  })

  it('a name of the language is a name', async () => {
    const claims = await claimsFrom({ ['__proto__']: 'evil', constructor: 'evil', toString: 'evil' })
    expect(Object.keys(claims).sort()).toEqual(['__proto__', 'constructor', 'toString'])
    expect(Object.getPrototypeOf(claims)).toBe(Object.prototype)
    expect(({} as { evil?: string }).evil).toBeUndefined()
  })

  it('values of one name in several elements and statements are one list; a friendly name counts for nothing', async () => {
    const element = (name: string, value: string, friendly = '') =>
      `<saml:AttributeStatement><saml:Attribute${friendly} Name="${name}"><saml:AttributeValue>${value}</saml:AttributeValue>` +
      '</saml:Attribute></saml:AttributeStatement>'
    const statement =
      element('groups', 'a') + element('groups', 'b') + element('x', 'victim@example.com', ' FriendlyName="mail"')
    expect((await taken({ statement: authnStatement(NOW) + statement })).claims).toEqual({
      groups: ['a', 'b'],
      x: 'victim@example.com',
    })
  })
})

it('an identity is all that a refusal withholds: the control of this file', async () => {
  const { said, finish } = await room()
  expect((await finish(encode(answerOf(said)))).subject).toBe('person-1')
  expect(await failureOf(finish(encode(answerOf(said))))).toBe('answer_refused replayed')
})
