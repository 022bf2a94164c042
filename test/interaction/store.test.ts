import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Context } from 'koa'
import type { InteractionStoreDeps, OpenedSession } from '../../src/interaction/conversation.ts'
import type { EngineInteraction } from '../../src/interaction/engine.ts'
import type { AccountView, Patch, Proof } from '../../src/interaction/step.ts'
import { createInteractionStore } from '../../src/interaction/store.ts'
import { sha256 } from '../../src/platform/ids.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'
import { DEFAULT_LEVELS } from '../support/levels.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const REQUEST = { ip: '203.0.113.7', userAgent: 'Firefox', locale: 'en', requestId: 'r1' }
const VIEW: AccountView = {
  accountId: 'A',
  email: 'a@example.com',
  emailVerified: true,
  active: true,
  epoch: 0,
  factors: [],
  locale: 'fi',
}
const PROVEN: Patch = {
  accountId: 'A',
  account: VIEW,
  proof: { method: 'pwd', amr: ['pwd'], accountId: 'A', at: START, epoch: 0 },
}

let time: number
let interaction: EngineInteraction | undefined
let session: { accountId: string; uid: string; proofs: readonly Proof[] } | undefined
let results: object[]
let opened: OpenedSession[]
let ended: string[]
let state: { active: boolean; epoch: number } | undefined
let failing: string | undefined
let views: string[]
let cookies: string[]
/** What was said to be the method that the browser used last. */
let last: string[]
let deps: InteractionStoreDeps
let store: ReturnType<typeof createInteractionStore>
const ctx = (csrf = 'browser-1') => ({ state: { csrf: () => csrf } }) as unknown as Context

function fail(name: string): void {
  if (failing === name) throw new Error(`${name} failed`)
}

beforeEach(() => {
  time = START
  const prompt = { name: 'login', reasons: ['no_session'], details: {} }
  interaction = { uid: 'u1', cid: 'c1', prompt, params: {}, clientId: 'demo-web', exp: START / 1000 + 3600 }
  session = undefined
  ;[results, opened, ended, views, cookies, last] = [[], [], [], [], [], []]
  state = { active: true, epoch: 0 }
  failing = undefined
  const clock = { now: () => new Date(time) }
  deps = {
    engine: {
      load: async () => interaction,
      async finish(_ctx, uid, result, options) {
        fail('engine.finish')
        results.push({ result, ...options })
        return `https://id.example/auth/${uid}`
      },
      speak: async () => {},
      prolong: async () => undefined,
      endBrowserSession: async () => {
        session = undefined
      },
      browserSession: async () => session,
      client: async (clientId) => (clientId === 'gone' ? undefined : { clientId, name: 'Demo', firstParty: false }),
    },
    kv: createModelKeyValue(clock),
    accounts: {
      async view(id) {
        views.push(id)
        return id === 'A' ? VIEW : undefined
      },
      state: async () => state,
      note: async () => undefined,
      canonicalEmail: (input) => (typeof input === 'string' && input.includes('@') ? input.toLowerCase() : undefined),
    },
    sessions: {
      async open(wanted) {
        fail('sessions.open')
        opened.push(wanted)
        return wanted.uid ?? `s${opened.length}`
      },
      end: async (uid, reason) => {
        ended.push(`${uid} ${reason}`)
      },
    },
    levels: DEFAULT_LEVELS,
    enrolmentOf: () => ({ policy: 'optional', grace: 0 }),
    clock,
    deviceCookie: { read: () => undefined, write: (_ctx, token) => void cookies.push(token) },
    lastMethod: { write: (_ctx, method) => void last.push(method) },
    // The browser speaks Swedish.
    languages: { of: (_ctx, { uiLocales, account } = {}) => `${uiLocales ?? '-'} ${account ?? '-'} sv` },
  }
  store = createInteractionStore(deps)
})

async function loaded(context = ctx()) {
  const conversation = await store.load(context, 'u1')
  if (conversation === undefined) throw new Error('not loaded')
  return conversation
}

describe('Loading', () => {
  it.each([
    ['the engine has none', () => (interaction = undefined)],
    ['it is another one', () => (interaction = { ...(interaction as EngineInteraction), uid: 'u2' })],
    [
      'its client is gone or disabled',
      () => (interaction = { ...(interaction as EngineInteraction), clientId: 'gone' }),
    ],
    [
      'its prompt is unknown',
      () =>
        (interaction = { ...(interaction as EngineInteraction), prompt: { name: 'mfa', reasons: [], details: {} } }),
    ],
  ])('gives nothing when %s', async (_, change) => {
    change()
    expect(await store.load(ctx(), 'u1')).toBeUndefined()
  })

  it('begins with the hint of the client, canonical, and writes nothing', async () => {
    interaction = { ...(interaction as EngineInteraction), params: { login_hint: 'Anna@Example.com' } }
    expect((await loaded()).state.progress).toMatchObject({ identifier: 'anna@example.com', path: 'login', version: 0 })
    expect(await deps.kv.read('progress:c1')).toBeUndefined()
    expect(views).toEqual([])
  })

  it('finds the progress again under another uid of the same cid: the engine replaces its record in mid-flow', async () => {
    await store.save(await store.advance(await loaded(), { identifier: 'a@example.com' }, REQUEST))
    interaction = { ...(interaction as EngineInteraction), uid: 'u2' }
    expect((await store.load(ctx(), 'u2'))?.state.progress.identifier).toBe('a@example.com')
  })

  it('is refused to another browser once something was shown in one (A51, A57)', async () => {
    await store.save(await store.advance(await loaded(), PROVEN, REQUEST))
    expect(await store.load(ctx('browser-2'), 'u1')).toBeUndefined()
    expect((await loaded()).state.progress.accountId).toBe('A')
  })

  it('uses the account’s language after the proof and not before', async () => {
    await store.save(await store.advance(await loaded(), { accountId: 'A', account: VIEW }, REQUEST))
    expect((await loaded()).state).toMatchObject({ locale: '- - sv', account: { locale: 'fi' } })
    await store.save(await store.advance(await loaded(), PROVEN, REQUEST))
    expect((await loaded()).state.locale).toBe('- fi sv')
    interaction = { ...(interaction as EngineInteraction), params: { ui_locales: 'xx en' } }
    const context = ctx()
    expect((await loaded(context)).state.locale).toBe('xx en fi sv')
    expect(context.state.locale).toBe('xx en fi sv')
  })

  it.each([
    ['another account’s', { accountId: 'C', uid: 's9', proofs: [] }],
    ['a later one of the same account', { accountId: 'B', uid: 's9', proofs: [] }],
    ['gone', undefined],
  ])('a consent is over when the browser’s session is %s', async (_, now) => {
    session = now
    const prompt = { name: 'consent', reasons: [], details: {} }
    interaction = { ...(interaction as EngineInteraction), prompt, session: { accountId: 'B', uid: 's0' } }
    expect(await store.load(ctx(), 'u1')).toBeUndefined()
  })

  it('reads no progress for a consent, which belongs to the session that asked for it', async () => {
    const asked = { accountId: 'B', uid: 's0', proofs: [] }
    session = asked
    const prompt = { name: 'consent', reasons: [], details: {} }
    interaction = { ...(interaction as EngineInteraction), prompt, session: asked }
    expect((await loaded()).state).toMatchObject({ session: asked, progress: { version: 0 } })
  })
})

describe('Saving', () => {
  it('lets one of many through', async () => {
    const conversation = await loaded()
    const saves = await Promise.all(
      ['a@example.com', 'b@example.com', 'c@example.com'].map(async (identifier) =>
        store.save(await store.advance(conversation, { identifier }, REQUEST)),
      ),
    )
    expect(saves).toEqual([true, false, false])
    expect((await loaded()).state.progress).toMatchObject({ identifier: 'a@example.com', version: 1 })
  })

  it('does not look the account up again that the step has just read', async () => {
    await store.advance(await loaded(), PROVEN, REQUEST)
    expect(views).toEqual([])
  })
})

describe('Finishing', () => {
  it('is not done before something is proven', async () => {
    expect(await store.finish(ctx(), await loaded(), REQUEST)).toBe('unfinished')
    expect(opened).toEqual([])
  })

  it('opens a session with the proofs and their facts, and tells the engine', async () => {
    const conversation = await store.advance(await loaded(), { ...PROVEN, remember: false }, REQUEST)
    expect(await store.finish(ctx(), conversation, REQUEST)).toEqual({ url: 'https://id.example/auth/u1' })
    expect(opened).toEqual([
      {
        ...{ uid: undefined, accountId: 'A', proofs: [PROVEN.proof], amr: ['pwd'], transient: true },
        ...{ ip: '203.0.113.7', userAgent: 'Firefox', now: new Date(START), device: sha256(cookies[0] ?? '') },
        facts: [{ type: 'password.verified', accountId: 'A', clientId: 'demo-web' }],
      },
    ])
    expect(results).toEqual([
      {
        result: {
          login: {
            ...{ accountId: 'A', proofs: [PROVEN.proof], ts: START / 1000 },
            ...{ remember: false, sessionUid: 's1', epoch: 0, browser: expect.any(String) },
          },
        },
        replaceSession: false,
      },
    ])
  })

  it('lets the browser keep no method on a shared computer', async () => {
    await store.finish(ctx(), await store.advance(await loaded(), { ...PROVEN, remember: false }, REQUEST), REQUEST)
    expect([opened.length, last]).toEqual([1, []])
  })

  it('lets the browser keep the method that signed in, not a second factor', async () => {
    const totp: Proof = { method: 'totp', accountId: 'A', at: START, epoch: 0, second: true }
    const both = await store.advance(await store.advance(await loaded(), PROVEN, REQUEST), { proof: totp }, REQUEST)
    await store.finish(ctx(), both, REQUEST)
    expect(last).toEqual(['pwd'])
  })

  it.each([
    ['disabled', { active: false, epoch: 0 }],
    ['gone', undefined],
    ['ended everywhere since the proof', { active: true, epoch: 1 }],
  ])('is void when the account is %s, and the proofs are forgotten', async (_, now) => {
    const conversation = await store.advance(await loaded(), PROVEN, REQUEST)
    await store.save(conversation)
    state = now
    expect(await store.finish(ctx(), await loaded(), REQUEST)).toBe('void')
    const { proofs, accountId } = (await loaded()).state.progress
    expect({ proofs, accountId }).toEqual({ proofs: [], accountId: undefined })
    expect(opened).toEqual([])
  })

  it('takes the state of an account that this request has read, and asks when another has written one since', async () => {
    const asked: AccountView[] = []
    let truth: { active: boolean; epoch: number } | undefined
    const note = async (view: AccountView) => {
      asked.push(view)
      return truth ?? { active: true, epoch: view.epoch }
    }
    state = undefined
    const store = createInteractionStore({ ...deps, accounts: { ...deps.accounts, note } })
    truth = { active: true, epoch: 1 }
    expect(await store.finish(ctx(), await store.advance(await loaded(), PROVEN, REQUEST), REQUEST)).toBe('void')
    truth = undefined
    expect(await store.finish(ctx(), await store.advance(await loaded(), PROVEN, REQUEST), REQUEST)).toMatchObject({
      url: expect.any(String),
    })
    expect(asked).toEqual([VIEW, VIEW])
  })

  it('ends its own session when a parallel submit was faster, and lets that one finish', async () => {
    const one = await store.advance(await loaded(), PROVEN, REQUEST)
    const two = await store.advance(await loaded(), PROVEN, REQUEST)
    const outcomes = await Promise.all([store.finish(ctx(), one, REQUEST), store.finish(ctx(), two, REQUEST)])
    expect(outcomes).toContainEqual({ url: 'https://id.example/auth/u1' })
    expect(outcomes).toContain('stale')
    expect(ended).toHaveLength(1)
    const kept = (await loaded()).state.progress.finished?.sessionUid
    expect(results).toHaveLength(1)
    expect(results[0]).toMatchObject({ result: { login: { sessionUid: kept } } })
    expect(ended[0]).not.toContain(kept)
  })

  it('does not end the live session that both of two parallel submits renewed', async () => {
    session = { accountId: 'A', uid: 'live', proofs: [] }
    const one = await store.advance(await loaded(), PROVEN, REQUEST)
    const two = await store.advance(await loaded(), PROVEN, REQUEST)
    await Promise.all([store.finish(ctx(), one, REQUEST), store.finish(ctx(), two, REQUEST)])
    expect(ended).toEqual([])
  })

  it('is repeated with the same session after the process died before the engine was told', async () => {
    failing = 'engine.finish'
    const conversation = await store.advance(await loaded(), PROVEN, REQUEST)
    await expect(store.finish(ctx(), conversation, REQUEST)).rejects.toThrow('engine.finish failed')
    failing = undefined
    expect(await store.finish(ctx(), await loaded(), REQUEST)).toEqual({ url: 'https://id.example/auth/u1' })
    expect(opened).toHaveLength(1)
    expect(results[0]).toMatchObject({ result: { login: { sessionUid: 's1' } } })
  })

  it('leaves nothing behind when the session could not be opened', async () => {
    failing = 'sessions.open'
    const conversation = await store.advance(await loaded(), PROVEN, REQUEST)
    await expect(store.finish(ctx(), conversation, REQUEST)).rejects.toThrow('sessions.open failed')
    expect((await loaded()).state.progress.finished).toBeUndefined()
    expect(results).toEqual([])
  })

  it('says which methods signed in, once', async () => {
    const counted: string[] = []
    const store = createInteractionStore({ ...deps, signedIn: (method) => counted.push(method) })
    const conversation = await store.advance(await loaded(), PROVEN, REQUEST)
    await store.finish(ctx(), conversation, REQUEST)
    await store.finish(ctx(), await loaded(), REQUEST)
    expect(counted).toEqual(['pwd'])
  })

  it('keeps no proof longer than the engine keeps the interaction', async () => {
    await store.save(await store.advance(await loaded(), PROVEN, REQUEST))
    time += 3600_000
    expect(await deps.kv.read('progress:c1')).toBeUndefined()
  })
})
