/**
 * A device without a keyboard (RFC 8628): shows a code and a QR code of the address to open, asks every five seconds whether
 * somebody has gone on, and then says who. Settings (from the environment, or from what `npm run demo` wrote): ISSUER, CLIENT_ID.
 */
import { existsSync } from 'node:fs'
import * as client from 'openid-client'
import { renderUnicodeCompact } from 'uqr'

const settingsFile = `${process.env.DEMO_DATA_DIR ?? '.data/demo'}/demo.env`
if (existsSync(settingsFile)) process.loadEnvFile(settingsFile)
const { ISSUER = 'http://localhost:3000', CLIENT_ID = 'demo-device' } = process.env

const config = await client.discovery(new URL(ISSUER), CLIENT_ID, undefined, client.None(), {
  // The demo's issuer is http on this machine; with a real https issuer this is the line to delete.
  execute: ISSUER.startsWith('http:') ? [client.allowInsecureRequests] : [],
})
const asked = await client.initiateDeviceAuthorization(config, { scope: 'openid email' })
say(renderUnicodeCompact(asked.verification_uri_complete ?? asked.verification_uri))
say(`Open ${asked.verification_uri} and type ${asked.user_code}`)

// The library waits as long as it is told between two questions, and longer after slow_down.
const tokens = await client.pollDeviceAuthorizationGrant(config, asked)
const info = await client.fetchUserInfo(config, tokens.access_token, tokens.claims()?.sub ?? '')
say(`Connected: ${info.email}`)

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
