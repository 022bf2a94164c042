/** Why a request was refused, as an operator finds out: by the reference that its answer has. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Server } from './server.ts'

/** The reason behind `reference` (the `x-request-id` of an answer). A server writes what it has noted once a second. */
export async function refusalReason(server: Pick<Server, 'run'>, reference: string): Promise<string> {
  for (let tries = 0; ; tries++) {
    const { code, stdout, stderr } = await server.run('audit', 'explain', reference, '--json')
    if (code === 0) return (JSON.parse(stdout) as { reason: string }).reason
    if (tries === 20) throw new Error(stderr)
    await sleep(200)
  }
}
