/** express-openid-connect (npm), unmodified: examples/clients/express_openid_connect. */
import { expect, it } from '@jest/globals'
import { type ClientRoom, describeWebClient } from '../contracts/web_client.ts'
import { createBrowser } from '../support/browser.ts'
import { exampleFile } from '../support/example_client.ts'

/** An application that sets nothing but what the library's own first page says: it asks for an ID token without a code. */
const AS_IT_COMES = `
import express from 'express'
import openidConnect from 'express-openid-connect'
const { ISSUER, BASE_URL, CLIENT_ID, SESSION_SECRET } = process.env
const app = express()
app.use(openidConnect.auth({ issuerBaseURL: ISSUER, baseURL: BASE_URL, clientID: CLIENT_ID, secret: SESSION_SECRET }))
app.use((error, _req, res, _next) => res.status(400).json({ error: error.message, description: error.error_description }))
app.listen(Number(new URL(BASE_URL).port), '127.0.0.1')
`

describeWebClient({
  example: 'express_openid_connect',
  launch: ({ AS_IT_COMES: asItComes }) =>
    asItComes !== undefined
      ? [process.execPath, '--input-type=module', '--eval', AS_IT_COMES]
      : [process.execPath, '--disable-warning=ExperimentalWarning', exampleFile('express_openid_connect', 'server.ts')],
  // It passes on that there was a challenge, not what it said.
  refusal: /WWW-Authenticate/,
  refreshes: true,
  signsOut: 'everywhere',
  more: tellsWhatToSet,
})

function tellsWhatToSet(room: () => ClientRoom): void {
  it('is told what to set when it is left as it comes (implicit)', async () => {
    const { origin, restart } = room().example
    await restart({ AS_IT_COMES: '1' })
    const browser = createBrowser()
    const { headers } = await browser.send(`${origin}/login`)
    const request = new URL(headers.location ?? '')
    expect(Object.fromEntries(request.searchParams)).toMatchObject({
      response_type: 'id_token',
      response_mode: 'form_post',
    })
    // Without scripts the form of the answer is sent by its button.
    const answer = await browser.get(request.href)
    const end = await browser.submit(answer)
    expect(end.url).toBe(`${origin}/callback`)
    expect(end.text).toContain('response_type=code')
    await restart()
  })
}
