/** Mutual TLS (RFC 8705) behind a proxy that ends it: authentication by certificate, and tokens bound to one. */
import { X509Certificate } from 'node:crypto'
import type { KoaContextWithOIDC } from 'oidc-provider'
import type { Config } from '../config/config.ts'
import { hasSubject, isIssuedBy, readCertificate } from '../platform/client_certificate.ts'
import type { CERTIFICATE_SUBJECTS } from '../platform/client_protocol.ts'

type Subject = (typeof CERTIFICATE_SUBJECTS)[number]

/** Endpoints that programs use, by their members of discovery: where a certificate is asked for (RFC 8705 §5). */
const ALIASED = [
  'token_endpoint',
  'revocation_endpoint',
  'introspection_endpoint',
  'device_authorization_endpoint',
  'pushed_authorization_request_endpoint',
  'backchannel_authentication_endpoint',
  'userinfo_endpoint',
  'registration_endpoint',
  'global_token_revocation_endpoint',
]

/** Reads the certificate that a request shows. */
export function createCertificateOf(mtls: Config['mtls']) {
  // `http/request_context` has taken the header away from everybody but trusted proxies.
  return (ctx: Pick<KoaContextWithOIDC, 'get'>): X509Certificate | undefined =>
    mtls && readCertificate(ctx.get(mtls.certificateHeader))
}

/** What the engine's client calls the subject that it has registered. */
const REGISTERED = {
  tls_client_auth_subject_dn: 'tlsClientAuthSubjectDn',
  tls_client_auth_san_dns: 'tlsClientAuthSanDns',
  tls_client_auth_san_uri: 'tlsClientAuthSanUri',
  tls_client_auth_san_ip: 'tlsClientAuthSanIp',
  tls_client_auth_san_email: 'tlsClientAuthSanEmail',
} as const satisfies { readonly [member in Subject]: string }

/** Tells whether a request shows the certificate that a `tls_client_auth` client has registered (RFC 8705 §2.1). */
export function createCertificateProof(mtls: Config['mtls'], now: () => Date) {
  const { certificateAuthorized, certificateSubjectMatches } = createMutualTls(mtls, now)
  return (ctx: KoaContextWithOIDC, client: object): boolean => {
    const of = client as { readonly [member: string]: unknown }
    const members = Object.entries(REGISTERED) as [Subject, string][]
    const [member, name] = members.find(([, name]) => of[name] !== undefined) ?? []
    if (member === undefined || name === undefined || certificateAuthorized?.(ctx) !== true) return false
    return certificateSubjectMatches?.(ctx, member, String(of[name])) === true
  }
}

/** `mTLS` of the engine; off without the setting. */
export function createMutualTls(mtls: Config['mtls'], now: () => Date) {
  if (mtls === undefined) return { enabled: false }
  const trusted = mtls.trustedCa.map((pem) => new X509Certificate(pem))
  const certificateOf = createCertificateOf(mtls)
  return {
    enabled: true,
    certificateBoundAccessTokens: true,
    selfSignedTlsClientAuth: true,
    tlsClientAuth: true,
    getCertificate: certificateOf,
    certificateAuthorized(ctx: KoaContextWithOIDC): boolean {
      const certificate = certificateOf(ctx)
      return certificate !== undefined && isIssuedBy(certificate, trusted, now())
    },
    certificateSubjectMatches(ctx: KoaContextWithOIDC, member: Subject, expected: string): boolean {
      const certificate = certificateOf(ctx)
      return certificate !== undefined && hasSubject(certificate, member, expected)
    },
  }
}

/** `mtls_endpoint_aliases` of discovery: the endpoints that the document has, at the other origin. */
export function endpointAliases(document: Readonly<Record<string, unknown>>, issuer: string, origin: string) {
  const present = ALIASED.filter((name) => document[name] !== undefined)
  return Object.fromEntries(present.map((name) => [name, String(document[name]).replace(issuer, origin)]))
}
