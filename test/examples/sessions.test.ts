import { describe, expect, it } from '@jest/globals'
import { createSessions } from '../../examples/web/sessions.ts'

const signedIn = (sub: string, sid?: string) => ({ claims: { sub, sid }, idToken: 'id', accessToken: 'at' })

describe('the web example’s sessions', () => {
  it('are found by their id until they end', () => {
    const sessions = createSessions()
    const session = sessions.create(signedIn('ada'))
    expect(sessions.find(session.id)).toBe(session)
    sessions.end(session)
    expect(sessions.find(session.id)).toBeUndefined()
    expect(sessions.find(undefined)).toBeUndefined()
  })

  it('end after their time', () => {
    const sessions = createSessions({ seconds: 0 })
    expect(sessions.find(sessions.create().id)).toBeUndefined()
  })

  it('do not grow without bound: the oldest goes first', () => {
    const sessions = createSessions({ most: 2 })
    const [first, second, third] = [sessions.create(), sessions.create(), sessions.create()]
    expect([first, second, third].map(({ id }) => sessions.find(id) !== undefined)).toEqual([false, true, true])
  })

  it('end by sid: that sign-in only, and only if it is of the named account', () => {
    const sessions = createSessions()
    const [here, there] = [sessions.create(signedIn('ada', 's1')), sessions.create(signedIn('ada', 's2'))]
    expect(sessions.endBy({ sid: 's1', sub: 'grace' })).toBe(0)
    expect(sessions.endBy({ sid: 's1', sub: 'ada' })).toBe(1)
    expect(sessions.find(here.id)).toBeUndefined()
    expect(sessions.find(there.id)).toBeDefined()
  })

  it('end by sub alone: every sign-in of that account and nobody else’s', () => {
    const sessions = createSessions()
    const grace = sessions.create(signedIn('grace', 's3'))
    sessions.create(signedIn('ada', 's1'))
    sessions.create(signedIn('ada', 's2'))
    sessions.create()
    expect(sessions.endBy({ sub: 'ada' })).toBe(2)
    expect(sessions.endBy({})).toBe(0)
    expect(sessions.find(grace.id)).toBeDefined()
  })
})
