/** What a grant writes: begun together, awaited before the answer, and the first failure is what the client hears. */
import { generateKeyPairSync } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from '@jest/globals'
import { type Adapter, type Configuration, type KoaContextWithOIDC, Provider } from 'oidc-provider'
import als from 'oidc-provider/lib/helpers/als.js'
import { grantHandlers } from '../../src/oidc/engine_internals.ts'
import { awaitGrantWrites, writtenTogether } from '../../src/oidc/grant_writes.ts'

const GRANT = 'urn:example:grant'

/** An adapter whose writes end when they are told to. */
function slowAdapter() {
  const begun: string[] = []
  const ends = new Map<string, { resolve(): void; reject(error: Error): void }>()
  const write = (name: string) => {
    begun.push(name)
    return new Promise<void>((resolve, reject) => ends.set(name, { resolve, reject }))
  }
  const adapter = { consume: (id: string) => write(`consume ${id}`), upsert: (id: string) => write(`upsert ${id}`) }
  const end = (name: string) => {
    const found = ends.get(name)
    if (found === undefined) throw new Error(`${name} was not begun`)
    return found
  }
  return { adapter: adapter as unknown as Adapter, begun, end }
}

describe('the writes of a grant', () => {
  let slow: ReturnType<typeof slowAdapter>
  let codes: Adapter
  let tokens: Adapter
  /** What the engine's grants do: redeem, make, answer. */
  let grant: () => Promise<void>
  let isAnswered: boolean

  beforeEach(() => {
    slow = slowAdapter()
    codes = writtenTogether('AuthorizationCode', slow.adapter)
    tokens = writtenTogether('AccessToken', slow.adapter)
    isAnswered = false
    grant = async () => {
      await codes.consume('code')
      await tokens.upsert('token', {}, 60)
    }
  })

  function ask(): Promise<string> {
    const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
    const configuration = { jwks: { keys: [jwk] }, features: { devInteractions: { enabled: false } } }
    const provider = new Provider('https://id.example', {
      ...configuration,
      adapter: () => slow.adapter,
    } as unknown as Configuration)
    provider.registerGrantType(GRANT, () => grant())
    awaitGrantWrites(provider)
    const ctx = {} as KoaContextWithOIDC
    const answer = als.run(ctx, async () => grantHandlers(provider).get(GRANT)?.(ctx))
    return answer
      .then(
        () => 'granted',
        (error: Error) => error.message,
      )
      .finally(() => {
        isAnswered = true
      })
  }

  it('begin in one turn, in their order, and no answer comes before the last of them', async () => {
    const answer = ask()
    await nextTurn()
    expect(slow.begun).toEqual(['consume code', 'upsert token'])
    slow.end('consume code').resolve()
    await nextTurn()
    expect(isAnswered).toBe(false)
    slow.end('upsert token').resolve()
    expect(await answer).toBe('granted')
  })

  it('fail the grant: who came second gets nothing, and not before what was begun has ended', async () => {
    const answer = ask()
    await nextTurn()
    slow.end('upsert token').reject(new Error('the store is away'))
    await nextTurn()
    expect(isAnswered).toBe(false)
    // It was begun first, so it is what the client hears of.
    slow.end('consume code').reject(new Error('already consumed'))
    expect(await answer).toBe('already consumed')
  })

  it('have ended, too, when the grant fails for a reason of its own', async () => {
    grant = async () => {
      await codes.consume('code')
      throw new Error('another key')
    }
    const answer = ask()
    await nextTurn()
    expect(isAnswered).toBe(false)
    slow.end('consume code').reject(new Error('already consumed'))
    expect(await answer).toBe('another key')
  })

  it('are awaited one by one outside of a grant, and of other models', async () => {
    const outside = codes.consume('code').catch((error: Error) => error.message)
    slow.end('consume code').reject(new Error('already consumed'))
    expect(await outside).toBe('already consumed')
    grant = async () =>
      writtenTogether('Grant', slow.adapter)
        .upsert('grant', {}, 60)
        .then(() => tokens.upsert('token', {}, 60)) as Promise<void>
    const answer = ask()
    await nextTurn()
    expect(slow.begun.slice(1)).toEqual(['upsert grant'])
    slow.end('upsert grant').resolve()
    await nextTurn()
    slow.end('upsert token').resolve()
    expect(await answer).toBe('granted')
  })
})
