/** Devices without a keyboard: what they ask the provider, and what a person does with their code. */
import type { Browser, Page } from './browser.ts'
import { type Fields, postForm, type TokenAnswer } from './token_requests.ts'

export const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'

export interface Asked {
  readonly deviceCode: string
  readonly userCode: string
  readonly verificationUri: string
  readonly completeUri: string
}

/** Clients of devices: `tv` is public, `console` asks for consent and has a secret. */
export const DEVICE_CLIENTS = [
  {
    ...{ client_id: 'tv', client_name: 'Harbour TV', token_endpoint_auth_method: 'none', first_party: true },
    ...{ grant_types: [DEVICE_GRANT, 'refresh_token'], scope: 'openid email offline_access' },
  },
  {
    ...{ client_id: 'other-tv', client_name: 'Another TV', token_endpoint_auth_method: 'none' },
    ...{ grant_types: [DEVICE_GRANT], scope: 'openid email' },
  },
] as const

/** A device of `clientId` at an instance. */
export function device(origin: string, clientId: string, headers: { [name: string]: string } = {}) {
  return {
    async ask(parameters: Fields = {}): Promise<Asked> {
      const fields = { client_id: clientId, scope: 'openid', ...parameters }
      const { status, body } = await postForm(`${origin}/device/auth`, fields, headers)
      if (status !== 200) throw new Error(`no device code: ${status} ${JSON.stringify(body)}`)
      return {
        ...{ deviceCode: String(body.device_code), userCode: String(body.user_code) },
        ...{ verificationUri: String(body.verification_uri), completeUri: String(body.verification_uri_complete) },
      }
    },
    poll: (deviceCode: string, changes: Fields = {}): Promise<TokenAnswer> =>
      postForm(
        `${origin}/token`,
        { grant_type: DEVICE_GRANT, client_id: clientId, device_code: deviceCode, ...changes },
        headers,
      ),
  }
}

/** Types the code, and ends at the page that asks, or where it is refused. */
export async function typeCode(browser: Browser, verificationUri: string, userCode: string): Promise<Page> {
  return browser.submit(await browser.get(verificationUri), { user_code: userCode })
}

/** Goes on from the page that asks. */
export const goOn = (browser: Browser, page: Page) => browser.submit(page, {}, { button: 'confirm=yes' })
export const stop = (browser: Browser, page: Page) => browser.submit(page, {}, { button: 'abort=yes' })
