/** What may be declared of those who check persons. */
import { describe, expect, it } from '@jest/globals'
import { readProofings } from '../../../src/features/proofings/schema.ts'

const SECRET = `whsec_${Buffer.alloc(24, 1).toString('base64')}`
const MEMBERS = { framework: 'de_aml', evidence: 'document', valid_days: 365, claims: ['given_name', 'birthdate'] }
const PHOTO = {
  ...{ name: 'photo-id', kind: 'webhook', ...MEMBERS },
  start_url: 'https://vendor.example/start',
  secret: SECRET,
}
const DESK = { name: 'desk', kind: 'manual', ...MEMBERS }

describe('proofings', () => {
  it('are read with what they verify, in their order', () => {
    const read = readProofings([{ ...PHOTO, title: 'Photo ID check' }, DESK], ['bank'])
    const [photo, desk] = 'providers' in read ? [...read.providers.values()] : []
    const identification = { framework: 'de_aml', evidence: 'document', validDays: 365, claims: MEMBERS.claims }
    expect(photo).toMatchObject({ name: 'photo-id', title: 'Photo ID check', identification })
    expect(photo?.webhook).toEqual({ startUrl: PHOTO.start_url, keys: [Buffer.alloc(24, 1)] })
    expect(desk).toMatchObject({ name: 'desk', title: 'desk', identification, webhook: undefined })
  })

  it('may have two secrets while one is changed', () => {
    const read = readProofings([{ ...PHOTO, secret: [SECRET, SECRET] }], [])
    expect('providers' in read && read.providers.get('photo-id')?.webhook?.keys).toHaveLength(2)
  })

  it.each([
    ['no kind', { kind: undefined }, 'kind'],
    ['another kind', { kind: 'redirect' }, 'kind'],
    ['a name with a slash', { name: 'a/b' }, 'name: must be small letters'],
    ['the name of an upstream', { name: 'bank' }, 'name: is that of an upstream'],
    ['a member that is not there', { start: 'x' }, 'Unrecognized key'],
    ['no framework', { framework: undefined }, 'framework'],
    ['no claims', { claims: [] }, 'claims'],
    ['no end', { valid_days: 0 }, 'valid_days'],
    ['a title that turns text around', { title: 'Photo\u202e' }, 'title'],
    ['a start without https', { start_url: 'http://vendor.example/start' }, 'start_url: must be https'],
    ['a start that is a script', { start_url: 'javascript:alert(1)' }, 'start_url: must be https'],
    ['a start with a password', { start_url: 'https://a:b@vendor.example/' }, 'start_url: must not have a user'],
    ['a start with a reference', { start_url: 'https://vendor.example/?reference=x' }, 'parameter reference'],
    ['no secret', { secret: undefined }, 'secret'],
    ['a secret that is short', { secret: 'whsec_c2hvcnQ=' }, 'secret'],
    ['three secrets', { secret: [SECRET, SECRET, SECRET] }, 'secret'],
    ['no list of secrets', { secret: [] }, 'secret'],
  ])('with %s are refused', (_, change, problem) => {
    const { name, ...declared } = { ...PHOTO, ...change }
    const read = readProofings([{ name, ...declared }], ['bank'])
    expect('problems' in read && read.problems.join('\n')).toContain(problem)
    expect('problems' in read && read.problems.every((each) => each.startsWith(`proofings.${name}.`))).toBe(true)
  })

  it('are refused twice, and where a desk has a secret; every problem at once', () => {
    const read = readProofings([PHOTO, PHOTO, { ...DESK, secret: SECRET }], [])
    expect('problems' in read && read.problems).toEqual([
      'proofings.photo-id.name: is declared twice',
      expect.stringContaining('proofings.desk.'),
    ])
  })

  it('may start on this machine itself', () => {
    expect(readProofings([{ ...PHOTO, start_url: 'http://127.0.0.1:9000/start?client=shop' }], [])).toHaveProperty(
      'providers',
    )
  })
})
