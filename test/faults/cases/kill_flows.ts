/** What people do when the process dies (F28): each is done whole or not at all. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Authenticator, appOf } from '../../support/authenticator.ts'
import type { Browser, Page } from '../../support/browser.ts'
import { allow, choose, signIn as fillIn, PASSWORD } from '../../support/journeys.ts'
import { codeFrom } from '../../support/mailbox.ts'
import { authorizationRequest, stepOf } from '../../support/people.ts'
import type { Account } from '../acts.ts'
import * as acts from '../acts.ts'
import type { Stage } from '../case.ts'
import type { Flow } from '../kill_points.ts'
import type { World } from '../world.ts'
import { patiently, reason } from './attempt.ts'

const NEW_PASSWORD = 'a lantern over nine harbours'

interface Registering {
  readonly email: string
  readonly browser: Browser
  readonly page: Page
  readonly verifier: string
}

const anAccount = async ({ world }: Stage): Promise<Account> =>
  (await acts.register(world, 'spa', acts.newEmail('killed'))).account

/** Rows without their facts, and halves of accounts. */
const HALVES: readonly (readonly [what: string, sql: string])[] = [
  [
    'accounts are proven and have no password',
    `accounts a where email_verified_at is not null and not exists (select 1 from passwords p where p.account_id = a.id)`,
  ],
  [
    'accounts are proven without one fact of it',
    `accounts a where email_verified_at is not null and
     (select count(*) from outbox o where o.account_id = a.id and o.type = 'account.email_verified') <> 1`,
  ],
  [
    'consents have no fact',
    `consents c where not exists
     (select 1 from outbox o where o.account_id = c.account_id and o.client_id = c.client_id and o.type = 'consent.granted')`,
  ],
  [
    'apps have not one fact',
    `totp_seeds t where
     (select count(*) from outbox o where o.account_id = t.account_id and o.type = 'factor.added' and o.data->>'method' = 'totp') <> 1`,
  ],
  [
    'accounts are deleted by fact and still active',
    `accounts a where state = 'active' and exists
     (select 1 from outbox o where o.account_id = a.id and o.type = 'account.deleted')`,
  ],
]

async function nothingIsHalf({ world, check }: Stage): Promise<void> {
  for (const [what, sql] of HALVES) {
    const [row] = await world.sql<{ n: string }>(`select count(*) n from ${sql}`)
    check(row?.n === '0', `${row?.n} ${what}`)
  }
}

/** The mail of the request that was cut short may come before the newer one or after it: a person tries what is newest. */
async function proveByNewest(world: World, email: string, browser: Browser, start: Page): Promise<Page> {
  const tried = new Set<string>()
  const until = Date.now() + 15_000
  let page = start
  while (Date.now() < until && !page.params.has('code')) {
    const mails = (await world.mailbox.all()).filter(({ to, text }) => to.includes(email) && /\d{3} ?\d{3}/.test(text))
    const code = mails
      .toReversed()
      .map(codeFrom)
      .find((each) => !tried.has(each))
    if (code !== undefined) {
      tried.add(code)
      page = await acts.step(browser, page, '/verify_email', { code })
    } else await sleep(100)
  }
  return page
}

const REGISTER: Flow<Registering> = {
  name: 'an account is asked for',
  async prepare({ world }) {
    const browser = world.person()
    const { url, verifier } = authorizationRequest(world.issuer, 'spa', { prompt: 'create', scope: 'openid email' })
    return { email: acts.newEmail('asked'), browser, page: await acts.open(browser, url), verifier }
  },
  act: (_, { browser, page, email }) => acts.step(browser, page, '/register', { email, password: PASSWORD }),
  async probe(stage, { email }) {
    const { world, check } = stage
    await nothingIsHalf(stage)
    const browser = world.person()
    const anew = await patiently(() => acts.beginRegistration(world, 'spa', email, browser))
    if (anew.value === undefined) return check(false, `registering anew: ${reason(anew)}`)
    const end = await proveByNewest(world, email, browser, anew.value.sent)
    check(end.params.has('code'), `the code of registering anew: ${end.status} ${end.text.slice(0, 100)}`)
  },
}

const PROVE: Flow<Registering> = {
  name: 'an address is proven',
  async prepare({ world }) {
    const [email, browser] = [acts.newEmail('proven'), world.person()]
    const { sent, verifier } = await acts.beginRegistration(world, 'spa', email, browser)
    await world.mailbox.to(email)
    return { email, browser, page: sent, verifier }
  },
  act: async ({ world }, { browser, page, email }) =>
    acts.step(browser, page, '/verify_email', { code: codeFrom(await world.mailbox.to(email)) }),
  async probe(stage, { browser, page, email }, end) {
    const { world, check } = stage
    await nothingIsHalf(stage)
    const code = codeFrom(await world.mailbox.to(email))
    const again = await patiently(async () => {
      const there = await acts.open(browser, page.url)
      return stepOf(there) === 'verify_email' ? acts.step(browser, there, '/verify_email', { code }) : there
    })
    check(again.value !== undefined, `the way on: ${reason(again)}`)
    const account = { email, password: PASSWORD, sub: '', browser: world.person() }
    const signedIn = await patiently(() => acts.signInPage(world, 'spa', account))
    if (signedIn.value?.page.params.has('code') === true) return
    check(end.value === undefined, `what was acknowledged is not there: ${reason(signedIn).slice(0, 200)}`)
    if (again.value === undefined) return
    // The code was used up by a try that left nothing: the page has sent another when it was opened again.
    const proven = await proveByNewest(world, email, browser, again.value)
    check(proven.params.has('code'), `another code: ${proven.status} ${proven.text.slice(0, 200)}`)
  },
}

const RESET: Flow<{ account: Account; browser: Browser; page: Page }> = {
  name: 'a password is reset',
  async prepare(stage) {
    const { world } = stage
    const [account, browser] = [await anAccount(stage), world.person()]
    const request = authorizationRequest(world.issuer, 'spa', { login_hint: account.email, prompt: 'login' })
    const asked = await browser.submit(
      await choose(browser, await acts.open(browser, request.url), 'recover'),
      { identifier: account.email },
      { form: '/recover' },
    )
    const mail = await world.mailbox.to(account.email, { count: 2 })
    return { account, browser, page: await acts.step(browser, asked, '/recover_code', { code: codeFrom(mail) }) }
  },
  act: (_, { browser, page }) => acts.step(browser, page, '/new_password', { password: NEW_PASSWORD }),
  async probe(stage, { account }, end) {
    const { world, check } = stage
    await nothingIsHalf(stage)
    const opens = async (password: string) => {
      const { value } = await patiently(() =>
        acts.signInPage(world, 'spa', { ...account, password, browser: world.person() }),
      )
      return value?.page.params.has('code') === true
    }
    const [old, fresh] = [await opens(PASSWORD), await opens(NEW_PASSWORD)]
    check(old !== fresh, `${old && fresh ? 'both passwords open' : 'neither password opens'} the account`)
    check(end.value === undefined || fresh, 'the new password was acknowledged and does not open the account')
  },
}

const CONSENT: Flow<{ account: Account; page: Page; verifier: string }> = {
  name: 'consent is given',
  async prepare(stage) {
    const account = await anAccount(stage)
    const { page, verifier } = await acts.signInPage(stage.world, 'web', account)
    if (stepOf(page) !== 'consent') throw new Error(`no consent page: ${page.url}`)
    return { account, page, verifier }
  },
  act: async (_, { account, page }) => acts.went(await allow(account.browser, page)),
  async probe(stage, { account }, end) {
    const { world, check } = stage
    await nothingIsHalf(stage)
    const again = await patiently(() => acts.signIn(world, 'web', acts.elsewhere(world, account)))
    check(again.value !== undefined, `the client afterwards: ${reason(again)}`)
    const given = end.value !== undefined && (end.value as Page).params.has('code')
    check(!given || again.value?.agreed === false, 'a consent that was acknowledged is asked for again')
  },
}

/** A page of the account, with the password where it is asked for. */
async function accountPage(world: World, { browser, email }: Account, path: string): Promise<Page> {
  const page = await acts.open(browser, `${world.issuer}${path}`)
  return ['identifier', 'password'].includes(stepOf(page) ?? '') ? acts.went(await fillIn(browser, page, email)) : page
}

const ENROL: Flow<{ account: Account; page: Page; app: Authenticator }> = {
  name: 'an app is set up',
  async prepare(stage) {
    const account = await anAccount(stage)
    const page = await accountPage(stage.world, account, '/account/totp')
    return { account, page, app: appOf(page) }
  },
  act: (_, { account, page, app }) =>
    acts.step(account.browser, page, '/account/totp/new', { code: app.code(new Date()) }),
  async probe(stage, { account }, end) {
    const { world, check } = stage
    await nothingIsHalf(stage)
    const rows = await world.sql('select 1 from totp_seeds where account_id = $1', [account.sub])
    const signedIn = await patiently(() => acts.signInPage(world, 'spa', acts.elsewhere(world, account)))
    const asked = signedIn.value === undefined ? undefined : stepOf(signedIn.value.page) === 'totp'
    check(asked === rows.length > 0, `the app is ${rows.length > 0 ? '' : 'not '}there, asked for: ${asked}`)
    check(end.value === undefined || rows.length > 0, 'an app that was acknowledged is not there')
  },
}

const DELETE: Flow<{ account: Account; page: Page }> = {
  name: 'an account is deleted',
  async prepare(stage) {
    const account = await anAccount(stage)
    return { account, page: await accountPage(stage.world, account, '/account/delete') }
  },
  act: (_, { account, page }) => acts.step(account.browser, page, '/account/delete', { confirmation: account.email }),
  async probe(stage, { account }, end) {
    const { world, check } = stage
    await nothingIsHalf(stage)
    const signedIn = await patiently(() => acts.signInPage(world, 'spa', acts.elsewhere(world, account)))
    const there = signedIn.value?.page.params.has('code') === true
    const facts = await world.sql(`select 1 from outbox where account_id = $1 and type = 'account.deleted'`, [
      account.sub,
    ])
    check(there === (facts.length === 0), `signs in: ${there}, facts of its deletion: ${facts.length}`)
    check(end.value === undefined || !there, 'an account whose deletion was acknowledged signs in')
  },
}

export const FLOWS = [REGISTER, PROVE, RESET, CONSENT, ENROL, DELETE] as readonly Flow<unknown>[]
