/** The engine's side of the hosted conversation: load an Interaction, finish it, end the browser's session, make a Grant. */
import type { Context } from 'koa'
import type Provider from 'oidc-provider'
import { errors } from 'oidc-provider'
import type { ClientView } from '../interaction/step.ts'
import { createGrantFor } from './grants.ts'
import { viewOf } from './pages.ts'

/** An Interaction of this browser (the path-bound cookie proved it). */
export interface LoadedInteraction {
  readonly uid: string
  /** Survives the resume and the consent interaction; our progress is kept under it. */
  readonly cid: string
  readonly prompt: {
    readonly name: string
    readonly reasons: readonly string[]
    readonly details: { readonly [key: string]: unknown }
  }
  readonly params: { readonly [key: string]: unknown }
  readonly clientId: string
  readonly session?: { readonly accountId: string; readonly uid: string } | undefined
  /** Seconds since the epoch. */
  readonly exp: number
}

export type InteractionResult = { readonly [key: string]: unknown }

export interface EngineInteractions {
  /** The Interaction whose cookie this browser has and whose uid this is; undefined when expired or another's. */
  load(ctx: Context, uid: string): Promise<LoadedInteraction | undefined>
  /** Saves the result and returns the URL at which the engine resumes. `replaceSession` forgets the session it began with. */
  finish(ctx: Context, uid: string, result: InteractionResult, options?: { replaceSession?: boolean }): Promise<string>
  /** The live session of this browser now: another tab may have signed in or out since the Interaction was opened. */
  browserSession(ctx: Context): Promise<{ readonly accountId: string; readonly uid: string } | undefined>
  /** Destroys the engine's session of this browser and its cookie. */
  endBrowserSession(ctx: Context): Promise<void>
  client(clientId: string): Promise<ClientView | undefined>
  grantFor: ReturnType<typeof createGrantFor>
}

/** Builds the engine's side on a provider that may be replaced (key rotation). */
export function createEngineInteractions(current: () => Provider, sessionCookie: string): EngineInteractions {
  const details = async (ctx: Context, uid: string) => {
    try {
      const interaction = await current().interactionDetails(ctx.req, ctx.res)
      return interaction.uid === uid ? interaction : undefined
    } catch (error) {
      if (error instanceof errors.SessionNotFound) return undefined
      throw error
    }
  }
  return {
    async load(ctx, uid) {
      const found = await details(ctx, uid)
      if (found === undefined) return undefined
      const { accountId, uid: sessionUid } = found.session ?? {}
      return {
        uid: found.uid,
        cid: found.cid,
        prompt: { ...found.prompt, details: { ...found.prompt.details, grantId: found.grantId } },
        params: found.params,
        clientId: String(found.params.client_id),
        session: accountId && sessionUid ? { accountId, uid: sessionUid } : undefined,
        exp: found.exp,
      }
    },
    async finish(ctx, uid, result, { replaceSession = false } = {}) {
      const found = await details(ctx, uid)
      if (found === undefined) throw new errors.SessionNotFound('interaction not found')
      found.result = 'error' in result ? { ...result } : { ...found.lastSubmission, ...result }
      if (replaceSession) delete found.session
      await found.persist()
      return found.returnTo
    },
    async browserSession(ctx) {
      const { accountId, uid } = await current().Session.get(ctx as never)
      return accountId === undefined ? undefined : { accountId, uid }
    },
    async endBrowserSession(ctx) {
      const session = await current().Session.get(ctx as never)
      if (session.accountId !== undefined) await session.destroy()
      ctx.cookies.set(sessionCookie, null, {
        path: '/',
        signed: false,
        httpOnly: true,
        secure: sessionCookie.startsWith('__'),
      })
    },
    async client(clientId) {
      const client = await current().Client.find(clientId)
      return client === undefined ? undefined : viewOf(client)
    },
    grantFor: (consent) => createGrantFor(current())(consent),
  }
}
