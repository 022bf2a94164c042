/** The engine's side of the hosted conversation: load an Interaction, finish it, end the browser's session, make a Grant. */
import type { Context } from 'koa'
import type Provider from 'oidc-provider'
import type { Interaction } from 'oidc-provider'
import { AppError } from '../errors.ts'
import type { ClientView, Proof } from '../interaction/step.ts'
import { createNotes } from '../platform/notes.ts'
import type { cookies } from './cookies.ts'
import { agreedIn, createGrantFor } from './grants.ts'
import { type BrandOf, viewOf } from './pages.ts'
import { proofsOf } from './session_proofs.ts'

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
  /** Puts the person's own choice of language in the place of the client's: it holds through resume and consent. */
  speak(ctx: Context, uid: string, locale: string): Promise<void>
  /**
   * Begins the time of the Interaction and its cookies anew. Returns when it ends (seconds since the epoch); undefined when
   * it has ended, was finished, or was prolonged for half a day already.
   */
  prolong(ctx: Context, uid: string): Promise<number | undefined>
  /** The live session of this browser now: another tab may have signed in or out since the Interaction was opened. */
  browserSession(
    ctx: Context,
  ): Promise<{ readonly accountId: string; readonly uid: string; readonly proofs: readonly Proof[] } | undefined>
  /** Destroys the engine's session of this browser and its cookie. */
  endBrowserSession(ctx: Context): Promise<void>
  client(clientId: string): Promise<ClientView | undefined>
  grantFor: ReturnType<typeof createGrantFor>
}

/** Nobody who reads slowly needs longer, and what is left behind is gone in the end. */
const MOST_SECONDS = 43_200

type BrowserSession = Awaited<ReturnType<EngineInteractions['browserSession']>>

/** Builds the engine's side on a provider that may be replaced (key rotation). A record is read once a request. */
export function createEngineInteractions(
  current: () => Provider,
  { names, short }: Pick<ReturnType<typeof cookies>, 'names' | 'short'>,
  brandOf: BrandOf,
  ttlSeconds: number,
): EngineInteractions {
  const interactions = createNotes<Context, Promise<Interaction | undefined>>()
  const sessions = createNotes<Context, Promise<BrowserSession>>()
  // Not by `interactionDetails`: that also looks up the session by its uid, which we compare with the browser's own.
  const details = async (ctx: Context, uid: string) => {
    const id = ctx.cookies.get(names.interaction, short)
    if (id === undefined || id !== uid) return undefined
    const interaction = interactions.get(ctx) ?? current().Interaction.find(id)
    interactions.set(ctx, interaction)
    return interaction
  }
  // Asked by `prompt=consent` the page shows what the client has already too; the engine names only what it lacks.
  const granted = async ({ prompt, grantId }: Interaction) => {
    if (!prompt.reasons.includes('consent_prompt') || grantId === undefined) return undefined
    const grant = await current().Grant.find(grantId)
    return grant === undefined ? undefined : agreedIn(grant)
  }
  const browserSession = async (ctx: Context): Promise<BrowserSession> => {
    const session = await current().Session.get(ctx as never)
    const { accountId, uid } = session
    return accountId === undefined ? undefined : { accountId, uid, proofs: proofsOf(session) }
  }
  return {
    async load(ctx, uid) {
      const found = await details(ctx, uid)
      if (found === undefined) return undefined
      const { accountId, uid: sessionUid } = found.session ?? {}
      return {
        uid: found.uid,
        cid: found.cid,
        prompt: {
          ...found.prompt,
          details: { ...found.prompt.details, grantId: found.grantId, granted: await granted(found) },
        },
        params: found.params,
        clientId: String(found.params.client_id),
        session: accountId && sessionUid ? { accountId, uid: sessionUid } : undefined,
        exp: found.exp,
      }
    },
    async finish(ctx, uid, result, { replaceSession = false } = {}) {
      const found = await details(ctx, uid)
      if (found === undefined) throw new AppError('invalid_request', { detail: 'interaction not found' })
      found.result = 'error' in result ? { ...result } : { ...found.lastSubmission, ...result }
      if (replaceSession) delete found.session
      await found.persist()
      return found.returnTo
    },
    async speak(ctx, uid, locale) {
      const found = await details(ctx, uid)
      // A result that waits to be resumed is not written over.
      if (found === undefined || found.result !== undefined) return
      found.params = { ...found.params, ui_locales: locale }
      await found.persist()
    },
    async prolong(ctx, uid) {
      const found = await details(ctx, uid)
      return found === undefined ? undefined : prolong(ctx, found, { names, short }, ttlSeconds)
    },
    browserSession(ctx) {
      const session = sessions.get(ctx) ?? browserSession(ctx)
      sessions.set(ctx, session)
      return session
    },
    async endBrowserSession(ctx) {
      sessions.delete(ctx)
      const session = await current().Session.get(ctx as never)
      if (session.accountId !== undefined) await session.destroy()
      const secure = names.session.startsWith('__')
      ctx.cookies.set(names.session, null, { path: '/', signed: false, httpOnly: true, secure })
    },
    async client(clientId) {
      const client = await current().Client.find(clientId)
      return client === undefined ? undefined : viewOf(client, brandOf)
    },
    grantFor: (consent) => createGrantFor(current())(consent),
  }
}

async function prolong(
  ctx: Context,
  interaction: Interaction,
  { names, short }: Pick<ReturnType<typeof cookies>, 'names' | 'short'>,
  ttlSeconds: number,
): Promise<number | undefined> {
  const { uid, iat = 0, exp, result, returnTo } = interaction
  if (result !== undefined || exp + ttlSeconds > iat + MOST_SECONDS) return undefined
  await interaction.save(ttlSeconds)
  const ends = { ...short, maxAge: ttlSeconds * 1000 }
  ctx.cookies.set(names.interaction, uid, { ...ends, path: `/interaction/${uid}` })
  ctx.cookies.set(names.resume, uid, { ...ends, path: new URL(returnTo).pathname })
  return interaction.exp
}
