/**
 * A97: whatever is written into any variable of any page, no script of it runs, and that does not hang on the policy of content:
 * each payload is loaded with the policy on and with it stripped. One load fills all variables of the page, each with a mark.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from 'playwright-core'
import { pagePolicy } from '../../src/http/security_headers.ts'
import { PLAIN_BRAND } from '../../src/platform/brand.ts'
import { createViews } from '../../src/platform/views.ts'
import { startHeadlessShell } from '../support/chromium.ts'
import { sample, sampleTitle } from '../support/sample.ts'
import { SCRIPT_PAYLOADS } from '../support/script_payloads.ts'

/** A deep run loads a page dozens of times in one test. */
const MOST_MS = 900_000

const views = createViews({ viewsDir: join(process.cwd(), 'views') })
const { pages: FIXTURES, mails: MAILS } = views.fixtures()

let browser: Browser
let page: Page
let site: Server
let origin: string
let answer: { html: string; policy: string | undefined }
let ran: string[]
let dialogs: string[]

beforeAll(async () => {
  browser = await startHeadlessShell()
  const context = await browser.newContext()
  page = await context.newPage()
  await page.exposeFunction('ran', (mark: string) => void ran.push(mark))
  page.on('dialog', (dialog) => {
    dialogs.push(dialog.message())
    void dialog.dismiss()
  })
  site = createServer((request, response) => {
    const asset = views.assets.find(({ path }) => path === request.url)
    const known = asset ?? (request.url === '/' ? { type: 'text/html; charset=utf-8', body: answer.html } : undefined)
    const policy = answer.policy === undefined ? {} : { 'Content-Security-Policy': answer.policy }
    const kept = asset === undefined ? {} : { 'Cache-Control': 'max-age=600' }
    if (known === undefined) response.writeHead(404).end()
    else response.writeHead(200, { 'Content-Type': known.type, ...policy, ...kept }).end(known.body)
  })
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`
})
afterAll(async () => {
  await browser?.close()
  await new Promise((resolve) => site?.close(resolve))
})

/** Loads the page, lets its events happen, and presses what a payload may have planted. */
async function load(html: string, policy: string | undefined): Promise<void> {
  answer = { html, policy }
  ran = []
  dialogs = []
  await page.goto(`${origin}/`, { waitUntil: 'load' })
  await page.evaluate(`(() => {
    for (const each of document.querySelectorAll('body *')) {
      for (const type of ['mouseover', 'focus', 'toggle']) each.dispatchEvent(new Event(type))
      for (const name of ['href', 'src', 'data', 'action', 'formaction'])
        if (/^[\\u0000-\\u0020]*j\\s*a\\s*v\\s*a/i.test(each.getAttribute(name) ?? '')) ran('url in ' + each.outerHTML.slice(0, 200))
    }
  })()`)
  // A task later, whatever the events started has run.
  await page.evaluate('new Promise((resolve) => setTimeout(resolve))')
}

const NONCE = 'dGhlIG5vbmNlIG9mIHRoZSB0ZXN0'
/** What selects a message, or is checked to be a URL of our own making before a page gets it. */
const CHOSEN = [
  'error.code',
  'error.field',
  'claim',
  'label',
  'state',
  'reason',
  'purpose',
  'done',
  'current',
  'failure.code',
  'error.others.code',
  'error.others.field',
]
const URLS = [
  'logoUri',
  'policyUri',
  'tosUri',
  'clientUri',
  'initiateLoginUri',
  'restartUrl',
  'stayUrl',
  'backUrl',
  'retryUrl',
  'signInUrl',
  'action',
  'url',
]

function poisoned(value: unknown, payload: (mark: string) => string, path = ''): unknown {
  const name = path.split('.').at(-1) ?? ''
  if (typeof value === 'string') {
    if (CHOSEN.some((each) => path === each || name === each)) return value
    // Addresses are checked when they are written: what could stand in them is their path and query.
    return URLS.includes(name) ? `https://id.example/${payload(path)}` : `${value}${payload(path)}`
  }
  if (Array.isArray(value)) return value.map((entry) => poisoned(entry, payload, path))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [key, poisoned(entry, payload, path === '' ? key : `${path}.${key}`)]),
  )
}

/** Of each page the state that fills most variables. */
const FULLEST = [...new Set(FIXTURES.map(({ template }) => template))].map((template) =>
  FIXTURES.filter((each) => each.template === template).reduce((a, b) =>
    JSON.stringify(b.values).length > JSON.stringify(a.values).length ? b : a,
  ),
)
const cases = SCRIPT_PAYLOADS.flatMap((payload, index) =>
  FULLEST.map(({ template, state, values }) => ({ template, state, values, payload, index })),
)

describe(sampleTitle('A97: no payload runs in any variable of a page'), () => {
  it('a page that does not escape is found out: the check can fail', async () => {
    const quiet: string[] = []
    for (const [index, payload] of SCRIPT_PAYLOADS.entries()) {
      const value = payload(`raw${index}`)
      const sinks = `<p>${value}</p><a href="${value}">x</a><input value="${value}"><input value='${value}'><input value=${value}>`
      await load(`<!doctype html><title>x</title><body>${sinks}</body>`, undefined)
      if (ran.length + dialogs.length === 0) quiet.push(payload('m'))
    }
    // These need a template engine, a text in another encoding, or somebody who decodes what was encoded.
    expect(quiet.filter((payload) => !/^(\{\{ range|\$\{|＜|\+ADw|&lt;)/.test(payload))).toEqual([])
  })

  const chosen = sample(cases)
  // Without the policy is the harder test; with it, the page has its own scripts.
  const guarded = new Set(sample(chosen))
  const templates = [...new Set(chosen.map(({ template }) => template))]
  it.each(templates)(
    '%s',
    async (template) => {
      for (const each of chosen.filter((one) => one.template === template)) {
        const { state, values, payload, index } = each
        const context = poisoned(values, payload) as { [name: string]: unknown }
        const brand = { ...PLAIN_BRAND, name: payload('brand.name') }
        const chooser = { action: '/language', returnTo: payload('chooser.returnTo') }
        const frame = { brand, chooser, nonce: NONCE, csrf: payload('csrf'), theme: undefined }
        const html = views.render(template, { ...frame, ...context, locale: 'en' })
        for (const policy of guarded.has(each) ? [pagePolicy(NONCE), undefined] : [undefined]) {
          await load(html, policy)
          expect({ state, index, policy, ran, dialogs }).toEqual({ state, index, policy, ran: [], dialogs: [] })
        }
      }
    },
    MOST_MS,
  )

  it(
    'nor in any variable of a mail',
    async () => {
      const every = MAILS.flatMap((mail) =>
        [...SCRIPT_PAYLOADS.entries()].map(([index, payload]) => ({ ...mail, index, payload })),
      )
      for (const { template, state, values, index, payload } of sample(every)) {
        const context = { ...(poisoned(values, payload) as object), event: values.event, kind: values.kind }
        const { html, subject } = views.mail(template, 'en', context, { ...PLAIN_BRAND, name: payload('brand.name') })
        await load(html, undefined)
        expect({ state, index, ran, dialogs }).toEqual({ state, index, ran: [], dialogs: [] })
        expect(subject).not.toMatch(/[\r\n]/)
      }
    },
    MOST_MS,
  )
})
