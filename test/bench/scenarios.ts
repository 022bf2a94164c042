/** The scenarios as a table: what one request or flow is, and what is expected of it. */
import { randomBytes, sign } from 'node:crypto'
import { assertionKey, LEDGER } from './clients.ts'
import {
  clientCredentials,
  newBrowser,
  parkAtPassword,
  post,
  refresh,
  signIn,
  type Target,
  tokens,
  WrongAnswer,
} from './flows.ts'

export interface Scenario {
  readonly name: string
  /** Least ratio bare ÷ ours and the one to reach; none where no goal is set. */
  readonly floor?: number
  readonly goal?: number
  /** No two flows share anything: lanes mean nothing. */
  readonly stateless?: boolean
  /** Prepares `lanes` parallel lanes and returns one flow; a flow throws unless every answer was the right one. */
  prepare(target: Target, lanes: number): Promise<(lane: number) => Promise<unknown>>
}

export const DISCOVERY: Scenario = {
  name: 'discovery',
  stateless: true,
  floor: 2,
  goal: 3,
  prepare: document('/.well-known/openid-configuration'),
}
export const JWKS: Scenario = { name: 'JWKS', stateless: true, floor: 2, goal: 3, prepare: document('/jwks') }

export const CREDENTIALS_OPAQUE: Scenario = {
  stateless: true,
  name: 'client_credentials opaque',
  floor: 0.95,
  goal: 1.2,
  prepare: async (target) => () => clientCredentials(target, false),
}

export const CREDENTIALS_JWT: Scenario = {
  stateless: true,
  name: 'client_credentials JWT ES256',
  floor: 0.85,
  goal: 0.95,
  prepare: async (target) => () => clientCredentials(target, true),
}

export const CREDENTIALS_KEY: Scenario = {
  name: 'client_credentials private_key_jwt ES256',
  floor: 0.9,
  goal: 1.1,
  prepare: async (target) => () =>
    tokens(target, {
      grant_type: 'client_credentials',
      resource: LEDGER,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: assertion(target.issuer),
    }),
}

export const REFRESH: Scenario = {
  name: 'refresh with rotation',
  floor: 0.95,
  goal: 1.2,
  prepare: async (target, lanes) => {
    const current = await perLane(
      lanes,
      async () => (await signIn(target, newBrowser(target), 'bench-spa')).refresh_token,
    )
    return async (lane) => {
      const next = (await refresh(target, current[lane] ?? '')).refresh_token
      if (next === undefined || next === current[lane]) throw new Error('the refresh token was not rotated')
      current[lane] = next
    }
  },
}

export const INTROSPECTION: Scenario = {
  name: 'introspection',
  floor: 0.9,
  goal: 1.1,
  prepare: async (target, lanes) => {
    const issued = await perLane(lanes, () => signIn(target, newBrowser(target), 'bench-first'))
    return async (lane) => {
      const token = issued[lane]?.access_token ?? ''
      const { body } = await post(target, '/token/introspection', { token }, 'bench-first')
      if (!body.includes('"active":true')) throw new Error('the token is not active')
    }
  },
}

export const USERINFO: Scenario = {
  name: 'userinfo',
  floor: 0.9,
  goal: 1.1,
  prepare: async (target, lanes) => {
    const issued = await perLane(lanes, () => signIn(target, newBrowser(target), 'bench-first'))
    return async (lane) => {
      const authorization = `Bearer ${issued[lane]?.access_token}`
      const answer = await target.http.get(`${target.issuer}/me`, { authorization })
      if (answer.status !== 200) throw new WrongAnswer('userinfo', answer)
    }
  },
}

export const SSO: Scenario = {
  name: 'SSO',
  floor: 0.95,
  goal: 1.2,
  prepare: async (target, lanes) => {
    const browsers = await perLane(lanes, async () => {
      const browser = newBrowser(target)
      await signIn(target, browser, 'bench-first')
      return browser
    })
    return async (lane) => {
      const browser = browsers[lane]
      if (browser !== undefined) await signIn(target, browser, 'bench-first')
    }
  },
}

export const LOGIN: Scenario = {
  name: 'first-party login',
  stateless: true,
  floor: 0.9,
  goal: 1.1,
  prepare: async (target) => () => signIn(target, newBrowser(target), 'bench-first'),
}

export const LOGIN_CONSENT: Scenario = {
  name: 'login with consent',
  prepare: async (target) => () => signIn(target, newBrowser(target), 'bench-third'),
}

/** A try of a flood. */
export const WRONG_PASSWORD: Scenario = {
  name: 'wrong password',
  prepare: async (target, lanes) => {
    const tries = await perLane(lanes, () => parkAtPassword(target, target.nextAccount()))
    return async (lane) => tries[lane]?.()
  },
}

/** The same for addresses that have no account. */
export const STRANGER: Scenario = {
  name: 'wrong password of a stranger',
  prepare: async (target, lanes) => {
    const tries = await perLane(lanes, (lane) => parkAtPassword(target, `nobody${lane}@bench.example`))
    return async (lane) => tries[lane]?.()
  },
}

const ALL = [
  ...[DISCOVERY, JWKS, CREDENTIALS_OPAQUE, CREDENTIALS_JWT, CREDENTIALS_KEY, REFRESH, INTROSPECTION, USERINFO, SSO],
  ...[LOGIN, LOGIN_CONSENT, WRONG_PASSWORD, STRANGER],
]

/** For the load generator, which is told by name. */
export function scenarioNamed(name: string): Scenario {
  const found = ALL.find((scenario) => scenario.name === name)
  if (found === undefined) throw new Error(`no scenario ${name}`)
  return found
}

function document(path: string): Scenario['prepare'] {
  return async ({ issuer, http }) =>
    async () => {
      const answer = await http.get(`${issuer}${path}`)
      if (answer.status !== 200) throw new WrongAnswer(path, answer)
    }
}

/** One after the other: preparing is not what is measured. */
async function perLane<T>(lanes: number, make: (lane: number) => Promise<T>): Promise<T[]> {
  const made: T[] = []
  for (let lane = 0; lane < lanes; lane++) made.push(await make(lane))
  return made
}

/** RFC 7523 §3: a client assertion that lives a minute and is used once. */
function assertion(issuer: string): string {
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: 'bench-key',
    sub: 'bench-key',
    aud: issuer,
    iat: now,
    exp: now + 60,
    jti: randomBytes(16).toString('hex'),
  }
  const parts = [{ alg: 'ES256', kid: 'bench-key' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  )
  const signature = sign('sha256', Buffer.from(parts.join('.')), { key: assertionKey, dsaEncoding: 'ieee-p1363' })
  return `${parts.join('.')}.${signature.toString('base64url')}`
}
