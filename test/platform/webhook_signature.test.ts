/** Standard Webhooks: the example of its own libraries, and what must not pass. */
import { createHmac } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { isSigned, type SignedWebhook, webhookKey } from '../../src/platform/webhook_signature.ts'

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const EXAMPLE: SignedWebhook = {
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestamp: '1614265330',
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
}
const AT = new Date(1_614_265_330_000)
const keyOf = (secret: string) => webhookKey(secret) ?? Buffer.alloc(0)
const KEY = keyOf(SECRET)
const OTHER = keyOf(`whsec_${Buffer.alloc(24, 7).toString('base64')}`)
const sign = ({ id, timestamp, body }: SignedWebhook, key = KEY) =>
  `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`
const later = (seconds: number) => new Date(AT.getTime() + seconds * 1000)

describe('a secret', () => {
  it.each([
    ['without its prefix', SECRET.slice(6)],
    ['of 23 bytes', `whsec_${Buffer.alloc(23, 1).toString('base64')}`],
    ['that is no base64', 'whsec_this is a sentence of some length'],
    ['that is empty', 'whsec_'],
  ])('%s is none', (_, secret) => expect(webhookKey(secret)).toBeUndefined())

  it('of 24 bytes is one', () => expect(KEY).toHaveLength(24))
})

describe('a delivery', () => {
  it('as the specification signs it is taken', () => expect(isSigned(EXAMPLE, [KEY], AT)).toBe(true))

  it('is taken by any of the keys, and by any signature of its list', () => {
    expect(isSigned(EXAMPLE, [OTHER, KEY], AT)).toBe(true)
    const list = `v1a,abc v1,${Buffer.alloc(32).toString('base64')} ${EXAMPLE.signature}`
    expect(isSigned({ ...EXAMPLE, signature: list }, [KEY], AT)).toBe(true)
  })

  it.each([
    ['by another key', { signature: sign(EXAMPLE, OTHER) }],
    ['with another body', { body: '{"test": 2432232315}' }],
    ['with another id', { id: 'msg_other' }],
    ['with another time', { timestamp: '1614265331' }],
    ['without a version', { signature: EXAMPLE.signature.slice(3) }],
    ['of another version', { signature: EXAMPLE.signature.replace('v1', 'v2') }],
    ['that is cut', { signature: EXAMPLE.signature.slice(0, -8) }],
    ['that is empty', { signature: '' }],
    ['far down in a list', { signature: `${'v1,AAAA '.repeat(10)}${EXAMPLE.signature}` }],
  ])('signed %s is not', (_, change) => expect(isSigned({ ...EXAMPLE, ...change }, [KEY], AT)).toBe(false))

  it('is taken for five minutes, before and after', () => {
    expect([-301, -300, 300, 301].map((seconds) => isSigned(EXAMPLE, [KEY], later(seconds)))).toEqual([
      ...[false, true, true, false],
    ])
  })

  it.each([
    ['an id with a dot, which could be a part of the time', { id: 'msg.1' }],
    ['no id', { id: '' }],
    ['an id without end', { id: 'm'.repeat(201) }],
    ['a time with a fraction', { timestamp: '1614265330.5' }],
    ['a time with a sign', { timestamp: '+1614265330' }],
    ['no time', { timestamp: '' }],
  ])('with %s is not, whoever signed it', (_, change) => {
    const changed = { ...EXAMPLE, ...change }
    expect(isSigned({ ...changed, signature: sign(changed) }, [KEY], AT)).toBe(false)
  })
})
