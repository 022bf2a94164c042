import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import type { CommandServices } from '../../src/commands/command.ts'
import { execute } from '../../src/commands/execute.ts'
import { PLAIN_BRAND } from '../../src/platform/brand.ts'
import { canonicalEmail } from '../../src/platform/email_address.ts'
import { createViews } from '../../src/platform/views.ts'
import { sample, sampleTitle } from '../support/sample.ts'

const views = createViews({ viewsDir: join(process.cwd(), 'views') })

async function run(command: string, args: string[] = [], options: object = {}) {
  const sent: object[] = []
  const printed: string[] = []
  const services = {
    pendingMigrations: async () => [],
    now: () => new Date(0),
    mails: {
      locales: views.locales,
      fixtures: (locale?: string) => views.fixtures(locale).mails,
      render: views.mail,
      brand: async (id: string) => (id === 'default' ? PLAIN_BRAND : undefined),
      send: async (message: object) => void sent.push(message),
      canonicalEmail,
    },
  } as unknown as CommandServices
  const result = await execute(services, { command, args, options } as never, (text) => printed.push(text))
  return { ...result, output: printed.join(''), sent }
}

describe('genkan mail', () => {
  it('lists every mail that the product can send', async () => {
    const { output } = await run('mail list', [], { json: true })
    const named = new Set((JSON.parse(output) as { template: string }[]).map(({ template }) => template))
    expect([...named]).toEqual(expect.arrayContaining(['email_codes/verify_email', 'recovery/recover']))
  })

  const all = views
    .fixtures()
    .mails.flatMap(({ template, state }) => views.locales.map((locale) => ({ template, state, locale })))
  it(sampleTitle('previews each of them in every language, as text and as HTML'), async () => {
    for (const { template, state, locale } of sample(all)) {
      const text = await run('mail preview', [template], { state, locale })
      expect([text.exit, text.output]).toEqual([0, expect.stringMatching(/^Subject: \S.*\n\n\S/)])
      const html = await run('mail preview', [template], { state, locale, html: true })
      expect(html.output).toContain(`<html lang="${locale}"`)
    }
  })

  it('sends one to see that mail arrives', async () => {
    const { exit, sent } = await run('mail send', ['recovery/recover', 'Ada@Example.com'], { locale: 'fi' })
    expect(exit).toBe(0)
    expect(sent).toEqual([
      expect.objectContaining({ to: 'ada@example.com', locale: 'fi', text: expect.stringContaining('482913') }),
    ])
  })

  it.each([
    [['mail preview', ['no/mail']], /there is no mail no\/mail/],
    [['mail preview', ['recovery/recover'], { state: 'odd' }], /--state: write one of/],
    [['mail preview', ['recovery/recover'], { locale: 'xx' }], /--locale: write one of en/],
    [['mail preview', ['recovery/recover'], { brand: 'odd' }], /there is no brand odd/],
    [['mail send', ['recovery/recover', 'a@b@c']], /is no e-mail address/],
  ] as const)('%j is refused', async ([command, args, options = {}], error) => {
    const { exit, error: said, sent } = await run(command, [...args], options)
    expect([exit, said, sent]).toEqual([1, expect.stringMatching(error), []])
  })
})
