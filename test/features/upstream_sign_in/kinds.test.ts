/** Every kind of provider by the front door: SAML 2.0, and plain OAuth 2 by a template. OpenID Connect has its own journeys. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SEALED_TOKENS } from '../../../src/features/identities/types.ts'
import { type FakeSocial, SOCIAL, startFakeSocial } from '../../support/fake_social.ts'
import { authorization, PASSWORD, redeem } from '../../support/journeys.ts'
import { stepOf } from '../../support/people.ts'
import { createSamlIdp } from '../../support/saml_idp.ts'
import {
  assertionOf,
  authnStatement,
  encode,
  nameId,
  responseOf,
  type Said,
  signElement,
} from '../../support/saml_messages.ts'
import { CALLBACK } from '../../support/target.ts'
import { startUpstreamRoom, type UpstreamRoom } from '../../support/upstreams.ts'

const idp = createSamlIdp()
let room: UpstreamRoom
let social: FakeSocial

beforeAll(async () => {
  social = await startFakeSocial()
  const github = {
    ...{
      kind: 'oauth2',
      title: 'Forge',
      keep_tokens: true,
      issuer: social.origin,
      client_id: SOCIAL.clientId,
      client_secret: SOCIAL.clientSecret,
    },
    ...{
      client_authentication: 'client_secret_post',
      authorization_endpoint: `${social.origin}/login/oauth/authorize`,
    },
    ...{ token_endpoint: `${social.origin}/login/oauth/access_token`, profile_endpoint: `${social.origin}/user` },
    ...{ subject: 'id', claims: { name: 'name', email: 'email' } },
  }
  const partner = { kind: 'saml', title: 'Partner', metadata: idp.metadata, owned_domains: ['partner.example'] }
  room = await startUpstreamRoom({
    beside: [
      { name: 'forge', ...github },
      { name: 'partner', ...partner, trusted_domains: ['partner.example'] },
    ],
  })
})
afterAll(async () => {
  await social?.close()
  await room?.close()
})

describe('a SAML identity provider', () => {
  /** Leaves for it, and comes back with what it says of the request. */
  async function come(subject: string, changed: Partial<Said> = {}) {
    const browser = room.person()
    const request = await authorization(room.target.client, CALLBACK, { scope: 'openid email' })
    const away = await room.leave(browser, await browser.get(request.url), 'partner')
    const metadata = await (await fetch(`${room.target.issuer}/upstream/partner/metadata`)).text()
    const { id } = await idp.readRequest(away.url, metadata)
    const now = Date.now()
    const said: Said = {
      ...{ now, issuer: idp.entityId, audience: `${room.target.issuer}/upstream/partner/metadata` },
      ...{ destination: room.callback('partner'), recipient: room.callback('partner'), inResponseTo: id },
      ...{
        responseId: `_r${id}`,
        assertionId: `_a${id}`,
        nameId: nameId(subject),
        statement: authnStatement(now - 1000),
      },
      attributes: { mail: [`${subject}@partner.example`], displayName: ['Pia Partner'] },
      ...changed,
    }
    const answer = encode(responseOf(said, signElement(assertionOf(said), 'saml:Assertion', { key: idp.key })))
    const fields = { SAMLResponse: answer, RelayState: new URL(away.url).searchParams.get('RelayState') ?? '' }
    const back = () => browser.post(room.callback('partner'), fields, 'https://idp.example/')
    return { browser, request, page: await back(), back }
  }

  it('is given our metadata, and signs people in by their persistent name', async () => {
    const { browser, request, page } = await come('pia')
    expect(stepOf(page)).toBe('upstream_account')
    expect(page.text).toContain('pia@partner.example')
    const end = await browser.submit(page, {}, { form: '/upstream_account' })
    const sub = (await redeem(room.target.client, request, end)).claims()?.sub
    const again = await come('pia')
    expect((await redeem(room.target.client, again.request, again.page)).claims()?.sub).toBe(sub)
  })

  it('A15, A19: its answer is good once', async () => {
    const { back } = await come('once')
    expect((await back()).status).toBe(400)
  })

  it.each([
    ['for another audience', { audience: 'https://other.example' }],
    ['to another request', { inResponseTo: '_of-somebody-else' }],
    ['of another issuer', { issuer: 'https://evil.example' }],
    ['for another recipient', { recipient: 'https://other.example/callback' }],
  ])('an answer %s signs nobody in', async (_, changed) => {
    const { page } = await come('nobody', changed)
    expect([stepOf(page), page.status]).toEqual(['identifier', 400])
  })
})

describe('a provider of plain OAuth 2', () => {
  async function come(profile: object) {
    social.answers['/user'] = profile
    const browser = room.person({ stopAt: ['https://', social.origin] })
    const request = await authorization(room.target.client, CALLBACK)
    const away = await room.leave(browser, await browser.get(request.url), 'forge')
    const { headers } = await fetch(away.url, { redirect: 'manual' })
    return { browser, request, page: await browser.get(headers.get('location') ?? '', `${social.origin}/`) }
  }

  it('signs people in by the number that its API gives them; an address without a mark is not verified', async () => {
    const { browser, request, page } = await come({ id: 4711, name: 'Otto Forge', email: 'otto@forge.example' })
    expect(stepOf(page)).toBe('upstream_account')
    const waiting = await browser.submit(page, {}, { form: '/upstream_account' })
    expect(stepOf(waiting)).toBe('verify_email')
    const mail = await room.target.mailbox.to('otto@forge.example')
    const code = /\b\d{6}\b/.exec(mail.text)?.[0] ?? ''
    const end = await browser.submit(waiting, { code }, { form: '/verify_email' })
    const sub = (await redeem(room.target.client, request, end)).claims()?.sub
    const [row] = await room.target.sql<{ id: string; sealed_tokens: string | null }>(
      "select id, sealed_tokens from identities where upstream = 'forge' and account_id = $1",
      [sub],
    )
    const { open } = await room.target.box()
    expect(open(row?.sealed_tokens ?? '', SEALED_TOKENS, row?.id ?? '')).toEqual({ accessToken: expect.any(String) })
    const again = await come({ id: 4711 })
    expect((await redeem(room.target.client, again.request, again.page)).claims()?.sub).toBe(sub)
  })

  it.each([
    ['null', null],
    ['nothing', undefined],
    ['a text that is empty', ''],
    ['0', 0],
    ['a list', []],
  ])('A07: %s for a number is nobody', async (_, id) => {
    const { page } = await come({ id, name: 'Nobody' })
    expect([stepOf(page), page.status]).toEqual(['identifier', 400])
  })
})

describe('a provider that does not answer', () => {
  const asked = async () => (await room.fake.seen()).requests.filter(({ path }) => path === '/token').length

  it('delays nobody who comes from elsewhere, and after five who waited nobody waits', async () => {
    const { target } = room
    const member = await target.signUp('elsewhere@shop.example')
    social.answers['/user'] = { id: 4712, name: 'Ella Forge' }
    await room.fake.tell({ automatic: 'continue', account: 'slow', faults: { '/token': { delayMs: 30_000 } } })
    // Everybody is one request away from being signed in.
    const typing = target.person()
    const password = await typing.submit(
      await target.open(typing),
      { identifier: member.email },
      { form: '/identifier' },
    )
    const forging = room.person({ stopAt: ['https://', social.origin] })
    const forge = await room.leave(forging, await target.open(forging), 'forge')
    const forged = (await fetch(forge.url, { redirect: 'manual' })).headers.get('location') ?? ''
    const slow = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const browser = room.person()
        return { browser, away: await room.leave(browser, await target.open(browser)) }
      }),
    )
    const before = await asked()
    let over = 0
    const waiting = slow.map(async ({ browser, away }) => {
      const page = await room.comeBack(browser, away)
      over += 1
      return page
    })
    for (let tries = 0; (await asked()) < before + slow.length && tries < 100; tries++)
      await new Promise((done) => setTimeout(done, 20))
    const [typed, came] = await Promise.all([
      typing.submit(password, { password: PASSWORD }, { form: '/password' }),
      forging.get(forged, `${social.origin}/`),
    ])
    expect([typed.params.has('code'), stepOf(came), over]).toEqual([true, 'upstream_account', 0])
    const said = 'That service does not answer at the moment.'
    for (const page of await Promise.all(waiting)) {
      expect([stepOf(page), page.text.includes(said)]).toEqual(['identifier', true])
    }

    const next = room.person()
    const refused = await room.leave(next, await target.open(next))
    expect([refused.params.has('code'), refused.text.includes(said)]).toEqual([false, true])
    expect(await asked()).toBe(before + slow.length)
  })
})
