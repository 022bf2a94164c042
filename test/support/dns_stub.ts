/** A DNS server of a few lines, over UDP on loopback: TXT records that a test sets, wildcards, and an outage. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

/** Each record is a list of strings, as the DNS keeps them. A name may begin with `*.`. */
export type TxtRecords = { readonly [name: string]: readonly (readonly string[])[] }

export interface DnsStub {
  /** As settings name it. */
  readonly server: string
  /** What there is from now on. */
  set(records: TxtRecords): void
  /** `silent` answers nothing, `servfail` with a failure. */
  answer(how: 'well' | 'silent' | 'servfail'): void
  /** Names that were asked for. */
  readonly asked: readonly string[]
  close(): Promise<void>
}

export async function startDnsStub(): Promise<DnsStub> {
  let records: TxtRecords = {}
  let how: 'well' | 'silent' | 'servfail' = 'well'
  const asked: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (query, { port, address }) => {
    const { name, question } = questionOf(query)
    asked.push(name)
    if (how !== 'silent')
      socket.send(answerTo(query, question, how === 'well' ? found(records, name) : 2), port, address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address() as AddressInfo
  return {
    server: `127.0.0.1:${port}`,
    asked,
    set(next) {
      records = next
    },
    answer(next) {
      how = next
    },
    close: async () => void (await new Promise<void>((resolve) => socket.close(resolve))),
  }
}

function found(records: TxtRecords, name: string): readonly (readonly string[])[] | undefined {
  return records[name] ?? records[`*.${name.slice(name.indexOf('.') + 1)}`]
}

/** RFC 1035 §4.1.2: labels up to an empty one, then type and class. */
function questionOf(query: Buffer): { readonly name: string; readonly question: Buffer } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), question: query.subarray(12, at + 5) }
}

const NXDOMAIN = 3

/** A number is the failure. */
function answerTo(
  query: Buffer,
  question: Buffer,
  answers: readonly (readonly string[])[] | number | undefined,
): Buffer {
  const list = Array.isArray(answers) ? (answers as readonly (readonly string[])[]) : []
  const code = typeof answers === 'number' ? answers : answers === undefined ? NXDOMAIN : 0
  const header = Buffer.alloc(12)
  query.copy(header, 0, 0, 2)
  header.writeUInt16BE(0x8180 | code, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(list.length, 6)
  return Buffer.concat([header, question, ...list.map(txtRecord)])
}

/** The name by a pointer to the question, TXT, IN, one second to live, then each string with its length. */
function txtRecord(strings: readonly string[]): Buffer {
  const data = Buffer.concat(strings.map((text) => Buffer.from([text.length, ...Buffer.from(text, 'latin1')])))
  const head = Buffer.from([0xc0, 0x0c, 0, 16, 0, 1, 0, 0, 0, 1, 0, 0])
  head.writeUInt16BE(data.length, 10)
  return Buffer.concat([head, data])
}
