import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { PermanentFailure } from '../../src/platform/delivery_rows.ts'
import { createHttpClient } from '../../src/platform/http_client.ts'
import { createFileTextSender, createHttpTextSender } from '../../src/platform/text_sender.ts'
import { startTextProvider, type TextProvider } from '../support/text_provider.ts'

const MESSAGE = { to: '+358401234567', text: '123456 is your "code"\n\n@id.example #123456', id: '0192f0c0ffee' }

describe('a text message by HTTP', () => {
  let provider: TextProvider
  const send = (more: object = {}) =>
    createHttpTextSender(
      { url: provider.url, headers: {}, bodyTemplate: { to: '{to}', text: '{text}', id: '{id}' }, ...more },
      createHttpClient({ allowedNetworks: ['127.0.0.1'], timeoutMs: 500 }),
    ).send(MESSAGE)

  beforeAll(async () => {
    provider = await startTextProvider()
  })
  afterAll(() => provider.close())
  beforeEach(() => {
    provider.status = 202
    provider.requests.length = 0
  })

  it('is JSON with the words of the message, and our headers', async () => {
    await send({ headers: { authorization: 'Bearer secret' } })
    expect(provider.requests).toEqual([
      {
        headers: expect.objectContaining({ authorization: 'Bearer secret', 'content-type': 'application/json' }),
        body: MESSAGE,
      },
    ])
  })

  it('takes the shape that the provider wants; a text is never read as JSON or as a placeholder', async () => {
    const bodyTemplate = {
      messages: [
        { destinations: [{ to: '{to}', ref: 'genkan-{id}' }], content: { text: '{text}', flash: false, ttl: 600 } },
      ],
      none: null,
    }
    const sender = createHttpTextSender(
      { url: provider.url, headers: {}, bodyTemplate },
      createHttpClient({ allowedNetworks: ['127.0.0.1'] }),
    )
    const text = '","to":"+1900" {to} {id} \\ $& $1'
    await sender.send({ ...MESSAGE, text })
    expect(provider.requests[0]?.body).toEqual({
      messages: [
        { destinations: [{ to: MESSAGE.to, ref: 'genkan-0192f0c0ffee' }], content: { text, flash: false, ttl: 600 } },
      ],
      none: null,
    })
  })

  it.each([400, 404, 410, 422])('fails for good when the provider says %i of it', async (status) => {
    provider.status = status
    await expect(send()).rejects.toThrow(PermanentFailure)
  })

  it.each([301, 401, 403, 429, 500, 503])(
    'is to be repeated after %i, and the error tells no number',
    async (status) => {
      provider.status = status
      const error = await send().catch((thrown: unknown) => thrown as Error)
      expect(error).not.toBeInstanceOf(PermanentFailure)
      expect((error as Error).message).toBe(`the provider of text messages answered ${status}`)
    },
  )

  it('goes to no address behind us that nobody allowed', async () => {
    const http = createHttpClient({ allowedNetworks: [] })
    const sender = createHttpTextSender({ url: provider.url, headers: {}, bodyTemplate: '{to}{text}' }, http)
    await expect(sender.send(MESSAGE)).rejects.toThrow('address_refused')
    expect(provider.requests).toEqual([])
  })
})

describe('a text message as a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-sms-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  it('is whole, for its owner only, and written once however often it is sent', async () => {
    const sender = createFileTextSender(folder)
    await Promise.all([sender.send(MESSAGE), sender.send({ ...MESSAGE, id: '../0192f0/x' })])
    await sender.send(MESSAGE)
    const directory = join(folder, 'sms')
    expect(readdirSync(directory).sort()).toEqual(['0192f0c0ffee.txt', '0192f0x.txt'])
    expect(statSync(directory).mode & 0o777).toBe(0o700)
    const file = join(directory, '0192f0c0ffee.txt')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).toBe(`To: +358401234567\n\n${MESSAGE.text}\n`)
  })
})
