/**
 * What a client signs to be used once: client assertions and assertions as grants (RFC 7523 §3), DPoP proofs (RFC 9449 §11.1).
 * Find-then-save lets parallel replays through: one conditional write decides.
 */
import { hash } from 'node:crypto'
import Provider, { type KoaContextWithOIDC } from 'oidc-provider'
import type { Once } from '../platform/once.ts'
import { temporarilyUnavailable } from './availability.ts'

export interface ReplayDeps {
  readonly useOnce: Once['use']
  readonly now: () => Date
}

/** One that does not say when it was made (`iat` is optional) counts as made so long ago. */
const UNDATED_MS = 3_600_000

/** Replaces the engine's detection of replays. What may have been used in what the store has lost is told to come anew. */
export function detectReplays(provider: Provider, { useOnce, now }: ReplayDeps): void {
  const replays = provider.ReplayDetection as unknown as {
    unique(issuer: string, jti: string, exp: number): Promise<boolean>
  }
  replays.unique = async (issuer, jti, exp) => {
    const at = now().getTime()
    const seconds = Math.max(1, exp - Math.floor(at / 1000))
    const madeAt = Provider.ctx === undefined ? undefined : madeAtOf(Provider.ctx, jti)
    const use = await useOnce(
      hash('sha256', `${issuer}\n${jti}`, 'base64url'),
      madeAt ?? new Date(at - UNDATED_MS),
      seconds,
    )
    if (use === 'unknown') throw temporarilyUnavailable(new Error('its use may be among what the store has lost'))
    return use === 'first'
  }
}

/** When what has this `jti` was made. All that is shown was verified by the one who asks. */
function madeAtOf(ctx: KoaContextWithOIDC, jti: string): Date | undefined {
  const { client_assertion: client, assertion } = (ctx.oidc.params ?? {}) as { [name: string]: unknown }
  for (const shown of [client, ctx.get('DPoP'), assertion]) {
    const payload = payloadOf(shown)
    if (payload?.jti === jti && typeof payload.iat === 'number') return new Date(payload.iat * 1000)
  }
  return undefined
}

function payloadOf(jws: unknown): { jti?: unknown; iat?: unknown } | undefined {
  if (typeof jws !== 'string' || jws === '') return undefined
  try {
    return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString()) ?? undefined
  } catch {
    return undefined
  }
}
