import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from '@jest/globals'
import { suggestion } from '../../src/config/problems.ts'
import { CONTRACT_VERSION } from '../../src/platform/templates.ts'
import { createViews, type Views } from '../../src/platform/views.ts'

const GOLDEN = new URL('../golden/templates.json', import.meta.url)
const MARK = `{# genkan-templates: ${CONTRACT_VERSION} #}`
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function viewsWith(files: { readonly [name: string]: string }): Views {
  const directory = mkdtempSync(join(tmpdir(), 'genkan-templates-'))
  folders.push(directory)
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(directory, dirname(name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  return createViews({ viewsDir: 'views', overrides: { directory, suggestion } })
}

const override = (name: string, rest: string, mark = MARK) => ({
  [name]: `${mark}\n{% extends "genkan/${name}" %}\n${rest}`,
})
const chooser = { action: '/language', returnTo: '' }
const expired = { nonce: 'n', csrf: 'c', locale: 'en', restartUrl: '/account', chooser }
const block = (name: string, content: string) => `{% block ${name} %}${content}{% endblock %}`

describe('the contract', () => {
  it('is the one that was reviewed (GENKAN_TEST_GOLDEN=write makes the file anew; a block that goes needs a new version)', () => {
    const contract = createViews({ viewsDir: 'views' }).contract()
    const shown = `${JSON.stringify({ version: CONTRACT_VERSION, templates: contract }, null, 2)}\n`
    if (process.env.GENKAN_TEST_GOLDEN === 'write') writeFileSync(GOLDEN, shown)
    expect(shown).toBe(readFileSync(GOLDEN, 'utf8'))
  })

  it('counts the blocks of the layouts to each page', () => {
    const contract = createViews({ viewsDir: 'views' }).contract()
    expect(contract['accounts/identifier.njk']).toEqual(
      expect.arrayContaining(['content', 'aside', 'footer', 'header']),
    )
    expect(contract['account_pages/profile.njk']).toEqual(expect.arrayContaining(['page', 'header']))
    expect(contract['recovery/recover.mail.njk']).toEqual(['body', 'preheader', 'subject'])
    expect(contract['macros.njk']).toBeUndefined()
  })
})

describe('an override', () => {
  it('of a layout changes every page, and keeps what it does not name', () => {
    const views = viewsWith(override('layout.njk', block('footer', '<p>Ours: {{ brand.name }}</p>{{ super() }}')))
    const html = views.render('interaction/expired', expired)
    expect(html).toContain('<p>Ours: Genkan</p>')
    expect(html).toContain('<h1>')
    expect(html).toContain('class="brand"')
  })

  it('of one page changes that page only', () => {
    const imported = `{% import "macros.njk" as ui with context %}\n${block('content', '<h1>Gone</h1>{{ ui.mark() }}')}`
    const views = viewsWith(override('interaction/expired.njk', imported))
    expect(views.render('interaction/expired', expired)).toMatch(/<h1>Gone<\/h1><svg class="mark"/)
    expect(views.render('interaction/other_browser', { ...expired, code: '123456' })).not.toContain('Gone')
  })

  it('of a mail is in its HTML and its text', () => {
    const own = block('body', '{{ mail.paragraph("Hello " ~ code) }}')
    const mail = viewsWith(override('recovery/recover.mail.njk', own)).mail('recovery/recover', 'en', {
      code: '123456',
      minutes: 10,
    })
    expect(mail.html).toContain('>Hello 123456</p>')
    expect(mail.text).toMatch(/^Hello 123456$/m)
    expect(mail.subject).toContain('123456')
  })

  it('may be mounted by Kubernetes: linked, beside hidden folders', () => {
    const directory = mkdtempSync(join(tmpdir(), 'genkan-templates-'))
    folders.push(directory)
    mkdirSync(join(directory, '..2026', 'interaction'), { recursive: true })
    writeFileSync(
      join(directory, '..2026', 'interaction', 'expired.njk'),
      override('interaction/expired.njk', block('content', '<h1>Linked</h1>'))['interaction/expired.njk'] ?? '',
    )
    symlinkSync('..2026', join(directory, '..data'))
    symlinkSync('..data/interaction', join(directory, 'interaction'))
    const views = createViews({ viewsDir: 'views', overrides: { directory, suggestion } })
    expect(views.render('interaction/expired', expired)).toContain('<h1>Linked</h1>')
  })

  it('A97: still shows values as text', () => {
    const views = viewsWith(override('interaction/expired.njk', block('content', '{{ restartUrl }}')))
    expect(views.render('interaction/expired', { ...expired, restartUrl: '<script>' })).toContain('&lt;script&gt;')
  })
})

describe('what cannot be used refuses to start', () => {
  it.each([
    [
      'no version',
      { 'layout.njk': '{% extends "genkan/layout.njk" %}' },
      'layout.njk: does not begin with its version',
    ],
    ['an old version', override('layout.njk', '', '{# genkan-templates: 0 #}'), 'was written for version 0'],
    ['a later version', override('layout.njk', '', '{# genkan-templates: 2 #}'), 'was written for version 2'],
    [
      'an unknown template',
      override('accounts/identifer.njk', ''),
      'overrides no template of ours, did you mean accounts/identifier.njk?',
    ],
    ['a stray file', { 'notes.txt': 'x' }, 'notes.txt: overrides no template of ours'],
    ['macros', override('macros.njk', ''), 'macros.njk: overrides no template of ours'],
    ['an unknown block', override('layout.njk', block('fotter', '')), 'unknown block fotter, did you mean footer?'],
    [
      'an unknown block inside of another',
      override('layout.njk', block('footer', block('extra', ''))),
      'unknown block extra',
    ],
    [
      'a copy',
      { 'layout.njk': `${MARK}\n<!doctype html>${block('content', '')}` },
      'must extend ours: {% extends "genkan/layout.njk" %}',
    ],
    ['another parent', { 'error.njk': `${MARK}\n{% extends "genkan/layout.njk" %}` }, 'must extend ours'],
    ['a computed parent', { 'error.njk': `${MARK}\n{% extends x %}` }, 'must extend ours'],
    ['itself as parent', { 'layout.njk': `${MARK}\n{% extends "layout.njk" %}` }, 'must extend ours'],
    ['text outside of blocks', override('layout.njk', 'Hello'), 'nothing but blocks'],
    ['output outside of blocks', override('layout.njk', '{{ brand.name }}'), 'nothing but blocks'],
    ['statements outside of blocks', override('layout.njk', '{% set brand = 1 %}'), 'nothing but blocks'],
    ['broken syntax', override('layout.njk', '{% block footer %}'), 'layout.njk: '],
    [
      'an unknown filter',
      override('layout.njk', block('footer', '{{ brand.name | nonsense }}')),
      'unknown filter nonsense',
    ],
    ['a file that is not there', override('layout.njk', block('footer', '{% include "x.njk" %}')), 'uses x.njk'],
  ])('%s', (_name, files, problem) => {
    expect(() => viewsWith(files)).toThrow(problem)
  })

  it('with all problems at once', () => {
    const files = { ...override('layout.njk', block('one', '') + block('two', '')), 'x.njk': '' }
    expect(() => viewsWith(files)).toThrow(/block one[\s\S]*block two[\s\S]*x\.njk/)
  })

  it('a folder that is not there', () => {
    const overrides = { directory: '/nowhere/templates', suggestion }
    expect(() => createViews({ viewsDir: 'views', overrides })).toThrow('/nowhere/templates: is not there')
  })
})
