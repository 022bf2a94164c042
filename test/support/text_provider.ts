/** A provider of text messages over HTTP, as the product sees one: keeps what it is sent, and fails when told to. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

export interface TextProvider {
  readonly url: string
  /** What was accepted, in order. */
  readonly accepted: { readonly to: string; readonly text: string; readonly id: string }[]
  /** Requests of any end. */
  readonly requests: { readonly headers: { readonly [name: string]: unknown }; readonly body: unknown }[]
  /** Answers the next requests with it. */
  status: number
  /** The newest message to a number, once there are `count`. */
  to(number: string, count?: number): Promise<string>
  close(): Promise<void>
}

export async function startTextProvider(): Promise<TextProvider> {
  const server = createServer(async (request, response) => {
    const body = (await json(request)) as TextProvider['accepted'][number]
    provider.requests.push({ headers: request.headers, body })
    if (provider.status < 300) provider.accepted.push(body)
    response.writeHead(provider.status, { 'content-type': 'application/json' }).end(JSON.stringify({ echo: body.to }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const provider: TextProvider = {
    url: `http://127.0.0.1:${port}/messages`,
    accepted: [],
    requests: [],
    status: 202,
    async to(number, count = 1) {
      for (let tries = 0; tries < 400; tries++) {
        const texts = provider.accepted.filter(({ to }) => to === number)
        if (texts.length >= count) return texts.at(-1)?.text ?? ''
        await sleep(25)
      }
      throw new Error(`no message ${count} to ${number}`)
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return provider
}

/** The code of a message, as the line says that binds it to the host. */
export function codeOf(text: string): string {
  const code = /\n@[\w.-]+ #(\d{6})$/.exec(text.trim())?.[1]
  if (code === undefined) throw new Error(`no code in ${text}`)
  return code
}

/** The newest message in the folder of a demo to a number, once there are `count`. */
export async function textFile(dataDir: string, number: string, count = 1): Promise<string> {
  const folder = join(dataDir, 'sms')
  for (let tries = 0; tries < 400; tries++) {
    const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.txt')) : []
    const texts = names.sort().map((name) => readFileSync(join(folder, name), 'utf8'))
    const own = texts.filter((text) => text.startsWith(`To: ${number}\n`))
    if (own.length >= count) return own.at(-1) ?? ''
    await sleep(25)
  }
  throw new Error(`no message ${count} to ${number}`)
}
