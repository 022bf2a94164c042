/**
 * `npm run conformance:serve`: Genkan as the conformance suite is to meet it, behind https at CONFORMANCE_ISSUER
 * (https://localhost:9443 by default), with an account to sign in with. Data in .data/conformance; stops at Ctrl-C.
 */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mailFolder } from '../support/mailbox.ts'
import { startReverseProxy } from '../support/reverse_proxy.ts'
import { createCertificate } from '../support/tls_proxy.ts'
import { ACCOUNT, ensureAccount } from './account.ts'
import { environment, loadCredentials } from './credentials.ts'

const dataDir = process.env.CONFORMANCE_DATA_DIR ?? '.data/conformance'
const issuer = process.env.CONFORMANCE_ISSUER ?? 'https://localhost:9443'
const suite = process.env.CONFORMANCE_SUITE ?? 'https://localhost.emobix.co.uk:8443'
const port = Number(process.env.PORT ?? 9080)
const READY_SECONDS = 60

mkdirSync(dataDir, { recursive: true, mode: 0o700 })
const server = spawn(
  process.execPath,
  [join(import.meta.dirname, '../../src/main.ts'), ...['serve', '--config', join(import.meta.dirname, 'genkan.yaml')]],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      ...environment(loadCredentials(dataDir), issuer, suite),
      // The profile answers for people, which is for a loopback issuer otherwise.
      CONFORMANCE: '1',
      ...{ DATA_DIR: dataDir, PORT: String(port), HOST: '127.0.0.1', MANAGEMENT_PORT: '0' },
      // The suite is mostly on this machine, and hears of logouts.
      GENKAN_OUTBOUND_PRIVATE_NETWORKS: process.env.GENKAN_OUTBOUND_PRIVATE_NETWORKS ?? '127.0.0.0/8,::1/128',
    },
  },
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => server.kill(signal))
server.once('exit', (code) => process.exit(code ?? 1))

const target = `http://127.0.0.1:${port}`
const tls = createCertificate()
await startReverseProxy({
  ...{ target: () => target, tls, port: Number(new URL(issuer).port || 443) },
  certificateHeader: 'x-client-certificate',
})
for (let second = 0; !(await isReady()); second++) {
  if (second > READY_SECONDS) throw new Error('Genkan does not answer')
  await sleep(1000)
}
await ensureAccount({ issuer, ca: tls.cert, mailbox: mailFolder(dataDir) })
process.stdout.write(`\n  ${issuer} is ready; the account is ${ACCOUNT.email}\n`)

async function isReady(): Promise<boolean> {
  return fetch(`${target}/readyz`).then(
    ({ ok }) => ok,
    () => false,
  )
}
