import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { createSecretBox } from '../../src/platform/secret_box.ts'

const [first, second, third] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.alloc(48, 3)]
const box = createSecretBox([first])

/** The text with one character exchanged for another of the alphabet. */
function changed(text: string, at: number): string {
  return text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1)
}

describe('seal and open', () => {
  it('gives back any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(box.open(box.seal(text, 'test'), 'test')).toBe(text)
      }),
    )
  })

  it('has the format v1.<key id>.<iv>.<ciphertext and tag>', () => {
    const sealed = box.seal('four', 'test')
    expect(sealed).toMatch(/^v1\.[\w-]{8}\.[\w-]{16}\.[\w-]{27}$/)
    expect(sealed.split('.')[1]).toBe(box.keyIds()[0])
  })

  it('A110: equal plaintexts look different, and the plaintext never shows', () => {
    const sealed = Array.from({ length: 100 }, () => box.seal('JBSWY3DPEHPK3PXP', 'totp'))
    expect(new Set(sealed.map((value) => value.split('.')[2])).size).toBe(100)
    expect(new Set(sealed.map((value) => value.split('.')[3])).size).toBe(100)
    for (const value of sealed)
      expect(Buffer.from(value.split('.')[3] ?? '', 'base64url').includes('JBSWY3')).toBe(false)
  })

  it('refuses a change of any one character', () => {
    const sealed = box.seal('secret', 'test')
    for (let at = 0; at < sealed.length; at++) {
      if (sealed[at] === '.') continue
      expect(() => box.open(changed(sealed, at), 'test')).toThrow(/^sealed value: /)
    }
  })

  it('refuses another spelling of the same bytes', () => {
    const sealed = box.seal('four', 'test')
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const last = alphabet.indexOf(sealed.at(-1) ?? '')
    const twin = sealed.slice(0, -1) + alphabet[last ^ 1]
    expect(Buffer.from(twin.split('.')[3] ?? '', 'base64url')).toEqual(
      Buffer.from(sealed.split('.')[3] ?? '', 'base64url'),
    )
    expect(() => box.open(twin, 'test')).toThrow('malformed')
  })

  it.each(['', 'v1', 'v1...', 'v2.aaaaaaaa.aaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaa', 'plain text', 'v1.a.b.c', ' '])(
    'refuses %j as malformed',
    (text) => {
      expect(() => box.open(text, 'test')).toThrow('malformed')
      expect(() => box.needsReseal(text)).toThrow('malformed')
    },
  )

  it('refuses a shortened value: the tag is never taken shorter', () => {
    const sealed = box.seal('a longer secret text', 'test')
    for (let cut = 1; cut < 30; cut++) expect(() => box.open(sealed.slice(0, -cut), 'test')).toThrow(/^sealed value: /)
  })

  it('opens for its own purpose only', () => {
    const sealed = box.seal('secret', 'signing_key')
    for (const purpose of ['totp', '', 'signing_key ', 'signing_key\0'])
      expect(() => box.open(sealed, purpose)).toThrow('another purpose')
  })

  it('says in no error what it holds', () => {
    const sealed = box.seal('secret', 'test')
    for (const attempt of [() => box.open(sealed, 'other'), () => createSecretBox([second]).open(sealed, 'test')]) {
      expect(attempt).toThrow(expect.objectContaining({ message: expect.not.stringContaining('secret text') }))
    }
  })
})

describe('rotation', () => {
  const rotated = createSecretBox([second, first])

  it('opens what older keys have sealed and seals with the newest', () => {
    const old = box.seal('kept', 'test')
    expect(rotated.open(old, 'test')).toBe('kept')
    expect(rotated.needsReseal(old)).toBe(true)
    const renewed = rotated.seal('kept', 'test')
    expect(rotated.needsReseal(renewed)).toBe(false)
    expect(() => box.open(renewed, 'test')).toThrow(`its key ${rotated.keyIds()[0]} is not among the secret keys`)
  })

  it('accepts macs of older keys and makes new ones with the newest', () => {
    const old = box.mac('row', 'ledger')
    expect(rotated.macMatches('row', 'ledger', old)).toBe(true)
    expect(rotated.mac('row', 'ledger')).not.toBe(old)
    expect(rotated.macMatches('row', 'ledger', rotated.mac('row', 'ledger'))).toBe(true)
    expect(box.macMatches('row', 'ledger', rotated.mac('row', 'ledger'))).toBe(false)
    expect(createSecretBox([second]).macMatches('row', 'ledger', old)).toBe(false)
  })

  it('lists ids newest first, each once; an id is bound to its key', () => {
    const [a, b] = [createSecretBox([first]).keyIds()[0], createSecretBox([second]).keyIds()[0]]
    expect(rotated.keyIds()).toEqual([b, a])
    expect(createSecretBox([first, first]).keyIds()).toEqual([a])
    expect(a).not.toBe(b)
  })
})

describe('macs and derived keys', () => {
  it('a mac is bound to value and purpose, and to its exact text', () => {
    const mac = box.mac('value', 'a')
    expect(mac).toMatch(/^[\w-]{43}$/)
    expect(box.mac('value', 'a')).toBe(mac)
    expect(box.macMatches('value', 'a', mac)).toBe(true)
    for (const [value, purpose, given] of [
      ['other', 'a', mac],
      ['value', 'b', mac],
      ['value', 'a', ''],
      ['value', 'a', `${mac}=`],
      ['value', 'a', mac.slice(0, -1)],
    ] as const) {
      expect(box.macMatches(value, purpose, given)).toBe(false)
    }
  })

  it('keys are HKDF-SHA256 of the secret with use and purpose as info (RFC 5869)', () => {
    const info = (use: string, purpose: string) =>
      Buffer.from(hkdfSync('sha256', first, '', `genkan ${use}\0${purpose}`, 32))
    expect(box.derive('cookies', 32)).toEqual(info('derive', 'cookies'))
    expect(box.mac('v', 'p')).toBe(createHmac('sha256', info('mac', 'p')).update('v').digest('base64url'))
  })

  it('derives other bytes for each purpose and use, from the newest key', () => {
    expect(box.derive('a', 32)).toHaveLength(32)
    expect(box.derive('a', 64).subarray(0, 32)).toEqual(box.derive('a', 32))
    expect(box.derive('a', 32)).not.toEqual(box.derive('b', 32))
    expect(createSecretBox([second, first]).derive('a', 32)).toEqual(createSecretBox([second]).derive('a', 32))
  })

  it('works on with more purposes than it remembers', () => {
    const sealed = Array.from({ length: 1200 }, (_, i) => box.seal(String(i), `purpose ${i}`))
    for (const [i, value] of sealed.entries()) expect(box.open(value, `purpose ${i}`)).toBe(String(i))
  })
})

it('refuses to work without a key or with a short one', () => {
  expect(() => createSecretBox([])).toThrow('at least one')
  expect(() => createSecretBox([first, randomBytes(31)])).toThrow('at least 32 bytes')
  expect(createSecretBox([third]).open(createSecretBox([third]).seal('x', 'p'), 'p')).toBe('x')
})
