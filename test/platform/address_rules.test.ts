import { describe, expect, it } from '@jest/globals'
import { createAddressRules } from '../../src/platform/address_rules.ts'

describe('address rules', () => {
  const rules = createAddressRules([])
  it.each([
    '93.184.216.34',
    '8.8.8.8',
    '2606:4700::1111',
    '2a00:1450:4001::1',
    '::ffff:8.8.8.8',
    '172.32.0.1',
    '100.128.0.1',
  ])('may connect to %s', (address) => {
    expect(rules.mayConnect(address)).toBe(true)
    expect(rules.listed(address)).toBe(false)
  })

  const inside = `0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.1 172.31.255.255 192.168.1.1
    192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 255.255.255.255 240.0.0.1 :: ::1
    ::ffff:127.0.0.1 ::ffff:7f00:1 ::FFFF:10.0.0.1 0:0:0:0:0:ffff:a9fe:a9fe ::127.0.0.1 fe80::1 fe80::1%eth0 fec0::1 fc00::1
    fd12:3456::1 ff02::1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1`
  it.each([...inside.split(/\s+/), '', 'localhost', '127.1', '0x7f.1', 'not an address'])('never to %s', (address) => {
    expect(rules.mayConnect(address)).toBe(false)
  })

  it('knows listed ranges, mapped and plain', () => {
    const listed = createAddressRules(['127.0.0.0/8', '::1', '10.20.0.0/16', 'fd00::/8', '192.168.1.5'])
    for (const address of [
      '127.0.0.1',
      '::1',
      '10.20.3.4',
      'fd00::1',
      '192.168.1.5',
      '::ffff:127.0.0.1',
      '::ffff:a14:304',
    ]) {
      expect([address, listed.mayConnect(address), listed.listed(address)]).toEqual([address, true, true])
    }
    for (const address of ['10.21.0.1', '192.168.1.6', 'fe80::1', '::ffff:10.21.0.1']) {
      expect([address, listed.mayConnect(address)]).toEqual([address, false])
    }
  })
})
