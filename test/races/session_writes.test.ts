/**
 * Parallel requests of one browser session over two instances: each of them reads and writes the session as a whole, and none
 * may lose what another has written, or bring back a session that has ended.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Page } from '../support/browser.ts'
import { allow, SETTINGS } from '../support/journeys.ts'
import { type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { authorizationRequest, newPerson, type Person, redirectUri } from '../support/people.ts'
import { type Pair, startPair } from '../support/server.ts'
import { postForm, type TokenAnswer } from '../support/token_requests.ts'

const COUNT = 10
const names = (kind: string) => Array.from({ length: COUNT }, (_, i) => `${kind}-${i}`)
/** Without a secret and without `offline_access`: their refresh tokens hang on the session. */
const browserApps = (kind: string, more: object) =>
  names(kind).map((id) => ({
    ...{
      client_id: id,
      client_name: `The ${id} app`,
      token_endpoint_auth_method: 'none',
      redirect_uris: [redirectUri(id)],
    },
    ...{ scope: 'openid', ...more },
  }))

let pair: Pair
let mailbox: SmtpMailbox

beforeAll(async () => {
  mailbox = await startMailbox()
  const clients = [...browserApps('house', { first_party: true }), ...browserApps('guest', {})]
  pair = await startPair({
    settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...clients] },
    env: { SMTP_URL: mailbox.url },
  })
})
afterAll(async () => {
  await pair?.close()
  await mailbox?.stop()
})

const token = (fields: { [name: string]: string }) => postForm(`${pair.issuer}/token`, fields)
const refresh = (clientId: string, { body }: TokenAnswer) =>
  token({ grant_type: 'refresh_token', client_id: clientId, refresh_token: String(body.refresh_token) })

async function redeem(clientId: string, code: string, verifier: string): Promise<TokenAnswer> {
  const fields = { code, code_verifier: verifier, redirect_uri: redirectUri(clientId), client_id: clientId }
  return token({ grant_type: 'authorization_code', ...fields })
}

/** Authorizations of many clients at once; `end` is what a person does with the page that each of them leads to. */
async function atOnce(
  ann: Person,
  clients: readonly string[],
  end: (page: Page) => Promise<Page> = async (page) => page,
) {
  const requests = clients.map((clientId) => ({ clientId, ...authorizationRequest(pair.issuer, clientId) }))
  const pages = await Promise.all(requests.map(({ url }) => ann.browser.get(url)))
  const ends = await Promise.all(pages.map(end))
  return requests.flatMap(({ clientId, verifier }, i) => {
    const code = ends[i]?.params.get('code') ?? undefined
    return code === undefined ? [] : [{ clientId, code, verifier }]
  })
}

describe('authorizations of different clients at one moment', () => {
  it('all count: each client redeems its code and refreshes', async () => {
    const ann = await newPerson(pair.issuer, mailbox, 'ann@example.com')
    const codes = await atOnce(ann, names('house'))
    expect(codes).toHaveLength(COUNT)
    for (const { clientId, code, verifier } of codes) {
      const answer = await redeem(clientId, code, verifier)
      expect([clientId, answer.status, (await refresh(clientId, answer)).status]).toEqual([clientId, 200, 200])
    }
  })

  it('that people agree to in many tabs leave them signed in, and no client with a token that is refused', async () => {
    const bob = await newPerson(pair.issuer, mailbox, 'bob@example.com')
    // Each agreement changes the id of the session: a tab that comes with the last one may have to be opened again.
    const codes = await atOnce(bob, names('guest'), (page) => allow(bob.browser, page))
    expect(codes.length).toBeGreaterThan(0)
    for (const { clientId, code, verifier } of codes) {
      const answer = await redeem(clientId, code, verifier)
      expect([clientId, answer.status, (await refresh(clientId, answer)).status]).toEqual([clientId, 200, 200])
    }
    expect(await bob.signedIn()).toBe(true)
  })
})

describe('a session that its owner ends from elsewhere', () => {
  it('stays ended, whatever is under way in it', async () => {
    const cat = await newPerson(pair.issuer, mailbox, 'cat@example.com')
    for (let round = 0; round < 5; round++) {
      const other = await cat.elsewhere()
      expect(await other.signedIn()).toBe(true)
      const page = await cat.browser.get(`${pair.issuer}/account/sessions`)
      const index = page.forms.findIndex(({ action }) => /\/account\/sessions\/[^/]+\/end$/.test(action))
      expect(index).toBeGreaterThanOrEqual(0)
      let isOver = false
      const storm = names('own').map(async () => {
        while (!isOver) await other.authorize('own', { prompt: 'none' })
      })
      await cat.browser.submit(page, {}, { form: index })
      isOver = true
      await Promise.all(storm)
      expect(await other.signedIn()).toBe(false)
    }
    expect(await cat.signedIn()).toBe(true)
  })
})
