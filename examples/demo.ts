/**
 * `npm run demo`: Genkan on the embedded default, with the example applications, on this machine. Asks nothing, keeps everything
 * in .data/demo, stops at Ctrl-C. DEMO_PORT_BASE moves all ports (the issuer to it, the rest just above), DEMO_DATA_DIR the data.
 */
import { join } from 'node:path'
import { loadCredentials } from './demo/credentials.ts'
import { watchMails } from './demo/mail_watch.ts'
import { answers, createProcesses, portIsFree } from './demo/processes.ts'

const here = import.meta.dirname
const dataDir = process.env.DEMO_DATA_DIR ?? '.data/demo'
const base = process.env.DEMO_PORT_BASE
const ports =
  base === undefined ? [3000, 4001, 4002, 4003, 9464, 4004] : [0, 1, 2, 3, 4, 5].map((offset) => Number(base) + offset)
const urlOf = (index: number) => `http://localhost:${ports[index]}`
const [issuer, web, spa, api, mcp] = [urlOf(0), urlOf(1), urlOf(2), urlOf(3), urlOf(5)] as const
const mailDir = join(dataDir, 'mail')
const READY_MS = 60_000
/** For so long from each start the agent may act for whoever allows it. */
const AGENT_DAYS = 30

const credentials = loadCredentials(dataDir, { ISSUER: issuer, RESOURCE_SERVER: api, MCP_SERVER: `${mcp}/mcp` })
const processes = createProcesses(dataDir, (name, logTail) => {
  void fail(`${name} ended:\n${logTail}`)
})
let stopping = false
let mails: { stop(): void } | undefined
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0))

for (const port of ports) {
  if (!(await portIsFree(port))) await fail(`Port ${port} is in use. Other ports: DEMO_PORT_BASE=5000 npm run demo`)
}

// The private key stays with the partner: the provider gets the public coordinates.
const { DEMO_PARTNER_KEY: _, ...known } = credentials
processes.start('genkan', [join(here, '../src/main.ts'), 'serve'], {
  ...inherited(),
  ...known,
  GENKAN_ISSUER: issuer,
  GENKAN_CONFIG: join(here, 'demo.genkan.yaml'),
  PORT: String(ports[0]),
  HOST: '127.0.0.1',
  MANAGEMENT_PORT: String(ports[4]),
  DATA_DIR: dataDir,
  GENKAN_DEV_PAGES: '1',
  DEMO_WEB_URL: web,
  DEMO_SPA_URL: spa,
  DEMO_MCP_URL: mcp,
  DEMO_AGENT_UNTIL: new Date(Date.now() + AGENT_DAYS * 86_400_000).toISOString(),
})
if (!(await answers(`${issuer}/.well-known/openid-configuration`, READY_MS))) await fail('Genkan does not answer')

processes.start('web', [join(here, 'web/server.ts')], {
  ...inherited(),
  ISSUER: issuer,
  BASE_URL: web,
  RESOURCE_SERVER: api,
  CLIENT_SECRET: credentials.DEMO_WEB_SECRET,
})
processes.start('spa', [join(here, 'spa/server.ts')], { ...inherited(), ISSUER: issuer, BASE_URL: spa })
processes.start('resource_server', [join(here, 'resource_server/server.ts')], {
  ...inherited(),
  ISSUER: issuer,
  BASE_URL: api,
})
processes.start('mcp', [join(here, 'mcp/server.ts')], { ...inherited(), ISSUER: issuer, BASE_URL: mcp })
for (const url of [web, spa, api, mcp]) if (!(await answers(url, READY_MS))) await fail(`${url} does not answer`)

mails = watchMails(mailDir, (mail) => {
  say(`  Mail to ${mail.to}: ${mail.subject}`)
  if (mail.code !== undefined) say(`    code ${mail.code}`)
  if (mail.link !== undefined) say(`    link ${mail.link}`)
})

say(`
  Genkan is ready.

  Issuer            ${issuer}
  Your account      ${issuer}/account
  Web example       ${web}    sign in or register here first
  SPA example       ${spa}    then here: no second login
  Partner example   npm run partner          calls ${api}
  Device example    npm run device           shows a code to type at ${issuer}/device
  Agent example     npm run agent            calls the MCP server ${mcp}/mcp
  Every page        ${issuer}/dev/pages

  Mails go to       ${mailDir} and are shown below
  Data and logs     ${dataDir}

  Ctrl-C stops everything; accounts, sessions and keys stay.
`)

/** The variables a process needs of this one; provider settings of the shell must not leak into the demo. */
function inherited(): { readonly [name: string]: string | undefined } {
  const { PATH, HOME, TMPDIR, LANG, NODE_OPTIONS } = process.env
  return { PATH, HOME, TMPDIR, LANG, NODE_OPTIONS }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

async function fail(reason: string): Promise<never> {
  if (!stopping) process.stderr.write(`${reason}\n`)
  return stop(1)
}

async function stop(code: number): Promise<never> {
  if (stopping) return new Promise<never>(() => undefined)
  stopping = true
  mails?.stop()
  await processes.stop()
  process.exit(code)
}
