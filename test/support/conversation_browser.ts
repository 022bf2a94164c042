/** A browser with its own cookies for tests of the conversation. It follows no redirect by itself. */
import { newId } from '../../src/platform/ids.ts'
import type { FakeEngine } from './conversation_engine.ts'
import { formsOf } from './html.ts'

export interface BrowserOptions {
  readonly ip?: string
  readonly headers?: { readonly [name: string]: string }
}

export interface Answer {
  readonly status: number
  readonly location: string | undefined
  readonly headers: Headers
  readonly html: string
  /** Name of the step whose page it is, from the form's action. */
  readonly step: string | undefined
}

/** A browser with its own cookies. `visit` and `submit` do not follow redirects out of the conversation. */
export function createBrowser(
  origin: string,
  engine: FakeEngine,
  options: BrowserOptions = {},
  steps: readonly string[] = [],
) {
  const jar = new Map<string, string>([['browser', newId()]])
  let csrf = ''
  async function request(path: string, init: RequestInit = {}): Promise<Answer> {
    const uid = path.split('/')[2] ?? ''
    const cookies = [...jar].map(([name, value]) => `${name}=${value}`)
    if (held.has(uid)) cookies.push(`genkan_interaction=${uid}`)
    const headers = { 'X-Forwarded-For': options.ip ?? '203.0.113.7', Cookie: cookies.join('; '), Accept: 'text/html' }
    const response = await fetch(origin + path, {
      redirect: 'manual',
      ...init,
      headers: { ...headers, ...options.headers, ...init.headers },
    })
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
      jar.set(name, value)
    }
    const html = await response.text()
    const forms = formsOf(html)
    const token = forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value
    if (token !== undefined) csrf = token
    const step = forms.map(({ action }) => action.split('/')[3] ?? '').find((name) => steps.includes(name))
    const location = response.headers.get('location') ?? undefined
    return { status: response.status, location, headers: response.headers, html, step }
  }
  const held = new Set<string>()
  const browser = {
    jar,
    id: jar.get('browser') ?? '',
    request,
    /** Gives this browser the interaction's cookie, as the engine's redirect does. */
    hold: ({ uid }: { uid: string }) => void held.add(uid),
    drop: ({ uid }: { uid: string }) => void held.delete(uid),
    signIn: (session: { accountId: string; uid: string }) =>
      void engine.browsers.set(jar.get('browser') ?? '', { proofs: [], ...session }),
    visit: (interaction: { uid: string }, more = '') => request(`/interaction/${interaction.uid}${more}`),
    /** Posts a form; the anti-forgery token is that of the last page. */
    post(
      interaction: { uid: string },
      action: string,
      fields: { readonly [name: string]: string } = {},
    ): Promise<Answer> {
      const body = new URLSearchParams({ csrf, ...fields })
      return request(`/interaction/${interaction.uid}/${action}`, { method: 'POST', body })
    },
    /** Posts, and opens the page that the conversation then shows. */
    async submit(interaction: { uid: string }, action: string, fields: { readonly [name: string]: string } = {}) {
      const answer = await browser.post(interaction, action, fields)
      return answer.location === `/interaction/${interaction.uid}` ? browser.visit(interaction) : answer
    },
  }
  return browser
}
