import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { createViews } from '../../src/platform/views.ts'
import {
  deadEnds,
  differences,
  hardCodedTexts,
  placeholdersOf,
  pluralGaps,
  readCatalogues,
} from '../support/catalogues.ts'

const viewsDir = join(process.cwd(), 'views')
const views = createViews({ viewsDir })
const catalogues = readCatalogues(join(viewsDir, 'messages'))
const english = catalogues.get('en') ?? {}
const others = [...catalogues].filter(([locale]) => locale !== 'en')

it('the languages are English, Arabic, Finnish, Japanese, Swedish and Thai', () => {
  expect(views.locales).toEqual(['en', 'ar', 'fi', 'ja', 'sv', 'th'])
  expect(views.languages.map(({ label }) => label)).toEqual(['English', 'Suomi', 'Svenska', 'العربية', 'ไทย', '日本語'])
})

describe.each(others)('%s', (locale, catalogue) => {
  it('has the keys and the placeholders of English, and nothing untranslated', () => {
    expect(differences(english, catalogue, locale)).toEqual([])
  })
})

describe.each([...catalogues])('%s', (locale, catalogue) => {
  it('has every plural category of its language and no other', () => {
    const gaps = Object.entries(catalogue).flatMap(([key, text]) =>
      pluralGaps(text, locale).map((gap) => `${key} ${gap}`),
    )
    expect(gaps).toEqual([])
  })

  it('is whole for any number, and leaves no brace behind', () => {
    for (const [key, text] of Object.entries(catalogue)) {
      const names = placeholdersOf(text, locale).map((name) => name.replace(', plural', ''))
      for (const number of [0, 1, 2, 3, 11, 100]) {
        const said = views.t(locale, key, Object.fromEntries(names.map((name) => [name, number])))
        expect([key, said]).toEqual([key, expect.not.stringMatching(/[{}#]|undefined/)])
      }
    }
  })

  it('says in every error what to do next', () => {
    expect(deadEnds(catalogue, locale)).toEqual([])
  })

  it('has no stray white space, and punctuation of its own', () => {
    for (const [key, text] of Object.entries(catalogue)) {
      expect([key, text]).toEqual([key, text.trim().replace(/ {2,}/g, ' ')])
      if (locale === 'ar') expect([key, text]).toEqual([key, expect.not.stringMatching(/[\u0600-\u06ff][,;?]/)])
      if (locale === 'ja')
        expect([key, text]).toEqual([key, expect.not.stringMatching(/[\u3040-\u30ff\u4e00-\u9fff][,.;?!]/)])
    }
  })
})

describe('the checks find', () => {
  it.each([
    ['a missing key', {}, ['k is missing']],
    ['a key of its own', { k: 'Hei {name}', more: 'x' }, ['more is unknown']],
    ['a text left in English', { k: 'Hello {name}' }, ['k is untranslated']],
    ['another placeholder', { k: 'Hei {nimi}' }, ['k has {nimi} for {name}']],
    ['a lost placeholder', { k: 'Hei' }, ['k has {} for {name}']],
    ['a plural for a value', { k: '{name, plural, one {#} other {#}}' }, ['k has {name, plural} for {name}']],
  ])('%s', (_name, other, found) => {
    expect(differences({ k: 'Hello {name}' }, other as never, 'fi')).toEqual(found)
  })

  it.each([
    ['ar', '{n, plural, one {a} two {b} few {c} many {d} other {e}}', ['lacks zero']],
    ['ar', '{n, plural, =0 {z} one {a} two {b} few {c} many {d} other {e}}', ['lacks zero']],
    ['sv', 'Om {n, plural, other {#}}', ['lacks one']],
    ['ja', '{n, plural, one {a} other {b}}', ['never uses one']],
    ['th', '{n, plural, other {b}}', []],
  ])('%s: gaps in plurals: %s', (locale, message, found) => {
    expect(pluralGaps(message, locale)).toEqual(found)
  })

  it('errors that end nowhere', () => {
    const said: { [locale: string]: [string, string] } = {
      en: ['The code is wrong. Ask for a new one.', 'The code is wrong.'],
      sv: ['Koden är fel. Be om en ny.', 'Koden är fel.'],
      ar: ['الرمز غير صالح. يُرجى طلب رمز جديد.', 'الرمز غير صالح. لم يعد يعمل.'],
      ja: ['コードが違います。新しいコードを請求してください。', 'コードが違います。'],
      th: ['รหัสไม่ถูกต้อง โปรดขอรหัสใหม่', 'รหัสไม่ถูกต้อง'],
    }
    for (const [locale, [good, bad]] of Object.entries(said)) {
      expect(deadEnds({ 'error.a': good, 'oauth_error.b': bad, 'account.c': bad }, locale)).toEqual(['oauth_error.b'])
    }
    expect(deadEnds({}, 'tlh')).toHaveLength(1)
  })

  it.each([
    ['text between tags', '<p>Sign in</p>', ['Sign in']],
    ['text beside an expression', '<p>{{ t("a.b") }} or <b>{{ x }}</b></p>', ['or']],
    ['a label that is only heard', '<button aria-label="Close">{{ x }}</button>', ['Close']],
    ['a label that a macro adds', '{% macro a() %} aria-label="Close"{% endmacro %}', ['Close']],
    ['half a label', '<img alt="Logo of {{ client.name }}">', ['Logo of']],
    ['the value of a button', '<input type="submit" value="Go">', ['Go']],
    ['a literal handed to a macro', "{{ ui.button('Save') }}", ['Save']],
    ['a literal in another script', "{{ ui.button('保存') }}", ['保存']],
    ['a literal with a space', "{{ ui.button('try again') }}", ['try again']],
    ['text in an attribute condition', "<a title=\"{{ 'Read more' if x else '' }}\">{{ y }}</a>", ['Read more']],
  ])('hard-coded words: %s', (_name, template, found) => {
    expect(hardCodedTexts(template)).toEqual(found)
  })

  it('nothing in what is no text', () => {
    const template = `{# A comment in words. #}{% extends "layout.njk" %}<style>.Page { color: red }</style>
      <input type="hidden" name="csrf" value="Secret"><p class="Hint" title="{{ t('a.b', { name: x }) }}">{{ t('a.c') }} · + :</p>`
    expect(hardCodedTexts(template)).toEqual([])
  })
})

// The gallery is for people who work on pages, and in English only.
const templates = readdirSync(viewsDir, { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.njk') && !file.startsWith('dev_pages/'),
)

it.each(templates)('%s has no words of its own', (file) => {
  expect(hardCodedTexts(readFileSync(join(viewsDir, file), 'utf8'))).toEqual([])
})
