/** What people with a software authenticator do on the pages, in the place of the pages' script. */
import type { Browser, Page } from './browser.ts'
import { choose } from './journeys.ts'
import { type Break, type SoftAuthenticator, softAuthenticator } from './passkey.ts'
import type { Target } from './target.ts'

type Options = Parameters<SoftAuthenticator['create']>[0] & { readonly allowCredentials?: readonly unknown[] }

/** An authenticator whose browser is at the issuer. */
export function authenticatorOf({ issuer }: { readonly issuer: string }, settings = {}): SoftAuthenticator {
  return softAuthenticator({ origin: issuer, rpId: new URL(issuer).hostname }, settings)
}

/** The options of the ceremony that a page holds, asked for as its script does. */
export async function challengeOn(browser: Browser, page: Page): Promise<Options> {
  const form = page.forms.find(({ attributes }) => attributes['data-challenge'] !== undefined)
  const csrf = form?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
  const answer = await browser.send(new URL(form?.attributes['data-challenge'] ?? '', page.url).href, {
    method: 'POST',
    from: page.url,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ csrf }).toString(),
  })
  if (answer.status !== 200) throw new Error(`no challenge on ${page.title}: ${answer.status} ${answer.body}`)
  return JSON.parse(answer.body) as Options
}

/** The page of the conversation that asks whoever is there for a passkey. */
export async function passkeyPage(target: Pick<Target, 'open'>, browser: Browser): Promise<Page> {
  return choose(browser, await target.open(browser), 'passkey')
}

/** Shows a passkey on the page that asks for one. */
export async function showPasskey(browser: Browser, page: Page, key: SoftAuthenticator, broken?: Break): Promise<Page> {
  const credential = key.get(await challengeOn(browser, page), broken)
  return browser.submit(page, { credential }, { form: '/passkey' })
}

/** Makes a passkey on the account page of whoever is signed in and fresh. */
export async function addPasskey({ issuer }: { issuer: string }, browser: Browser, key: SoftAuthenticator) {
  const page = await browser.get(`${issuer}/account/passkeys/new`)
  const credential = key.create(await challengeOn(browser, page))
  const done = await browser.submit(page, { credential }, { form: '/account/passkeys/new' })
  if (!done.text.includes('Your passkey is ready'))
    throw new Error(`no passkey: ${done.url} ${done.text.slice(0, 300)}`)
  return done
}
