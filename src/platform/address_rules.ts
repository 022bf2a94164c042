/** Which addresses the server may connect to on somebody else's word. */
import { BlockList, isIP } from 'node:net'

export interface AddressRules {
  /** Whether the address is public, or in a listed range. */
  mayConnect(address: string): boolean
  /** Whether the address is in a listed range. */
  listed(address: string): boolean
}

/** Not globally reachable (IANA special-purpose registries), multicast and reserved. */
const SPECIAL_V4 =
  `0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
  192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
  203.0.113.0/24 224.0.0.0/4 240.0.0.0/4`.split(/\s+/)

/** Parts of the global unicast range 2000::/3 that lead elsewhere: Teredo and 6to4 carry an IPv4 address inside. */
const SPECIAL_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

/** Makes the rules. `networks` are addresses or CIDR ranges that are allowed although they are not public. */
export function createAddressRules(networks: readonly string[]): AddressRules {
  const allowed = blockList(networks)
  const special = blockList([...SPECIAL_V4, ...SPECIAL_V6])
  const unicast = blockList(['2000::/3'])
  const listed = (address: string) => within(allowed, plain(address))
  return {
    listed,
    mayConnect(address) {
      const target = plain(address)
      if (listed(target)) return true
      // Everything of IPv6 outside of global unicast (loopback, link-local, unique local, NAT64, mapped) is refused.
      if (isIP(target) === 6 && !within(unicast, target)) return false
      return isIP(target) !== 0 && !within(special, target)
    },
  }
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', bits] = network.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return list
}

function within(list: BlockList, address: string): boolean {
  const family = isIP(address)
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** An IPv4-mapped address is judged as the IPv4 address that it reaches; a zone (`%eth0`) is dropped. */
function plain(address: string): string {
  const bare = address.replace(/%.*$/, '')
  if (isIP(bare) !== 6) return bare
  const { hostname } = new URL(`http://[${bare}]/`)
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(hostname)
  if (mapped === null) return bare
  const [high = 0, low = 0] = mapped.slice(1).map((group) => Number.parseInt(group, 16))
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}
