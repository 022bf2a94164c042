import { expect, it } from '@jest/globals'
import { createInteractionHints } from '../../src/interaction/hints.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'

it('A hint names the client for a day, and is fresh for a minute', async () => {
  let time = Date.parse('2026-11-01T12:00:00.000Z')
  const clock = { now: () => new Date(time) }
  const hints = createInteractionHints({ kv: createModelKeyValue(clock), clock })
  expect(await hints.find('u1')).toBeUndefined()
  await hints.opened('u1', 'client with a space')
  expect(await hints.find('u1')).toEqual({ clientId: 'client with a space', fresh: true })
  time += 60_000
  expect(await hints.find('u1')).toEqual({ clientId: 'client with a space', fresh: false })
  time += 86_400_000
  expect(await hints.find('u1')).toBeUndefined()
})
