/** How long codes and tokens last. */
import { z } from 'zod'
import { type Parsed, seconds } from './values.ts'

export const tokenShape = {
  tokens: z
    .strictObject({
      access_token_seconds: seconds(3600),
      jwt_access_token_seconds: seconds(300).pipe(z.number().max(300)),
      code_seconds: seconds(60).pipe(z.number().max(600)),
      interaction_seconds: seconds(3600, 60),
      refresh_idle_seconds: seconds(14 * 86_400),
      refresh_absolute_seconds: seconds(90 * 86_400),
      refresh_grace_seconds: seconds(15, 0).pipe(z.number().max(60)),
    })
    .prefault({}),
}

export interface TokenConfig {
  readonly tokens: {
    readonly accessTokenSeconds: number
    readonly jwtAccessTokenSeconds: number
    readonly codeSeconds: number
    readonly interactionSeconds: number
    readonly refreshIdleSeconds: number
    readonly refreshAbsoluteSeconds: number
    readonly refreshGraceSeconds: number
  }
}

export function tokensOf({ tokens }: Parsed<typeof tokenShape>): TokenConfig {
  return {
    tokens: {
      accessTokenSeconds: tokens.access_token_seconds,
      jwtAccessTokenSeconds: tokens.jwt_access_token_seconds,
      codeSeconds: tokens.code_seconds,
      interactionSeconds: tokens.interaction_seconds,
      refreshIdleSeconds: tokens.refresh_idle_seconds,
      refreshAbsoluteSeconds: tokens.refresh_absolute_seconds,
      refreshGraceSeconds: tokens.refresh_grace_seconds,
    },
  }
}
