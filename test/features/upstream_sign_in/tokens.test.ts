/** Tokens of providers (R02 e): kept only where the operator asked for it, sealed, and nowhere else to be found. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { Redis } from 'ioredis'
import { SEALED_TOKENS } from '../../../src/features/identities/types.ts'
import type { Browser, Page } from '../../support/browser.ts'
import { authorization, redeem } from '../../support/journeys.ts'
import { runCommand } from '../../support/server_process.ts'
import { CALLBACK } from '../../support/target.ts'
import { startUpstreamRoom, type UpstreamRoom } from '../../support/upstreams.ts'

/** Planted in the provider's answers; odd enough to be found anywhere. */
const PLANTED = {
  access: 'canary-upstream-access-0001-heron',
  refresh: 'canary-upstream-refresh-0002-heron',
  laterAccess: 'canary-upstream-access-0003-reeds',
  laterRefresh: 'canary-upstream-refresh-0004-reeds',
  unasked: 'canary-upstream-access-0005-stones',
  unaskedRefresh: 'canary-upstream-refresh-0006-stones',
}

let room: UpstreamRoom
const pages: Page[] = []
beforeAll(async () => {
  room = await startUpstreamRoom({
    upstream: { keep_tokens: true, trusted_domains: ['acme.example'] },
    others: [{ name: 'careless', title: 'Careless', trusted_domains: ['acme.example'] }],
    env: { GENKAN_LOG_LEVEL: 'trace' },
  })
}, 120_000)
afterAll(() => room?.close())
beforeEach(() => room.fake.tell({ reset: true, automatic: 'continue' }))

interface Coming {
  readonly access: string
  readonly refresh?: string
  readonly provider?: string
  readonly browser?: Browser
}

/** Up to the first page, or the client. */
async function arrive(account: string, { access, refresh, provider, browser = room.person() }: Coming) {
  const claims = { email: `${account}@acme.example`, email_verified: true, name: account }
  const tokens = { access_token: access, ...(refresh !== undefined && { refresh_token: refresh }) }
  await room.fake.tell({ account, claims, tokens })
  const request = await authorization(room.target.client, CALLBACK, { scope: 'openid email' })
  const page = await room.through(browser, await browser.get(request.url), provider)
  pages.push(page)
  return { browser, request, page }
}

async function come(account: string, coming: Coming) {
  const { browser, request, page } = await arrive(account, coming)
  const isNew = page.forms.some(({ action }) => action.endsWith('/upstream_account'))
  const end = isNew ? await browser.submit(page, {}, { form: '/upstream_account' }) : page
  const { sub = '' } = (await redeem(room.target.client, request, end)).claims() ?? {}
  return { browser, sub }
}

const rows = (sub: string) =>
  room.target.sql<{ id: string; sealed_tokens: string | null }>(
    'select id, sealed_tokens from identities where account_id = $1',
    [sub],
  )

async function kept(sub: string): Promise<unknown> {
  const [row] = await rows(sub)
  if (row === undefined) return 'no identity'
  const { open } = await room.target.box()
  return row.sealed_tokens === null ? undefined : open(row.sealed_tokens, SEALED_TOKENS, row.id)
}

/** Everything that lies in both stores. */
async function dump(): Promise<string> {
  const tables = await room.target.sql<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public'`,
  )
  const all = await Promise.all(
    tables.map(({ name }) => room.target.sql<{ row: string }>(`select to_jsonb(t)::text as row from "${name}" t`)),
  )
  const redis = new Redis(room.target.stores.redisUrl)
  try {
    const values = await Promise.all(
      (await redis.keys('*')).map(async (key) => `${key} ${(await redis.get(key).catch(() => '')) ?? ''}`),
    )
    return [...all.flat().map(({ row }) => row), ...values].join('\n')
  } finally {
    redis.disconnect()
  }
}

const forms = (secret: string) => [
  ...[secret, encodeURIComponent(secret)],
  ...(['base64', 'base64url', 'hex'] as const).map((as) => Buffer.from(secret).toString(as).replace(/=+$/, '')),
]
const foundIn = (text: string) =>
  Object.entries(PLANTED)
    .filter(([, secret]) => forms(secret).some((form) => text.includes(form)))
    .map(([what]) => what)

describe('where the operator asked for them', () => {
  it('are sealed with the identity, replaced at each sign-in, and gone with it', async () => {
    const { browser, sub } = await come('keeper', { access: PLANTED.access, refresh: PLANTED.refresh })
    expect(await kept(sub)).toEqual({ accessToken: PLANTED.access, refreshToken: PLANTED.refresh })
    // A provider gives a refresh token once, and the one before stays good.
    await come('keeper', { access: PLANTED.laterAccess })
    expect(await kept(sub)).toEqual({ accessToken: PLANTED.laterAccess, refreshToken: PLANTED.refresh })
    await come('keeper', { access: PLANTED.access, refresh: PLANTED.laterRefresh })
    expect(await kept(sub)).toEqual({ accessToken: PLANTED.access, refreshToken: PLANTED.laterRefresh })
    const list = await browser.get(`${room.target.issuer}/account/identities`)
    pages.push(list)
    expect((await room.target.server.run('accounts', 'delete', sub, '--yes')).code).toBe(0)
    expect(await rows(sub)).toEqual([])
  })

  it('are kept of whoever is linked by a proven address', async () => {
    const { sub } = await room.target.signUp('linked@acme.example')
    expect((await come('linked', { access: PLANTED.access, refresh: PLANTED.refresh })).sub).toBe(sub)
    expect(await kept(sub)).toEqual({ accessToken: PLANTED.access, refreshToken: PLANTED.refresh })
  })

  it('too long ones are not kept, and keep nobody out', async () => {
    const { sub } = await come('long', { access: 'x'.repeat(20_000) })
    expect(await kept(sub)).toBeUndefined()
  })
})

describe('where nobody asked', () => {
  it('none is stored, and those of before are gone with the next sign-in', async () => {
    const coming = { access: PLANTED.unasked, refresh: PLANTED.unaskedRefresh, provider: 'careless' }
    const { sub } = await come('free', coming)
    expect(await kept(sub)).toBeUndefined()
    const both = await come('both', { access: PLANTED.access, refresh: PLANTED.refresh })
    expect(await kept(both.sub)).toMatchObject({ accessToken: PLANTED.access })
    expect((await come('both', coming)).sub).toBe(both.sub)
    expect(await kept(both.sub)).toBeUndefined()
  })
})

it('no store, log, fact, mail, metric or page holds one in clear, also of somebody who is still on the way', async () => {
  const waiting = await arrive('waiting', { access: PLANTED.access, refresh: PLANTED.refresh })
  expect(waiting.page.text).toContain('waiting@acme.example')
  await room.target.settled()
  const metrics = await (await fetch(`${room.target.server.managementOrigin}/metrics`)).text()
  const mails = JSON.stringify(await room.target.mailbox.all())
  const places = { stores: await dump(), log: room.target.server.logs().join('\n'), mails, metrics }
  expect(places.stores).toContain('sealed_tokens')
  const shown = pages.map(({ html, url }) => `${url} ${html}`).join('\n')
  expect(shown).toContain('waiting@acme.example')
  const found = Object.entries({ ...places, shown }).map(([place, text]) => [place, foundIn(text)])
  expect(found).toEqual(found.map(([place]) => [place, []]))
})

it('they are moved under new keys with the other personal columns', async () => {
  const { sub } = await come('mover', { access: PLANTED.access, refresh: PLANTED.refresh })
  const [before] = await rows(sub)
  const { server } = room.target
  const env = { GENKAN_SECRET_KEYS: `${randomBytes(32).toString('base64')},${server.env.GENKAN_SECRET_KEYS}` }
  await server.restart(env)
  expect(await runCommand(['keys', 'reseal'], { ...server.env, ...env })).toMatchObject({ code: 0 })
  const [after] = await rows(sub)
  const keyOf = (row: typeof after) => row?.sealed_tokens?.split('.')[1]
  expect(keyOf(after)).toEqual(expect.any(String))
  expect(keyOf(after)).not.toBe(keyOf(before))
})
