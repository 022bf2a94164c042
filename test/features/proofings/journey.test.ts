/**
 * Checks of persons by the front door: a vendor who is sent people and tells results by signed webhooks, operators who decide and
 * record by command, and clients who ask for what was verified (R19).
 */
import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import type * as oidc from 'openid-client'
import { type Browser, createBrowser, type Page } from '../../support/browser.ts'
import { allow, authorization, discover, redeem, register, SETTINGS, WEB } from '../../support/journeys.ts'
import { linkFrom, type Mailbox, mailFolder } from '../../support/mailbox.ts'
import { stepOf } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { type Clock, clockOf, openAccount } from '../../support/second_factors.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'

const OWN = 'https://own.test.example'
const PAGE = '/account/identities'
const newKey = () => randomBytes(32)
const KEYS = { 'photo-id': newKey(), next: newKey(), video: newKey(), strange: newKey() }
const secretOf = (key: Buffer) => `whsec_${key.toString('base64')}`
const MEMBERS = { framework: 'de_aml', evidence: 'document', valid_days: 30, claims: ['given_name', 'birthdate'] }
const ANNA = { given_name: 'Anna', birthdate: '1990-05-21', family_name: 'Meier', photo: 'data:image/png;base64,AAAA' }

/** Where people are sent: says whom it was sent, and shows a page. */
const visits: URLSearchParams[] = []
const vendor = createServer((request, response) => {
  visits.push(new URL(request.url ?? '', 'http://vendor').searchParams)
  response.writeHead(200, { 'content-type': 'text/html' }).end('<title>Vendor</title><p>Show your passport')
})
beforeAll(() => new Promise<void>((resolve) => vendor.listen(0, '127.0.0.1', resolve)))
afterAll(() => new Promise((resolve) => vendor.close(resolve)))

const KINDS = {
  'the embedded default': async () => 'embedded' as const,
  'PostgreSQL and Redis': async () => realStores(),
}

interface Person {
  readonly email: string
  readonly sub: string
  readonly browser: Browser
  page: Page
}
interface Stated {
  readonly accountId: string
  readonly actor: string
  readonly data: { readonly [name: string]: unknown }
}

describe.each(sampleKinds(Object.entries(KINDS), import.meta.url))('proofings on %s', (_, storesOf) => {
  let server: Server
  let own: oidc.Configuration
  let web: oidc.Configuration
  let mailbox: Mailbox
  let clock: Clock
  let addresses = 0

  beforeAll(async () => {
    const start = `http://127.0.0.1:${(vendor.address() as AddressInfo).port}/start`
    server = await startServer({
      stores: await storesOf(),
      env: { TRUSTED_PROXIES: '127.0.0.1' },
      settings: {
        ...SETTINGS,
        clients: SETTINGS.clients.map((client) =>
          client.client_id === 'web' ? { ...client, verified_claims: ['given_name', 'birthdate'] } : client,
        ),
        proofings: [
          {
            ...{ name: 'photo-id', kind: 'webhook', title: 'Photo ID check', ...MEMBERS },
            ...{ start_url: `${start}?client=shop`, secret: [secretOf(KEYS['photo-id']), secretOf(KEYS.next)] },
          },
          {
            ...{ name: 'video', kind: 'webhook', ...MEMBERS, framework: 'eidas' },
            start_url: start,
            secret: secretOf(KEYS.video),
          },
          { name: 'desk', kind: 'manual', title: 'Our desk', ...MEMBERS, evidence: 'vouch' },
        ],
      },
    })
    ;[own, web] = [await discover(server.issuer, 'own'), await discover(server.issuer, 'web')]
    mailbox = mailFolder(server.dataDir)
    clock = clockOf({ server })
  })
  afterAll(() => server?.close())

  const address = () => {
    addresses += 1
    return `10.9.${addresses >> 8}.${addresses & 255}`
  }
  /** Somebody new with the page open. */
  async function somebody(name: string): Promise<Person> {
    const email = `${name}@people.example`
    const browser = createBrowser({ stopAt: ['https://'], headers: { 'x-forwarded-for': address() } })
    const request = await authorization(own, `${OWN}/callback`, { prompt: 'create' })
    const end = await register(browser, await browser.get(request.url), mailbox, email)
    const sub = (await redeem(own, request, end)).claims()?.sub ?? ''
    return { email, sub, browser, page: await openAccount(server, browser, PAGE, { email, clock }) }
  }
  const look = async (person: Person) => {
    person.page = await openAccount(server, person.browser, PAGE, { email: person.email, clock })
    return person.page
  }
  const press = (person: Person, provider: string, to = '/prove') => {
    const form = person.page.forms.findIndex(
      ({ action, fields }) => action.endsWith(to) && fields.some(({ value }) => value === provider),
    )
    if (form < 0) throw new Error(`no button of ${provider}: ${person.page.text}`)
    return person.browser.submit(person.page, {}, { form })
  }
  /** Goes to the vendor; says with which reference. */
  async function begin(person: Person, provider = 'photo-id'): Promise<string> {
    const there = await press(person, provider)
    expect([there.status, there.title]).toEqual([200, 'Vendor'])
    const reference = visits.at(-1)?.get('reference') ?? ''
    await look(person)
    return reference
  }

  interface Delivery {
    readonly name?: string
    readonly key?: Buffer
    readonly id?: string
    readonly at?: number
    /** Seconds by which its clock differs. */
    readonly off?: number
    readonly ip?: string
    readonly headers?: { readonly [name: string]: string | undefined }
  }
  const seconds = () => Math.floor(clock.now().getTime() / 1000)
  function post(body: string, { name = 'photo-id', key = KEYS['photo-id'], ...delivery }: Delivery = {}) {
    const { id = `msg_${randomUUID()}`, off = 0, at = seconds() + off, ip = address() } = delivery
    const signature = `v1,${createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')}`
    const headers = {
      ...{ 'content-type': 'application/json', 'x-forwarded-for': ip },
      ...{ 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': signature, ...delivery.headers },
    }
    const there = Object.entries(headers).filter((each): each is [string, string] => each[1] !== undefined)
    return fetch(`${server.origin}/proofings/${name}/result`, {
      method: 'POST',
      body,
      headers: Object.fromEntries(there),
    })
  }
  const tell = (result: object, delivery?: Delivery) => post(JSON.stringify(result), delivery)
  const verified = (reference: string, more: object = {}) => ({ reference, status: 'verified', claims: ANNA, ...more })
  const run = (...command: string[]) => server.run('proofings', ...command)
  async function facts(type: string, sub: string): Promise<Stated[]> {
    const { stdout } = await server.run('audit', 'list', '--type', type, '--account', sub, '--json')
    return JSON.parse(stdout) as Stated[]
  }
  const listed = async (...options: string[]) =>
    JSON.parse((await run('list', '--json', ...options)).stdout) as { id: string; account: string; state: string }[]

  /** What the client is told, asking for what was verified. */
  async function claimsFor(person: Person, more: object = { trust_framework: null, evidence: [{ type: null }] }) {
    const asked = { verified_claims: { verification: more, claims: { given_name: null, birthdate: null } } }
    const parameters = { claims: JSON.stringify({ id_token: asked }), prompt: 'consent' }
    const request = await authorization(web, `${WEB}/callback`, parameters)
    const page = await person.browser.get(request.url)
    expect(stepOf(page)).toBe('consent')
    const tokens = await redeem(web, request, await allow(person.browser, page))
    return { said: decodeJwt(tokens.id_token ?? '').verified_claims, consent: page.text }
  }

  describe('a person', () => {
    let anna: Person
    let reference: string
    beforeAll(async () => {
      anna = await somebody('anna')
    })

    it('sees who checks, and is sent there with a reference and the way back', async () => {
      expect(anna.page.text).toContain('Photo ID check')
      expect(anna.page.text).not.toContain('Our desk')
      reference = await begin(anna)
      expect(Object.fromEntries(visits.at(-1) ?? [])).toEqual({
        ...{ client: 'shop', reference, return_to: `${server.issuer}${PAGE}` },
      })
      expect(anna.page.text).toContain('Your check is under way')
      expect(await facts('proofing.started', anna.sub)).toMatchObject([
        { actor: anna.sub, data: { provider: 'photo-id' } },
      ])
      expect((await claimsFor(anna)).said).toBeUndefined()
    })

    it('is told when the vendor has verified them, and clients who ask and may are told what', async () => {
      const answer = await tell(verified(reference))
      expect([
        answer.status,
        answer.headers.get('cache-control'),
        answer.headers.get('set-cookie'),
        await answer.text(),
      ]).toEqual([...[200, 'no-store', null, '']])
      await look(anna)
      for (const text of ['Verified details', 'Photo ID check', 'Anna', '1990-05-21'])
        expect(anna.page.text).toContain(text)
      for (const text of ['under way', 'Meier', 'base64']) expect(anna.page.html).not.toContain(text)
      expect((await mailbox.to(anna.email, { count: 2 })).subject).toContain('Photo ID check verified')
      const { said, consent } = await claimsFor(anna)
      expect(consent).toContain('Photo ID check verified this on')
      expect(said).toEqual({
        verification: { trust_framework: 'de_aml', evidence: [{ type: 'document' }] },
        claims: { given_name: 'Anna', birthdate: '1990-05-21' },
      })
      const eidas = { trust_framework: { value: 'eidas' } }
      expect((await claimsFor(anna, eidas)).said).toBeUndefined()
    })

    it('removes what was verified', async () => {
      const done = await press({ ...anna, page: await look(anna) }, 'photo-id', '/unprove')
      expect(done.text).toContain('The verified details were removed')
      expect((await claimsFor(anna)).said).toBeUndefined()
      expect(await facts('identification.removed', anna.sub)).toHaveLength(1)
      // What they may not remove is not there.
      const [form] = done.forms.filter(({ action }) => action.endsWith('/prove'))
      const csrf = form?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
      const again = await anna.browser.post(`${server.issuer}${PAGE}/unprove`, { csrf, provider: 'photo-id' }, done.url)
      expect(again.status).toBe(404)
      const nobody = await anna.browser.post(`${server.issuer}${PAGE}/prove`, { csrf, provider: 'desk' }, done.url)
      expect(nobody.status).toBe(404)
      const forged = await anna.browser.post(`${server.issuer}${PAGE}/prove`, { provider: 'photo-id' }, done.url)
      expect(forged.status).toBe(403)
    })

    it('who was refused is told, and may try again, five times a day', async () => {
      const berta = await somebody('berta')
      const refused = await begin(berta)
      expect((await tell({ reference: refused, status: 'refused', reason: 'document_expired' })).status).toBe(200)
      expect((await look(berta)).text).toContain('Your details could not be verified. You can try again.')
      for (let count = 0; count < 4; count++) await begin(berta)
      const limited = await press(berta, 'photo-id')
      expect([limited.status, limited.headers['retry-after']]).toEqual([429, expect.any(String)])
      expect(limited.text).toContain('There were too many tries')
      expect(await facts('proofing.started', berta.sub)).toHaveLength(5)
    })

    it('is offered it by name in discovery', async () => {
      const document = await (await fetch(`${server.origin}/.well-known/openid-configuration`)).json()
      expect(document).toMatchObject({
        ...{ verified_claims_supported: true, trust_frameworks_supported: ['de_aml', 'eidas'] },
        evidence_supported: ['document', 'vouch'],
      })
    })
  })

  describe('a result', () => {
    let carl: Person
    let reference: string
    beforeAll(async () => {
      carl = await somebody('carl')
      reference = await begin(carl)
    })
    const isUndecided = async () => expect(await facts('proofing.decided', carl.sub)).toEqual([])

    it.each([
      ['by a strange key', { key: KEYS.strange }],
      ['by the key of another provider', { key: KEYS.video }],
      ['six minutes ago', { off: -360 }],
      ['six minutes ahead', { off: 360 }],
      ['for another id', { headers: { 'webhook-id': 'msg_other' } }],
      ['for another time', { headers: { 'webhook-timestamp': String(Math.floor(Date.now() / 1000) - 1) } }],
      ['by nobody', { headers: { 'webhook-signature': undefined } }],
      ['without an id', { headers: { 'webhook-id': undefined } }],
      ['without a time', { headers: { 'webhook-timestamp': undefined } }],
      ['with an empty signature', { headers: { 'webhook-signature': 'v1,' } }],
    ])('signed %s is refused', async (_name, delivery) => {
      const answer = await tell(verified(reference), delivery)
      expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, 'Webhook-Signature'])
      expect(answer.headers.get('content-type')).toBe('application/problem+json')
      expect(await answer.json()).toMatchObject({ code: 'proofing_signature' })
      await isUndecided()
    })

    it('whose body was changed on the way is refused', async () => {
      const body = JSON.stringify(verified(reference))
      const [id, at] = ['msg_changed', seconds()]
      const mac = createHmac('sha256', KEYS['photo-id']).update(`${id}.${at}.${body}`).digest('base64')
      const changed = body.replace('Anna', 'Mallory')
      const answer = await post(changed, { id, at, headers: { 'webhook-signature': `v1,${mac}` } })
      expect(answer.status).toBe(401)
    })

    it.each([
      ['no JSON', '{"reference":', 400],
      ['a list', '[]', 400],
      ['a member more', JSON.stringify({ ...verified('r'), score: 1 }), 400],
      ['no reference', JSON.stringify({ status: 'verified', claims: ANNA }), 400],
      ['too much', JSON.stringify({ ...verified('r'), claims: { given_name: 'x'.repeat(17_000) } }), 413],
    ])('that is %s is malformed', async (_name, body, status) => {
      const answer = await post(body)
      expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'application/problem+json'])
    })

    it('of another type is not read', async () => {
      const answer = await tell(verified(reference), {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      })
      expect(answer.status).toBe(415)
    })

    it('that names nothing to be recorded changes nothing', async () => {
      const answer = await tell(verified(reference, { claims: { family_name: 'Meier' } }))
      expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([422, 'proofing_unverified'])
      await isUndecided()
    })

    it('for what nobody sends results for is not found', async () => {
      for (const name of ['desk', 'nobody', '__proto__'])
        expect((await tell(verified(reference), { name })).status).toBe(404)
    })

    it('for a reference of nobody, of another provider, or that was decided, is one and the same answer', async () => {
      const other = await begin(carl, 'video')
      const decided = await begin(carl)
      await tell({ reference: decided, status: 'refused' })
      const bodies: unknown[] = []
      for (const each of [decided, other, 'x'.repeat(43)]) {
        for (const result of [
          verified(each),
          { reference: each, status: 'refused' },
          { reference: each, status: 'review' },
        ]) {
          const answer = await tell(result)
          expect([answer.status, answer.headers.get('content-type')]).toEqual([404, 'application/problem+json'])
          bodies.push({ ...((await answer.json()) as object), request_id: undefined })
        }
      }
      expect(new Set(bodies.map((body) => JSON.stringify(body))).size).toBe(1)
      expect((await tell(verified(other), { name: 'video', key: KEYS.video })).status).toBe(200)
    })

    it('is done once: of twenty deliveries at once there is one identification, and all are thanked; and later', async () => {
      const dora = await somebody('dora')
      const mine = await begin(dora)
      const delivery = { id: 'msg_many' }
      const answers = await Promise.all(Array.from({ length: 20 }, () => tell(verified(mine), delivery)))
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
      expect((await tell(verified(mine), delivery)).status).toBe(200)
      expect((await tell(verified(mine))).status).toBe(404)
      const [decided, recorded] = [
        await facts('proofing.decided', dora.sub),
        await facts('identification.recorded', dora.sub),
      ]
      expect([decided, recorded]).toMatchObject([
        [{ actor: 'system', data: { status: 'verified' } }],
        [{ actor: 'system' }],
      ])
    })

    it('of twenty different ones at once counts once', async () => {
      const emil = await somebody('emil')
      const mine = await begin(emil)
      const answers = await Promise.all(Array.from({ length: 20 }, () => tell(verified(mine))))
      const count = (status: number) => answers.filter((answer) => answer.status === status).length
      expect([count(200), count(404)]).toEqual([1, 19])
      expect(await facts('identification.recorded', emil.sub)).toHaveLength(1)
    })

    it('may be signed by either of two secrets', async () => {
      const fred = await somebody('fred')
      expect((await tell(verified(await begin(fred)), { key: KEYS.next })).status).toBe(200)
    })

    it('that nobody can have signed is counted by network, until none is looked at', async () => {
      const ip = '198.51.100.7'
      for (let count = 0; count < 60; count++) {
        expect((await tell(verified('x'.repeat(43)), { ip, key: KEYS.strange })).status).toBe(401)
      }
      const answer = await tell(verified('x'.repeat(43)), { ip })
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, expect.any(String)])
      expect((await tell(verified('x'.repeat(43)))).status).toBe(404)
    })
  })

  describe('a review', () => {
    const review = (reference: string) => ({ ...verified(reference), status: 'review', reason: 'blurred' })

    it('is looked at and approved by command, with the operator’s name in the ledger', async () => {
      const gina = await somebody('gina')
      const reference = await begin(gina)
      expect((await tell(review(reference))).status).toBe(200)
      expect((await look(gina)).text).toContain('Somebody is looking at your details')
      expect(gina.page.forms.some(({ fields }) => fields.some(({ value }) => value === 'photo-id'))).toBe(false)
      expect((await claimsFor(gina)).said).toBeUndefined()
      const [{ id } = { id: '' }] = (await listed('--state', 'review')).filter(({ account }) => account === gina.sub)
      const { stdout } = await run('list')
      expect(stdout).toContain('blurred')
      expect(stdout).not.toContain('Anna')
      expect((await run('show', id)).stderr).toContain('--operator')
      const shown = await run('show', id, '--operator', 'ann')
      for (const text of ['given_name', 'Anna', '1990-05-21', gina.sub]) expect(shown.stdout).toContain(text)
      expect(await facts('proofing.viewed', gina.sub)).toMatchObject([{ actor: 'operator', data: { operator: 'ann' } }])
      expect((await run('approve', id)).stderr).toContain('--operator')
      expect(await run('approve', id, '--operator', 'bo')).toMatchObject({
        code: 0,
        stdout: `proofing ${id} approved\n`,
      })
      expect((await run('approve', id, '--operator', 'bo')).stderr).toContain('is not in review')
      expect((await run('show', id, '--operator', 'ann')).stdout).not.toContain('Anna')
      expect(await facts('proofing.decided', gina.sub)).toMatchObject([
        { actor: 'operator', data: { operator: 'bo', status: 'verified' } },
      ])
      expect((await claimsFor(gina)).said).toMatchObject({ claims: { given_name: 'Anna' } })
      expect((await tell(verified(reference))).status).toBe(404)
    })

    it('is refused by command, for a reason', async () => {
      const hugo = await somebody('hugo')
      await tell(review(await begin(hugo)))
      const [{ id } = { id: '' }] = (await listed('--state', 'review')).filter(({ account }) => account === hugo.sub)
      expect((await run('refuse', id, '--operator', 'bo')).stderr).toContain('--reason')
      expect((await run('refuse', id, '--operator', 'bo', '--reason', 'another face')).code).toBe(0)
      expect((await look(hugo)).text).toContain('could not be verified')
      expect(await facts('proofing.decided', hugo.sub)).toMatchObject([
        { data: { reason: 'another face', status: 'refused' } },
      ])
      expect((await run('approve', 'nobody', '--operator', 'bo')).stderr).toContain('there is no nobody')
      expect((await run('list', '--state', 'done')).stderr).toContain('--state')
    })
  })

  describe('an operator', () => {
    const BY = ['--by', 'desk', '--operator', 'ann']
    const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10)
    const CLAIMS = ['--claim', 'given_name=Ida', '--claim', 'birthdate=1985-01-31']

    it('records who came to a desk, and revokes it', async () => {
      const ida = await somebody('ida')
      const done = await run('record', ida.email, ...BY, ...CLAIMS, '--verified-at', daysAgo(7))
      expect(done).toMatchObject({ code: 0, stdout: `account ${ida.sub} is verified by desk\n` })
      expect((await look(ida)).text).toContain('Our desk')
      expect((await claimsFor(ida)).said).toEqual({
        verification: { trust_framework: 'de_aml', evidence: [{ type: 'vouch' }] },
        claims: { given_name: 'Ida', birthdate: '1985-01-31' },
      })
      expect(await facts('identification.recorded', ida.sub)).toMatchObject([
        { actor: 'operator', data: { operator: 'ann' } },
      ])
      expect((await run('record', ida.email, ...BY, ...CLAIMS, '--verified-at', daysAgo(8))).stderr).toContain(
        'later than that',
      )
      expect((await run('revoke', ida.email, ...BY)).code).toBe(0)
      expect((await run('revoke', ida.email, ...BY)).stderr).toContain('nothing of account')
      expect((await claimsFor(ida)).said).toBeUndefined()
      expect(await facts('identification.removed', ida.sub)).toMatchObject([{ actor: 'operator' }])
    })

    it.each([
      ['no operator', ['--by', 'desk', ...CLAIMS], '--operator'],
      ['no proofing', ['--operator', 'ann', ...CLAIMS], '--by'],
      ['no claim', BY, '--claim'],
      ['a claim without a name', [...BY, '--claim', 'Ida'], 'write name=value'],
      ['a claim twice', [...BY, ...CLAIMS, ...CLAIMS], 'each one once'],
      ['a claim of another', [...BY, '--claim', 'family_name=Meier'], 'is not one of the proofing’s'],
      ['a day that never was', [...BY, '--claim', 'birthdate=1985-02-31'], 'cannot be read'],
      ['tomorrow', [...BY, ...CLAIMS, '--verified-at', '2126-01-01'], '--verified-at'],
      ['a proofing that has a vendor', ['--by', 'photo-id', '--operator', 'ann', ...CLAIMS], 'no such proofing'],
    ])('who names %s is told so', async (_name, options, problem) => {
      const { code, stderr } = await run('record', 'ida@people.example', ...options)
      expect([code, stderr]).toEqual([1, expect.stringContaining(problem)])
    })

    it('cannot give an upstream the name of a proofing', async () => {
      const { stderr } = await server.run('upstreams', 'set', 'photo-id', '--settings', '/dev/null')
      expect(stderr).toContain('is that of a proofing')
    })
  })

  describe('an account', () => {
    it('that is disabled takes no result any more, also when it is enabled again', async () => {
      const jan = await somebody('jan')
      const reference = await begin(jan)
      await server.run('accounts', 'disable', jan.email)
      expect((await tell(verified(reference))).status).toBe(404)
      await server.run('accounts', 'enable', jan.email)
      expect((await tell(verified(reference))).status).toBe(404)
      expect(await facts('proofing.expired', jan.sub)).toMatchObject([{ data: { reason: 'account.disabled' } }])
    })

    it('whose owner says that it was not them loses what was verified, and what is under way', async () => {
      const kim = await somebody('kim')
      await tell(verified(await begin(kim)))
      const open = await begin(kim, 'video')
      const mail = await mailbox.to(kim.email, { count: 2 })
      const browser = createBrowser()
      const page = await browser.get(linkFrom(mail, '/notices/disown'))
      const form = page.forms.findIndex(({ action }) => action.startsWith('/notices/'))
      await browser.submit(page, {}, { form })
      expect(await facts('account.disowned', kim.sub)).toHaveLength(1)
      expect(await facts('identification.removed', kim.sub)).toMatchObject([{ data: { reason: 'disowned' } }])
      expect((await tell(verified(open), { name: 'video', key: KEYS.video })).status).toBe(404)
    })
  })

  it('that is misspelt keeps the server from starting; one that left the configuration stands for nothing, until it is back', async () => {
    const path = server.env.GENKAN_CONFIG ?? ''
    const before = readFileSync(path, 'utf8')
    const { proofings, ...settings } = JSON.parse(before) as { proofings: { name: string }[] }
    const declare = (declared: readonly object[]) =>
      writeFileSync(path, JSON.stringify({ ...settings, proofings: declared }))
    const mia = await somebody('mia')
    await tell(verified(await begin(mia)))
    expect((await claimsFor(mia)).said).toBeDefined()
    declare(proofings.map((each) => ({ ...each, secret: 'open sesame' })))
    await expect(server.restart()).rejects.toThrow('proofings.photo-id.secret')
    declare(proofings.filter(({ name }) => name !== 'photo-id'))
    await server.restart()
    expect((await claimsFor(mia)).said).toBeUndefined()
    expect((await look(mia)).text).not.toContain('Photo ID check')
    writeFileSync(path, before)
    await server.restart()
    expect((await claimsFor(mia)).said).toBeDefined()
  })

  // Moves the clock: last.
  it('whoever has not proven themselves lately is asked first, and a reference is over after a day', async () => {
    const lea = await somebody('lea')
    const reference = await begin(lea)
    await clock.later(3600)
    const count = visits.length
    const asked = await press(lea, 'photo-id')
    expect([stepOf(asked), visits.length]).toEqual(['password', count])
    await clock.later(82_801)
    expect((await tell(verified(reference))).status).toBe(404)
    expect(await facts('proofing.decided', lea.sub)).toEqual([])
  })
})
