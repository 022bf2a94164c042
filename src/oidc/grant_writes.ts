/**
 * What a grant consumes and what it makes of that are asked of the store together, in one trip, and no answer goes out before all
 * of it is written: the engine would wait for each. Whatever was made for one who came second is of a dead Grant, and is told
 * nobody.
 */
import Provider, { type Adapter } from 'oidc-provider'
import { createNotes } from '../platform/notes.ts'
import { grantHandlers } from './engine_internals.ts'

const underWay = createNotes<object, Promise<unknown>[]>()

/** Models of the token endpoint; of these, `consume` and `upsert` resolve at once while a grant is under way. */
const WRITTEN_TOGETHER: ReadonlySet<string> = new Set([
  ...['AuthorizationCode', 'DeviceCode', 'BackchannelAuthenticationRequest', 'RefreshToken', 'AccessToken'],
])

/** The adapter of a model, whose writes a grant waits for at its end. */
export function writtenTogether(model: string, adapter: Adapter): Adapter {
  if (!WRITTEN_TOGETHER.has(model)) return adapter
  return {
    ...adapter,
    consume: (id) => later(adapter.consume(id)),
    upsert: (...write) => later(adapter.upsert(...write)),
  }
}

/** Has every grant of the provider wait for its writes. The first that fails, in their order, is what the client is told. */
export function awaitGrantWrites(provider: Provider): void {
  const handlers = grantHandlers(provider)
  for (const [grantType, handler] of [...handlers]) {
    handlers.set(grantType, async (ctx) => {
      const writes: Promise<unknown>[] = []
      underWay.set(ctx, writes)
      try {
        await handler(ctx)
      } finally {
        underWay.delete(ctx)
        // Each of them: one that is late must not be written after its client was refused and has come again.
        await Promise.allSettled(writes)
      }
      await Promise.all(writes)
    })
  }
}

function later(write: Promise<unknown>): Promise<void> {
  const writes = Provider.ctx && underWay.get(Provider.ctx)
  if (writes === undefined) return write as Promise<void>
  write.catch(() => {})
  writes.push(write)
  return Promise.resolve()
}
