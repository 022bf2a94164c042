import { describe, expect, it } from '@jest/globals'
import { messageProblem } from '../../src/platform/message_check.ts'

const PLURAL = '{minutes, plural, one {# minute} other {# minutes}} for {client}'

describe('a text of a brand', () => {
  it.each([
    ['Hello', 'Welcome'],
    ['Hello', 'It’s <b>bold</b>, as text'],
    ["Don''t {client}", 'Go to {client}'],
    ['Back to {client}', 'Back'],
    [PLURAL, '{minutes, plural, one {a minute} other {# minutes}} at {client}'],
    [PLURAL, '{minutes} min'],
    ['{when, date} {who}', '{when, date, long}'],
  ])('in place of %j may be %j', (original, text) => {
    expect(messageProblem(original, text, 'en')).toBeUndefined()
  })

  it.each([
    ['Hello', ' ', 'is empty'],
    ['Hello', 'x'.repeat(601), 'longer'],
    ['Hello', 'a\nb', 'control'],
    ['Hello', 'a\u2028b', 'line breaks'],
    ['Hello', 'Hello {name}', 'placeholder {name}, and there are none'],
    ['Back to {client}', 'Back to {cleint}', 'is only {client}'],
    ['Back to {client}', 'Back to {client', 'is not an ICU message'],
    ['Back to {client}', '{client, plural, one {x}}', 'is not an ICU message'],
    ['Back to {client}', '{client, plural, one {x} other {y}}', 'used in another way'],
    ['Back to {client}', '{client, date}', 'used in another way'],
    ['Back to {client}', '{client, select, a {x} other {y}}', 'used in another way'],
    ['Back to {client}', '{client, nonsense}', 'is not an ICU message'],
    [PLURAL, '{minutes, plural, one {{secret}} other {#}}', 'placeholder {secret}'],
    ['Hello', '{__proto__}', 'placeholder {__proto__}'],
    ['Hello', '{'.repeat(500), 'is not an ICU message'],
  ])('in place of %j may not be %j', (original, text, problem) => {
    expect(messageProblem(original, text, 'en')).toContain(problem)
  })
})
