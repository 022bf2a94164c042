/** F20, F21: PostgreSQL answers, and says no. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { PASSWORD } from '../../support/journeys.ts'
import { authorizationRequest } from '../../support/people.ts'
import * as acts from '../acts.ts'
import type { Case, Stage } from '../case.ts'
import { until } from '../world.ts'
import { attempt, reason, wholeSignIn } from './attempt.ts'
import { connection, tokensGoOn } from './past_product.ts'

/** F20: two that each hold what the other wants, so that PostgreSQL ends the product's. */
async function crossed(stage: Stage, times: number): Promise<void> {
  const { world, check } = stage
  const holder = await connection(stage)
  // The one that looks first is ended: never ours.
  await holder.query("set deadlock_timeout = '60s'")
  for (let time = 0; time < times; time++) {
    await holder.query('begin')
    await holder.query('lock table passwords in exclusive mode')
    const email = acts.newEmail('crossed')
    const registered = attempt(acts.beginRegistration(world, 'spa', email, world.person()))
    const waits = async () =>
      (await world.sql(`select 1 from pg_locks where not granted and relation = 'passwords'::regclass`)).length > 0
    await until(waits, 2000, 'the registration waits')
    await holder.query('lock table accounts in exclusive mode').catch(() => {})
    await holder.query('rollback')
    const end = await registered
    check(end.error === undefined, `a registration that was crossed: ${reason(end)}`)
    const [row] = await world.sql<{ n: string }>(
      `select count(*) n from accounts a where state = 'pending' and created_at > now() - interval '10 seconds'
       and not exists (select 1 from passwords p where p.account_id = a.id)`,
    )
    check(row?.n === '0', `${row?.n} accounts are half-made`)
  }
}

/** F21: changes are refused in words, what is there serves on. */
async function readOnly(stage: Stage): Promise<void> {
  const { world, journal, check } = stage
  const { refresh_token: token } = await wholeSignIn(stage, 'openid')
  await switchReadOnly(stage, true)
  await until(
    async () => (await world.sql<{ on: string }>('show default_transaction_read_only')).length > 0,
    3000,
    'on',
  )
  await sleep(500)
  await tokensGoOn(stage, token)
  const [account] = journal.consents
  const ask = authorizationRequest(world.issuer, 'web', { prompt: 'none', scope: 'openid email' })
  const there = await account?.browser.get(ask.url)
  const serves = there?.params.has('code') || there?.params.get('error') === 'temporarily_unavailable'
  check(serves === true, `single sign-on: ${there?.status} ${there?.params.get('error')}`)
  const request = authorizationRequest(world.issuer, 'web', { prompt: 'create' })
  const browser = world.person()
  const page = await browser.get(request.url)
  check(page.status === 200, `the page of registration: ${page.status} ${page.text.slice(0, 200)}`)
  if (page.status !== 200) return
  const values = { email: acts.newEmail('read-only'), password: PASSWORD }
  const refused = await browser.submit(page, values, { form: '/register' })
  check(refused.status === 503, `a registration was answered ${refused.status}`)
  check(refused.text.includes('read-only'), `a registration is not told why: ${refused.text.slice(0, 200)}`)
  await sleep(stage.lasting(10_000, 500))
}

async function switchReadOnly({ world }: Stage, on: boolean): Promise<void> {
  const client = new pg.Client({ connectionString: world.postgres.url, application_name: 'faults' })
  await client.connect()
  try {
    await client.query('set default_transaction_read_only = off')
    await client.query(`alter system ${on ? 'set' : 'reset'} default_transaction_read_only${on ? ' = on' : ''}`)
    await client.query('select pg_reload_conf()')
  } finally {
    await client.end()
  }
}

export const F20: Case = {
  ...{ id: 'F20', title: 'deadlocks' },
  inject: (stage) => crossed(stage, stage.lasting(50, 3)),
  heal: async () => {},
}

export const F21: Case = {
  ...{ id: 'F21', title: 'PostgreSQL is read-only' },
  inject: readOnly,
  heal: (stage) => switchReadOnly(stage, false),
}
