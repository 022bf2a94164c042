import { expect, it } from '@jest/globals'
import { networkOf, subnetOf } from '../../src/platform/client_network.ts'

it.each([
  ['203.0.113.7', '203.0.113.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8::/64'],
  ['::1', '::/64'],
  ['2001:db8:0:0:3:4:5:6', '2001:db8::/64'],
  ['2001::1:2:3:4:5', '2001:0:0:1::/64'],
  ['', ''],
])('%s is counted as %s', (ip, network) => {
  expect(networkOf(ip)).toBe(network)
})

it.each([
  ['203.0.113.7', '203.0.113.0/24'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1::/48'],
  ['2001:db8::5', '2001:db8::/48'],
  ['2001:db8:0:7::5', '2001:db8::/48'],
  ['::1', '::/48'],
  ['', ''],
])('%s is of the subnet %s', (ip, subnet) => {
  expect(subnetOf(ip)).toBe(subnet)
})
