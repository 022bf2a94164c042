/**
 * What every server-side client has in common, on the real library: a new customer arrives signed in, and whatever was changed
 * on the way is refused by the client itself. `npm test` takes the first cases, a deep run all.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Browser, createBrowser, type Page } from '../support/browser.ts'
import { type ExampleClient, type Launch, startExampleClient } from '../support/example_client.ts'
import { allow, register, signIn } from '../support/journeys.ts'
import { DEEP } from '../support/sample.ts'

const EMAIL = 'ada@example.com'

/** Who is there, as the client says. */
export interface Identity {
  readonly sub: string
  readonly email: string
}

export interface WebClient {
  /** Folder of examples/clients. */
  readonly example: string
  readonly launch?: Launch
  /** Presses "sign in": where the client sends the browser to. Without it, its page /login does. */
  readonly leave?: (browser: Browser, origin: string) => Promise<string>
  readonly identity?: (body: string) => Identity
  /** What can be changed in its authorization request; a pushed one (RFC 9126) holds nothing to change. */
  readonly changes?: readonly Change[]
  /** What its page says when Genkan takes its secret for wrong; the code of RFC 6749 §5.2 unless it keeps that to itself. */
  readonly refusal?: RegExp
  /** It reads no error that names the issuer (RFC 9207), and begins anew. */
  readonly asksAgain?: true
  /** Its page /refresh fetches new tokens. */
  readonly refreshes?: true
  /** Signs out, at the client alone or at Genkan, too (RP-Initiated Logout 1.0). Without it, its page /logout does. */
  readonly signOut?: (browser: Browser, origin: string) => Promise<Page>
  readonly signsOut: 'here' | 'everywhere'
  /** More cases of this client alone. */
  readonly more?: (room: () => ClientRoom) => void
}

type Change = readonly [what: string, parameter: string, value: string]

/** A nonce and a code challenge of somebody else, so that the ID token and the code are not this browser's. */
export const NONCE: Change = ['nonce', 'nonce', 'a-nonce-of-somebody-else']
const CHALLENGE: Change = ['code challenge', 'code_challenge', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM']

export interface ClientRoom {
  readonly example: ExampleClient
  /** Signed in by `signUp`. */
  readonly browser: Browser
  /** Presses the client's button: where it sends the browser to. */
  begin(browser: Browser): Promise<string>
  /** From the client's button to what Genkan answers, with a parameter of the request changed. */
  leave(browser: Browser, change?: (parameters: URLSearchParams) => void): Promise<Page>
  /** A new browser that signs in; ends where the client leads it. */
  arrive(change?: (parameters: URLSearchParams) => void, browser?: Browser): Promise<{ browser: Browser; page: Page }>
  /** Who the client says is there; undefined when it says nobody. */
  whoIsThere(browser: Browser): Promise<Identity | undefined>
}

export function describeWebClient(client: WebClient): void {
  const { changes = [NONCE, CHALLENGE] } = client
  describe(client.example, () => {
    let room: ClientRoom & { signUp(): Promise<Page> }

    beforeAll(async () => {
      room = createRoom(client, await startExampleClient(client.example, client.launch))
    }, 60_000)

    afterAll(() => room?.example.close())

    it('says who the new customer is', async () => {
      const page = await room.signUp()
      expect(page.url.startsWith(room.example.origin)).toBe(true)
      const there = await room.whoIsThere(room.browser)
      expect(there).toEqual({ email: EMAIL, sub: await subjectOf(room.example) })
    })

    for (const [what, parameter, value] of DEEP ? changes : changes.slice(0, 1)) {
      it(`refuses an answer to another ${what}`, async () => {
        const { browser, page } = await room.arrive((parameters) => {
          expect(parameters.has(parameter)).toBe(true)
          parameters.set(parameter, value)
        })
        expect(page.url.startsWith(room.example.origin)).toBe(true)
        expect(page.text).not.toContain(EMAIL)
        expect(await room.whoIsThere(browser)).toBeUndefined()
      })
    }

    client.more?.(() => room)
    if (DEEP) describeMore(client, () => room)
  })
}

function describeMore(client: WebClient, room: () => ClientRoom): void {
  it('refuses the answer that another browser asked for, and takes it from that one', async () => {
    const { answer, asker } = await unusedAnswer(room())
    const stranger = createBrowser()
    await room().begin(stranger)
    await stranger.get(answer.href)
    expect(await room().whoIsThere(stranger)).toBeUndefined()
    await asker.send(answer.href)
    expect(await room().whoIsThere(asker)).toMatchObject({ email: EMAIL })
  })

  // A pushed request cannot be made to ask again.
  if (client.changes?.length !== 0) {
    describeRefusal(client, room)

    it("refuses another browser's code with its own state", async () => {
      const { answer } = await unusedAnswer(room())
      const stranger = createBrowser()
      const state = new URL(await room().begin(stranger)).searchParams.get('state') ?? ''
      expect(state).not.toBe('')
      answer.searchParams.set('state', state)
      await stranger.get(answer.href)
      expect(await room().whoIsThere(stranger)).toBeUndefined()
    })
  }
  if (client.refreshes === true) describeRefresh(room)

  it(`signs out ${client.signsOut}`, async () => {
    const { browser } = await room().arrive()
    const { origin, server } = room().example
    const page = await (client.signOut ?? ((visitor) => visitor.get(`${origin}/logout`)))(browser, origin)
    if (client.signsOut === 'everywhere') {
      expect(page.url.startsWith(server.issuer)).toBe(true)
      const end = await browser.submit(page, {}, { form: '/session/end/confirm', button: 'logout' })
      expect(end.visited.some((url) => url.startsWith(origin))).toBe(true)
    }
    expect(await room().whoIsThere(browser)).toBeUndefined()
    const asked = (await room().leave(browser)).forms.some(({ action }) => /\/(identifier|password)$/.test(action))
    expect(asked).toBe(client.signsOut === 'everywhere')
  })

  it('signs nobody in with a wrong secret', async () => {
    const { settings, restart, server } = room().example
    if (settings.CLIENT_SECRET === undefined) throw new Error('this client has no secret')
    await restart({ CLIENT_SECRET: `${settings.CLIENT_SECRET}x` })
    const browser = createBrowser()
    const said = await room()
      .arrive(undefined, browser)
      .then(({ page }) => page.text)
      // One that pushes its request is refused before anybody goes anywhere.
      .catch(({ message }: Error) => message)
    expect(said).toMatch(client.refusal ?? /invalid_client/)
    // Whatever the client makes of it, Genkan's log has it, a second later.
    const isLogged = () =>
      server.logs().some((line) => line.includes('request refused') && line.includes('secret_wrong'))
    for (const until = Date.now() + 5000; !isLogged() && Date.now() < until; ) await sleep(50)
    expect(isLogged()).toBe(true)
    expect(await room().whoIsThere(browser)).toBeUndefined()
    await restart()
    const again = await room().arrive()
    expect(await room().whoIsThere(again.browser)).toMatchObject({ email: EMAIL })
  })
}

/** What Genkan answers a browser that has signed in and does not bring it to the client. */
async function unusedAnswer(room: ClientRoom): Promise<{ answer: URL; asker: Browser }> {
  const callbacks = ['/callback?', '/oidc?', '/auth/callback/'].map((path) => `${room.example.origin}${path}`)
  const { browser: asker, page } = await room.arrive(undefined, createBrowser({ stopAt: callbacks }))
  expect(page.params.has('code')).toBe(true)
  return { answer: new URL(page.url), asker }
}

function describeRefusal({ asksAgain }: WebClient, room: () => ClientRoom): void {
  it('says so when the person refuses', async () => {
    const stranger = createBrowser()
    const page = await room().leave(stranger, (parameters) => parameters.set('prompt', 'consent'))
    const consent = await signIn(stranger, page, EMAIL)
    const { visited } = await stranger.submit(consent, {}, { form: '/consent', button: 'deny' })
    const answer = visited.findIndex((url) => url.includes('error=access_denied'))
    expect(answer).toBeGreaterThan(0)
    const { issuer } = room().example.server
    const again = visited.slice(answer).some((url) => url.startsWith(`${issuer}/auth?`))
    expect(again).toBe(asksAgain === true)
    // Whoever is asked again has agreed before, in this test.
    if (asksAgain === undefined) expect(await room().whoIsThere(stranger)).toBeUndefined()
  })
}

function describeRefresh(room: () => ClientRoom): void {
  it('fetches new tokens with its refresh token', async () => {
    const { browser } = await room().arrive()
    const { origin, server } = room().example
    const before = await refreshes(server)
    const page = await browser.get(`${origin}/refresh`)
    expect({ status: page.status, url: page.url }).toEqual({ status: 200, url: `${origin}/` })
    expect(await room().whoIsThere(browser)).toMatchObject({ email: EMAIL })
    expect(await refreshes(server)).toBe(before + 1)
  })
}

/** How many refresh tokens Genkan has taken. */
async function refreshes({ managementOrigin }: ExampleClient['server']): Promise<number> {
  const metrics = await (await fetch(`${managementOrigin}/metrics`)).text()
  return Number(/^genkan_tokens_issued_total\{grant="refresh_token"\} (\d+)/m.exec(metrics)?.[1] ?? 0)
}

function createRoom(client: WebClient, example: ExampleClient): ClientRoom & { signUp(): Promise<Page> } {
  const { origin } = example
  const identity = client.identity ?? ((body: string) => JSON.parse(body) as Identity)
  const begin: ClientRoom['begin'] = (browser) => (client.leave ?? leaveByLink)(browser, origin)
  const leave: ClientRoom['leave'] = async (browser, change = () => {}) => {
    const request = new URL(await begin(browser))
    change(request.searchParams)
    return browser.get(request.href, origin)
  }
  const agree = async (browser: Browser, page: Page) =>
    page.forms.some(({ action }) => action.endsWith('/consent')) ? allow(browser, page) : page
  const browser = createBrowser()
  return {
    example,
    browser,
    begin,
    leave,
    async signUp() {
      const proven = await register(browser, await leave(browser), example.mailbox, EMAIL)
      return agree(browser, proven)
    },
    async arrive(change, visitor = createBrowser()) {
      const signedIn = await signIn(visitor, await leave(visitor, change), EMAIL)
      return { browser: visitor, page: await agree(visitor, signedIn) }
    },
    async whoIsThere(visitor) {
      const { status, body } = await visitor.send(`${origin}/`)
      if (status !== 200) return undefined
      const { sub, email } = identity(body)
      return { sub, email }
    },
  }
}

async function leaveByLink(browser: Browser, origin: string): Promise<string> {
  const { headers, status, body } = await browser.send(`${origin}/login`)
  if (headers.location === undefined) throw new Error(`the client does not send anybody away: ${status} ${body}`)
  return headers.location
}

/** By the operator's command, not by anything that a token says. */
async function subjectOf({ server }: ExampleClient): Promise<string> {
  const { stdout } = await server.run('accounts', 'show', EMAIL, '--json')
  return (JSON.parse(stdout) as { account: string }).account
}
