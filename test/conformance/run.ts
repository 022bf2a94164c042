/**
 * `npm run conformance -- [plan …]`: drives a conformance suite at CONFORMANCE_SUITE through the plans (all, or those that are
 * named) against the Genkan that `npm run conformance:serve` runs, and prints plan, module and result. Exit code 1 when a
 * module did not end in PASSED, WARNING, REVIEW or SKIPPED. CONFORMANCE_TOKEN goes with each request; CONFORMANCE_INSECURE=1
 * believes any certificate of a suite on this machine.
 */
import { ACCOUNT } from './account.ts'
import { loadCredentials } from './credentials.ts'
import { createPlans } from './plans.ts'
import { runPlans, summary } from './report.ts'
import { createSuite } from './suite.ts'

const dataDir = process.env.CONFORMANCE_DATA_DIR ?? '.data/conformance'
const issuer = process.env.CONFORMANCE_ISSUER ?? 'https://localhost:9443'
const url = process.env.CONFORMANCE_SUITE ?? 'https://localhost.emobix.co.uk:8443'
const pollMs = Number(process.env.CONFORMANCE_POLL_MS ?? 1000)

const plans = createPlans({ issuer, credentials: loadCredentials(dataDir), account: ACCOUNT })
const wanted = process.argv.slice(2)
const unknown = wanted.filter((id) => !plans.some((plan) => plan.id === id))
if (unknown.length > 0) {
  process.stderr.write(`no plan ${unknown.join(', ')}; there are ${plans.map(({ id }) => id).join(', ')}\n`)
  process.exit(2)
}
if (process.env.CONFORMANCE_INSECURE === '1') process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'

const suite = createSuite({ url, token: process.env.CONFORMANCE_TOKEN, pollMs })
const chosen = wanted.length === 0 ? plans : plans.filter(({ id }) => wanted.includes(id))
const { text, good } = summary(await runPlans(suite, chosen, (line) => process.stdout.write(`${line}\n`)))
process.stdout.write(`\n${text}\n`)
process.exitCode = good ? 0 : 1
