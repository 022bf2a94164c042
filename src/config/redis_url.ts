/**
 * `REDIS_URL` in its three forms: one server (`redis://`), Sentinel (`redis+sentinel://a:26379,b:26379/master`) and Cluster
 * (`redis+cluster://a:7001,b:7002`). With `rediss` in front everything is over TLS. No message repeats a password.
 */

export interface RedisAddress {
  readonly host: string
  readonly port: number
}

interface Login {
  readonly username?: string | undefined
  readonly password?: string | undefined
}

interface Common extends Login {
  readonly tls: boolean
}

export type RedisPlace =
  | (Common & { readonly kind: 'one'; readonly url: string })
  | (Common & {
      readonly kind: 'sentinel'
      readonly sentinels: readonly RedisAddress[]
      readonly master: string
      readonly database: number
      /** Sentinels have users of their own. */
      readonly sentinelLogin: Login
    })
  | (Common & { readonly kind: 'cluster'; readonly nodes: readonly RedisAddress[] })

const FORMS =
  'redis://host:6379/0, redis+sentinel://host:26379,host:26379/master or redis+cluster://host:6379,host:6379'
const PARTS = /^(rediss?)\+(sentinel|cluster):\/\/(?:([^@/?]*)@)?([^/?#@]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/
const ADDRESS = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/
const SENTINEL_PORT = 26_379
const NODE_PORT = 6379
const OF_SENTINELS = ['sentinel_username', 'sentinel_password']

/** Reads the URL. @throws RangeError that says what is wrong with it */
export function redisPlace(url: string): RedisPlace {
  if (/^rediss?:\/\//.test(url)) return onePlace(url)
  const [, scheme, kind, login = '', hosts = '', path = '', query = ''] = PARTS.exec(url) ?? []
  if (scheme === undefined) throw new RangeError(`is none of ${FORMS}`)
  const common = { ...loginOf(login), tls: scheme === 'rediss' }
  const parameters = new URLSearchParams(query)
  const allowed = kind === 'sentinel' ? OF_SENTINELS : []
  const unknown = [...parameters.keys()].find((name) => !allowed.includes(name))
  if (unknown !== undefined) throw new RangeError(`has the unknown parameter ${unknown}`)
  if (kind === 'cluster') {
    if (path !== '') throw new RangeError('names a database: a cluster has no numbers of databases')
    return { kind, ...common, nodes: addresses(hosts, NODE_PORT) }
  }
  const [master = '', database = '0', ...more] = path.split('/')
  if (master === '') throw new RangeError('names no master: end it with /mymaster, as the sentinels call it')
  if (more.length > 0 || !/^\d{1,5}$/.test(database)) throw new RangeError('ends with /master or /master/number')
  return {
    ...{ kind: 'sentinel', ...common, sentinels: addresses(hosts, SENTINEL_PORT) },
    ...{ master: decode(master), database: Number(database) },
    sentinelLogin: {
      username: parameters.get('sentinel_username') ?? undefined,
      password: parameters.get('sentinel_password') ?? undefined,
    },
  }
}

/** What is wrong with the URL; undefined when nothing is. */
export function redisUrlProblem(url: string): string | undefined {
  try {
    redisPlace(url)
    return undefined
  } catch (error) {
    return error instanceof RangeError ? error.message : `is none of ${FORMS}`
  }
}

function onePlace(url: string): RedisPlace {
  if (!URL.canParse(url)) throw new RangeError(`is none of ${FORMS}`)
  const { protocol, host, username, password, pathname } = new URL(url)
  if (host === '') throw new RangeError('names no host')
  if (!/^\/?\d{0,5}$/.test(pathname)) throw new RangeError('ends with the number of a database, or nothing')
  return { kind: 'one', url, tls: protocol === 'rediss:', username, password }
}

function loginOf(text: string): Login {
  if (text === '') return {}
  const colon = text.indexOf(':')
  if (colon < 0) throw new RangeError('has a user without a password: write :password@ or user:password@')
  const username = decode(text.slice(0, colon))
  return { username: username === '' ? undefined : username, password: decode(text.slice(colon + 1)) }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw new RangeError('has a % that encodes nothing', { cause })
  }
}

function addresses(text: string, standard: number): RedisAddress[] {
  return text.split(',').map((each) => {
    const [, host, port = String(standard)] = ADDRESS.exec(each) ?? []
    if (host === undefined) throw new RangeError('names no hosts: write host:port,host:port')
    if (Number(port) < 1 || Number(port) > 65_535) throw new RangeError(`has the port ${port}, which there is not`)
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
  })
}
