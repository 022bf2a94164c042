/** The language of an account: chosen once, spoken by pages and mails to whoever signs in with it, wherever they are. */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { createBrowser, type Page } from '../../support/browser.ts'
import { choose, PASSWORD, register, SETTINGS, signIn } from '../../support/journeys.ts'
import { type Mailbox, mailFolder } from '../../support/mailbox.ts'
import { type Server, startServer } from '../../support/server.ts'

let server: Server
let mailbox: Mailbox

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  mailbox = mailFolder(server.dataDir)
})
afterAll(() => server.close())

const languageOf = (page: Page) => page.headers['content-language']

it('is the conversation’s at first; changed on the account pages it is spoken everywhere but where a client asks', async () => {
  const email = 'mali@example.com'
  const here = createBrowser({ locale: 'sv-SE,sv;q=0.9' })
  const start = await here.get(`${server.issuer}/account`)
  expect(languageOf(start)).toBe('sv')
  const home = await register(here, start, mailbox, email)
  const welcome = await mailbox.to(email)
  expect([languageOf(home), welcome.subject]).toEqual(['sv', expect.stringContaining('är din kod till')])
  expect(welcome.html).toContain('<html lang="sv" dir="ltr"')

  const options = (page: Page) => page.html.match(/<option [^>]*>[^<]*/g)?.map((tag) => tag.replace(/<[^>]*>/, ''))
  const language = await here.get(`${server.issuer}/account/language`)
  expect(options(language)).toEqual(['English', 'Suomi', 'Svenska', 'العربية', 'ไทย', '日本語'])
  const arabic = await here.submit(language, { locale: 'ar' }, { form: '/account/language' })
  expect([languageOf(arabic), arabic.html.includes('<html lang="ar" dir="rtl"')]).toEqual(['ar', true])

  const there = createBrowser({ locale: 'fi' })
  const door = await there.get(`${server.issuer}/account`)
  expect(languageOf(door)).toBe('fi')
  const inside = await signIn(there, door, email)
  expect(languageOf(inside)).toBe('ar')
  const leaving = await there.get(`${server.issuer}/session/end`)
  expect(languageOf(leaving)).toBe('ar')
  expect(languageOf(await there.get(`${server.issuer}/session/end?ui_locales=ja`))).toBe('ja')

  const stranger = createBrowser({ locale: 'fi' })
  const first = await stranger.get(`${server.issuer}/account`)
  const second = await stranger.submit(first, { identifier: email }, { form: '/identifier' })
  const asked = await choose(stranger, second, 'recover')
  const sent = await stranger.submit(asked, { identifier: email }, { form: '/recover' })
  expect(languageOf(sent)).toBe('fi')
  const recovery = await mailbox.to(email, { count: 2 })
  expect(recovery.subject).toMatch(/\d{6}.*هو رمز إعادة تعيين كلمة مرور/)
  expect(recovery.html).toContain('<html lang="ar" dir="rtl"')

  const password = await here.get(`${server.issuer}/account/password`)
  const changed = { current: PASSWORD, password: 'another harbour lantern 48' }
  await here.submit(password, changed, { form: '/account/password' })
  const notice = await mailbox.to(email, { count: 3 })
  expect(notice.text).toMatch(/الوقت: \u2068\d{1,2} \S+ \d{4} في .* UTC\u2069/)
})
