/** What the conversation asks of the engine. `oidc/interactions.ts` fulfils it. */
import type { Context } from 'koa'
import type { ClientView, Proof } from './step.ts'

/** An Interaction of this browser, as the engine loads it. */
export interface EngineInteraction {
  readonly uid: string
  readonly cid: string
  readonly prompt: {
    readonly name: string
    readonly reasons: readonly string[]
    readonly details: { readonly [key: string]: unknown }
  }
  readonly params: { readonly [key: string]: unknown }
  readonly clientId: string
  /** The session of the browser when the interaction was opened. */
  readonly session?: { readonly accountId: string; readonly uid: string } | undefined
  /** Seconds since the epoch. */
  readonly exp: number
}

/** The live session of a browser, with what was shown in it. */
export interface BrowserSession {
  readonly accountId: string
  readonly uid: string
  readonly proofs: readonly Proof[]
}

/** What the conversation asks of the engine. */
export interface EngineInteractions {
  load(ctx: Context, uid: string): Promise<EngineInteraction | undefined>
  finish(
    ctx: Context,
    uid: string,
    result: { readonly [key: string]: unknown },
    options?: { replaceSession?: boolean },
  ): Promise<string>
  /** Puts the person's own choice of language in the place of the request's `ui_locales`, for all that follows. */
  speak(ctx: Context, uid: string, locale: string): Promise<void>
  /** More time for the interaction: when it ends now, in seconds since the epoch; undefined when there is no more. */
  prolong(ctx: Context, uid: string): Promise<number | undefined>
  endBrowserSession(ctx: Context): Promise<void>
  /** The session of this browser now: another tab may have signed in or out since the interaction was opened. */
  browserSession(ctx: Context): Promise<BrowserSession | undefined>
  client(clientId: string): Promise<ClientView | undefined>
}
