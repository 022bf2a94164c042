/**
 * An agent: a stock MCP client that is told nothing but the address of the MCP server. From there it finds Genkan, opens its
 * pages in a browser, and calls tools with a token that is good for this server alone.
 * Settings: MCP_SERVER, CLIENT_ID (an https address of client metadata, or a registered client), PORT (of its callback).
 */
import { EventEmitter, once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import {
  Client,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client'

// What `npm run demo` wrote.
const settingsFile = `${process.env.DEMO_DATA_DIR ?? '.data/demo'}/demo.env`
if (existsSync(settingsFile)) process.loadEnvFile(settingsFile)
const { MCP_SERVER = 'http://localhost:4004/mcp', CLIENT_ID = 'demo-agent', PORT = '4005' } = process.env
const callback = `http://127.0.0.1:${PORT}/callback`
const say = (text: string) => process.stdout.write(`${text}\n`)

/** What the library asks of its host; kept in memory, so each run signs in anew. */
function createProvider(): OAuthClientProvider {
  const kept: { tokens?: never; verifier?: string; discovery?: OAuthDiscoveryState } = {}
  const isDocument = CLIENT_ID.startsWith('https:')
  return {
    redirectUrl: callback,
    clientMetadata: { client_name: 'Demo agent', redirect_uris: [callback], token_endpoint_auth_method: 'none' },
    ...(isDocument ? { clientMetadataUrl: CLIENT_ID } : {}),
    // It was made beforehand and for this server, so there is nothing that the library would have to keep of it.
    clientInformation: () => ({ client_id: CLIENT_ID }),
    tokens: () => kept.tokens,
    saveTokens: (tokens) => void Object.assign(kept, { tokens }),
    redirectToAuthorization: (url) => void say(`Open in a browser: ${url}`),
    saveCodeVerifier: (verifier) => void Object.assign(kept, { verifier }),
    codeVerifier: () => kept.verifier ?? '',
    saveDiscoveryState: (discovery) => void Object.assign(kept, { discovery }),
    discoveryState: () => kept.discovery,
  }
}

/** Where the browser comes back to. */
const comeBack = new EventEmitter()
createServer((req, res) => {
  const { pathname, searchParams } = new URL(req.url ?? '', callback)
  if (pathname !== '/callback') return void res.writeHead(404).end()
  res.end('Back to the agent.\n')
  comeBack.emit('answer', searchParams)
}).listen(Number(PORT), '127.0.0.1')

const authProvider = createProvider()

/** Runs `work`; when a person has to be asked first, waits for them and runs it again. */
async function withPerson<T>(work: (client: Client) => Promise<T>): Promise<T> {
  const transport = new StreamableHTTPClientTransport(new URL(MCP_SERVER), { authProvider })
  const client = new Client({ name: 'demo-agent', version: '1.0.0' })
  try {
    await client.connect(transport)
    return await work(client)
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error
    const [answer] = (await once(comeBack, 'answer')) as [URLSearchParams]
    await transport.finishAuth(answer)
    return withPerson(work)
  } finally {
    await client.close()
  }
}

say('The tools:')
say((await withPerson((client) => client.listTools())).tools.map(({ name }) => `  ${name}`).join('\n'))
say('Reading, which it may:')
say(JSON.stringify((await withPerson((client) => client.callTool({ name: 'list_orders' }))).content))
say('Ordering, for which it has to ask:')
const order = { name: 'place_order', arguments: { item: 'Tea for two' } }
say(JSON.stringify((await withPerson((client) => client.callTool(order))).content))
process.exit(0)
