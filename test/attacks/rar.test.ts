/**
 * A73, A77, A78 on authorization details (RFC 9396): requests that would read as something else, grow after they were agreed
 * to, or be read in two ways. Each is shown beside the request that is good.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Page } from '../support/browser.ts'
import { asking, BALANCES, DETAIL_SETTINGS, PAYMENT, PAYMENTS } from '../support/details.ts'
import { allow } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { authorizationRequest, newPerson, type Person, redirectUri, stepOf } from '../support/people.ts'
import { sample, sampleTitle } from '../support/sample.ts'
import { SCRIPT_PAYLOADS } from '../support/script_payloads.ts'
import { type Server, startServer } from '../support/server.ts'
import {
  basic,
  type ClientRequests,
  clientRequests,
  type Fields,
  postForm,
  tokensOf,
} from '../support/token_requests.ts'

const OFFLINE = { scope: 'openid offline_access', prompt: 'consent' }
const REFUSED = 'invalid_authorization_details'

let server: Server
let ann: Person
let client: ClientRequests

beforeAll(async () => {
  server = await startServer({ settings: DETAIL_SETTINGS })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server?.close())

const request = (parameters: Fields, clientId = 'bank') => authorizationRequest(server.issuer, clientId, parameters)
const open = (parameters: Fields, clientId?: string) => ann.browser.get(request(parameters, clientId).url)
const errorOf = (page: Page) => page.params.get('error')
const shownOn = ({ forms }: Page) =>
  forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'shown')?.value ?? ''

describe(sampleTitle('A73: a hostile value is text'), () => {
  it.each(
    sample(
      SCRIPT_PAYLOADS.map((payload) => payload('1')),
      { least: 8 },
    ),
  )('%j', async (payee) => {
    const page = await open(asking({ ...PAYMENT, payee }))
    if (errorOf(page) === REFUSED) {
      expect(/[\p{Cc}\p{Cf}]/u.test(payee) || [...payee].length > 70).toBe(true)
      return
    }
    expect(stepOf(page)).toBe('consent')
    expect(page.text).toContain('Pay 1,249.90 EUR to')
    if (/[<>"]/.test(payee)) expect(page.html).not.toContain(payee)
    expect(page.html).not.toMatch(/<script>(parent\.)?ran|<[a-z]+[^>]* on[a-z]+=/)
  })

  it('what re-orders, hides or overflows is refused; letters from right to left keep to themselves', async () => {
    for (const sign of ['\u202E', '\u2066', '\u200F', '\u0000', '\n', '\u2028', '\uFEFF', '\u{E0041}']) {
      expect([sign, errorOf(await open(asking({ ...PAYMENT, payee: `Books${sign}.0001` })))]).toEqual([sign, REFUSED])
    }
    expect(errorOf(await open(asking({ ...PAYMENT, payee: 'x'.repeat(71) })))).toBe(REFUSED)
    const page = await open(asking({ ...PAYMENT, payee: 'متجر 100' }))
    expect(page.html).toContain('<strong><bdi>متجر 100</bdi></strong>')
    // A sentence runs in its own direction on a page of the other: else "A pays B" would read as "B pays A".
    const arabic = await open({ ...asking(PAYMENT), ui_locales: 'ar' })
    expect(arabic.html).toMatch(/<html[^>]* dir="rtl"/)
    expect(arabic.html).toMatch(/<div lang="en" dir="ltr">\s*<p>Pay /)
  })
})

describe('A77: nothing grows', () => {
  it('a token request names what was not agreed to, or what another grant has', async () => {
    const more = { ...PAYMENT, amount: '4999' }
    // Agreed to as well, on another day and for other tokens.
    const other = tokensOf(await client.redeem(await ann.code('bank', { ...asking(more), ...OFFLINE })))
    const code = await ann.code('bank', { ...asking(PAYMENT), ...OFFLINE })
    const { refresh } = tokensOf(await client.redeem(code))
    for (const wider of [
      [more],
      [PAYMENT, more],
      [{ ...PAYMENT, payee: 'Mallory' }],
      [BALANCES],
      [{ ...PAYMENT, due: undefined }],
    ]) {
      const refused = await client.refresh('bank', refresh, { ...asking(...wider), resource: PAYMENTS })
      expect([refused.status, refused.body.error]).toEqual([400, REFUSED])
    }
    const second = await ann.code('bank', asking(PAYMENT))
    expect((await client.redeem(second, asking(more))).body.error).toBe(REFUSED)
    const same = await ann.code('bank', asking(PAYMENT))
    expect((await client.redeem(same, asking(PAYMENT))).body.authorization_details).toEqual([PAYMENT])
    // Neither has the refusals cost anybody a grant.
    expect((await client.refresh('bank', other.refresh)).body.authorization_details).toEqual([more])
  })

  it('a grant without details gets none', async () => {
    const plain = tokensOf(await client.redeem(await ann.code('bank', OFFLINE)))
    const refused = await client.refresh('bank', plain.refresh, asking(PAYMENT))
    expect(refused.status).toBe(400)
    expect((await client.refresh('bank', plain.refresh)).body.authorization_details).toBeUndefined()
  })

  it('a client asks only for types and resource servers that are its own', async () => {
    expect(stepOf(await open(asking(PAYMENT)))).toBe('consent')
    expect(errorOf(await open(asking(PAYMENT), 'plain'))).toBe(REFUSED)
    expect(errorOf(await open(asking(PAYMENT), 'web'))).toBe(REFUSED)
    expect(errorOf(await open({ ...asking(PAYMENT), resource: 'https://accounts.test.example' }))).toBe(REFUSED)
    expect(stepOf(await open({ ...asking(PAYMENT), resource: PAYMENTS }))).toBe('consent')
  })
})

describe('A78: a request that can be read in two ways is refused', () => {
  const good = JSON.stringify([PAYMENT])
  const { payee, ...withoutPayee } = PAYMENT
  it.each([
    ['null', 'null'],
    ['no JSON', '[{'],
    ['an object', JSON.stringify(PAYMENT)],
    ['a list in a list', `[${good}]`],
    ['null in the list', `[null,${JSON.stringify(PAYMENT)}]`],
    ['a member twice', `[${JSON.stringify(PAYMENT).replace('{', '{"amount":"1",')}]`],
    ['a member twice, once escaped', `[${JSON.stringify(PAYMENT).replace('{', '{"\\u0061mount":"1",')}]`],
    ['an object twice', JSON.stringify([PAYMENT, { ...withoutPayee, payee }])],
    ['no type', JSON.stringify([{ ...PAYMENT, type: undefined }])],
    ['a list of types', JSON.stringify([{ ...PAYMENT, type: ['payment_initiation'] }])],
    ['an unknown type beside a known one', JSON.stringify([PAYMENT, { type: 'admin' }])],
    ['a type of every object', JSON.stringify([{ type: 'constructor' }])],
    ['an unknown field', JSON.stringify([{ ...PAYMENT, admin: true }])],
    ['a prototype', good.replace('{', '{"__proto__":{"payee":"x"},')],
    ['a missing field', JSON.stringify([withoutPayee])],
    ['null for a field', JSON.stringify([{ ...PAYMENT, payee: null }])],
    ['a list for a text', JSON.stringify([{ ...PAYMENT, payee: ['a'] }])],
    ['a number for an amount', JSON.stringify([{ ...PAYMENT, amount: 1 }])],
    ['too much', JSON.stringify([{ ...PAYMENT, amount: '5000.01' }])],
    ['too long', `${good.slice(0, -1)}${' '.repeat(8192)}]`],
    ['too many', JSON.stringify(Array.from({ length: 11 }, (_, i) => ({ ...PAYMENT, amount: `${i + 1}` })))],
    ['deep nesting', `${'['.repeat(1500)}${']'.repeat(1500)}`],
  ])('%s', async (_, authorization_details) => {
    expect(stepOf(await open({ authorization_details: good }))).toBe('consent')
    const push = (details: string) => {
      const { searchParams } = new URL(request({ authorization_details: details }).url)
      return postForm(`${server.issuer}/request`, Object.fromEntries(searchParams), basic('bank'))
    }
    const page = await open({ authorization_details })
    expect([errorOf(page), page.params.get('code')]).toEqual([REFUSED, null])
    const pushed = await push(authorization_details)
    expect([pushed.status, pushed.body.error]).toEqual([400, REFUSED])
  })

  it('the parameter twice', async () => {
    const { url } = request({ authorization_details: good })
    const page = await ann.browser.get(`${url}&authorization_details=${encodeURIComponent(good)}`)
    expect(stepOf(page)).toBeUndefined()
    expect(page.text + page.url).toContain('invalid_request')
  })

  it('names the field, and repeats nothing that could be markup', async () => {
    const of = async (detail: object) => (await open(asking(detail))).params.get('error_description')
    expect(await of({ ...PAYMENT, amount: 'x' })).toContain('payment_initiation: amount must be')
    expect(await of({ ...PAYMENT, '<script>': 1 })).toBe('payment_initiation: a field is not known')
  })
})

describe('what is granted is what was on the page', () => {
  const submit = (page: Page, fields: { readonly [name: string]: string }) =>
    ann.browser.submit(page, fields, { form: '/consent', button: 'allow' })

  it('whatever else the form says', async () => {
    const { url, verifier } = request(asking(PAYMENT))
    const page = await ann.browser.get(url)
    const action = page.forms.find((form) => form.action.endsWith('/consent'))?.action ?? ''
    const fields = page.forms.find((form) => form.action === action)?.fields ?? []
    const own = Object.fromEntries(fields.map(({ name, value }) => [name, value ?? '']))
    const wanted = { ...PAYMENT, amount: '4999', payee: 'Mallory' }
    const forged = { ...own, action: 'allow', ...asking(wanted), details: JSON.stringify([wanted]), rar: 'x' }
    const end = await ann.browser.post(new URL(action, page.url).href, forged, page.url)
    const code = { clientId: 'bank', code: end.params.get('code') ?? '', verifier, redirectUri: redirectUri('bank') }
    expect((await client.redeem(code)).body.authorization_details).toEqual([PAYMENT])
  })

  it('and an answer to another page, or to none, shows the page again', async () => {
    const theirs = shownOn(await open(asking({ ...PAYMENT, amount: '1' })))
    expect(theirs).toMatch(/^[\w-]{43}$/)
    for (const shown of ['', 'x', theirs]) {
      const page = await open(asking(PAYMENT))
      const again = await submit(page, { shown })
      expect(again.params.has('code')).toBe(false)
      expect(stepOf(again)).toBe('consent')
      expect(again.text).toContain('The request has changed meanwhile')
      expect((await allow(ann.browser, again)).params.has('code')).toBe(true)
    }
  })

  it('an answer to a page in one language does not agree to the words of another', async () => {
    const page = await open(asking(PAYMENT))
    const finnish = await open({ ...asking(PAYMENT), ui_locales: 'fi' })
    expect(shownOn(finnish)).not.toBe(shownOn(page))
    expect(stepOf(await submit(finnish, { shown: shownOn(page) }))).toBe('consent')
  })

  it('an answer that was given is not given again', async () => {
    const page = await open(asking(PAYMENT))
    expect((await allow(ann.browser, page)).params.has('code')).toBe(true)
    expect((await allow(ann.browser, page)).params.has('code')).toBe(false)
  })

  it('nobody answers for a person who has gone', async () => {
    const page = await open(asking(PAYMENT))
    const other = await newPerson(server.issuer, mailFolder(server.dataDir), 'eve@example.com')
    const foreign = await allow(other.browser, page).catch(() => undefined)
    expect(foreign?.params.has('code') ?? false).toBe(false)
    expect((await allow(ann.browser, page)).params.has('code')).toBe(true)
  })
})
