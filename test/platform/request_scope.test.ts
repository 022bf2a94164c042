import { describe, expect, it } from '@jest/globals'
import { currentRequest, onceARequest, runInRequest } from '../../src/platform/request_scope.ts'

describe('request scope', () => {
  it('belongs to everything a request awaits, and to nothing else', async () => {
    const scope = (requestId: string) => ({ requestId, ip: '::1', userAgent: 'test' })
    expect(currentRequest()).toBeUndefined()
    const ids = await Promise.all(
      ['a', 'b', 'c'].map((id) =>
        runInRequest(scope(id), async () => {
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 5))
          return currentRequest()?.requestId
        }),
      ),
    )
    expect(ids).toEqual(['a', 'b', 'c'])
    expect(currentRequest()).toBeUndefined()
  })

  it('asks once a request for each id, and each time outside of one', async () => {
    let asked = 0
    const ask = onceARequest(async (id) => `${id}${++asked}`)
    const both = async () => [await ask('a'), await ask('b'), await ask('a')]
    const scope = { requestId: 'r', ip: '::1', userAgent: 'test' }
    expect(await runInRequest({ ...scope }, both)).toEqual(['a1', 'b2', 'a1'])
    expect(await runInRequest({ ...scope }, both)).toEqual(['a3', 'b4', 'a3'])
    expect(await both()).toEqual(['a5', 'b6', 'a7'])
  })
})
