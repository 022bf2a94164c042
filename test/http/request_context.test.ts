import { describe, expect, it } from '@jest/globals'
import { blockList, clientAddress } from '../../src/http/request_context.ts'

describe('clientAddress (A37, A109)', () => {
  const trusted = blockList(['10.0.0.0/8', 'fd00::/8'])
  it.each([
    ['an untrusted peer speaks for itself', '203.0.113.9', '1.2.3.4', '203.0.113.9'],
    ['a trusted proxy reports one hop', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['only the hop that the proxy added counts', '10.0.0.1', '1.1.1.1, 203.0.113.9', '203.0.113.9'],
    ['a chain of trusted proxies is walked', '10.0.0.1', '1.1.1.1, 203.0.113.9, 10.2.2.2', '203.0.113.9'],
    ['no header: the proxy itself', '10.0.0.1', '', '10.0.0.1'],
    ['nonsense stops the walk', '10.0.0.1', '203.0.113.9, unknown', '10.0.0.1'],
    ['IPv4 in IPv6 is IPv4', '::ffff:10.0.0.1', '::ffff:203.0.113.9', '203.0.113.9'],
    ['IPv6 proxies', 'fd00::1', '2001:db8::7', '2001:db8::7'],
    ['64 KB are not read', '10.0.0.1', '203.0.113.9,'.repeat(6000), '10.0.0.1'],
  ])('%s', (_name, peer, forwarded, expected) => {
    expect(clientAddress(peer, forwarded, trusted)).toBe(expected)
  })

  it('trusts nobody by default', () => {
    expect(clientAddress('127.0.0.1', '1.2.3.4', blockList([]))).toBe('127.0.0.1')
  })
})
