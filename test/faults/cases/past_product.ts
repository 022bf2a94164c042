/** What cases do past the product, and what must go on without statements. */
import pg from 'pg'
import * as acts from '../acts.ts'
import type { Stage } from '../case.ts'
import { attempt, machineToken, reason } from './attempt.ts'

/** What needs no statement goes on: machines get tokens, people who are signed in renew theirs. */
export async function tokensGoOn(stage: Stage, token: string): Promise<string> {
  const { world, check } = stage
  const machine = await attempt(machineToken(stage))
  check(machine.value !== undefined, `client credentials: ${reason(machine)}`)
  const fields = { grant_type: 'refresh_token', refresh_token: token }
  const renewed = await attempt(acts.tokens(world, 'spa', fields))
  check(renewed.value !== undefined, `a refresh: ${reason(renewed)}`)
  return renewed.value?.refresh_token ?? token
}

/** A connection past the product, closed at the end. */
export async function connection({ world, later }: Stage): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: world.postgres.url, application_name: 'faults' })
  client.on('error', () => {})
  await client.connect()
  later(() => client.end().catch(() => {}))
  return client
}
