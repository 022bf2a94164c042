/** Nothing that a request says about hosts shapes a URL (A20, A81), and nobody is led away by an address in it (A100). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser } from '../support/browser.ts'
import { choose, PASSWORD } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { rawRequest, sendRaw } from '../support/raw_http.ts'
import { sample, sampleTitle } from '../support/sample.ts'
import { CALLBACK, OWN, startTarget, type Target } from '../support/target.ts'

const EVIL = 'evil.example'

let target: Target
beforeAll(async () => {
  target = await startTarget()
})
afterAll(() => target?.close())

/** What a requester may say about where it believes to be. */
const HOSTS: { readonly [name: string]: { readonly [header: string]: string } } = {
  Host: { host: EVIL },
  'Host with a port': { host: `${EVIL}:8443` },
  'Host with a user': { host: `op@${EVIL}` },
  'X-Forwarded-Host': { 'x-forwarded-host': EVIL },
  'X-Forwarded-Host list': { 'x-forwarded-host': `localhost, ${EVIL}` },
  'X-Forwarded-Proto': { 'x-forwarded-proto': 'https' },
  'X-Forwarded-Proto that is no scheme': { 'x-forwarded-proto': `javascript:alert(1)//` },
  'X-Forwarded-Port': { 'x-forwarded-port': '8443' },
  'X-Forwarded-Prefix': { 'x-forwarded-prefix': `//${EVIL}` },
  'X-Forwarded-Server': { 'x-forwarded-server': EVIL },
  Forwarded: { forwarded: `for=1.2.3.4;host=${EVIL};proto=https` },
  'X-Host': { 'x-host': EVIL },
  'X-Original-URL': { 'x-original-url': `https://${EVIL}/` },
  'X-Rewrite-URL': { 'x-rewrite-url': `https://${EVIL}/` },
  'X-Original-Host': { 'x-original-host': EVIL },
  'X-HTTP-Host-Override': { 'x-http-host-override': EVIL },
  'X-Forwarded-Scheme and -Ssl': { 'x-forwarded-scheme': 'https', 'x-forwarded-ssl': 'on', 'front-end-https': 'on' },
}

describe('A20: host headers', () => {
  it.each(Object.entries(HOSTS))(
    '%s: the links of mails and every redirect are of the issuer',
    async (name, headers) => {
      const email = `host-${name.toLowerCase().replace(/[^a-z]+/g, '-')}@shop.example`
      const { browser: _, ...member } = await target.signUp(email)
      const browser = target.person({ headers })
      const start = await target.open(browser, { login_hint: email })
      const asked = await browser.submit(
        await choose(browser, start, 'recover'),
        { identifier: email },
        { form: '/recover' },
      )
      expect(asked.text).toContain(email)
      for (const url of [...start.visited, ...asked.visited]) expect(new URL(url).origin).toBe(target.issuer)
      const mail = await target.mailbox.to(email, { count: 2 })
      for (const text of [mail.text, mail.html]) {
        expect(text).not.toContain(EVIL)
        const urls = text.match(/https?:\/\/[^\s"'<>]+/g) ?? []
        expect(urls.length).toBeGreaterThan(0)
        for (const url of urls) expect(new URL(url).origin).toBe(target.issuer)
      }
      // The twin: it is the honest recovery all the same.
      const page = await browser.submit(asked, { code: codeFrom(mail) }, { form: '/recover_code' })
      const end = await browser.submit(page, { password: `${member.password} anew` }, { form: '/new_password' })
      expect(end.url.startsWith(`${CALLBACK}?code=`)).toBe(true)
      expect(end.params.get('iss')).toBe(target.issuer)
    },
  )

  it('discovery names only the issuer, whatever the request line and the hosts are', async () => {
    const { port } = target.server
    const path = '/.well-known/openid-configuration'
    const answers = await Promise.all([
      sendRaw(port, rawRequest(`GET http://${EVIL}${path}`, [`Host: ${EVIL}`])),
      sendRaw(port, rawRequest(`GET https://${EVIL}:1/auth?client_id=own`, [`Host: localhost:${port}`])),
      sendRaw(port, rawRequest(`GET ${path}`, [`Host: localhost:${port}`, `Host: ${EVIL}`])),
      sendRaw(port, rawRequest(`GET ${path}`, [`Host: ${EVIL}`, `Host: localhost:${port}`])),
      sendRaw(port, rawRequest(`GET ${path}?x`, [`Host: op@${EVIL}`])),
      sendRaw(port, rawRequest(`GET ${path}?y`, ['Host: '])),
      sendRaw(
        port,
        rawRequest(`GET ${path}?z`, [`Host: ${EVIL}`, `X-Forwarded-Host: ${EVIL}`, `Forwarded: host=${EVIL}`]),
      ),
      sendRaw(port, rawRequest(`GET ${path}`, [])),
    ])
    for (const { status, body } of answers) {
      expect([200, 400]).toContain(status)
      expect(body).not.toContain(EVIL)
      if (status === 200) expect(body).toContain(`"issuer":"${target.issuer}"`)
    }
    expect(answers.slice(0, 2).map(({ status }) => status)).toEqual([400, 400])
    const honest = await sendRaw(port, rawRequest(`GET ${path}`, [`Host: localhost:${port}`]))
    expect(honest.status).toBe(200)
  })
})

/** Where an attacker would like people to land. */
const AWAY = [
  `https://${EVIL}`,
  `http://${EVIL}/`,
  `//${EVIL}`,
  `///${EVIL}`,
  `////${EVIL}`,
  `/\\${EVIL}`,
  `\\\\${EVIL}`,
  `/\t/${EVIL}`,
  `/%09/${EVIL}`,
  `/%2f${EVIL}`,
  `/%5c${EVIL}`,
  `%2f%2f${EVIL}`,
  `https:${EVIL}`,
  `https:/${EVIL}`,
  `https:///${EVIL}`,
  `https:\\\\${EVIL}`,
  `HTTPS://${EVIL}`,
  `javascript:alert(1)`,
  `JavaScript:alert(1)//`,
  `java\tscript:alert(1)`,
  `data:text/html,<script>alert(1)</script>`,
  `vbscript:x`,
  `/account@${EVIL}`,
  `@${EVIL}`,
  `.${EVIL}`,
  `/.${EVIL}`,
  `/account/../../${EVIL}`,
  `/account//${EVIL}`,
  `/account?x=//${EVIL}`,
  `/account#//${EVIL}`,
  `localhost.${EVIL}`,
  `https://localhost@${EVIL}/`,
  `https://localhost:3000.${EVIL}/`,
  `https://${EVIL}#localhost`,
  `https://${EVIL}?localhost`,
  `https://${EVIL}%00.localhost`,
  `https://xn--80ak6aa92e.example`,
  `\u2028//${EVIL}`,
  `／／${EVIL}`,
  `https://[::ffff:1.2.3.4]/`,
]
const NAMES = [
  'return_to',
  'returnTo',
  'returnUrl',
  'return_url',
  'next',
  'continue',
  'redirect',
  'redirect_url',
  'target_link_uri',
  'url',
  'to',
  'back',
  'dest',
  'RelayState',
]
const PATHS = [
  '/',
  '/account',
  '/account/password',
  '/account/email/code',
  '/account/callback',
  '/account/signed-out',
  '/account/deleted',
  '/.well-known/change-password',
  '/interaction/none',
  '/interaction/none/verify_email',
  '/session/end',
  '/session/end/success',
  '/livez',
  '/nothing',
]

describe(sampleTitle('A100: addresses in the request'), () => {
  const matrix = AWAY.flatMap((away) => PATHS.map((path) => ({ away, path })))

  it('no redirect, link or form leads to them', async () => {
    const { browser: signedIn } = await target.signUp('led-away@shop.example')
    await signedIn.get(`${target.issuer}/account`)
    for (const browser of [signedIn, target.person()]) {
      for (const { away, path } of sample(matrix)) {
        const query = new URLSearchParams(NAMES.map((name): [string, string] => [name, away]))
        const referer = /^[\x20-\x7e]*$/.test(away) ? { referer: away } : {}
        const answer = await browser.send(`${target.issuer}${path}?${query}`, { headers: referer })
        expect(answer.status).toBeLessThan(500)
        stays(answer.headers.location)
        for (const [, address = ''] of answer.body.matchAll(/(?:href|action|src)="([^"]*)"/g)) stays(address)
        expect(answer.headers.refresh).toBeUndefined()
      }
    }
  })

  it('paths that look like hosts lead nowhere', async () => {
    const { port } = target.server
    for (const path of sample(
      AWAY.filter((away) => /^[/\\][\x21-\x7e]*$/.test(away)),
      { least: 5 },
    )) {
      for (const line of [`GET ${path}`, `GET ${path}/..`, `GET ${path}/account`, `POST ${path}`]) {
        const { status, headers, body } = await sendRaw(
          port,
          rawRequest(line, [`Host: localhost:${port}`, 'Accept: text/html']),
        )
        expect(status).toBeGreaterThan(0)
        expect(status).toBeLessThan(500)
        stays(headers.get('location')?.[0])
        for (const [, address = ''] of body.matchAll(/(?:href|action|src)="([^"]*)"/g)) stays(address)
      }
    }
  })

  it('a sign-in that was begun with them ends on the account pages', async () => {
    const { email } = await target.signUp('comes-home@shop.example')
    const browser: Browser = target.person()
    const start = await browser.get(`${target.issuer}/account?return_to=//${EVIL}&next=//${EVIL}`)
    const page = await browser.submit(start, { identifier: email }, { form: '/identifier' })
    const end = await browser.submit(page, { password: PASSWORD }, { form: '/password' })
    expect(end.url).toBe(`${target.issuer}/account`)
    expect(end.text).toContain(email)
  })

  /** An address as a browser takes it: of the issuer, or of the client that registered it. */
  function stays(address: string | undefined): void {
    if (address === undefined) return
    expect([target.issuer, OWN]).toContain(new URL(address, `${target.issuer}/`).origin)
  }
})
