/** A105: addresses that borrow look-alikes of another script are refused on every page, and operators hear of it. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Page } from '../support/browser.ts'
import { choose, PASSWORD, register, SETTINGS, signIn } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { authorizationRequest, clientBrowser } from '../support/people.ts'
import { sampleKinds } from '../support/sample.ts'
import { realStores, type Server, startServer } from '../support/server.ts'

const EMAIL = 'anna@example.com'
/** Cyrillic а; all Cyrillic о; the same а in the domain, typed and encoded. */
const LOCAL_TWIN = '\u0430nna@example.com'
const WHOLE_TWIN = '\u043e\u043e@example.com'
const DOMAIN_TWIN = 'anna@ex\u0430mple.com'
const ENCODED_TWIN = 'anna@xn--exmple-4nf.com'

interface Refusal {
  readonly clientId?: string
  readonly accountId?: string
  readonly data: { readonly [name: string]: unknown }
}

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))('on %s', (kind) => {
  let server: Server

  beforeAll(async () => {
    const stores = kind === 'embedded' ? kind : await realStores()
    server = await startServer({ settings: SETTINGS, stores, env: { TRUSTED_PROXIES: '127.0.0.1' } })
  })
  afterAll(() => server.close())

  const open = (browser: ReturnType<typeof clientBrowser>, parameters = {}) =>
    browser.get(authorizationRequest(server.issuer, 'own', parameters).url)
  const refusals = async () => {
    const { stdout } = await server.run('audit', 'list', '--type', 'identifier.refused', '--json')
    return JSON.parse(stdout) as Refusal[]
  }
  const metric = async (as: string) => {
    const text = await (await fetch(`${server.managementOrigin}/metrics`)).text()
    const line = `genkan_identifiers_refused_total{reason="mixed_script",as="${as}"} `
    return Number(
      text
        .split('\n')
        .find((each) => each.startsWith(line))
        ?.slice(line.length) ?? 0,
    )
  }
  const expectRefused = (page: Page) => {
    expect(page.status).toBe(400)
    expect(page.text).toContain('not a complete e-mail address')
  }

  it('an operator is told of nothing before', async () => {
    expect(await refusals()).toEqual([])
    expect((await server.run('doctor')).stdout).toMatch(/^ok +look-alikes/m)
  })

  it('each page refuses them and states it, without the address', async () => {
    const mailbox = mailFolder(server.dataDir)
    const browser = clientBrowser()
    const start = await open(browser)
    expectRefused(await browser.submit(start, { identifier: LOCAL_TWIN }, { form: '/identifier' }))
    const form = await choose(browser, start, 'create')
    expectRefused(await browser.submit(form, { email: DOMAIN_TWIN, password: PASSWORD }, { form: '/register' }))
    const asks = await browser.submit(await open(browser), { identifier: EMAIL }, { form: '/identifier' })
    const recover = await choose(browser, asks, 'recover')
    expectRefused(await browser.submit(recover, { identifier: ENCODED_TWIN }, { form: '/recover' }))
    const other = clientBrowser()
    const create = await open(other, { prompt: 'create' })
    const sent = await other.submit(create, { email: 'wrong@example.com', password: PASSWORD }, { form: '/register' })
    const corrected = sent.forms.findIndex(({ fields }) => fields.some(({ name }) => name === 'email'))
    expectRefused(await other.submit(sent, { email: WHOLE_TWIN }, { form: corrected }))
    const member = clientBrowser()
    await register(member, await open(member, { prompt: 'create' }), mailbox, EMAIL)
    const account = await member.get(`${server.issuer}/account/email`)
    expectRefused(await member.submit(account, { email: LOCAL_TWIN }, { form: '/account/email' }))

    const stated = (await refusals()).reverse()
    expect(stated.map(({ clientId, data }) => [clientId, data.part, data.scripts, data.reason])).toEqual([
      ['own', 'local', ['Cyrillic', 'Latin'], 'mixed_script'],
      ['own', 'domain', ['Cyrillic', 'Latin'], 'mixed_script'],
      ['own', 'domain', ['Cyrillic', 'Latin'], 'mixed_script'],
      ['own', 'local', ['Cyrillic', 'Latin'], 'mixed_script'],
      ['genkan-account', 'local', ['Cyrillic', 'Latin'], 'mixed_script'],
    ])
    expect(stated.map(({ accountId }) => accountId !== undefined)).toEqual([false, false, false, false, true])
    // The same address has the same name, typed or encoded, and none shows it.
    const [first, typed, encoded, , last] = stated.map(({ data }) => data.identifier)
    expect([last, encoded]).toEqual([first, typed])
    expect(new Set(stated.map(({ data }) => data.identifier)).size).toBe(3)
    for (const twin of [LOCAL_TWIN, WHOLE_TWIN, DOMAIN_TWIN, ENCODED_TWIN]) {
      expect(JSON.stringify(stated)).not.toContain(twin.split('@')[twin === DOMAIN_TWIN ? 1 : 0] as string)
    }
  })

  it('the ledger and the doctor show them', async () => {
    const { stdout, code } = await server.run('doctor')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^warn +look-alikes +.*refused 5 times or more in the last 7 days/m)
    expect((await server.run('audit', 'verify')).code).toBe(0)
    expect(await metric('stated')).toBe(5)
  })

  it('whoever is at it all day fills no ledger: the rest is counted', async () => {
    const browser = clientBrowser()
    const start = await open(browser)
    for (let i = 0; i < 12; i++) {
      expectRefused(await browser.submit(start, { identifier: `\u0430nna${i}@example.com` }, { form: '/identifier' }))
    }
    expect(await refusals()).toHaveLength(10)
    expect([await metric('stated'), await metric('counted')]).toEqual([10, 7])
  })

  it('a week later the doctor is content', async () => {
    await server.shiftDate(8 * 86_400)
    expect((await server.run('doctor')).stdout).toMatch(/^ok +look-alikes/m)
    await server.shiftDate(0)
  })

  it('and the address that was imitated works as before', async () => {
    const browser = clientBrowser()
    expect((await signIn(browser, await open(browser), EMAIL)).params.has('code')).toBe(true)
  })
})
