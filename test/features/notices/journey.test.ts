/** The links of notices on the real product: this was not me, and back to the earlier address. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from '../../support/browser.ts'
import { choose, PASSWORD, SETTINGS, signIn } from '../../support/journeys.ts'
import { codeFrom, linkFrom, type Mailbox, mailFolder, startMailbox } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, OFFLINE, type Person } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import { clientRequests } from '../../support/token_requests.ts'

const NEW_PASSWORD = 'another harbour lantern 48'
const DAY = 86_400
const CHANGED = 'The e-mail of your Genkan account was changed'

const KINDS = {
  'the embedded default': async () => ({ options: { stores: 'embedded' as const }, mailbox: undefined }),
  'PostgreSQL and Redis': async () => {
    const mailbox = await startMailbox()
    const stores = await realStores()
    return { options: { stores, env: { SMTP_URL: mailbox.url } }, mailbox }
  },
}

describe.each(sampleKinds(Object.entries(KINDS), import.meta.url))('notices on %s', (_, start) => {
  let server: Server
  let mailbox: Mailbox
  let stop = async () => {}
  let clock = 0

  beforeAll(async () => {
    const { options, mailbox: smtp } = await start()
    server = await startServer({ settings: SETTINGS, ...options })
    mailbox = smtp ?? mailFolder(server.dataDir)
    stop = async () => void (await smtp?.stop())
  })
  afterAll(async () => {
    await server?.close()
    await stop()
  })

  const path = (page: Page) => new URL(page.url).pathname
  const later = async (seconds: number) => {
    clock += seconds
    await server.shiftDate(clock)
  }
  const post = (browser: Browser, page: Page) =>
    browser.submit(page, {}, { form: page.forms.findIndex(({ action }) => action.startsWith('/notices/')) })

  /** Signs in to the account pages and changes the address. */
  async function changeEmail(browser: Browser, from: string, to: string, password = PASSWORD) {
    const asked = await browser.get(`${server.issuer}/account/email`)
    const page = asked.forms.some(({ action }) => action.endsWith('/account/email'))
      ? asked
      : await signIn(browser, asked, from, password)
    const sent = await browser.submit(page, { email: to }, { form: '/account/email' })
    const code = codeFrom(await mailbox.to(to))
    const done = await browser.submit(sent, { code }, { form: '/account/email/code', button: 'confirm' })
    expect(done.text).toContain(to)
  }

  /** The notice of a change of address. */
  async function changed(to: string, count = 1) {
    for (let tries = 0; tries < 200; tries++) {
      const found = (await mailbox.all()).filter((mail) => mail.to.includes(to) && mail.subject === CHANGED)
      const last = found.at(-1)
      if (found.length >= count && last !== undefined) return last
      await sleep(50)
    }
    throw new Error(`no notice to ${to}`)
  }

  async function canSignIn(email: string, password = PASSWORD): Promise<boolean> {
    const browser = clientBrowser()
    const end = await signIn(
      browser,
      await browser.get(authorizationRequest(server.issuer, 'own').url),
      email,
      password,
    )
    return end.params.has('code')
  }

  /** From the page that says what was done, through a new password, to the account pages. */
  async function recover(browser: Browser, done: Page, email: string, mails: number) {
    const link = done.links.find(({ href }) => href.endsWith('/account/recover'))
    const begun = await browser.get(new URL(link?.href ?? '', server.issuer).href)
    expect(begun.forms.some(({ action }) => action.endsWith('/recover'))).toBe(true)
    const asked = await browser.submit(begun, { identifier: email }, { form: '/recover' })
    const code = codeFrom(await mailbox.to(email, { count: mails }))
    const form = await browser.submit(asked, { code }, { form: '/recover_code' })
    const end = await browser.submit(form, { password: NEW_PASSWORD }, { form: '/new_password' })
    expect(path(end)).toBe('/account')
  }

  it('a sign-in in another browser is told of; "this was not me" ends everything and leads to a new password', async () => {
    const email = 'eve@example.com'
    const ann = await newPerson(server.issuer, mailbox, email)
    const tokens = await ann.tokens('web', OFFLINE)
    const thief: Person = await ann.elsewhere()
    const mail = await mailbox.to(email, { count: 2, arrivals: true })
    expect(mail.subject).toBe('New sign-in to your Genkan account')
    const link = linkFrom(mail, '/notices/disown')

    const browser = clientBrowser()
    for (let time = 0; time < 2; time++) {
      expect((await fetch(link, { method: 'HEAD' })).status).toBe(200)
      expect((await browser.get(link)).status).toBe(200)
    }
    expect(await thief.signedIn()).toBe(true)
    expect((await clientRequests(server.issuer).refresh('web', tokens.refresh)).status).toBe(200)

    const done = await post(browser, await browser.get(link))
    expect(path(done)).toBe('/notices/disown/done')
    expect([await thief.signedIn(), await ann.signedIn()]).toEqual([false, false])
    expect((await clientRequests(server.issuer).userinfo(tokens.access)).status).toBe(401)
    expect((await clientRequests(server.issuer).refresh('web', tokens.refresh)).status).toBe(400)
    expect((await mailbox.to(email, { count: 2 })).subject).toBe('Your Genkan account was signed out everywhere')

    const again = await browser.get(link)
    expect([again.status, again.text]).toEqual([410, expect.stringContaining('was used already')])
    expect(again.links.map(({ href }) => href)).toContain('/account')
    await recover(browser, done, email, 3)
    expect([await canSignIn(email), await canSignIn(email, NEW_PASSWORD)]).toEqual([false, true])
  })

  it('a changed address comes back by the link at the earlier one, and the thief is out', async () => {
    const [email, evil, worse] = ['owner@example.com', 'evil@example.com', 'worse@example.com']
    const owner = await newPerson(server.issuer, mailbox, email)
    const thief = clientBrowser()
    await changeEmail(thief, email, evil)
    const undo = linkFrom(await mailbox.all().then(() => changed(email)), '/notices/restore_email')
    // A second change does not shake the first owner off; its own undo dies with it.
    await changeEmail(thief, evil, worse)
    const second = linkFrom(await changed(evil), '/notices/restore_email')
    expect((await changed(email, 2)).text).toContain('/notices/disown')

    const browser = clientBrowser()
    const done = await post(browser, await browser.get(undo))
    expect(path(done)).toBe('/notices/restore_email/done')
    expect((await thief.get(`${server.issuer}/account`)).text).not.toContain(worse)
    expect(await owner.signedIn()).toBe(false)
    expect((await browser.get(second)).status).toBe(410)
    expect((await browser.get(undo)).status).toBe(410)
    expect([await canSignIn(worse), await canSignIn(evil)]).toEqual([false, false])
    // The code, the notices of both changes, and of the one that was undone.
    await recover(browser, done, email, 5)
    expect([await canSignIn(email), await canSignIn(email, NEW_PASSWORD)]).toEqual([false, true])
  })

  it('both kinds of links are dead after seven days', async () => {
    const email = 'late@example.com'
    const person = await newPerson(server.issuer, mailbox, email)
    await person.elsewhere()
    const disown = linkFrom(await mailbox.to(email, { count: 2, arrivals: true }), '/notices/disown')
    await changeEmail(clientBrowser(), email, 'later@example.com')
    const undo = linkFrom(await changed(email), '/notices/restore_email')
    await later(7 * DAY - 60)
    const browser = clientBrowser()
    const [first, second] = [await browser.get(disown), await browser.get(undo)]
    expect([first.status, second.status]).toEqual([200, 200])
    await later(60)
    // The pages that were opened in time do not help either.
    for (const page of [first, second]) expect((await post(browser, page)).status).toBe(410)
    expect(await canSignIn('later@example.com')).toBe(true)
  })

  it.each(['', 'x', '%00', 'a'.repeat(43), `${'a'.repeat(43)}&token=${'b'.repeat(43)}`])(
    'A22: a token that is none (%s) opens and changes nothing',
    async (token) => {
      const browser = clientBrowser()
      for (const purpose of ['disown', 'restore_email', 'keep_factors', 'nothing']) {
        expect((await browser.get(`${server.issuer}/notices/${purpose}?token=${token}`)).status).toBe(410)
      }
    },
  )

  it('a person forgets browsers on the account page', async () => {
    const email = 'desk@example.com'
    const person = await newPerson(server.issuer, mailbox, email)
    await person.elsewhere()
    await mailbox.to(email, { count: 2, arrivals: true })
    const page = await person.browser.get(`${server.issuer}/account/devices`)
    const shown = page.url.includes('/interaction/') ? await signIn(person.browser, page, email) : page
    expect(shown.forms.filter(({ action }) => /\/devices\/[^/]+\/forget$/.test(action))).toHaveLength(2)
    expect(shown.text).toContain('This browser')
    const one = await person.browser.submit(shown, {}, { form: '/forget' })
    expect(one.forms.filter(({ action }) => /\/devices\/[^/]+\/forget$/.test(action))).toHaveLength(1)
    const other = await newPerson(server.issuer, mailbox, 'other-desk@example.com')
    await other.browser.get(`${server.issuer}/account/devices`)
    const theirs = one.forms.find(({ action }) => /\/devices\/[^/]+\/forget$/.test(action))?.action ?? ''
    const own = await other.browser.get(`${server.issuer}/account/devices`)
    const csrf = own.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
    const url = new URL(theirs, server.issuer).href
    expect((await other.browser.post(url, { csrf })).status).toBe(404)
  })

  it('recovery begins for whoever asks for it, without a session and with one', async () => {
    const browser = clientBrowser()
    const page = await browser.get(`${server.issuer}/account/recover`)
    expect(page.forms.some(({ action }) => action.endsWith('/recover'))).toBe(true)
    expect((await choose(browser, page, 'login')).forms.some(({ action }) => action.endsWith('/identifier'))).toBe(true)
  })
})
