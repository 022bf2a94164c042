/** Clients that ask for people who are elsewhere (CIBA Core 1.0), and what these do with the question. */
import type { Browser, Page } from './browser.ts'
import { API, PASSWORD, SECRET } from './journeys.ts'
import type { Person } from './people.ts'
import { basic, type Fields, postForm, type TokenAnswer } from './token_requests.ts'

export const CIBA = 'urn:openid:params:grant-type:ciba'

/** All poll; `mfa-till` wants two factors, `warehouse` a token for the API. */
export const CIBA_CLIENTS = [
  {
    ...{ client_id: 'till', client_name: 'Harbour till', client_secret: SECRET },
    ...{ grant_types: [CIBA, 'refresh_token'], scope: 'openid email offline_access' },
  },
  {
    ...{ client_id: 'other-till', client_name: 'Another till', client_secret: SECRET },
    ...{ grant_types: [CIBA], scope: 'openid email' },
  },
  {
    ...{ client_id: 'mfa-till', client_name: 'Strict till', client_secret: SECRET },
    ...{ grant_types: [CIBA], scope: 'openid', minimum_acr: 'urn:genkan:acr:mfa' },
  },
  {
    ...{ client_id: 'warehouse', client_name: 'Warehouse', client_secret: SECRET },
    ...{ grant_types: [CIBA], scope: 'openid orders:read', resources: [API] },
  },
] as const

/** A client with the secret of all test clients. */
export function till(origin: string, clientId = 'till') {
  const send = (path: string, fields: Fields) => postForm(`${origin}${path}`, fields, basic(clientId))
  const request = (fields: Fields) => send('/backchannel', { scope: 'openid', ...fields })
  return {
    request,
    async ask(fields: Fields): Promise<string> {
      const { status, body } = await request(fields)
      if (status !== 200) throw new Error(`no auth_req_id: ${status} ${JSON.stringify(body)}`)
      return String(body.auth_req_id)
    },
    poll: (authReqId: string, changes: Fields = {}): Promise<TokenAnswer> =>
      send('/token', { grant_type: CIBA, auth_req_id: authReqId, ...changes }),
  }
}

/** Addresses of the requests that wait for somebody, the latest first. */
export async function waiting({ browser }: Person, origin: string): Promise<readonly string[]> {
  const list = await fresh(browser, await browser.get(`${origin}/account/approvals`))
  const urls = list.links.map(({ href }) => new URL(href, list.url).href)
  return urls.filter((url) => /\/account\/approvals\/[\w-]{22}$/.test(url))
}

/** The page of the latest one. */
export async function openLatest(person: Person, origin: string): Promise<Page> {
  const [latest] = await waiting(person, origin)
  if (latest === undefined) throw new Error('nothing waits for an answer')
  return open(person, latest)
}

export const open = async ({ browser }: Person, url: string) => fresh(browser, await browser.get(url))

/** Shows the password where it is asked for anew. */
async function fresh(browser: Browser, page: Page): Promise<Page> {
  const asked = page.forms.some(({ action }) => action.endsWith('/password') && action.includes('/interaction/'))
  return asked ? browser.submit(page, { password: PASSWORD }, { form: '/password' }) : page
}

export async function answer(browser: Browser, page: Page, what: 'allow' | 'deny' | 'unexpected'): Promise<Page> {
  const form = page.forms.findIndex(({ fields }) =>
    fields.some(({ name, value }) => name === 'answer' && value === what),
  )
  if (form < 0) throw new Error(`no button ${what}: ${page.status} ${page.text}`)
  return browser.submit(page, {}, { form, button: `answer=${what}` })
}

export const allowLatest = async (person: Person, origin: string) =>
  answer(person.browser, await openLatest(person, origin), 'allow')
