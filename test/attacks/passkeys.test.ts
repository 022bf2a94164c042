/** Broken ceremonies, strangers' passkeys and what the pages give away, against the product by its front door. */
import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SEALED_NAME } from '../../src/features/passkeys/types.ts'
import type { Browser, Page } from '../support/browser.ts'
import { choose, PASSWORD, signIn } from '../support/journeys.ts'
import { type Break, bytes, type Ceremony, FLAGS, int, map, type SoftAuthenticator } from '../support/passkey.ts'
import { addPasskey, authenticatorOf, challengeOn, passkeyPage, showPasskey } from '../support/passkey_people.ts'
import { stepOf } from '../support/people.ts'
import { type Member, startTarget, type Target } from '../support/target.ts'

let target: Target
let ada: Member
let eve: Member
let adas: SoftAuthenticator
let counting: SoftAuthenticator
let eves: SoftAuthenticator

beforeAll(async () => {
  target = await startTarget()
  ada = await target.signUp('ada@passkeys.example')
  eve = await target.signUp('eve@passkeys.example')
  adas = authenticatorOf(target, { synced: true })
  await addPasskey(target, ada.browser, adas)
  eves = authenticatorOf(target)
  await addPasskey(target, eve.browser, eves)
  const bea = await target.signUp('bea@passkeys.example')
  counting = authenticatorOf(target, { counts: true })
  await addPasskey(target, bea.browser, counting)
})
afterAll(() => target?.close())

const before = (work: (ceremony: Ceremony) => void): Break => ({ before: work })
const sent = (work: (sent: Ceremony['sent']) => void): Break => ({ sent: work })
const client = (values: object) => before(({ clientData }) => Object.assign(clientData, values))
const flip = (text: unknown, at: number) => {
  const buffer = Buffer.from(String(text), 'base64url')
  buffer[at < 0 ? buffer.length + at : at] = (buffer[at < 0 ? buffer.length + at : at] ?? 0) ^ 1
  return buffer.toString('base64url')
}
const cut = (text: unknown, by: number) => Buffer.from(String(text), 'base64url').subarray(0, -by).toString('base64url')
const elsewhere = { challenge: Buffer.alloc(32).toString('base64url') }

/** Of both ceremonies. */
const BROKEN: { readonly [kind: string]: Break } = {
  'an id that is not the rawId': sent((all) => Object.assign(all, { id: flip(all.id, 0) })),
  'a rawId that is not the id': sent((all) => Object.assign(all, { rawId: flip(all.id, 0) })),
  'the challenge of nobody': client(elsewhere),
  'no challenge': client({ challenge: undefined }),
  'a challenge that is no text': client({ challenge: 7 }),
  'another origin': client({ origin: 'https://evil.example' }),
  'the origin with another port': client({ origin: 'http://localhost:1' }),
  'the origin with another scheme': before(({ clientData }) => {
    clientData.origin = String(clientData.origin).replace('http:', 'https:')
  }),
  'no origin': client({ origin: undefined }),
  'a frame of another site': client({ crossOrigin: true }),
  'a frame of a named site': client({ crossOrigin: true, topOrigin: 'https://evil.example' }),
  'a top origin without a frame': client({ topOrigin: 'https://evil.example' }),
  'another host as RP ID': before((ceremony) => Object.assign(ceremony, { rpId: 'evil.example' })),
  'the other ceremony': before(({ clientData }) => {
    clientData.type = clientData.type === 'webauthn.get' ? 'webauthn.create' : 'webauthn.get'
  }),
  'the ceremony of a payment': client({ type: 'payment.get' }),
  'nobody present': before((ceremony) => Object.assign(ceremony, { flags: ceremony.flags & ~FLAGS.UP })),
  'nobody verified': before((ceremony) => Object.assign(ceremony, { flags: ceremony.flags & ~FLAGS.UV })),
  'a backup of what cannot be backed up': before((ceremony) =>
    Object.assign(ceremony, { flags: (ceremony.flags & ~FLAGS.BE) | FLAGS.BS }),
  ),
  'another kind of credential': sent((all) => Object.assign(all, { type: 'password' })),
  'client data that is no JSON': sent(({ response }) => Object.assign(response, { clientDataJSON: 'AAAA' })),
  'client data cut short': sent(({ response }) =>
    Object.assign(response, { clientDataJSON: cut(response.clientDataJSON, 4) }),
  ),
  'no response': sent((all) => Object.assign(all, { response: undefined })),
  'base64 that is not base64url': sent((all) => Object.assign(all, { id: '++//', rawId: '++//' })),
  'an id beyond all measure': sent((all) => Object.assign(all, { id: 'A'.repeat(2000), rawId: 'A'.repeat(2000) })),
}

const BROKEN_ASSERTIONS: { readonly [kind: string]: Break } = {
  ...BROKEN,
  'the user handle of somebody else': before((ceremony) =>
    Object.assign(ceremony, { userHandle: Buffer.from(eve.sub).toString('base64url') }),
  ),
  'no user handle, where it is to say who is there': before((ceremony) =>
    Object.assign(ceremony, { userHandle: undefined }),
  ),
  'an empty user handle': sent(({ response }) => Object.assign(response, { userHandle: '' })),
  'the credential of somebody else': sent((all) =>
    Object.assign(all, { id: eves.credentialId, rawId: eves.credentialId }),
  ),
  'a signature of another key': before((ceremony) => {
    ceremony.key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  }),
  'a signature with a bit changed': sent(({ response }) =>
    Object.assign(response, { signature: flip(response.signature, -1) }),
  ),
  'an empty signature': sent(({ response }) => Object.assign(response, { signature: '' })),
  'authenticator data changed after signing': sent(({ response }) =>
    Object.assign(response, { authenticatorData: flip(response.authenticatorData, -1) }),
  ),
  'authenticator data cut short': sent(({ response }) =>
    Object.assign(response, { authenticatorData: cut(response.authenticatorData, 5) }),
  ),
  'a passkey that was never to be backed up and is': before((ceremony) =>
    Object.assign(ceremony, { flags: ceremony.flags & ~FLAGS.BE & ~FLAGS.BS }),
  ),
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' })
const part = (value: string | undefined) => bytes(Buffer.from(value ?? '', 'base64url'))
const attest = (fmt: string, attStmt = map()) => before((ceremony) => Object.assign(ceremony, { fmt, attStmt }))

const BROKEN_REGISTRATIONS: { readonly [kind: string]: Break } = {
  ...BROKEN,
  'an id that was not attested': sent((all) => Object.assign(all, { id: flip(all.id, 0), rawId: flip(all.id, 0) })),
  'an algorithm that was not offered (PS256)': before((ceremony) => {
    ceremony.publicKey = map([int(1), int(3)], [int(3), int(-37)], [int(-1), part(rsa.n)], [int(-2), part(rsa.e)])
  }),
  'an algorithm with SHA-1': before((ceremony) => {
    ceremony.publicKey = map([int(1), int(3)], [int(3), int(-65_535)], [int(-1), part(rsa.n)], [int(-2), part(rsa.e)])
  }),
  'a key that is none': before((ceremony) => Object.assign(ceremony, { publicKey: map([int(1), int(2)]) })),
  'no key at all': before((ceremony) => Object.assign(ceremony, { flags: ceremony.flags & ~FLAGS.AT })),
  'a credential without an id': before((ceremony) => Object.assign(ceremony, { credentialId: Buffer.alloc(0) })),
  'a statement of an attestation that has none': attest('none', map([int(1), int(1)])),
  'an attestation that nobody knows': attest('invented'),
  'a packed attestation without a signature': attest('packed'),
  'an attestation of U2F without a certificate': attest('fido-u2f'),
  'an attestation object cut short': sent(({ response }) =>
    Object.assign(response, { attestationObject: cut(response.attestationObject, 20) }),
  ),
}

const counts = async () => {
  const [row] = await target.sql<{ passkeys: string; sessions: string; proofs: string }>(
    `select (select count(*) from passkeys) as passkeys, (select count(*) from sessions) as sessions,
       (select count(*) from outbox where type = 'passkey.verified') as proofs`,
  )
  return row
}

describe('A47: a broken assertion', () => {
  it.each(Object.keys(BROKEN_ASSERTIONS))('with %s proves nothing', async (kind) => {
    const unchanged = await counts()
    const browser = target.person()
    const page = await passkeyPage(target, browser)
    const answer = await showPasskey(browser, page, adas, BROKEN_ASSERTIONS[kind])
    expect(answer.status).toBe(400)
    expect(answer.text).toContain('This passkey does not work here')
    expect(stepOf(await browser.get(page.url))).toBe('passkey')
    expect(await counts()).toEqual(unchanged)
  })

  it.each(['', '{', 'null', '[]', '"x"', '{"id":1}', '{"__proto__":{"id":"x"}}'])('of %j is none', async (text) => {
    const browser = target.person()
    const page = await passkeyPage(target, browser)
    expect((await browser.submit(page, { credential: text }, { form: '/passkey' })).status).toBe(400)
  })

  it('of another conversation, or sent twice, proves nothing', async () => {
    const [one, other] = [target.person(), target.person()]
    const [page, elsewhere] = [await passkeyPage(target, one), await passkeyPage(target, other)]
    const credential = adas.get(await challengeOn(other, elsewhere))
    expect((await one.submit(page, { credential }, { form: '/passkey' })).status).toBe(400)
    expect((await other.submit(elsewhere, { credential }, { form: '/passkey' })).status).toBe(400)
    const good = adas.get(await challengeOn(one, page))
    expect((await one.submit(page, { credential: good }, { form: '/passkey' })).params.has('code')).toBe(true)
    const third = target.person()
    const again = await passkeyPage(target, third)
    expect((await third.submit(again, { credential: good }, { form: '/passkey' })).status).toBe(400)
  })

  it('of a copied authenticator is refused and stated', async () => {
    const first = target.person()
    const ends = await showPasskey(first, await passkeyPage(target, first), counting)
    expect(ends.params.has('code')).toBe(true)
    counting.uses -= 1
    const copy = target.person()
    expect((await showPasskey(copy, await passkeyPage(target, copy), counting)).status).toBe(400)
    const facts = await target.sql<{ reason: string }>(
      "select data->>'reason' as reason from outbox where type = 'passkey.rejected' order by occurred_at desc, id desc limit 1",
    )
    expect(facts).toEqual([{ reason: 'counter' }])
  })
})

describe('A47: a broken registration', () => {
  it.each(Object.keys(BROKEN_REGISTRATIONS))('with %s makes no passkey', async (kind) => {
    const unchanged = await counts()
    const { browser } = await member()
    const page = await browser.get(`${target.issuer}/account/passkeys/new`)
    const key = authenticatorOf(target)
    const credential = key.create(await challengeOn(browser, page), BROKEN_REGISTRATIONS[kind])
    const answer = await browser.submit(page, { credential }, { form: '/account/passkeys/new' })
    expect(answer.status).toBe(400)
    expect(answer.text).toContain('The passkey could not be created')
    expect((await counts())?.passkeys).toBe(unchanged?.passkeys)
  })

  it('of a credential that is somebody else’s makes no passkey', async () => {
    const { browser } = await member()
    const page = await browser.get(`${target.issuer}/account/passkeys/new`)
    const id = adas.credentialId
    const claimed = {
      before: (ceremony: Ceremony) => Object.assign(ceremony, { credentialId: Buffer.from(id, 'base64url') }),
      sent: (all: Ceremony['sent']) => Object.assign(all, { id, rawId: id }),
    }
    const credential = authenticatorOf(target).create(await challengeOn(browser, page), claimed)
    const answer = await browser.submit(page, { credential }, { form: '/account/passkeys/new' })
    expect(answer.status).toBe(409)
    expect((await target.sql('select 1 from passkeys where credential_id = $1', [adas.credentialId])).length).toBe(1)
  })
})

/** One signed-in person who tries and never succeeds. */
let trier: Promise<Member> | undefined
function member(): Promise<Member> {
  trier ??= target.signUp('tries@passkeys.example')
  return trier
}

describe('A31: who has an account or a passkey', () => {
  it('is not told by the pages and options of a sign-in', async () => {
    const seen: unknown[] = []
    for (const email of [ada.email, 'nobody@passkeys.example']) {
      const browser = target.person()
      const start = await target.open(browser)
      const page = await browser.submit(start, { identifier: email }, { form: '/identifier' })
      const chosen = await choose(browser, page, 'passkey')
      const options = await challengeOn(browser, chosen)
      const stripped = (text: string) =>
        text
          .replaceAll(email, 'E')
          .replace(/(name="csrf" value=")[^"]*|nonce="[^"]*"|data-seconds="\d+"|\/interaction\/[\w-]+/g, '')
      seen.push([stripped(page.html), stripped(chosen.html), { ...options, challenge: '' }])
    }
    expect(seen[0]).toEqual(seen[1])
  })

  it('a passkey of another account than was typed signs in as its own owner only', async () => {
    const browser = target.person()
    const start = await target.open(browser)
    const page = await browser.submit(start, { identifier: eve.email }, { form: '/identifier' })
    const end = await showPasskey(browser, await choose(browser, page, 'passkey'), adas)
    expect(end.params.has('code')).toBe(true)
    const account = await browser.get(`${target.issuer}/account`)
    expect(account.text).toContain(ada.email)
    expect(account.text).not.toContain(eve.email)
  })

  it('a password and the passkey of somebody else do not add up', async () => {
    const browser = target.person()
    const start = await target.open(browser, { acr_values: 'phr' })
    const page = await signIn(browser, start, ada.email, PASSWORD)
    expect(stepOf(page)).toBe('passkey')
    expect((await challengeOn(browser, page)).allowCredentials).toHaveLength(1)
    const answer = await showPasskey(browser, page, eves)
    expect(answer.status).toBe(400)
    const good = await showPasskey(browser, answer, adas)
    expect(good.params.has('code')).toBe(true)
  })
})

describe("A49: another's passkey", () => {
  it('is neither shown, renamed nor removed', async () => {
    const [row] = await target.sql<{ id: string }>('select id from passkeys where account_id = $1', [ada.sub])
    const browser = await fresh(eve, eves)
    for (const path of ['', '/name', '/remove']) {
      const url = `${target.issuer}/account/passkeys/${row?.id}${path}`
      const page: Page = await browser.get(`${target.issuer}/account/passkeys`)
      const csrf = /name="csrf" value="([^"]*)"/.exec(page.html)?.[1] ?? ''
      const answer = path === '' ? await browser.get(url) : await browser.post(url, { csrf, name: 'Mine' }, page.url)
      expect(answer.status).toBe(404)
    }
    const [kept] = await target.sql<{ id: string; sealed_name: string }>(
      'select id, sealed_name from passkeys where account_id = $1',
      [ada.sub],
    )
    expect((await target.box()).open(kept?.sealed_name ?? '', SEALED_NAME, kept?.id ?? '')).toBe('')
  })

  /** Eve, having shown the most she has. */
  async function fresh({ browser }: Member, key: SoftAuthenticator): Promise<Browser> {
    const page = await browser.get(`${target.issuer}/account/passkeys/new`)
    if (stepOf(page) === undefined) return browser
    await showPasskey(browser, await choose(browser, page, 'passkey'), key)
    return browser
  }
})
