import { describe, expect, it } from '@jest/globals'
import type { CommandServices } from '../../src/commands/command.ts'
import { execute } from '../../src/commands/execute.ts'
import type { BrandRecord } from '../../src/features/brands/types.ts'

const NOW = new Date('2026-11-25T10:00:00Z')
const record: BrandRecord = {
  id: 'acme',
  settings: { name: 'Acme', colours: { accent: '#ffd400' } },
  css: 'p{}',
  managed: 'command',
  logos: { light: { type: 'image/png', width: 4, height: 3, hash: 'h' } },
  createdAt: NOW,
  updatedAt: NOW,
}

async function run(command: string, args: string[] = [], options: object = {}) {
  const printed: string[] = []
  const calls: unknown[][] = []
  const known = (id: string) => (id === 'acme' ? record : undefined)
  const brands: CommandServices['brands'] = {
    list: async () => [record, { ...record, id: 'old', managed: 'file', disabledAt: NOW }],
    show: async (id) => known(id),
    set: async (...call) => {
      calls.push(call)
      return []
    },
    setCss: async (...call) => {
      calls.push(call)
      return known(call[0]) && true
    },
    setLogo: async (...call) => {
      calls.push(call)
      return call[2] === undefined && call[1] === 'dark' ? undefined : true
    },
    remove: async (id) => known(id) !== undefined,
  }
  const services = { pendingMigrations: async () => [], brands } as unknown as CommandServices
  const request = { command: `brands ${command}`, args, options } as Parameters<typeof execute>[1]
  const result = await execute(services, request, (text) => printed.push(text))
  return { ...result, output: printed.join(''), calls }
}

describe('genkan brands', () => {
  it('list', async () => {
    expect((await run('list')).output).toBe(
      'BRAND  NAME  MANAGED  STATE\nacme   Acme  command  enabled\nold    Acme  file     disabled\n',
    )
  })

  it('show tells settings, pictures and what is hard to read', async () => {
    const { output } = await run('show', ['acme'])
    for (const line of ['image/png, 4 × 3', 'accent on sheet (light) is 1.4']) expect(output).toContain(line)
    expect(JSON.parse((await run('show', ['acme'], { json: true })).output)).toMatchObject({
      brand: 'acme',
      css_bytes: 3,
      contrasts: expect.arrayContaining([expect.objectContaining({ pair: 'accent on sheet', scheme: 'light' })]),
    })
  })

  it('set takes settings from text, and flags on top', async () => {
    const settings = 'name: A\nradius: 4\ncolours: { accent: "#111111", sheet: null }\n'
    const { calls } = await run('set', ['acme'], { settings, name: 'B', accentDark: '#eeeeee', defaultLocale: 'fi' })
    const colours = { accent: '#111111', sheet: null, accent_dark: '#eeeeee' }
    expect(calls).toEqual([['acme', { name: 'B', radius: 4, colours, default_locale: 'fi' }]])
  })

  it('logo hands over the bytes', async () => {
    const light = Buffer.from([0, 255, 137]).toString('base64')
    const { calls, output } = await run('logo', ['acme'], { light, remove: 'light' })
    expect(calls).toEqual([
      ['acme', 'light', Buffer.from([0, 255, 137])],
      ['acme', 'light', undefined],
    ])
    expect(output).toBe('light logo of acme saved\nlight logo of acme removed\n')
  })

  it('css sets and removes', async () => {
    expect((await run('css', ['acme'], { file: 'p{}' })).calls).toEqual([['acme', 'p{}']])
    expect((await run('css', ['acme'], { remove: true })).calls).toEqual([['acme', undefined]])
  })

  it('contrast measures without any store', async () => {
    const { output } = await run('contrast', [], { accent: '#0b6e4f', accentDark: '#333333' })
    expect(output).toMatch(/^accent on sheet \(light\) is 6\.\d\d : 1, of at least 4\.5 : 1$/m)
    expect(output).toMatch(
      /^accent on sheet \(dark\) is 1\.\d\d : 1, of at least 4\.5 : 1, pages use #[0-9a-f]{6} instead$/m,
    )
  })

  it.each([
    ['show', ['gone'], {}, 'there is no brand gone'],
    ['delete', ['gone'], {}, 'there is no brand gone'],
    ['logo', ['gone'], { remove: 'light' }, 'there is no brand gone'],
    ['logo', ['acme'], {}, 'give --light, --dark or --remove'],
    ['logo', ['acme'], { remove: 'blue' }, '--remove: write light or dark'],
    ['logo', ['acme'], { remove: 'dark' }, 'brand acme has no dark logo'],
    ['css', ['gone'], { file: '' }, 'there is no brand gone'],
    ['css', ['acme'], {}, 'give either --file or --remove'],
    ['css', ['acme'], { file: 'p{}', remove: true }, 'give either --file or --remove'],
    ['set', ['acme'], { settings: '- a' }, '--settings: is not a mapping'],
    ['set', ['acme'], { settings: '{' }, '--settings: '],
    ['contrast', [], { accent: 'red' }, 'write a colour such as #2b4c9b'],
    ['contrast', [], {}, 'give a colour'],
  ])('%s %j %j is refused', async (command, args, options, error) => {
    expect(await run(command, args, options)).toMatchObject({ exit: 1, error: expect.stringContaining(error) })
  })
})
