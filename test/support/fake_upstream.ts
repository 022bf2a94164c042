/** The fake OpenID provider of fake_upstream_process.ts: how a test starts it, tells it what to do, and signs in there. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { ClientMetadata, JWK } from 'oidc-provider'
import { createCookieJar } from './cookie_jar.ts'
import { formsOf } from './html.ts'
import { entrust, freePort } from './services.ts'

const PROCESS = fileURLToPath(new URL('fake_upstream_process.ts', import.meta.url))

/** Who signs: the key of the key set, another under its `kid`, another under a `kid` that is not there, nobody, or the secret. */
export type FakeKey = 'own' | 'foreign' | 'unknown' | 'none' | 'secret'

/** What happens to a request by its path. After a delay alone it goes on. */
export interface Fault {
  readonly status?: number
  readonly delayMs?: number
  readonly location?: string
  readonly bytes?: number
  readonly body?: unknown
}

export interface FakeState {
  /** Who signs in. */
  readonly account: string
  readonly acr?: string
  readonly amr?: readonly string[]
  /** Of the ID token (not of an encrypted one, but `email` and `name`) and the UserInfo endpoint. */
  readonly claims: { readonly [claim: string]: unknown }
  /** Nobody is asked: `continue`, or an error that is answered. Otherwise there is a page with buttons. */
  readonly automatic?: string | null
  /** Over members of the discovery document; null takes one away. */
  readonly metadata?: { readonly [member: string]: unknown }
  readonly userinfo?: { readonly [claim: string]: unknown }
  readonly idToken?: {
    readonly claims?: { readonly [claim: string]: unknown }
    readonly without?: readonly string[]
    readonly key?: FakeKey
    readonly header?: { readonly [member: string]: unknown }
  }
  /** Over the tokens of its answers. */
  readonly tokens?: { readonly access_token?: string; readonly refresh_token?: string }
  /** Apple's `user` parameter. */
  readonly user?: string
  readonly faults?: { readonly [path: string]: Fault }
}

export interface FakeUpstream {
  readonly issuer: string
  /** Changes what is named. `reset` begins anew before, `rotate` makes another key the only one. */
  tell(change: Partial<FakeState> & { readonly rotate?: true; readonly reset?: true }): Promise<void>
  seen(): Promise<Seen>
  /** Goes where a browser would be sent, until it comes back to `redirectUri`: what it brings. */
  travel(url: string, redirectUri: string): Promise<Brought>
  stop(): Promise<void>
}

interface Seen {
  readonly requests: readonly {
    readonly path: string
    readonly method: string
    readonly body?: { readonly [name: string]: string }
    readonly authorization?: string
  }[]
  /** The private key that signs now, and one that the key set never had. */
  readonly key: JWK
  readonly foreignKey: JWK
}

interface Brought {
  readonly method: 'GET' | 'POST'
  readonly parameters: { readonly [name: string]: string }
}

export async function startFakeUpstream(clients: readonly ClientMetadata[]): Promise<FakeUpstream> {
  const port = await freePort()
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', PROCESS, String(port), JSON.stringify(clients)],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  const release = await entrust(child.pid ?? 0)
  const exited = once(child, 'exit')
  const ready = once(child.stdout, 'data')
  const first = await Promise.race([ready.then(() => 'ready'), exited.then(() => 'exited')])
  if (first !== 'ready') throw new Error('the fake provider did not start')
  const issuer = `http://127.0.0.1:${port}`
  return {
    issuer,
    async tell(change) {
      await fetch(`${issuer}/control`, { method: 'POST', body: JSON.stringify(change) })
    },
    seen: async () => (await fetch(`${issuer}/control`)).json() as Promise<Seen>,
    travel,
    async stop() {
      child.kill('SIGKILL')
      await exited
      await release()
    },
  }
}

async function travel(start: string, redirectUri: string): Promise<Brought> {
  const jar = createCookieJar()
  let url = new URL(start)
  for (let hops = 0; hops < 10; hops++) {
    if (url.href.startsWith(redirectUri)) return { method: 'GET', parameters: Object.fromEntries(url.searchParams) }
    const cookie = jar.header(url, { crossSite: false, topLevelGet: true })
    const response = await fetch(url, { redirect: 'manual', headers: cookie === undefined ? {} : { cookie } })
    jar.store(url, response.headers.getSetCookie())
    const location = response.headers.get('location')
    if (location === null) {
      const text = await response.text()
      const form = formsOf(text).find(({ action }) => action.startsWith(redirectUri))
      if (form === undefined) throw new Error(`stranded at ${url.pathname}: ${response.status} ${text.slice(0, 300)}`)
      return { method: 'POST', parameters: Object.fromEntries(form.fields.map(({ name, value }) => [name, value])) }
    }
    url = new URL(location, url)
  }
  throw new Error('too many redirects')
}
