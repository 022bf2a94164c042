/** A stand-in for the engine: it keeps interactions and sessions in maps and remembers what it was told. */
import type { Context } from 'koa'
import type { BrowserSession, EngineInteraction, EngineInteractions } from '../../src/interaction/engine.ts'
import type { ClientView, PromptName } from '../../src/interaction/step.ts'
import { newId } from '../../src/platform/ids.ts'

/** What the engine has been told. */
export interface EngineRecord extends EngineInteraction {
  result?: { readonly [key: string]: unknown }
  replaceSession?: boolean
}

export type FakeEngine = ReturnType<typeof createFakeEngine>

export function createFakeEngine(start: number) {
  const records = new Map<string, EngineRecord>()
  const browsers = new Map<string, BrowserSession>()
  const dead = new Set<string>()
  const clients = new Map<string, ClientView>([
    [
      'demo-web',
      { clientId: 'demo-web', name: 'Demo shop', firstParty: false, initiateLoginUri: 'https://shop.example/login' },
    ],
    ['plain', { clientId: 'plain', name: 'Plain', firstParty: false }],
    [
      'asking',
      {
        ...{ clientId: 'asking', name: 'Asking', firstParty: false, defaultLocale: 'fi' },
        registrationFields: [
          { claim: 'given_name', required: true },
          { claim: 'birthdate', required: false },
        ],
      },
    ],
  ])
  const browserOf = (ctx: Context) => ctx.cookies.get('browser') ?? ''
  const interactions: EngineInteractions = {
    async load(ctx, uid) {
      const found = records.get(uid)
      return found !== undefined && ctx.cookies.get('genkan_interaction') === uid ? found : undefined
    },
    async finish(_ctx, uid, result, { replaceSession = false } = {}) {
      const found = records.get(uid)
      if (found === undefined) throw new Error('interaction not found')
      found.result = result
      found.replaceSession = replaceSession
      return `https://id.example/auth/${uid}`
    },
    async speak(_ctx, uid, locale) {
      const found = records.get(uid)
      if (found !== undefined) records.set(uid, { ...found, params: { ...found.params, ui_locales: locale } })
    },
    async prolong(_ctx, uid) {
      const found = records.get(uid)
      if (found !== undefined) records.set(uid, { ...found, exp: found.exp + 3600 })
      return found && found.exp + 3600
    },
    async browserSession(ctx) {
      const session = browsers.get(browserOf(ctx))
      return session === undefined || dead.has(session.uid) ? undefined : session
    },
    async endBrowserSession(ctx) {
      browsers.delete(browserOf(ctx))
    },
    client: async (clientId) => clients.get(clientId),
  }
  return {
    ...{ records, browsers, dead, clients, interactions },
    /** An interaction as the engine opens it for an authorization request. */
    open(
      name: PromptName = 'login',
      more: {
        params?: object
        session?: EngineInteraction['session']
        cid?: string
        reasons?: string[]
        clientId?: string
      } = {},
    ): EngineRecord {
      const { params = {}, session, cid = newId(), reasons = ['no_session'], clientId = 'demo-web' } = more
      const prompt = { name, reasons, details: {} }
      const record = { uid: newId(), cid, prompt, params: { ...params }, clientId, session, exp: start / 1000 + 3600 }
      records.set(record.uid, record)
      return record
    },
  }
}
