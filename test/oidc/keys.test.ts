import {
  type createPrivateKey,
  createPublicKey,
  type ECKeyPairKeyObjectOptions,
  generateKeyPairSync,
  verify,
} from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import type { ExternalSigningKey } from 'oidc-provider'
import { sideBySide, toEngineKeys } from '../../src/oidc/keys.ts'

function signer(alg: 'ES256' | 'EdDSA', privateKey: ReturnType<typeof createPrivateKey>) {
  const [key] = toEngineKeys([{ kid: 'k', alg, privateJwk: privateKey.export({ format: 'jwk' }) }])
  return async (data: Buffer) => Buffer.from(await (key as ExternalSigningKey).sign(data))
}

describe('signing keys of the engine', () => {
  it('ES256 signatures are two integers of 32 bytes (RFC 7518 §3.4), whatever DER does to the integers', async () => {
    const options: ECKeyPairKeyObjectOptions = { namedCurve: 'P-256' }
    const { privateKey } = generateKeyPairSync('ec', options)
    const publicKey = createPublicKey(privateKey)
    const sign = signer('ES256', privateKey)
    // One integer of 256 is shorter than 32 bytes and one of two longer in DER: among 2,000 signatures there are all kinds.
    for (let i = 0; i < 2000; i++) {
      const data = Buffer.from(`message ${i}`)
      const signature = await sign(data)
      expect(signature.length).toBe(64)
      expect(verify('sha256', data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true)
    }
  })

  it('short integers are filled up from the left, and the zero in front of a high bit is dropped', () => {
    const long = Buffer.alloc(32, 0xff)
    const der = Buffer.concat([Buffer.from([0x30, 0x26, 0x02, 0x01, 0x05, 0x02, 0x21, 0x00]), long])
    expect(sideBySide(der)).toEqual(Buffer.concat([Buffer.alloc(31), Buffer.from([5]), long]))
  })

  it('EdDSA signatures verify', async () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    const data = Buffer.from('message')
    const signature = await signer('EdDSA', privateKey)(data)
    expect(verify(null, data, createPublicKey(privateKey), signature)).toBe(true)
  })
})
