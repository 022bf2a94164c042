import { describe, expect, it } from '@jest/globals'
import { createNotes } from '../../src/platform/notes.ts'

describe('notes', () => {
  it('are of one kind and of one object, and show in no list of its members', () => {
    const [ages, names] = [createNotes<object, number>(), createNotes<object, string>()]
    const [one, other] = [{ own: 1 }, {}]
    ages.set(one, 7)
    names.set(one, 'seven')
    expect([ages.get(one), names.get(one), ages.get(other)]).toEqual([7, 'seven', undefined])
    expect(Object.keys(one)).toEqual(['own'])
    expect(JSON.stringify(one)).toBe('{"own":1}')
    ages.delete(one)
    expect([ages.get(one), names.get(one)]).toEqual([undefined, 'seven'])
  })
})
