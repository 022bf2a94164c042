/** Any other OpenID provider under the same driver: its discovery document says where everything is. */

import { WrongAnswer } from './flows.ts'
import { createHttp, type Http } from './http.ts'
import { closedLoop, type Load } from './measure.ts'
import type { PeerOptions } from './options.ts'
import type { Cell, Table } from './part.ts'
import { cpuMicroseconds } from './processes.ts'
import { table } from './report.ts'
import { quantile } from './statistics.ts'

interface Endpoints {
  readonly jwks_uri: string
  readonly token_endpoint: string
  readonly introspection_endpoint?: string
  readonly userinfo_endpoint?: string
}

interface PeerFlow {
  readonly name: string
  readonly lanes: number
  readonly run: (lane: number) => Promise<unknown>
}

const LANES = 8

/** Runs what the options allow and tells it as a table; what they do not allow is named. */
export async function measurePeer(options: PeerOptions, quick: boolean): Promise<string> {
  const http = createHttp(LANES, new URL(options.url).hostname, options.insecureTls)
  try {
    const discovery = `${options.url}/.well-known/openid-configuration`
    const endpoints = JSON.parse((await fetchOk(http, discovery)).body) as Endpoints
    const { flows, missing } = await flowsOf(http, options, endpoints, discovery)
    const load = (milliseconds: number): Load => ({ milliseconds, most: Number.POSITIVE_INFINITY })
    const rows: Cell[][] = []
    for (const flow of flows) {
      await closedLoop(flow.run, flow.lanes, load(quick ? 150 : 3000))
      rows.push(await measure(flow, options.pid, load(quick ? 400 : 10_000)))
    }
    return [table({ columns: COLUMNS, rows }), ...missing].join('\n\n')
  } finally {
    http.close()
  }
}

const COLUMNS: Table['columns'] = [
  { title: 'flow' },
  { title: 'at a time' },
  { title: 'requests/s', digits: 0 },
  { title: 'p50 ms', digits: 2 },
  { title: 'p99 ms', digits: 2 },
  { title: 'CPU µs each' },
]

async function measure({ name, lanes, run }: PeerFlow, pid: number | undefined, load: Load): Promise<Cell[]> {
  const cpu = () => (pid === undefined ? Number.NaN : cpuMicroseconds(pid))
  const [before, began] = [cpu(), performance.now()]
  const latencies = await closedLoop(run, lanes, load)
  const seconds = (performance.now() - began) / 1000
  const each = (cpu() - before) / latencies.length
  return [
    ...[name, lanes, latencies.length / seconds, quantile(latencies, 0.5), quantile(latencies, 0.99)],
    pid === undefined ? null : each,
  ]
}

async function flowsOf(http: Http, options: PeerOptions, endpoints: Endpoints, discovery: string) {
  const flows: PeerFlow[] = [
    { name: 'discovery', lanes: LANES, run: () => fetchOk(http, discovery) },
    { name: 'JWKS', lanes: LANES, run: () => fetchOk(http, endpoints.jwks_uri) },
  ]
  const missing: string[] = []
  const { clientId, clientSecret, refreshTokens, accessToken } = options
  if (clientId === undefined || clientSecret === undefined) {
    missing.push('client_credentials and introspection: not measured, they need --client-id and --client-secret.')
  } else flows.push(...(await clientFlows(http, options, endpoints)))
  if (refreshTokens.length === 0) missing.push('refresh: not measured, it needs --refresh-token.')
  else flows.push(refreshFlow(http, options, endpoints))
  const userinfo = endpoints.userinfo_endpoint
  if (accessToken === undefined || userinfo === undefined) {
    missing.push('userinfo: not measured, it needs --access-token with the scope openid.')
  } else {
    const authorization = `Bearer ${accessToken}`
    flows.push({ name: 'userinfo', lanes: LANES, run: () => fetchOk(http, userinfo, { authorization }) })
  }
  return { flows, missing }
}

async function clientFlows(http: Http, options: PeerOptions, endpoints: Endpoints): Promise<PeerFlow[]> {
  const { scope, resource } = options
  const form = { grant_type: 'client_credentials', ...(scope && { scope }), ...(resource && { resource }) }
  const ask = () => post(http, endpoints.token_endpoint, form, options)
  const flows: PeerFlow[] = [{ name: 'client_credentials', lanes: LANES, run: ask }]
  const { introspection_endpoint: introspection } = endpoints
  const { access_token: token } = JSON.parse((await ask()).body) as { readonly access_token: string }
  if (introspection === undefined) return flows
  const run = async () => {
    const { body } = await post(http, introspection, { token }, options)
    if (!/"active":\s*true/.test(body)) throw new Error(`the token is not active: ${body.slice(0, 200)}`)
  }
  return [...flows, { name: 'introspection', lanes: LANES, run }]
}

/** With or without rotation: the next token is the new one when there is a new one. */
function refreshFlow(http: Http, options: PeerOptions, { token_endpoint }: Endpoints): PeerFlow {
  const current = [...options.refreshTokens]
  const client = options.refreshClientId ?? options.clientId ?? ''
  // Another client than that of client_credentials is a public one.
  const authenticated = client === options.clientId ? options : {}
  const run = async (lane: number) => {
    const form = { grant_type: 'refresh_token', refresh_token: current[lane] ?? '', client_id: client }
    const { body } = await post(http, token_endpoint, form, authenticated)
    current[lane] = (JSON.parse(body) as { refresh_token?: string }).refresh_token ?? current[lane] ?? ''
  }
  return { name: 'refresh', lanes: current.length, run }
}

/** RFC 6749 §2.3.1: HTTP Basic, both parts form-encoded. */
async function post(
  http: Http,
  url: string,
  form: { readonly [name: string]: string },
  { clientId, clientSecret }: Partial<PeerOptions>,
) {
  const encoded = [clientId ?? '', clientSecret ?? ''].map(encodeURIComponent).join(':')
  const authorization = `Basic ${Buffer.from(encoded).toString('base64')}`
  const { client_id, ...rest } = form
  const secret = clientSecret !== undefined
  const answer = await http.post(url, secret ? rest : form, secret ? { authorization } : {})
  if (answer.status !== 200) throw new WrongAnswer(url, answer)
  return answer
}

async function fetchOk(http: Http, url: string, headers: { readonly [name: string]: string } = {}) {
  const answer = await http.get(url, headers)
  if (answer.status !== 200) throw new WrongAnswer(url, answer)
  return answer
}
