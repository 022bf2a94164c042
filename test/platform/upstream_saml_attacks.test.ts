/**
 * Answers of SAML that must never be believed (A19): each is made of an honest one, which is taken, and is refused before it
 * names anybody or burns anything.
 */
import { createHash, createPublicKey } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { UpstreamError } from '../../src/platform/upstream.ts'
import {
  assertionOf,
  DSIG,
  encode,
  type HandSigning,
  hmac,
  instant,
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
} from '../support/saml_room.ts'

const SIGNATURE = /<ds:Signature .*?<\/ds:Signature>/
const signatureOf = (xml: string): string => SIGNATURE.exec(xml)?.[0] ?? ''
const afterIssuer = (xml: string, added: string) => xml.replace('</saml:Issuer>', () => `</saml:Issuer>${added}`)
const withinSignature = (signature: string, added: string, end = '</ds:Signature>') =>
  signature.replace('</ds:Signature>', () => added + end)

describe('signature wrapping (A19)', () => {
  /** Every attack with the id of its own, and with the id that is signed. */
  const ATTACKS: Readonly<Record<string, (said: Said, evil: Said) => string>> = {
    'XSW1: the signed response within the signature of an evil one': (said, evil) => {
      const response = signElement(answerOf(said), 'samlp:Response', byIdp)
      const signature = signatureOf(response)
      const wrapped = withinSignature(signature, response.replace(signature, ''))
      return afterIssuer(responseOf(evil, assertionOf(evil)), wrapped)
    },
    'XSW2: the signed response before its signature in an evil one': (said, evil) => {
      const response = signElement(answerOf(said), 'samlp:Response', byIdp)
      const signature = signatureOf(response)
      return afterIssuer(responseOf(evil, assertionOf(evil)), response.replace(signature, '') + signature)
    },
    'XSW3: an evil assertion before the signed one': (said, evil) =>
      responseOf(said, assertionOf(evil) + signElement(assertionOf(said), 'saml:Assertion', byIdp)),
    'XSW3 turned round: an evil assertion after the signed one': (said, evil) =>
      responseOf(said, signElement(assertionOf(said), 'saml:Assertion', byIdp) + assertionOf(evil)),
    'XSW4: the signed assertion within an evil one': (said, evil) => {
      const signed = signElement(assertionOf(said), 'saml:Assertion', byIdp)
      return responseOf(
        said,
        assertionOf(evil).replace('</saml:Assertion>', () => `${signed}</saml:Assertion>`),
      )
    },
    'XSW5: the signature in an evil assertion, the signed one after it': (said, evil) => {
      const signed = signElement(assertionOf(said), 'saml:Assertion', byIdp)
      return responseOf(said, afterIssuer(assertionOf(evil), signatureOf(signed)) + assertionOf(said))
    },
    'XSW6: the signed assertion within the signature of an evil one': (said, evil) => {
      const signature = signatureOf(signElement(assertionOf(said), 'saml:Assertion', byIdp))
      return responseOf(said, afterIssuer(assertionOf(evil), withinSignature(signature, assertionOf(said))))
    },
    'XSW7: an evil assertion among the extensions': (said, evil) =>
      answerOf(said).replace('<samlp:Status>', () => {
        return `<samlp:Extensions>${assertionOf(evil)}</samlp:Extensions><samlp:Status>`
      }),
    'XSW8: the signed assertion in an object of the signature of an evil one': (said, evil) => {
      const signature = signatureOf(signElement(assertionOf(said), 'saml:Assertion', byIdp))
      const object = `<ds:Object>${assertionOf(said)}</ds:Object>`
      return responseOf(said, afterIssuer(assertionOf(evil), withinSignature(signature, object)))
    },
    'an evil assertion in the status detail': (said, evil) =>
      answerOf(said).replace('</samlp:Status>', () => {
        return `<samlp:StatusDetail>${assertionOf(evil)}</samlp:StatusDetail></samlp:Status>`
      }),
    'the signed assertion as advice of an evil one': (said, evil) => {
      const advice = `<saml:Advice>${signElement(assertionOf(said), 'saml:Assertion', byIdp)}</saml:Advice>`
      return responseOf(
        said,
        assertionOf(evil).replace('</saml:Conditions>', () => `</saml:Conditions>${advice}`),
      )
    },
    'the signed assertion in the subject confirmation of an evil one': (said, evil) => {
      const signed = signElement(assertionOf(said), 'saml:Assertion', byIdp)
      const wrapped = `${signed}</saml:SubjectConfirmationData>`
      return responseOf(
        said,
        assertionOf(evil).replace('</saml:SubjectConfirmationData>', () => wrapped),
      )
    },
    'an evil assertion of another namespace': (said, evil) =>
      responseOf(
        said,
        assertionOf(evil)
          .replaceAll('saml:', 'x:')
          .replace(/xmlns:saml="[^"]*"/, 'xmlns:x="urn:evil"') +
          signElement(assertionOf(said), 'saml:Assertion', byIdp),
      ),
    'an evil response within the signed one': (said, evil) =>
      responseOf(said, responseOf(evil, assertionOf(evil)) + signElement(assertionOf(said), 'saml:Assertion', byIdp)),
    'an evil assertion with the copied signature alone': (said, evil) =>
      responseOf(
        said,
        afterIssuer(assertionOf(evil), signatureOf(signElement(assertionOf(said), 'saml:Assertion', byIdp))),
      ),
  }
  const evilOf = (said: Said, own: boolean): Said => ({
    ...said,
    nameId: nameId('victim'),
    ...(own ? { assertionId: '_evil', responseId: '_evil_response' } : {}),
  })
  const REASONS =
    /^answer_refused (misplaced|assertion_count|duplicate_id|signature_form|assertion_unsigned|reference|signature)$/

  it.each(Object.keys(ATTACKS))('%s', async (name) => {
    for (const own of [true, false]) {
      const reason = await refusal((said) => ATTACKS[name]?.(said, evilOf(said, own)) ?? '')
      expect(reason).toMatch(REASONS)
    }
  })
})

describe('the one shape of an answer, each rule by itself', () => {
  const extended = (inner: string) => (said: Said) =>
    answerOf(said).replace('<samlp:Status>', () => `<samlp:Extensions>${inner}</samlp:Extensions><samlp:Status>`)
  it.each([
    ['an id twice', '<samlp:x ID="_assertion"></samlp:x>', 'duplicate_id'],
    ['an id twice, spelled otherwise', '<samlp:x Id="_assertion"></samlp:x>', 'duplicate_id'],
    ['an id twice, in a namespace', '<samlp:x xmlns:y="urn:y" y:id="_response"></samlp:x>', 'duplicate_id'],
    ['a second response', '<samlp:Response></samlp:Response>', 'misplaced'],
    ['a second assertion', '<Assertion></Assertion>', 'misplaced'],
    ['a second encrypted assertion', '<EncryptedAssertion></EncryptedAssertion>', 'misplaced'],
    ['a signature elsewhere', '<Signature></Signature>', 'misplaced'],
    ['an object of a signature', `<Object xmlns="${DSIG}"></Object>`, 'misplaced'],
  ])('%s', async (_name, inner, reason) => {
    expect(await refusal(extended(inner))).toBe(`answer_refused ${reason}`)
  })

  it('extensions that are none of these are let be', async () => {
    const { said, finish } = await room()
    expect((await finish(encode(extended('<samlp:x ID="_other"></samlp:x>')(said)))).subject).toBe('person-1')
  })
})

describe('comment injection (CVE-2017-11427 and kin, CVE-2025-29775)', () => {
  const SPLITS = ['<!-- -->', '<![CDATA[]]>', '<?cut?>', '<!--\n-->']
  it.each(SPLITS)('a name cut by %s', async (split) => {
    // The canonical form that is signed has no comments, so the signature holds.
    const cut = (said: Said) =>
      answerOf({ ...said, nameId: nameId('person-1.evil') }).replace('person-1.evil', `person-1${split}.evil`)
    expect(await refusal(cut)).toBe('answer_refused xml')
  })

  it('a digest cut by a comment', async () => {
    const cut = (said: Said) => answerOf(said).replace('<ds:DigestValue>', '<ds:DigestValue><!--x-->')
    expect(await refusal(cut)).toBe('answer_refused xml')
  })

  it('a comment within an encrypted assertion, which shows only afterwards', async () => {
    const { upstream } = await room({ decryption })
    const metadata = (await upstream.publish?.())?.body ?? ''
    const cut = async (said: Said) => {
      const commented = answerOf({ ...said, nameId: nameId('a.evil') }).replace('a.evil', 'a<!-- -->.evil')
      return idp.sign(await idp.encrypt(commented, metadata), ['response'])
    }
    expect(await refusal(cut, { decryption })).toBe('answer_refused xml')
  })
})

describe('the form of a signature (CVE-2025-29774, CVE-2025-54369, CVE-2024-45409)', () => {
  const doubled = (element: string) => (said: Said) =>
    answerOf(said).replace(new RegExp(`<ds:${element}[ >].*?</ds:${element}>`), (found) => found + found)

  it.each(['SignedInfo', 'Reference', 'DigestValue', 'SignatureValue', 'KeyInfo', 'SignatureMethod', 'DigestMethod'])(
    'two %s elements',
    async (element) => {
      expect(await refusal(doubled(element))).toBe('answer_refused signature_form')
    },
  )

  it('two signatures of one assertion', async () => {
    expect(await refusal(doubled('Signature'))).toBe('answer_refused misplaced')
  })

  it('an evil SignedInfo before and after the signed one', async () => {
    const evil = (said: Said) =>
      /<ds:SignedInfo>.*<\/ds:SignedInfo>/.exec(answerOf({ ...said, nameId: nameId('victim') }))?.[0]
    for (const [place, put] of [
      ['<ds:SignedInfo>', (more: string) => `${more}<ds:SignedInfo>`],
      ['</ds:SignedInfo>', (more: string) => `</ds:SignedInfo>${more}`],
    ] as const) {
      const wrapped = (said: Said) => {
        const changed = answerOf(said).replace('person-1', 'victim')
        return changed.replace(place, () => put(evil(said) ?? ''))
      }
      expect(await refusal(wrapped)).toBe('answer_refused signature_form')
    }
  })

  it('a reference to the whole document, to another id, to none', async () => {
    for (const uri of ['', '#_response', '#', '#xpointer(/)', "#_assertion' or '1'='1"]) {
      const changed = (said: Said) => answerOf(said).replace('URI="#_assertion"', `URI="${uri}"`)
      expect(await refusal(changed)).toBe('answer_refused reference')
    }
  })

  it('an assertion without an id, or a signature elsewhere than after the issuer', async () => {
    const anonymous = (said: Said) => answerOf(said).replace(' ID="_assertion"', '')
    expect(await refusal(anonymous)).toBe('answer_refused reference')
    const moved = (said: Said) => {
      const xml = answerOf(said)
      return xml.replace(SIGNATURE, '').replace('</saml:Assertion>', () => `${signatureOf(xml)}</saml:Assertion>`)
    }
    expect(await refusal(moved)).toBe('answer_refused misplaced')
  })

  it('no assertion signature within a signed response, and no signature at all', async () => {
    const outside = (said: Said) => idp.sign(responseOf(said, assertionOf(said)), ['response'])
    expect(await refusal(outside)).toBe('answer_refused assertion_unsigned')
    expect(await refusal((said) => responseOf(said, assertionOf(said)))).toBe('answer_refused assertion_unsigned')
  })

  it('an honest assertion within a response whose own signature does not hold', async () => {
    const foreignEnvelope = (said: Said) => signElement(answerOf(said), 'samlp:Response', { key: foreign })
    expect(await refusal(foreignEnvelope)).toBe('answer_refused signature')
    const changed = (said: Said) =>
      signElement(answerOf(said), 'samlp:Response', byIdp).replace(
        /IssueInstant="2031-03-04T05:06:07/,
        'IssueInstant="2031-03-04T05:06:08',
      )
    expect(await refusal(changed)).toBe('answer_refused signature')
  })
})

describe('keys and algorithms', () => {
  const publicKey = createPublicKey(idp.key.certificate)
  const spki = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const sha1 = 'http://www.w3.org/2000/09/xmldsig#sha1'
  const CASES: readonly (readonly [string, HandSigning, reason: string])[] = [
    ['a foreign key', { key: foreign }, 'signature'],
    ['a foreign key that brings its certificate', { key: foreign, keyInfo: keyInfoOf(foreign) }, 'signature'],
    ["a foreign key under the provider's certificate", { key: foreign, keyInfo: keyInfoOf(idp.key) }, 'signature'],
    ['RSA with SHA-1', { ...byIdp, algorithm: `${DSIG}rsa-sha1`, value: rsa('RSA-SHA1', idp.key) }, 'algorithm'],
    [
      'SHA-1 as the digest only',
      { ...byIdp, digestAlgorithm: sha1, digest: (text) => createHash('sha1').update(text).digest('base64') },
      'algorithm',
    ],
    ['HMAC-SHA1 keyed with the certificate', hmacBy('sha1', idp.key.certificate), 'algorithm'],
    ['HMAC-SHA1 keyed with the public key', hmacBy('sha1', spki), 'algorithm'],
    ['HMAC-SHA256 keyed with the certificate', hmacBy('sha256', idp.key.certificate), 'algorithm'],
    ['no algorithm', { ...byIdp, algorithm: '' }, 'algorithm'],
    ['the algorithm none', { ...byIdp, algorithm: 'none', value: () => '' }, 'algorithm'],
    ['an empty signature value', { ...byIdp, value: () => '' }, 'signature'],
    ['a signature value of zeros', { ...byIdp, value: () => Buffer.alloc(256).toString('base64') }, 'signature'],
    ['DSA', { ...byIdp, algorithm: `${DSIG}dsa-sha1` }, 'algorithm'],
    ['MD5', { ...byIdp, digestAlgorithm: 'http://www.w3.org/2001/04/xmldsig-more#md5' }, 'algorithm'],
    [
      'canonicalization that keeps comments',
      { ...byIdp, canonicalization: 'http://www.w3.org/2001/10/xml-exc-c14n#WithComments' },
      'algorithm',
    ],
    ['no transforms', { ...byIdp, transforms: [] }, 'algorithm'],
    [
      'an XSLT transform',
      { ...byIdp, transforms: [`${DSIG}enveloped-signature`, 'http://www.w3.org/TR/1999/REC-xslt-19991116'] },
      'algorithm',
    ],
    [
      'an XPath transform',
      { ...byIdp, transforms: [`${DSIG}enveloped-signature`, 'http://www.w3.org/TR/1999/REC-xpath-19991116'] },
      'algorithm',
    ],
    [
      'three transforms',
      {
        ...byIdp,
        transforms: [
          `${DSIG}enveloped-signature`,
          'http://www.w3.org/2001/10/xml-exc-c14n#',
          'http://www.w3.org/2001/10/xml-exc-c14n#',
        ],
      },
      'algorithm',
    ],
  ]
  it.each(CASES)('%s', async (_name, how, reason) => {
    expect(await refusal((said) => answerOf(said, how))).toBe(`answer_refused ${reason}`)
  })

  const TAMPERED: readonly (readonly [string, RegExp, string])[] = [
    ['the name', /person-1/, 'victim'],
    ['the audience', /<saml:Audience>[^<]*/, `<saml:Audience>${ENTITY_ID}`],
    ['the recipient', / Recipient="[^"]*"/, ` Recipient="${REDIRECT_URI}"`],
    ['the time', /NotOnOrAfter="2031/, 'NotOnOrAfter="2041'],
    ['an attribute', /staff/, 'admin'],
  ]
  it.each(TAMPERED)('%s changed after signing', async (_name, pattern, replacement) => {
    const changed = (said: Said) => {
      const other = { ...said, audience: 'https://other.example', recipient: 'https://other.example/acs' }
      const xml = answerOf({ ...other, attributes: { groups: 'staff' } })
      const tampered = xml.replace(pattern, replacement)
      expect(tampered).not.toBe(xml)
      return tampered
    }
    expect(await refusal(changed)).toBe('answer_refused signature')
  })
})

function hmacBy(hash: string, key: string): HandSigning {
  const algorithm = hash === 'sha1' ? `${DSIG}hmac-sha1` : 'http://www.w3.org/2001/04/xmldsig-more#hmac-sha256'
  return { ...byIdp, algorithm, value: hmac(hash, key) }
}

describe('XML that is no answer', () => {
  const laughs = Array.from({ length: 9 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join('')
  const prolog = (declaration: string) => (said: Said) => `<!DOCTYPE r ${declaration}>${answerOf(said)}`
  const CASES: Readonly<Record<string, (said: Said) => string>> = {
    'a document type': prolog('SYSTEM "https://canary.example/x.dtd"'),
    'a billion laughs': (said) =>
      prolog(`[<!ENTITY l0 "ha">${laughs}]`)({ ...said, nameId: nameId('person-1') }).replace('person-1', '&l9;'),
    'an external entity': (said) =>
      prolog('[<!ENTITY x SYSTEM "file:///etc/passwd">]')(said).replace('person-1', '&x;'),
    'a parameter entity': prolog('[<!ENTITY % x SYSTEM "https://canary.example/x"> %x;]'),
    'a document type after the declaration': (said) => `<?xml version="1.0"?>\n<!DOCTYPE r>${answerOf(said)}`,
    'an entity that nobody declared': (said) => answerOf(said).replace('person-1', '&nbsp;person-1'),
    'a stylesheet': (said) => `<?xml-stylesheet href="https://canary.example/x.xsl"?>${answerOf(said)}`,
    'an inclusion by instruction within': (said) =>
      answerOf(said).replace('<samlp:Status>', '<?include x?><samlp:Status>'),
    'two roots': (said) => answerOf(said) + answerOf(said),
    'text after the root': (said) => `${answerOf(said)}x`,
    'half an answer': (said) => answerOf(said).slice(0, 2000),
    'an attribute without quotes': (said) => answerOf(said).replace('Version="2.0"', 'Version=2.0'),
    'an attribute twice': (said) => answerOf(said).replace('Version="2.0"', 'Version="2.0" Version="2.0"'),
    'a prefix without a namespace': (said) => answerOf(said).replace('<samlp:Status>', '<q:x></q:x><samlp:Status>'),
    HTML: () => '<html><body>Session expired</body></html>',
    JSON: () => '{"sub":"victim"}',
    nothing: () => ' ',
  }
  it.each(Object.keys(CASES))('%s', async (name) => {
    expect(await refusal((said) => CASES[name]?.(said) ?? '')).toMatch(
      /^answer_refused (xml|not_a_response|signature)$/,
    )
  })

  it('another message: a request, an assertion alone, SAML 1.1, another namespace', async () => {
    expect(await refusal((said) => signElement(assertionOf(said), 'saml:Assertion', byIdp))).toBe(
      'answer_refused not_a_response',
    )
    const renamed = (said: Said) => answerOf(said).replaceAll('samlp:Response', 'samlp:LogoutResponse')
    expect(await refusal(renamed)).toBe('answer_refused not_a_response')
    const old = (said: Said) => answerOf(said).replace('Version="2.0"><saml:Issuer', 'Version="1.1"><saml:Issuer')
    expect(await refusal(old)).toBe('answer_refused not_a_response')
    const elsewhere = (said: Said) => answerOf(said).replace('SAML:2.0:protocol', 'SAML:2.0:evil')
    expect(await refusal(elsewhere)).toBe('answer_refused not_a_response')
  })

  it('garbage where base64 should be', async () => {
    const { said, finish } = await room()
    const field = encode(answerOf(said))
    const fields = [
      field.slice(0, -3),
      `${field}!`,
      `%${field.slice(1)}`,
      `${field.replaceAll('=', '')}A`,
      '====',
      'Zg',
      '\0\0\0\0',
    ]
    for (const broken of fields) {
      if (broken === field) continue
      expect(await failureOf(finish(broken))).toMatch(/^answer_refused (encoding|xml)$/)
    }
    expect(await failureOf(finish(''))).toBe('answer_refused no_answer')
    expect(await failureOf(finish(Buffer.from([0x3c, 0xff, 0xfe]).toString('base64')))).toBe('answer_refused encoding')
  })

  it('too much of it, before it is parsed (A102)', async () => {
    const { said, finish } = await room()
    const huge = encode(answerOf({ ...said, attributes: { x: 'x'.repeat(8_000_000) } }))
    const from = performance.now()
    expect(await failureOf(finish(huge))).toBe('answer_refused too_long')
    expect(performance.now() - from).toBeLessThan(50)
    const many = (inner: string) => encode(answerOf({ ...said, statement: said.statement + inner }, { key: foreign }))
    expect(await failureOf(finish(many('<a></a>'.repeat(5000))))).toBe('answer_refused xml')
    expect(await failureOf(finish(many('<a>'.repeat(60) + '</a>'.repeat(60))))).toBe('answer_refused xml')
    const names = Array.from({ length: 5000 }, (_, i) => `a${i}=""`).join(' ')
    expect(await failureOf(finish(many(`<a ${names}></a>`)))).toBe('answer_refused xml')
    const spaces = Array.from({ length: 2000 }, (_, i) => `xmlns:a${i}=""`).join(' ')
    expect(await failureOf(finish(many(`<a ${spaces}></a>`)))).toBe('answer_refused xml')
    // As many elements as are read: the library's time grows with their square.
    expect(await failureOf(finish(many('<a></a>'.repeat(500))))).toBe('answer_refused signature')
    expect(await failureOf(finish(many('<a></a>'.repeat(600))))).toBe('answer_refused xml')
  })
})

describe('any other change (A103)', () => {
  const change = fc.record({
    at: fc.nat({ max: 100_000 }),
    length: fc.nat({ max: 40 }),
    text: fc.oneof(
      fc.constantFrom(
        '',
        '<',
        '>',
        '"',
        '&',
        '&amp;',
        '<!--',
        ']]>',
        '\0',
        '\u202e',
        'victim',
        '</saml:Issuer>',
        ' ID="_assertion"',
      ),
      fc.string({ maxLength: 8 }),
    ),
  })

  it('is refused for a known reason, or changes nobody’s name', async () => {
    const { said, finish, burnt } = await room()
    const attributes = { mail: 'ada@example.com', groups: ['staff', 'admins'] }
    const xml = answerOf({ ...said, attributes })
    const honest = await finish(encode(xml))
    const result = fc.asyncProperty(change, async ({ at, length, text }) => {
      burnt.clear()
      const start = at % xml.length
      const changed = xml.slice(0, start) + text + xml.slice(start + length)
      const outcome = await finish(encode(changed)).catch((error: unknown) => error)
      if (outcome instanceof UpstreamError) return
      expect(outcome).toEqual(honest)
    })
    await fc.assert(result, { numRuns: 150 })
  })
})

describe('encrypted assertions', () => {
  const GCM = 'http://www.w3.org/2009/xmlenc11#aes128-gcm'
  const CBC = 'http://www.w3.org/2001/04/xmlenc#aes256-cbc'
  const metadataOf = async () => (await (await room({ decryption })).upstream.publish?.())?.body ?? ''
  const sealed = async (xml: string, data?: string) =>
    idp.encrypt(xml, await metadataOf(), data === undefined ? {} : { data })

  it.each([GCM, CBC])('are taken within a signed response: %s', async (data) => {
    const { said, finish } = await room({ decryption })
    const xml = idp.sign(await sealed(answerOf(said), data), ['response'])
    expect(xml).not.toContain('person-1')
    expect((await finish(encode(xml))).subject).toBe('person-1')
  })

  it('are not opened unless the provider signed what surrounds them', async () => {
    const outside = async (said: Said) => sealed(answerOf(said))
    expect(await refusal(outside, { decryption })).toBe('answer_refused encryption_unsigned')
    const stranger = async (said: Said) => idp.sign(await sealed(answerOf(said)), ['response'], foreign)
    expect(await refusal(stranger, { decryption })).toBe('answer_refused signature')
  })

  it('are the operator’s to mend when there is no key to open them', async () => {
    const xml = async (said: Said) => idp.sign(await sealed(answerOf(said)), ['response'])
    expect(await refusal(xml)).toBe('misconfigured no_decryption_key')
  })

  it('are not opened with another key', async () => {
    const xml = async (said: Said) => idp.sign(await sealed(answerOf(said)), ['response'])
    expect(await refusal(xml, { decryption: foreign })).toBe('answer_refused signature')
  })

  it('must be signed inside, by algorithms that bind and a key of the provider', async () => {
    const inside = (make: (said: Said) => string) => async (said: Said) =>
      idp.sign(await sealed(make(said)), ['response'])
    const unsigned = inside((said) => responseOf(said, assertionOf(said)))
    expect(await refusal(unsigned, { decryption })).toBe('answer_refused signature')
    const stranger = inside((said) => answerOf(said, { key: foreign }))
    expect(await refusal(stranger, { decryption })).toBe('answer_refused signature')
    const sha1 = inside((said) =>
      answerOf(said, { ...byIdp, algorithm: `${DSIG}rsa-sha1`, value: rsa('RSA-SHA1', idp.key) }),
    )
    expect(await refusal(sha1, { decryption })).toBe('answer_refused algorithm')
  })

  it('refuse RSA with PKCS#1 v1.5, triple DES, and a key from elsewhere', async () => {
    const changed = (pattern: RegExp, replacement: string) => async (said: Said) =>
      idp.sign((await sealed(answerOf(said))).replace(pattern, replacement), ['response'])
    const rsa15 = changed(/rsa-oaep-mgf1p/, 'rsa-1_5')
    expect(await refusal(rsa15, { decryption })).toBe('answer_refused algorithm')
    const des = changed(
      /http:\/\/www.w3.org\/2009\/xmlenc11#aes256-gcm/,
      'http://www.w3.org/2001/04/xmlenc#tripledes-cbc',
    )
    expect(await refusal(des, { decryption })).toBe('answer_refused algorithm')
    const keyless = changed(/<(\w+:)?EncryptedKey.*<\/(\w+:)?EncryptedKey>/s, '')
    expect(await refusal(keyless, { decryption })).toBe('answer_refused encryption_form')
  })

  it('beside a plain one are one too many', async () => {
    const both = async (said: Said) => {
      const encrypted = /<\w+:EncryptedAssertion.*EncryptedAssertion>/s.exec(await sealed(answerOf(said)))?.[0] ?? ''
      return answerOf(said).replace('</samlp:Response>', () => `${encrypted}</samlp:Response>`)
    }
    expect(await refusal(both, { decryption })).toBe('answer_refused assertion_count')
  })
})

describe('replay (A15)', () => {
  it('is taken once, also twenty times at once', async () => {
    const { said, finish } = await room()
    const field = encode(answerOf(said))
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () =>
        finish(field).then(
          (identity) => identity.subject,
          (error: Error) => error.message,
        ),
      ),
    )
    expect(outcomes.filter((outcome) => outcome === 'person-1')).toHaveLength(1)
    expect(new Set(outcomes)).toEqual(new Set(['person-1', 'upstream answer_refused: replayed']))
  })

  it('is taken once however it is signed or wrapped the second time', async () => {
    const { said, finish } = await room()
    expect((await finish(encode(answerOf(said)))).subject).toBe('person-1')
    const again = idp.sign(responseOf({ ...said, responseId: '_another' }, assertionOf(said)), [
      'assertion',
      'response',
    ])
    expect(await failureOf(finish(encode(again)))).toBe('answer_refused replayed')
  })

  it('is remembered for as long as the assertion could be taken, whatever times the provider gives it', async () => {
    const { said, finish, clock, burnt } = await room()
    const year = instant(NOW + 365 * 86_400_000)
    const long = assertionOf(said).replace(/NotOnOrAfter="[^"]*"/g, `NotOnOrAfter="${year}"`)
    const field = encode(responseOf(said, signElement(long, 'saml:Assertion', byIdp)))
    await finish(field)
    const [until = 0] = burnt.values()
    burnt.clear()
    clock.time = until - 1
    expect((await finish(field)).subject).toBe('person-1')
    clock.time = until
    expect(await failureOf(finish(field))).toBe('answer_refused too_old')
  })

  it('of an answer to another departure', async () => {
    const { finish } = await room()
    const { said } = await room()
    expect(await failureOf(finish(encode(answerOf(said))))).toBe('answer_refused in_response_to')
  })
})
