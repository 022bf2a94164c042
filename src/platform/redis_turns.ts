/**
 * What is sent to Redis in one turn of the event loop, whoever asked, leaves in one write of one text. The driver's own
 * auto-pipelining does that too, but at the price of a second command and promise for each, and in a cluster by slots, not by
 * nodes.
 */
import type { Socket } from 'node:net'
import type { Redis } from 'ioredis'

type Work = () => void

const turns = new WeakMap<object, (work: Work) => void>()

/** Runs `work`, which sends, at the end of this turn of the event loop, just before what the turn sends is written. */
export function atEndOfTurn(redis: object, work: Work): void {
  const plan = turns.get(redis)
  if (plan === undefined) setImmediate(work)
  else plan(work)
}

export function writeOnceATurn(redis: Redis): void {
  const send = redis.sendCommand.bind(redis)
  const [working, writing] = [createList(), createList()]
  let isPlanned = false
  const end = () => {
    working.run()
    isPlanned = false
    writing.run()
  }
  const plan = (list: List, work: Work) => {
    list.add(work)
    if (!isPlanned) setImmediate(end)
    isPlanned = true
  }
  turns.set(redis, (work) => plan(working, work))
  let known: Socket | undefined
  redis.sendCommand = (command, stream) => {
    const socket = redis.stream as Socket | undefined
    if (socket !== undefined && socket !== known) joinTexts(socket, (write) => plan(writing, write))
    known = socket
    return send(command, stream)
  }
}

type List = ReturnType<typeof createList>

function createList() {
  let works: Work[] = []
  return {
    add: (work: Work) => works.push(work),
    run() {
      const now = works
      works = []
      for (const work of now) work()
    },
  }
}

type Write = (chunk: string | Uint8Array, ...more: unknown[]) => boolean

/** From now on texts for this socket wait until `plan` calls, and are written as one. Bytes are written at once, after them. */
function joinTexts(socket: Socket, plan: (write: Work) => void): void {
  const [write, end] = [socket.write.bind(socket) as Write, socket.end.bind(socket)]
  let kept = ''
  const release = () => {
    const text = kept
    kept = ''
    if (text !== '' && socket.writable) write(text)
  }
  const keep: Write = (chunk, ...more) => {
    if (typeof chunk !== 'string' || more.length > 0) {
      release()
      return write(chunk, ...more)
    }
    if (kept === '') plan(release)
    kept += chunk
    return true
  }
  socket.write = keep as Socket['write']
  socket.end = (...last: unknown[]) => {
    release()
    return end(...(last as []))
  }
}
