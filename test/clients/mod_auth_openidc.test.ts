/** Apache's mod_auth_openidc (Debian's libapache2-mod-auth-openidc), unmodified: examples/clients/mod_auth_openidc. */
import { describeWebClient } from '../contracts/web_client.ts'
import { binary } from '../support/binaries.ts'
import { exampleFile } from '../support/example_client.ts'

describeWebClient({
  example: 'mod_auth_openidc',
  launch: () => {
    binary('mod_auth_openidc')
    return [binary('apache2'), '-DFOREGROUND', '-d', exampleFile('mod_auth_openidc', ''), '-f', 'apache.conf']
  },
  leave: async (browser, origin) => (await browser.send(`${origin}/`)).headers.location ?? '',
  refusal: /Error in handling response type/,
  // Version 2.4.12 takes an error that names the issuer for a sign-in that the issuer starts.
  asksAgain: true,
  signsOut: 'everywhere',
  signOut: (browser, origin) => browser.get(`${origin}/oidc?logout=${encodeURIComponent(`${origin}/`)}`),
})
