/** Software statements (RFC 7591 §2.3): what somebody whom the operator believes says of a client, signed. */
import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose'
import { REQUEST_ALGS } from './client_protocol.ts'
import type { HttpClient } from './http_client.ts'

export interface StatementIssuer {
  readonly issuer: string
  readonly jwks?: { readonly keys: readonly unknown[] } | undefined
  readonly jwksUri?: string | undefined
}

interface StatementDeps {
  readonly issuers: readonly StatementIssuer[]
  readonly fetch: HttpClient['fetch']
  readonly now: () => Date
}

export type Stated =
  | { readonly ok: true; readonly claims: { readonly [claim: string]: unknown } }
  | { readonly ok: false; readonly code: 'invalid_software_statement' | 'unapproved_software_statement' }

type Keys = ReturnType<typeof createLocalJWKSet>

const KEYS_MS = 300_000

/** Makes what reads a statement. Keys that an issuer publishes are asked for at most once in five minutes. */
export function createStatements({ issuers, fetch, now }: StatementDeps): (statement: string) => Promise<Stated> {
  const kept = new Map<string, { readonly keys: Keys; readonly at: number }>()
  const keysOf = async ({ issuer, jwks, jwksUri }: StatementIssuer): Promise<Keys> => {
    if (jwks !== undefined) return createLocalJWKSet(jwks as unknown as JSONWebKeySet)
    const found = kept.get(issuer)
    if (found !== undefined && now().getTime() - found.at < KEYS_MS) return found.keys
    const response = await fetch(jwksUri ?? '', { headers: { accept: 'application/json' } })
    if (response.status !== 200) throw new Error(`the keys of ${issuer} were answered with ${response.status}`)
    const keys = createLocalJWKSet((await response.json()) as JSONWebKeySet)
    kept.set(issuer, { keys, at: now().getTime() })
    return keys
  }
  return async (statement) => {
    try {
      const { iss } = decodeJwt(statement)
      const trusted = issuers.find(({ issuer }) => issuer === iss)
      if (trusted === undefined) return { ok: false, code: 'unapproved_software_statement' }
      const options = { issuer: trusted.issuer, algorithms: [...REQUEST_ALGS], currentDate: now() }
      const { payload } = await jwtVerify(statement, await keysOf(trusted), options)
      return { ok: true, claims: payload }
    } catch {
      return { ok: false, code: 'invalid_software_statement' }
    }
  }
}
