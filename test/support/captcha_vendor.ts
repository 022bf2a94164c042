/**
 * The vendor of a CAPTCHA as the product and a browser see one: a script that draws a widget, brings a second script and a frame
 * and puts a token into a field when it is clicked, and a siteverify API that takes each token once. It fails when told to.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { newToken } from '../../src/platform/ids.ts'

/** What becomes of a question. `reuse`: a token is taken again and again. */
export type VendorMood =
  | 'well'
  | 'reuse'
  | 'error'
  | 'busy'
  | 'slow'
  | 'redirect'
  | 'huge'
  | 'garbage'
  | 'secret'
  | 'no_script'

export interface CaptchaVendor {
  readonly origin: string
  /** The `captcha` block of the settings. */
  readonly settings: object
  mood: VendorMood
  /** Paths that browsers asked for, in order. */
  readonly loads: string[]
  /** What the siteverify API was asked. */
  readonly questions: { readonly [field: string]: string }[]
  /** A token as somebody gets who solves it on a page of `host`. */
  solveAt(host: string): string
  close(): Promise<void>
}

export const VENDOR_SECRET = 'secret-of-the-vendor-0123456789'
const SLOW_MS = 4000
const RESPONSE_FIELD = 'test-captcha-response'

export async function startCaptchaVendor(): Promise<CaptchaVendor> {
  const tokens = new Map<string, string>()
  const server = createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '', origin)
    if (request.method === 'POST') return verify(request, response)
    vendor.loads.push(pathname + (pathname === '/widget.js' ? `?hl=${searchParams.get('hl')}` : ''))
    if (vendor.mood === 'no_script') return void response.writeHead(503).end()
    if (pathname === '/widget.js') return void script(response, WIDGET)
    if (pathname === '/second.js') return void script(response, "document.documentElement.dataset.second = 'yes'")
    if (pathname === '/frame') return void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>frame</p>')
    const token = vendor.solveAt(searchParams.get('host') ?? '')
    response.writeHead(200, { 'access-control-allow-origin': '*' }).end(token)
  }

  async function verify(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const question = Object.fromEntries(new URLSearchParams(await text(request)))
    vendor.questions.push(question)
    const { mood } = vendor
    if (mood === 'slow') await sleep(SLOW_MS)
    if (mood === 'error') return void response.writeHead(500).end('{"success":true}')
    if (mood === 'busy') return void response.writeHead(429).end('{"success":false}')
    if (mood === 'redirect') return void response.writeHead(307, { location: `${origin}/siteverify` }).end()
    if (mood === 'huge') return void response.end(`{"success":true,"filler":"${'x'.repeat(1_048_576)}"}`)
    if (mood === 'garbage') return void response.end('<html>true</html>')
    const { secret, response: token = '' } = question
    const host = tokens.get(token)
    if (mood !== 'reuse') tokens.delete(token)
    const isKnown = secret === VENDOR_SECRET && mood !== 'secret'
    const codes = isKnown ? ['invalid-input-response'] : ['invalid-input-secret']
    const isGood = isKnown && host !== undefined
    const said = isGood ? { success: true, hostname: host } : { success: false, 'error-codes': codes }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said))
  }

  const vendor: CaptchaVendor = {
    origin,
    settings: {
      ...{ vendor: 'custom', site_key: 'site-key-of-the-test', secret: VENDOR_SECRET },
      ...{ script: `${origin}/widget.js?hl={locale}`, widget_class: 'test-captcha', response_field: RESPONSE_FIELD },
      ...{ verify_url: `${origin}/siteverify`, attributes: { 'data-solve': `${origin}/solve` } },
    },
    mood: 'well',
    loads: [],
    questions: [],
    solveAt(host) {
      const token = `0.${newToken()}+/=`
      tokens.set(token, host)
      return token
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return vendor
}

function script(response: ServerResponse, source: string): void {
  response.writeHead(200, { 'content-type': 'text/javascript' }).end(source)
}

/** As those of vendors do: found by its class, drawn into the form, with a script and a frame of its own. */
const WIDGET = `(() => {
  const place = document.querySelector('.test-captcha')
  const origin = new URL(place.dataset.solve).origin
  const second = document.createElement('script')
  second.src = origin + '/second.js'
  document.head.append(second)
  const frame = document.createElement('iframe')
  frame.src = origin + '/frame'
  frame.title = 'frame of the widget'
  frame.width = '1'
  frame.height = '1'
  const input = document.createElement('input')
  input.type = 'hidden'
  input.name = '${RESPONSE_FIELD}'
  const button = document.createElement('button')
  button.type = 'button'
  button.id = 'test-captcha-button'
  button.textContent = [place.dataset.sitekey, place.dataset.theme, place.dataset.size || 'normal', place.dataset.language].join(' ')
  button.addEventListener('click', async () => {
    const answer = await fetch(place.dataset.solve + '?host=' + location.hostname)
    input.value = await answer.text()
    button.textContent = 'solved'
  })
  place.append(input, button, frame)
})()`
