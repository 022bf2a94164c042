/** What the discovery document says beside the engine's own words. */
import type { Middleware } from 'koa'
import { VERIFIED_CLAIMS } from '../interaction/verified_claims.ts'
import { GLOBAL_REVOCATION_PATH } from './global_revocation.ts'
import { endpointAliases } from './mutual_tls.ts'
import { isObject } from './verified_claims.ts'

/** What is said beside `verified_claims_supported`; undefined while no provider identifies anybody. */
export type VerifiedMetadata = { readonly [member: string]: unknown }

export interface DiscoveryDeps {
  readonly issuer: string
  /** Where certificates of clients are asked for, when that is elsewhere. */
  readonly mtlsOrigin: string | undefined
  /** Whether clients may register themselves (RFC 7591), and whether they may be documents at their own address. */
  readonly admits: { readonly registration: boolean; readonly documents: boolean }
  /** Providers of identification come and go while the engine stays. */
  readonly verified: () => Promise<VerifiedMetadata | undefined>
}

/** Builds the middleware in front of the engine that completes both metadata documents. */
export function createDiscovery({ issuer, mtlsOrigin, admits, verified }: DiscoveryDeps): Middleware {
  return async (ctx, next) => {
    await next()
    const { oidc, body } = ctx as { oidc?: { route?: string }; body: unknown }
    if (oidc?.route !== 'discovery' || !isObject(body)) return
    const said = await verified()
    const claims = (body.claims_supported ?? []) as readonly string[]
    const revocation = `${issuer}${GLOBAL_REVOCATION_PATH}`
    const engine = { ...body, global_token_revocation_endpoint: revocation }
    const document = {
      ...engine,
      ...(said === undefined
        ? { claims_supported: claims.filter((claim) => claim !== VERIFIED_CLAIMS) }
        : { verified_claims_supported: true, ...said }),
      // The engine says that it takes a parameter which we refuse.
      ...(body.backchannel_user_code_parameter_supported === true && {
        backchannel_user_code_parameter_supported: false,
      }),
      ...(admits.registration && { registration_endpoint: `${issuer}/reg` }),
      ...(admits.documents && { client_id_metadata_document_supported: true }),
      ...(mtlsOrigin !== undefined && { mtls_endpoint_aliases: endpointAliases(engine, issuer, mtlsOrigin) }),
    }
    ctx.body = Object.fromEntries(Object.entries(document).filter(([, value]) => !isEmpty(value)))
  }
}

/** RFC 8414 §3.2: a member with zero elements is left out. */
function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}
