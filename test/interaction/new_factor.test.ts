/**
 * What a new factor takes, shown by adding one to a copy of the product: a feature folder with its page and texts, one row in
 * the order of the conversation, and its place in the list of features. Nothing else of the copy is touched.
 */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createBrowser } from '../support/browser.ts'
import { readCatalogues } from '../support/catalogues.ts'
import { authorization, discover, PASSWORD, redeem, register, SETTINGS, signIn } from '../support/journeys.ts'
import { type Mailbox, mailFolder } from '../support/mailbox.ts'
import { stepOf } from '../support/people.ts'
import { type Server, startServer } from '../support/server.ts'
import { scratchFolder } from '../support/services.ts'

const CALLBACK = 'https://own.test.example/callback'
const BADGE = 'urn:example:badge'
const settings = {
  ...SETTINGS,
  levels: [
    { acr: 'urn:genkan:acr:basic', methods: ['pwd'] },
    { acr: BADGE, methods: ['pwd+badge'] },
  ],
}

const INDEX = `/** Badge: a number that every member of a house carries; a second factor of all accounts from their registration on. */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import type { SetFactor } from '../enrolment/types.ts'
import { createBadgeStep } from './step.ts'

export function createBadge({ setFactor, clock }: { setFactor: SetFactor; clock: { now(): Date } }): Feature {
  return {
    name: 'badge',
    steps: [createBadgeStep(clock) as Step],
    reacts: [
      {
        types: ['account.registered'],
        handle: async ({ accountId }, tx) => {
          if (accountId !== undefined) await setFactor(accountId, 'badge', true, tx)
        },
      },
    ],
  }
}
`

const STEP = `/** The page that asks for the number of the badge. */
import { z } from 'zod'
import { wanted } from '../../interaction/levels.ts'
import type { Step } from '../../interaction/step.ts'
import { equal } from '../../platform/ids.ts'

const input = z.object({ number: z.string().max(64) })

export function createBadgeStep(clock: { now(): Date }): Step<z.output<typeof input>> {
  return {
    name: 'badge',
    feature: 'badge',
    prompts: ['login', 'create', 'select_account'],
    meets: ['second_factor'],
    needed: (state) => wanted(state).includes('badge'),
    input,
    show: async () => ({}),
    async submit({ number }, { account }) {
      if (account === undefined) return { ok: false, code: 'stale' }
      if (!equal(number, '4711')) return { ok: false, code: 'code_invalid', field: 'number' }
      const { accountId, epoch } = account
      const proof = { method: 'badge', amr: ['hwk'], second: true, accountId, at: clock.now().getTime(), epoch } as const
      return { ok: true, patch: { proof } }
    },
  }
}
`

const PAGE = `{% extends "layout.njk" %}
{% import "macros.njk" as ui with context %}
{% block content %}
<h1>{{ t('badge.heading') }}</h1>
{{ ui.why(reason) }}
{{ ui.summary(error) }}
{{ ui.form_start('/interaction/' ~ uid ~ '/badge') }}
<input name="number" aria-label="{{ t('badge.heading') }}">
{{ ui.button(t('common.sign_in')) }}
</form>
{% endblock %}
`

const TEXTS = JSON.stringify({
  'title.badge.badge': 'The number of your badge',
  'badge.heading': 'The number of your badge',
})

/** Every line that is added to files that were there, after the line that it follows. */
const LINES = {
  'src/conversation.ts': [["  { name: 'totp', proves: 'totp' },", "  { name: 'badge', proves: 'badge' },"]],
  'src/features.ts': [
    ["import type { Feature } from './feature.ts'", "import { createBadge } from './features/badge/index.ts'"],
    [
      'const all: readonly Feature[] = [',
      'createBadge({ setFactor: factors.enrolment.service.setFactor, clock: foundation.clock }),',
    ],
  ],
} as const

/** A copy of the product with the new factor, but for the lines of `without`. */
async function extended(without?: keyof typeof LINES): Promise<string> {
  const root = await scratchFolder('extended-')
  for (const part of ['src', 'views', 'migrations', 'package.json']) cpSync(part, join(root, part), { recursive: true })
  symlinkSync(join(process.cwd(), 'node_modules'), join(root, 'node_modules'))
  const write = (path: string, text: string) => writeFileSync(join(root, path), text)
  for (const folder of ['src/features/badge', 'views/badge']) mkdirSync(join(root, folder))
  write('src/features/badge/index.ts', INDEX)
  write('src/features/badge/step.ts', STEP)
  write('views/badge/badge.njk', PAGE)
  for (const locale of readCatalogues('views/messages').keys()) write(`views/messages/${locale}.badge.json`, TEXTS)
  for (const [path, lines] of Object.entries(LINES)) {
    if (path === without) continue
    const text = readFileSync(path, 'utf8')
    write(path, lines.reduce(insert, text))
  }
  return root
}

function insert(text: string, [after, line]: readonly [string, string]): string {
  if (!text.includes(after)) throw new Error(`no line "${after}" any more`)
  return text.replace(after, `${after}\n${line}`)
}

describe('a new factor', () => {
  let server: Server
  let mailbox: Mailbox

  beforeAll(async () => {
    server = await startServer({ root: await extended(), settings })
    mailbox = mailFolder(server.dataDir)
  })
  afterAll(() => server?.close())

  it('is asked for where a level demands it, refused when wrong, and shown in the token', async () => {
    const client = await discover(server.issuer, 'own')
    const browser = createBrowser({ stopAt: [CALLBACK] })
    const first = await authorization(client, CALLBACK, { prompt: 'create' })
    await register(browser, await browser.get(first.url), mailbox, 'ann@example.com')

    const later = createBrowser({ stopAt: [CALLBACK] })
    const request = await authorization(client, CALLBACK, { acr_values: BADGE })
    const asked = await signIn(later, await later.get(request.url), 'ann@example.com', PASSWORD)
    expect([stepOf(asked), asked.title]).toEqual(['badge', expect.stringContaining('The number of your badge')])
    const refused = await later.submit(asked, { number: '4712' }, { form: '/badge' })
    expect([refused.status, stepOf(refused)]).toEqual([400, 'badge'])
    const codes = await later.submit(refused, { number: '4711' }, { form: '/badge' })
    // Whatever treats all factors alike treats this one so too.
    expect(stepOf(codes)).toBe('new_recovery_codes')
    const end = await later.submit(codes, {}, { form: '/new_recovery_codes' })
    const tokens = await redeem(client, request, end)
    expect(tokens.claims()).toMatchObject({ acr: BADGE, amr: expect.arrayContaining(['pwd', 'hwk', 'mfa']) })
  })

  it('is nothing without its row in the order: the settings may not name it', async () => {
    const without = await startServer({ root: await extended('src/conversation.ts'), settings, wait: false })
    try {
      expect(await without.exited()).toBe(1)
      expect(without.logs().join('\n')).toContain('badge')
    } finally {
      await without.close()
    }
  })
})
