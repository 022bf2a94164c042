import { describe, expect, it } from '@jest/globals'
import { currentRequest, runInRequest } from '../../src/platform/request_scope.ts'

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
})
