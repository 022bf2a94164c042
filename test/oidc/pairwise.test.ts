/** Pairwise subjects (OpenID Connect Core 1.0 §8.1): stable, unlinkable, and ours alone to turn back (A68). */
import { createHmac } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { createPairwise } from '../../src/oidc/pairwise.ts'
import { newId } from '../../src/platform/ids.ts'
import { mutations } from '../support/mutations.ts'

const keyed = (key: string) =>
  createPairwise({
    index: async (value, purpose) => createHmac('sha256', key).update(`${purpose}\0${value}`).digest('base64url'),
  })
const { subjectOf, accountOf } = keyed('one')
const people = Array.from({ length: 200 }, () => newId())
const [ann = ''] = people

describe('the subject', () => {
  it('stays the same, and leads back in its sector', async () => {
    for (const id of people) {
      const subject = await subjectOf(id, 'shop.example')
      expect(subject).toMatch(/^[\w-]{43}$/)
      expect(await subjectOf(id, 'shop.example')).toBe(subject)
      expect(await accountOf(subject, 'shop.example')).toBe(id)
    }
  })

  it('is another one for each person, sector and installation', async () => {
    const sectors = ['shop.example', 'bank.example', 'shop.example:8443', '', 'shop']
    const all = [
      ...people.map((id) => subjectOf(id, 'shop.example')),
      ...sectors.slice(1).map((sector) => subjectOf(ann, sector)),
      keyed('two').subjectOf(ann, 'shop.example'),
      ann,
    ]
    expect(new Set(await Promise.all(all)).size).toBe(all.length)
  })

  it('shares no part with another one of the same person, nor with that of another person', async () => {
    const subjects = [
      await subjectOf(ann, 'shop.example'),
      await subjectOf(ann, 'bank.example'),
      await subjectOf(people[1] ?? '', 'shop.example'),
    ].map((subject) => Buffer.from(subject, 'base64url'))
    const id = Buffer.from(ann, 'base64url')
    const halves = [...subjects.flatMap((bytes) => [bytes.subarray(0, 16), bytes.subarray(16)]), id].map(String)
    expect(new Set(halves).size).toBe(halves.length)
  })

  it('is not moved by where the sector ends and the person begins', async () => {
    const [a, b] = [await subjectOf(ann, 'x'), await subjectOf(ann, `x","${ann}`)]
    expect(a).not.toBe(b)
    expect(await accountOf(b, 'x')).toBeUndefined()
  })
})

describe('nobody', () => {
  it('is the subject in another sector or installation', async () => {
    const subject = await subjectOf(ann, 'shop.example')
    expect(await accountOf(subject, 'bank.example')).toBeUndefined()
    expect(await keyed('two').accountOf(subject, 'shop.example')).toBeUndefined()
    expect(await accountOf(subject, 'shop.example')).toBe(ann)
  })

  it('is behind what is almost a subject, or an account itself', async () => {
    const subject = await subjectOf(ann, 'shop.example')
    // The last letter carries four bits: its neighbours stand for the same bytes.
    const spellings = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_']
      .map((letter) => subject.slice(0, -1) + letter)
      .filter((text) => text !== subject)
    for (const text of [...spellings, ...mutations(subject, 100), ann, '', `${ann}${ann}`]) {
      expect([text, await accountOf(text, 'shop.example')]).toEqual([text, undefined])
    }
  })
})
