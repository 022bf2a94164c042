/** Providers that people bring, the domains that are theirs, and those that prove who somebody is. */
import { z } from 'zod'
import { repeated } from './problems.ts'
import type { Parsed } from './values.ts'

/** The upstreams feature checks the rest. */
const upstreamDeclaration = z.looseObject({ name: z.string().min(1) })

/** The realms feature checks the rest. */
const realmDeclaration = z.looseObject({ domain: z.string().min(1) })

/** The proofings feature checks the rest. */
const proofingDeclaration = z.looseObject({ name: z.string().min(1) })

/** An address, with a port where it is not 53. */
const dnsServer = z
  .string()
  .regex(/^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\])(:\d{1,5})?$/, 'must be an address or address:port')

export const upstreamShape = {
  upstreams: z.array(upstreamDeclaration).default([]),
  realms: z.array(realmDeclaration).default([]),
  proofings: z.array(proofingDeclaration).default([]),
  dns_servers: z.array(dnsServer).max(10).default([]),
}

type Settings = Parsed<typeof upstreamShape>
export type UpstreamDeclaration = Settings['upstreams'][number]
export type RealmDeclaration = Settings['realms'][number]
export type ProofingDeclaration = Settings['proofings'][number]

export interface UpstreamConfig {
  readonly upstreams: readonly UpstreamDeclaration[]
  readonly realms: readonly RealmDeclaration[]
  readonly proofings: readonly ProofingDeclaration[]
  /** Whom the records of realms are asked of; without any, the system's. */
  readonly dnsServers: readonly string[]
}

export function upstreamsOf({ upstreams, realms, proofings, dns_servers: dnsServers }: Settings): UpstreamConfig {
  return { upstreams, realms, proofings, dnsServers }
}

export function upstreamProblems({ upstreams }: Settings): string[] {
  return repeated(upstreams.map(({ name }) => name)).map((name) => `upstreams: ${name} is declared twice`)
}
