/** OpenID Connect RP-Initiated Logout 1.0 §3: post_logout_redirect_uri matches exactly. PROTOCOL.md E 38, attack A82. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'

const AFTER = 'https://own.test.example/'

/** Each is near the registered `https://own.test.example/`, and none is it. */
const NEAR = [
  ...[
    'https://own.test.example',
    'https://own.test.example/x',
    'https://own.test.example/?x=1',
    'https://own.test.example/?',
  ],
  ...[
    'https://own.test.example/#x',
    'https://own.test.example/#',
    'https://own.test.example//',
    'https://own.test.example/.',
  ],
  ...[
    'https://own.test.example/x/..',
    'https://own.test.example/..;/',
    'https://own.test.example/%2e',
    'https://own.test.example/%2f',
  ],
  ...[
    'https://own.test.example/%252f',
    'https://own.test.example/\\',
    'https://own.test.example\\',
    'https:\\\\own.test.example/',
  ],
  ...[
    'https://own.test.example:443/',
    'https://own.test.example:8443/',
    'http://own.test.example/',
    '//own.test.example/',
  ],
  ...[
    'https://user@own.test.example/',
    'https://own.test.example@evil.example/',
    'https://own.test.example.evil.example/',
    'https://evil.example/',
  ],
  ...[
    'https://evil.example/https://own.test.example/',
    'https://evil.example?https://own.test.example/',
    'https://evilown.test.example/',
    'https://ownXtest.example/',
  ],
  ...[
    'https://sub.own.test.example/',
    'https://test.example/',
    'https://OWN.test.example/',
    'HTTPS://own.test.example/',
    'https://own.test.example./',
  ],
  ...[
    'https:own.test.example/',
    'https:///own.test.example/',
    'javascript:alert(1)',
    'data:text/html,x',
    'file:///',
    '/',
    '*',
  ],
  ...[
    ' https://own.test.example/',
    'https://own.test.example/ ',
    'https://own.test.example/\n',
    'https://own.test.example/%0d%0aLocation:x',
  ],
  ...[
    'https://own.test.example/\u200b',
    'https://\uff4fwn.test.example/',
    'https://own.test.example/,https://evil.example/',
    'null',
  ],
  ...['https://own.test.example/callback', 'https://web.test.example/', 'https://other.test.example/'],
]

let server: Server
let ann: Person
let hint: string

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  hint = (await ann.tokens('own')).id
})
afterAll(() => server.close())

const endUrl = (parameters: { readonly [name: string]: string }) =>
  `${server.issuer}/session/end?${new URLSearchParams(parameters)}`
const leave = (parameters: { readonly [name: string]: string }) => ann.browser.get(endUrl(parameters))

it('the registered address is taken (the positive twin)', async () => {
  for (const named of [{ id_token_hint: hint }, { client_id: 'own' }]) {
    expect((await leave({ ...named, post_logout_redirect_uri: AFTER })).status).toBe(200)
  }
})

describe('A82 post_logout_redirect_uri strings', () => {
  it('there are at least 40', () => {
    expect(new Set(NEAR).size).toBeGreaterThanOrEqual(40)
  })

  it.each([...new Set(NEAR)].map((uri) => [JSON.stringify(uri), uri]))(
    'oidcc-rp-initiated-logout-bad-post-logout-redirect-uri: %s',
    async (_name, uri) => {
      for (const named of [{ id_token_hint: hint }, { client_id: 'own' }]) {
        const answer = await ann.browser.send(endUrl({ ...named, post_logout_redirect_uri: uri }))
        expect(answer.status).toBe(400)
        expect(answer.headers.location).toBeUndefined()
        expect(answer.body).not.toMatch(/evil\.example|javascript:|http-equiv|session\/end\/confirm/)
      }
    },
  )

  it('oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri', async () => {
    expect((await leave({ id_token_hint: hint, post_logout_redirect_uri: `${AFTER}?foo=bar` })).status).toBe(400)
  })

  it('the address of another client', async () => {
    const { id } = await ann.tokens('web')
    expect((await leave({ id_token_hint: id, post_logout_redirect_uri: AFTER })).status).toBe(400)
    expect((await leave({ id_token_hint: id, client_id: 'own', post_logout_redirect_uri: AFTER })).status).toBe(400)
  })

  it('nobody was signed out by any of these', async () => {
    expect(await ann.signedIn()).toBe(true)
  })
})
