/** Modules inside of the engine, as far as `engine_internals.ts` uses them, with what our configuration makes of them. The engine publishes no types of them. */

declare module 'oidc-provider/lib/helpers/grants.js' {
  import type { X509Certificate } from 'node:crypto'
  import type Provider from 'oidc-provider'
  import type { KoaContextWithOIDC } from 'oidc-provider'

  export interface DpopProof {
    readonly thumbprint: string
    readonly jti: string
    readonly iat: number
  }
  export function validateDpop(provider: Provider, ctx: KoaContextWithOIDC): Promise<DpopProof | undefined>
  export function checkDpopReplay(
    provider: Provider,
    ctx: KoaContextWithOIDC,
    proof: DpopProof | undefined,
    clientId: string,
  ): Promise<void>
  export function checkDpopRequired(provider: Provider, ctx: KoaContextWithOIDC, proof: DpopProof | undefined): void
  export function checkMtlsCert(provider: Provider, ctx: KoaContextWithOIDC): X509Certificate | undefined
  export function buildTokenResponse(provider: Provider, response: object): object
}

declare module 'oidc-provider/lib/helpers/jwt.js' {
  export function sign(payload: object, key: unknown, alg: string, options: object): Promise<string>
}

declare module 'oidc-provider/lib/helpers/weak_cache.js' {
  import type { X509Certificate } from 'node:crypto'
  import type Provider from 'oidc-provider'
  import type { KoaContextWithOIDC } from 'oidc-provider'

  interface Internals {
    readonly configuration: {
      readonly clockTolerance: number
      readonly features: {
        readonly mTLS: {
          readonly enabled: boolean
          getCertificate(ctx: KoaContextWithOIDC): X509Certificate | undefined
        }
      }
    }
    readonly keystore: {
      selectForSign(filter: { alg: string; use: string }): readonly { readonly kid: string }[]
      getKeyObject(key: object): unknown
    }
    readonly grantTypeHandlers: Map<string, (ctx: KoaContextWithOIDC) => Promise<void>>
  }
  export function get(provider: Provider): Internals
}

declare module 'oidc-provider/lib/helpers/als.js' {
  import type { AsyncLocalStorage } from 'node:async_hooks'

  const als: AsyncLocalStorage<unknown>

  export { als as default }
}

declare module 'oidc-provider/lib/helpers/router.js' {
  import type { Middleware } from 'koa'

  class Router {
    get(name: string, path: string, ...layers: Middleware[]): this
    post(name: string, path: string, ...layers: Middleware[]): this
    put(name: string, path: string, ...layers: Middleware[]): this
    delete(name: string, path: string, ...layers: Middleware[]): this
    options(name: string, path: string, ...layers: Middleware[]): this
  }

  export { Router as default }
}
