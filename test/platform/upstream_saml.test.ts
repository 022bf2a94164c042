/** SAML 2.0 identity providers: what is sent, what is taken, what failures mean, what is published. */
import { constants as cryptoConstants, randomUUID, sign } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { createSamlUpstream } from '../../src/platform/upstream_saml.ts'
import { describeUpstream, type UpstreamPerson } from '../contracts/upstream.ts'
import { createSamlIdp } from '../support/saml_idp.ts'
import {
  assertionOf,
  authnStatement,
  type Certified,
  encode,
  type HandSigning,
  keyInfoOf,
  nameId,
  responseOf,
  rsa,
  type Said,
  signElement,
} from '../support/saml_messages.ts'
import {
  answerOf,
  byIdp,
  decryption,
  ENTITY_ID,
  failureOf,
  foreign,
  idp,
  NOW,
  REDIRECT_URI,
  refusal,
  room,
  STATE,
  signing,
} from '../support/saml_room.ts'

const MAIL = 'urn:oid:0.9.2342.19200300.100.1.3'
const { said: honest } = await room()

describe('the request (SAML Profiles 4.1.4.1, Bindings 3.4)', () => {
  it('asks by HTTP-Redirect for a persistent name, at our callback', async () => {
    const { upstream } = await room()
    const { url, kept } = await upstream.depart({ redirectUri: REDIRECT_URI, state: STATE })
    const { origin, pathname, searchParams } = new URL(url)
    expect(origin + pathname).toBe('https://idp.example/sso')
    expect(searchParams.get('tenant')).toBe('1')
    expect(searchParams.get('RelayState')).toBe(STATE)
    expect(searchParams.has('Signature')).toBe(false)
    const { body } = (await upstream.publish?.()) ?? { body: '' }
    const { id, xml } = await idp.readRequest(url, body)
    expect(id).toBe((kept as { id: string }).id)
    expect(id).toMatch(/^_[\w-]{43}$/)
    expect(xml).toContain(`AssertionConsumerServiceURL="${REDIRECT_URI}"`)
    expect(xml).toContain('ProtocolBinding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"')
    expect(xml).toContain('Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"')
    expect(xml).toContain(`>${ENTITY_ID}</saml:Issuer>`)
    expect(xml).not.toMatch(/ForceAuthn|RequestedAuthnContext/)
  })

  it('has another id each time, and survives JSON', async () => {
    const { upstream } = await room()
    const departures = await Promise.all(
      Array.from({ length: 20 }, () => upstream.depart({ redirectUri: REDIRECT_URI, state: STATE })),
    )
    expect(new Set(departures.map(({ kept }) => (kept as { id: string }).id)).size).toBe(20)
    for (const { kept } of departures) expect(JSON.parse(JSON.stringify(kept))).toEqual(kept)
  })

  it('asks for contexts, best first, and for a fresh authentication', async () => {
    const { upstream } = await room()
    const acrValues = ['urn:level:3?a&b', 'urn:level:2']
    const { url } = await upstream.depart({ redirectUri: REDIRECT_URI, state: STATE, acrValues, fresh: true })
    const { xml } = await idp.readRequest(url, (await upstream.publish?.())?.body ?? '')
    expect(xml).toContain('ForceAuthn="true"')
    expect(xml).toContain('Comparison="exact"')
    const refs = [...xml.matchAll(/AuthnContextClassRef[^>]*>([^<]+)</g)].map((match) => match[1])
    expect(refs).toEqual(['urn:level:3?a&amp;b', 'urn:level:2'])
  })

  it('asks for no format when an attribute names the person', async () => {
    const { upstream } = await room({ subjectAttribute: 'employeeNumber' })
    const { url } = await upstream.depart({ redirectUri: REDIRECT_URI, state: STATE })
    const { xml } = await idp.readRequest(url, (await upstream.publish?.())?.body ?? '')
    expect(xml).not.toContain('Format=')
  })

  describe('signed', () => {
    const strict = createSamlIdp({ wantsSigned: true })
    const depart = async (key: Certified) => {
      const { upstream } = await room({ provider: { metadata: strict.metadata }, signing: key })
      const { url } = await upstream.depart({ redirectUri: REDIRECT_URI, state: STATE })
      return { url, metadata: (await upstream.publish?.())?.body ?? '' }
    }

    it('verifies with the certificate of our metadata, by SHA-256', async () => {
      const { url, metadata } = await depart(signing)
      expect(new URL(url).searchParams.get('SigAlg')).toBe('http://www.w3.org/2001/04/xmldsig-more#rsa-sha256')
      await expect(strict.readRequest(url, metadata)).resolves.toHaveProperty('id')
    })

    it('does not verify with another certificate, nor with another RelayState', async () => {
      const { url } = await depart(signing)
      const { metadata } = await depart(foreign)
      await expect(strict.readRequest(url, metadata)).rejects.toThrow('SIGNATURE')
      const own = (await depart(signing)).metadata
      await expect(strict.readRequest(url.replace(STATE, 'other'), own)).rejects.toThrow('SIGNATURE')
    })
  })
})

describe('an honest answer', () => {
  it.each<[string, ('assertion' | 'response')[]]>([
    ['the assertion signed', ['assertion']],
    ['both signed', ['assertion', 'response']],
  ])('is taken with %s by another library', async (_name, parts) => {
    const { said, finish } = await room()
    const attributes = { [MAIL]: 'ada@example.com', 'urn:oid:2.5.4.42': 'Ada', groups: ['staff', 'admins'] }
    const xml = idp.sign(responseOf(said, assertionOf({ ...said, attributes })), parts)
    expect(await finish(encode(xml))).toEqual({
      issuer: 'https://idp.example/saml',
      subject: 'person-1',
      claims: { ...attributes, email: 'ada@example.com', email_verified: false, given_name: 'Ada' },
      acr: 'urn:oasis:names:tc:SAML:2.0:ac:classes:Password',
      authenticatedAt: NOW - 1000,
      sessionId: '_session1',
    })
  })

  it.each<[string, HandSigning]>([
    ['RSA with SHA-256', byIdp],
    [
      'RSA with SHA-512',
      {
        ...byIdp,
        algorithm: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512',
        value: rsa('RSA-SHA512', idp.key),
      },
    ],
    [
      'RSA-PSS with SHA-256',
      {
        ...byIdp,
        algorithm: 'http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1',
        value: (text) =>
          sign('sha256', Buffer.from(text), {
            key: idp.key.privateKey,
            padding: cryptoConstants.RSA_PKCS1_PSS_PADDING,
            saltLength: 32,
          }).toString('base64'),
      },
    ],
    ['no key information', { ...byIdp, keyInfo: '' }],
    ["a stranger's certificate, which nobody looks at", { ...byIdp, keyInfo: keyInfoOf(foreign) }],
  ])('is taken with %s', async (_name, how) => {
    const { said, finish } = await room()
    expect((await finish(encode(answerOf(said, how)))).subject).toBe('person-1')
  })

  it('may be base64 in lines, and have an XML declaration', async () => {
    const { said, finish } = await room()
    const field = encode(`<?xml version="1.0" encoding="UTF-8"?>\n${answerOf(said)}`)
    expect((await finish(field.replace(/.{76}/g, '$&\r\n'))).subject).toBe('person-1')
  })

  it('is taken with either of two certificates while the provider changes its key', async () => {
    const certificates = [foreign.certificate, idp.key.certificate.replace(/-----[^-]+-----/g, '')]
    const provider = { entityId: idp.entityId, signOnUrl: 'https://idp.example/sso', certificates }
    for (const key of [foreign, idp.key]) {
      const { said, finish } = await room({ provider })
      expect((await finish(encode(answerOf(said, { key })))).subject).toBe('person-1')
    }
    expect(await refusal((said) => answerOf(said, { key: signing }), { provider })).toBe('answer_refused signature')
  })

  it('gives back no message of the provider when it failed', async () => {
    const { said, finish } = await room()
    const failed = responseOf(said, '', 'Responder AuthnFailed').replace(
      '</samlp:Status>',
      '<samlp:StatusMessage>&lt;script&gt;</samlp:StatusMessage></samlp:Status>',
    )
    const error = await finish(encode(failed)).catch((thrown: unknown) => thrown)
    expect(JSON.stringify(error) + String(error)).not.toContain('script')
  })
})

describe('status (SAML Core 3.2.2.2)', () => {
  const CASES: readonly (readonly [status: string, failure: string])[] = [
    ['Responder AuthnFailed', 'cancelled status_AuthnFailed'],
    ['Responder RequestDenied', 'cancelled status_RequestDenied'],
    ['Requester UnknownPrincipal', 'cancelled status_UnknownPrincipal'],
    ['Responder NoAuthnContext', 'level_unmet status_NoAuthnContext'],
    ['Requester InvalidNameIDPolicy', 'misconfigured status_InvalidNameIDPolicy'],
    ['Requester', 'misconfigured status_Requester'],
    ['VersionMismatch', 'misconfigured status_VersionMismatch'],
    ['Responder', 'unavailable status_Responder'],
    ['Responder SomethingNew', 'unavailable status_Responder'],
    ['Responder constructor', 'unavailable status_Responder'],
    ['SomethingNew', 'answer_refused status'],
  ]
  it.each(CASES)('%s is %s', async (status, failure) => {
    expect(await refusal((said) => responseOf(said, '', status))).toBe(failure)
    expect(await refusal((said) => idp.sign(responseOf(said, '', status), ['response']))).toBe(failure)
  })

  it('is not believed under a signature that does not hold', async () => {
    const failed = (said: Said) => idp.sign(responseOf(said, '', 'Responder AuthnFailed'), ['response'], foreign)
    expect(await refusal(failed)).toBe('answer_refused signature')
  })

  it('of another departure is nobody’s', async () => {
    const failed = (said: Said) => responseOf({ ...said, inResponseTo: '_other' }, '', 'Responder AuthnFailed')
    expect(await refusal(failed)).toBe('answer_refused in_response_to')
  })

  it('that is no success brings no assertion', async () => {
    const both = (said: Said) => responseOf(said, signElement(assertionOf(said), 'saml:Assertion', byIdp), 'Responder')
    expect(await refusal(both)).toBe('answer_refused assertion_count')
    expect(await refusal((said) => responseOf(said, ''))).toBe('answer_refused assertion_count')
    const none = (said: Said) => answerOf(said).replace(/<samlp:Status>.*<\/samlp:Status>/, '')
    expect(await refusal(none)).toBe('answer_refused assertion_count')
  })
})

describe('what was asked', () => {
  const acr = 'urn:oasis:names:tc:SAML:2.0:ac:classes:Password'

  it('fresh: an authentication from before the request is none', async () => {
    const { said, finish } = await room({}, { fresh: true })
    const at = (time: number) => encode(answerOf({ ...said, statement: authnStatement(time) }))
    expect(await failureOf(finish(at(NOW - 60_001)))).toBe('level_unmet not_fresh')
    expect((await finish(at(NOW - 60_000))).authenticatedAt).toBe(NOW - 60_000)
  })

  it('contexts: another one is none, and any will do when none was asked for', async () => {
    const asked = await room({}, { acrValues: ['urn:strong', 'urn:stronger'] })
    expect(await failureOf(asked.finish(encode(answerOf(asked.said))))).toBe('level_unmet authn_context')
    const strong = { ...asked.said, statement: authnStatement(NOW, 'urn:stronger') }
    expect((await asked.finish(encode(answerOf(strong)))).acr).toBe('urn:stronger')
    const free = await room()
    expect((await free.finish(encode(answerOf(free.said)))).acr).toBe(acr)
  })

  it('whose departure it was: state, method, and what was kept', async () => {
    const { said, finish } = await room()
    const field = encode(answerOf(said))
    expect(await failureOf(finish(field, { state: 'other' }))).toBe('answer_refused relay_state')
    expect(await failureOf(finish(field, { parameters: { SAMLResponse: field } }))).toBe('answer_refused relay_state')
    expect(await failureOf(finish(field, { method: 'GET' }))).toBe('answer_refused binding')
    const { inResponseTo: id } = said
    for (const kept of [null, {}, [], 'x', { id }, { id, at: NOW, fresh: 'no', acrValues: [] }]) {
      expect(await failureOf(finish(field, { kept }))).toBe('answer_refused not_departed')
    }
    expect((await finish(field)).subject).toBe('person-1')
  })
})

describe('our metadata', () => {
  it('say where answers go, that assertions are to be signed, and both keys', async () => {
    const { upstream } = await room({ signing, decryption })
    const { type, body } = (await upstream.publish?.()) ?? { type: '', body: '' }
    expect(type).toBe('application/samlmetadata+xml')
    expect(body).toContain(`entityID="${ENTITY_ID}"`)
    expect(body).toContain('WantAssertionsSigned="true"')
    expect(body).toContain('AuthnRequestsSigned="true"')
    expect(body).toMatch(new RegExp(`HTTP-POST" Location="${REDIRECT_URI}"`))
    const flat = body.replace(/\s+/g, '')
    for (const { certificate } of [signing, decryption]) {
      expect(flat).toContain(certificate.replace(/-----[^-]+-----|\s+/g, ''))
    }
    expect(body).not.toContain('PRIVATE')
    expect(await upstream.publish?.()).toEqual({ type, body })
  })

  it('have no key when we have none', async () => {
    const { body } = (await (await room()).upstream.publish?.()) ?? { body: '' }
    expect(body).not.toContain('KeyDescriptor')
    expect(body).toContain('AuthnRequestsSigned="false"')
  })
})

describe('inspection', () => {
  it('says what the provider is, and that nothing is wrong', async () => {
    const { upstream } = await room({ signing, decryption })
    const { issuer, found, problems } = await upstream.inspect()
    expect(issuer).toBe(idp.entityId)
    expect(problems).toEqual([])
    expect(found['single sign-on']).toBe('https://idp.example/sso?tenant=1')
    expect(found['signing certificates']).toMatch(/^until 20\d\d-\d\d-\d\d$/)
  })

  it('warns a month before a certificate expires, and after, and keeps taking answers', async () => {
    const { said, finish, upstream, clock } = await room()
    const day = 86_400_000
    const until = /until (\S+)/.exec((await upstream.inspect()).found['signing certificates'] ?? '')?.[1] ?? ''
    const problemsAt = async (time: number) => {
      clock.time = time
      return (await upstream.inspect()).problems
    }
    expect(await problemsAt(Date.parse(until) - 31 * day)).toEqual([])
    expect(await problemsAt(Date.parse(until) - 20 * day)).toEqual([expect.stringMatching(/expires on/)])
    expect(await problemsAt(Date.parse(until) + 2 * day)).toEqual([expect.stringMatching(/expired on/)])
    expect(await problemsAt(Date.parse('2020-01-01'))).toEqual([expect.stringMatching(/is valid from/)])
    const later = Date.parse(until) + 2 * day
    clock.time = later
    expect((await finish(encode(answerOf({ ...said, now: later })))).subject).toBe('person-1')
  })

  it('warns of our own certificates too', async () => {
    const { upstream, clock } = await room({ signing, decryption: signing })
    clock.time = Date.parse('2100-01-01')
    const expired = (whose: string) => expect.stringMatching(new RegExp(`^${whose} certificate .* expired on`))
    expect((await upstream.inspect()).problems).toEqual([expired("The provider's"), expired('Our')])
  })

  it('takes no key of ours that does not fit its certificate, at the start', async () => {
    const mixed = { privateKey: foreign.privateKey, certificate: signing.certificate }
    await expect(room({ signing: mixed })).rejects.toThrow('not that of the signing key')
    await expect(room({ decryption: mixed })).rejects.toThrow('not that of the decryption key')
    await expect(room({ signing: { ...signing, privateKey: 'x' } })).rejects.toThrow('key cannot be read')
    await expect(room({ signing: { ...signing, certificate: 'x' } })).rejects.toThrow('certificate cannot be read')
  })

  it('says what cannot work', async () => {
    const wants = createSamlIdp({ wantsSigned: true, key: idp.key })
    const transient = wants.metadata.replaceAll('nameid-format:persistent', 'nameid-format:transient')
    const old = transient.replace('<IDPSSODescriptor ', '<IDPSSODescriptor validUntil="2031-03-04T00:00:00Z" ')
    const { upstream } = await room({ provider: { metadata: old } })
    const { problems } = await upstream.inspect()
    expect(problems).toEqual([
      expect.stringMatching(/were valid until 2031-03-04/),
      expect.stringMatching(/wants signed requests/),
      expect.stringMatching(/persistent/),
    ])
    const email = await room({ subjectAttribute: MAIL })
    expect((await email.upstream.inspect()).problems).toEqual([expect.stringMatching(/e-mail/)])
  })
})

describe('the contract of every driver', () => {
  const clock = { now: () => new Date() }
  describeUpstream('by SAML 2.0', async () => ({
    create: () =>
      createSamlUpstream(
        { provider: { metadata: idp.metadata }, entityId: ENTITY_ID, redirectUri: REDIRECT_URI },
        { clock, once: async () => true },
      ),
    issuer: idp.entityId,
    redirectUri: REDIRECT_URI,
    travel: async ({ url }, what) => {
      const { id } = await idp.readRequest(url, spMetadata)
      const xml =
        what === 'cancel'
          ? failed(id, 'Responder AuthnFailed')
          : what === 'error'
            ? failed(id, 'Responder')
            : spoken(id, what)
      const RelayState = new URL(url).searchParams.get('RelayState') ?? ''
      return { method: 'POST' as const, parameters: { SAMLResponse: encode(xml), RelayState } }
    },
    close: async () => undefined,
  }))
})

const spMetadata = (await (await room()).upstream.publish?.())?.body ?? ''
const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
/** What is no text, in the only way that XML has to say so. */
const structured = (value: unknown) => `<saml:x>${escaped(JSON.stringify(value))}</saml:x>`

function saidNow(id: string): Said {
  const now = Date.now()
  return { ...honest, now, inResponseTo: id, assertionId: `_${randomUUID()}`, statement: authnStatement(now) }
}

const failed = (id: string, status: string) => responseOf(saidNow(id), '', status)

function spoken(id: string, { subject, claims }: UpstreamPerson): string {
  const said = saidNow(id)
  const named = () => nameId(typeof subject === 'string' ? escaped(subject) : structured(subject))
  const values = Object.entries(claims).map(([name, value]) => {
    const typed = typeof value === 'boolean' ? ` ${XSI} xsi:type="xs:boolean"` : ''
    const text = typeof value === 'object' ? structured(value) : escaped(String(value))
    return `<saml:Attribute Name="${name}"><saml:AttributeValue${typed}>${text}</saml:AttributeValue></saml:Attribute>`
  })
  const statement = `${said.statement}<saml:AttributeStatement>${values.join('')}</saml:AttributeStatement>`
  return answerOf({ ...said, statement, nameId: subject === undefined ? '' : named() })
}
