import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { type CommandHandler, listenForCommands, sendCommand } from '../../src/platform/command_socket.ts'

const REQUEST = { command: 'clients list', args: ['a b', '"\n'], options: { json: true, uri: ['x', 'y'] } }

describe('command socket', () => {
  let folder = ''
  let path = ''
  let server: { close(): Promise<void> } | undefined
  const listen = async (handle: CommandHandler) => {
    server = await listenForCommands(path, handle)
  }
  const send = async () => {
    const printed: string[] = []
    return { result: await sendCommand(path, REQUEST, (text) => printed.push(text)), printed }
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'genkan-socket-'))
    path = join(folder, 'genkan.sock')
  })
  afterEach(async () => {
    await server?.close()
    server = undefined
    rmSync(folder, { recursive: true, force: true })
  })

  it('carries the request there and output and result back, in order', async () => {
    await listen(async (request, print) => {
      expect(request).toEqual(REQUEST)
      print('one\n')
      await new Promise((resolve) => setTimeout(resolve, 20))
      print('two\nthree\n')
      return { exit: 1, error: 'no\nsecond line' }
    })
    expect(await send()).toEqual({ result: { exit: 1, error: 'no\nsecond line' }, printed: ['one\n', 'two\nthree\n'] })
  })

  it('is open to its owner only', async () => {
    await listen(async () => ({ exit: 0 }))
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('says that nobody listens: no file, or one left by a dead process', async () => {
    expect((await send()).result).toBeUndefined()
    writeFileSync(path, '')
    expect((await send()).result).toBeUndefined()
    await listen(async () => ({ exit: 0 }))
    expect((await send()).result).toEqual({ exit: 0 })
  })

  it('tells when the server goes away in the middle', async () => {
    const dying = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', () => {
        socket.write('{"out":"begun\\n"}\n')
        setTimeout(() => socket.destroy(), 20)
      })
    })
    await new Promise<void>((resolve) => dying.listen(path, resolve))
    const printed: string[] = []
    await expect(sendCommand(path, REQUEST, (text) => printed.push(text))).rejects.toThrow('went away')
    expect(printed).toEqual(['begun\n'])
    await new Promise((resolve) => dying.close(resolve))
  })

  it.each([
    ['no JSON', 'hello\n'],
    ['no command', '{}\n'],
    ['an option that is an object', '{"command":"x","args":[],"options":{"a":{}}}\n'],
    ['another member', '{"command":"x","args":[],"options":{},"sudo":true}\n'],
    ['two megabytes', `${'x'.repeat(2 << 20)}\n`],
  ])('refuses %s and goes on', async (_, text) => {
    let ran = 0
    await listen(async () => {
      ran++
      return { exit: 0 }
    })
    const reply = await new Promise<string>((resolve) => {
      const socket = connect(path, () => socket.write(text))
      let got = ''
      socket.on('data', (chunk) => {
        got += chunk.toString()
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(got))
    })
    if (text.length < 1000) expect(JSON.parse(reply)).toMatchObject({ exit: 1 })
    expect(ran).toBe(0)
    expect((await send()).result).toEqual({ exit: 0 })
  })

  it('refuses a path that the system would cut silently', async () => {
    await expect(listenForCommands(join(folder, 'x'.repeat(120)), async () => ({ exit: 0 }))).rejects.toThrow(
      'too long',
    )
  })
})
