import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { answers, isAlive, isPresence, openPresence, parseHolder, self } from '../../src/platform/lock_holder.ts'

/** Above the largest process id of Linux (4,194,304) and macOS. */
const NOBODY = 99_999_999

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'genkan-holder-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe.each([process.platform, 'darwin'])('liveness on %s', (platform) => {
  const real = process.platform
  const pretend = (value: string) => {
    Object.defineProperty(process, 'platform', { value })
  }
  beforeEach(() => pretend(platform))
  afterEach(() => pretend(real))

  it('we are alive, and always name ourselves the same', async () => {
    const me = await self(undefined)
    expect(me).toEqual(await self(undefined))
    expect(me.pid).toBe(process.pid)
    expect(await isAlive(dir, me)).toBe(true)
  })

  it('nobody is dead', async () => {
    expect(await isAlive(dir, { ...(await self(undefined)), pid: NOBODY })).toBe(false)
  })
})

it('another start time under our process id is another process', async () => {
  const me = await self(undefined)
  expect(me.started).not.toBe('')
  expect(await isAlive(dir, { ...me, started: `${me.started}1` })).toBe(false)
})

it('a holder comes back from its text, damaged text is none', async () => {
  const me = await self('alive.abcdefgh')
  expect(parseHolder(JSON.stringify(me))).toEqual(me)
  for (const text of [
    '',
    '{}',
    'null',
    JSON.stringify({ ...me, pid: 0 }),
    JSON.stringify({ ...me, presence: '../x' }),
  ]) {
    expect(parseHolder(text)).toBeUndefined()
  }
})

it('a presence answers until it is closed, and then leaves no file', async () => {
  const presence = await openPresence(dir)
  const name = presence.name ?? ''
  expect(isPresence(name)).toBe(true)
  expect(statSync(join(dir, name)).isSocket()).toBe(true)
  expect(await Promise.all(Array.from({ length: 20 }, () => answers(dir, name)))).toEqual(Array(20).fill(true))
  await presence.close()
  expect(await answers(dir, name)).toBe(false)
  expect(() => statSync(join(dir, name))).toThrow('ENOENT')
})
