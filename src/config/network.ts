/** Where the server is found, what stands in front of it, and whom it may reach. */
import { X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { cidr, csv, headerName, issuer, type Parsed } from './values.ts'

const port = (fallback: number) => z.coerce.number().int().min(0).max(65535).default(fallback)

/** One after the other. */
const certificates = z
  .string()
  .transform((text) => text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [])
  .refine((found) => found.length > 0 && found.every(isCertificate), 'must be certificates in PEM')

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined
  } catch {
    return false
  }
}

/** Certificates of clients (RFC 8705), as a proxy that ends TLS passes them on. */
const mtls = z.strictObject({
  certificate_header: headerName,
  trusted_ca: certificates.optional(),
  origin: issuer.optional(),
})

export const networkShape = {
  issuer,
  port: port(3000),
  host: z.string().default('0.0.0.0'),
  management_port: port(9464),
  management_host: z.string().default('127.0.0.1'),
  trusted_proxies: csv(cidr),
  country_header: headerName.optional(),
  asn_header: headerName.optional(),
  mtls: mtls.optional(),
  outbound_private_networks: csv(cidr),
}

type Settings = Parsed<typeof networkShape>

export interface NetworkConfig {
  readonly issuer: string
  /** Whether the issuer is served over https; only a loopback issuer may be http. */
  readonly https: boolean
  readonly port: number
  readonly host: string
  readonly managementPort: number
  readonly managementHost: string
  readonly trustedProxies: readonly string[]
  /** By which trusted proxies say the country of an address (ISO 3166-1 alpha-2). */
  readonly countryHeader?: string | undefined
  /** By which trusted proxies say the number of the autonomous system of an address. */
  readonly asnHeader?: string | undefined
  /** Certificates of clients; without, there are none. */
  readonly mtls: MutualTls | undefined
  readonly outboundPrivateNetworks: readonly string[]
}

export interface MutualTls {
  /** By which trusted proxies pass the client's certificate on. */
  readonly certificateHeader: string
  /** PEM of the authorities whose certificates `tls_client_auth` believes. */
  readonly trustedCa: readonly string[]
  /** Where certificates are asked for, when that is not the issuer (RFC 8705 §5). */
  readonly origin: string | undefined
}

export function networkOf(settings: Settings): NetworkConfig {
  return {
    issuer: settings.issuer,
    https: settings.issuer.startsWith('https:'),
    port: settings.port,
    host: settings.host,
    managementPort: settings.management_port,
    managementHost: settings.management_host,
    trustedProxies: settings.trusted_proxies,
    countryHeader: settings.country_header,
    asnHeader: settings.asn_header,
    mtls: mtlsOf(settings),
    // A provider on a loopback issuer is somebody's own machine: its clients are there too.
    outboundPrivateNetworks: settings.issuer.startsWith('http:')
      ? [...settings.outbound_private_networks, '127.0.0.0/8', '::1']
      : settings.outbound_private_networks,
  }
}

function mtlsOf({ mtls: given }: Settings): MutualTls | undefined {
  if (given === undefined) return undefined
  const { certificate_header: header, trusted_ca: trustedCa = [], origin } = given
  return { certificateHeader: header.toLowerCase(), trustedCa, origin }
}

export function networkProblems({ mtls: given, trusted_proxies: proxies }: Settings): string[] {
  if (given === undefined || proxies.length > 0) return []
  return ['mtls: needs trusted_proxies; anybody else could put a certificate into the header']
}
