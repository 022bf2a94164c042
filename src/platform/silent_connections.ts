/**
 * Connections to PostgreSQL that have fallen silent: a backend that hangs cannot keep its own time. One timer looks at all of
 * them; the driver's limit makes one for each query, and functions that V8 takes for old.
 */

/** The slice of the driver's connection that is used here. */
export interface Connection {
  query(config: { readonly text?: string }, done?: (error: unknown, response: unknown) => void): unknown
  once(event: 'end', ended: () => void): unknown
  readonly connection: { readonly stream: { destroy(): void } }
}

const LOOK_MS = 200

/** By which a transaction says that it may take long, as migrations of large tables do: until it ends no limit of time counts. */
export const TAKES_LONG = 'set local statement_timeout = 0'
const ENDS = /^(commit|rollback)\b/i

interface Watched {
  waits: number
  since: number
  takesLong: boolean
  readonly close: () => void
}

/**
 * Returns what is called with each new connection: it is closed once it has not answered for so long, since what comes after,
 * the roll-back first, would wait behind it for as long again.
 */
export function createSilenceLimit(milliseconds: number): (connection: Connection) => void {
  const watched = new Set<Watched>()
  let timer: NodeJS.Timeout | undefined

  const isSilent = ({ waits, since, takesLong }: Watched) =>
    waits > 0 && !takesLong && performance.now() - since >= milliseconds
  const look = () => {
    for (const one of watched) {
      // A loop that stood still runs its timers before it reads: what has come is read first.
      if (isSilent(one)) setImmediate(() => isSilent(one) && one.close())
    }
  }

  return (connection) => {
    const one = { waits: 0, since: 0, takesLong: false, close: () => connection.connection.stream.destroy() }
    watched.add(one)
    timer ??= setInterval(look, LOOK_MS).unref()
    connection.once('end', () => {
      watched.delete(one)
      if (watched.size > 0) return
      clearInterval(timer)
      timer = undefined
    })
    const query = connection.query.bind(connection)
    connection.query = (config, done) => {
      // A stream of rows is heard in another way.
      if (done === undefined) return query(config)
      const { text = '' } = config
      if (text === TAKES_LONG) one.takesLong = true
      else if (one.takesLong && ENDS.test(text)) one.takesLong = false
      if (one.waits === 0) one.since = performance.now()
      one.waits += 1
      return query(config, (error, response) => {
        one.waits -= 1
        one.since = performance.now()
        done(error, response)
      })
    }
  }
}
