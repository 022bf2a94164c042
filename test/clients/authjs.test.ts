/** Auth.js (@auth/core, npm), unmodified: examples/clients/authjs. */
import { describeWebClient, type Identity } from '../contracts/web_client.ts'
import type { Browser } from '../support/browser.ts'
import { exampleFile } from '../support/example_client.ts'

describeWebClient({
  example: 'authjs',
  launch: () => [process.execPath, exampleFile('authjs', 'server.js')],
  leave,
  identity,
  // It keeps the reason for its log.
  refusal: /problem with the server configuration/,
  signsOut: 'here',
  signOut: async (browser, origin) => browser.submit(await browser.get(`${origin}/auth/signout`)),
})

/** Its sign-in page has a form with a token against forged requests. */
async function leave(browser: Browser, origin: string): Promise<string> {
  const page = await browser.get(`${origin}/auth/signin`)
  const form = page.forms[0]
  const fields = form?.fields.filter(({ name }) => name !== '').map(({ name, value }) => [name, value] as const)
  const answer = await browser.send(form?.action ?? '', {
    method: 'POST',
    from: page.url,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: String(new URLSearchParams(Object.fromEntries(fields ?? []))),
  })
  return answer.headers.location ?? ''
}

function identity(body: string): Identity {
  const { sub, user } = JSON.parse(body) as { sub: string; user: { email: string } }
  return { sub, email: user.email }
}
