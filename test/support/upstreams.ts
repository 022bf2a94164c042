/** People who come from a fake provider: a product that knows it, and a browser that goes there and back. */
import type { Browser, Page } from './browser.ts'
import { type FakeUpstream, startFakeUpstream } from './fake_upstream.ts'
import { SETTINGS } from './journeys.ts'
import { freePort } from './services.ts'
import { startTarget, type Target } from './target.ts'

const CLIENT = { id: 'genkan', secret: 'secret-of-genkan-at-the-fake-provider' }
export const PROVIDER = 'acme'

/** The way there and back. */
interface Travel {
  /** Presses the provider's button on a page of the conversation. */
  leave(browser: Browser, page: Page, provider?: string): Promise<Page>
  /** Signs in at the provider as `away` says, and comes back as a browser does. */
  comeBack(browser: Browser, away: Page, provider?: string): Promise<Page>
  /** Both. */
  through(browser: Browser, page: Page, provider?: string): Promise<Page>
  callback(provider?: string): string
}

export interface UpstreamRoom extends Travel {
  readonly target: Target
  readonly fake: FakeUpstream
  /** A browser that stops where it leaves for a provider. */
  person(options?: Parameters<Target['person']>[0]): Browser
  close(): Promise<void>
}

/** How browsers go from the product at `issuer` to the provider and back. */
export function travelTo(fake: FakeUpstream, issuer: string): Travel {
  const callback = (provider = PROVIDER) => `${issuer}/upstream/${provider}/callback`
  const travel: Travel = {
    callback,
    async leave(browser, page, provider = PROVIDER) {
      const form = page.forms.findIndex(({ fields }) =>
        fields.some(({ name, value }) => name === 'provider' && value === provider),
      )
      if (form < 0) throw new Error(`no button of ${provider} at ${page.url}: ${page.text.slice(0, 300)}`)
      return browser.submit(page, {}, { form })
    },
    async comeBack(browser, away, provider = PROVIDER) {
      if (!away.url.startsWith(fake.issuer)) throw new Error(`did not leave: ${away.status} ${away.url} ${away.text}`)
      const { method, parameters } = await fake.travel(away.url, callback(provider))
      if (method === 'POST') return browser.post(callback(provider), parameters, `${fake.issuer}/`)
      return browser.get(`${callback(provider)}?${new URLSearchParams(parameters)}`, `${fake.issuer}/`)
    },
    through: async (browser, page, provider) =>
      travel.comeBack(browser, await travel.leave(browser, page, provider), provider),
  }
  return travel
}

/** The provider, and how a product at `issuer` declares it as each of `names`. */
export async function startProvider(issuer: string, names: readonly string[] = [PROVIDER]) {
  const fake = await startFakeUpstream([
    {
      client_id: CLIENT.id,
      client_secret: CLIENT.secret,
      redirect_uris: names.map((name) => `${issuer}/upstream/${name}/callback`),
    },
  ])
  await fake.tell({ automatic: 'continue' })
  const connection = { kind: 'oidc', issuer: fake.issuer, client_id: CLIENT.id, client_secret: CLIENT.secret }
  return { fake, connection }
}

export interface UpstreamOptions {
  /** Over the provider's declaration. */
  readonly upstream?: object
  /** More providers, by what they say beside the connection. */
  readonly others?: readonly { readonly name: string; readonly [setting: string]: unknown }[]
  /** More providers of other kinds: whole declarations. */
  readonly beside?: readonly { readonly name: string; readonly [setting: string]: unknown }[]
  readonly settings?: object
  /** Settings that name the provider's issuer. */
  readonly naming?: (issuer: string) => object
  readonly env?: { readonly [name: string]: string }
}

/** Starts the provider, and a product that people may come to from it. */
export async function startUpstreamRoom(options: UpstreamOptions = {}): Promise<UpstreamRoom> {
  const port = await freePort()
  const issuer = `http://localhost:${port}`
  const names = [PROVIDER, ...(options.others ?? []).map(({ name }) => name)]
  const { fake, connection } = await startProvider(issuer, names)
  const target = await startTarget({
    port,
    env: options.env ?? {},
    settings: {
      ...SETTINGS,
      outbound_private_networks: ['127.0.0.0/8'],
      upstreams: [
        { name: PROVIDER, title: 'Acme', ...connection, ...options.upstream },
        ...(options.others ?? []).map((other) => ({ ...connection, ...other })),
        ...(options.beside ?? []),
      ],
      ...options.settings,
      ...options.naming?.(fake.issuer),
    },
  })
  return {
    ...travelTo(fake, issuer),
    target,
    fake,
    person: (more = {}) => target.person({ stopAt: ['https://', fake.issuer], ...more }),
    close: async () => {
      await Promise.all([target.close(), fake.stop()])
    },
  }
}
