import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, it } from '@jest/globals'
import { type AccountSignInDeps, createAccountSignInService } from '../../../src/features/account_sign_in/service.ts'
import type { RedeemedCode } from '../../../src/features/account_sign_in/types.ts'
import type { AccountView } from '../../../src/interaction/step.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { DEFAULT_LEVELS } from '../../support/levels.ts'

const ISSUER = 'https://id.example'
const START = Date.parse('2026-11-01T12:00:00.000Z')
const seconds = (milliseconds: number) => Math.floor(milliseconds / 1000)

const ann: AccountView = {
  accountId: 'ann',
  email: 'ann@example.com',
  emailVerified: true,
  active: true,
  epoch: 0,
  factors: [],
}

describe('the account pages as a client', () => {
  let now: number
  let tokens: number
  let accounts: Map<string, AccountView>
  let sessions: Map<string, { accountId: string; seenAt: Date; upstreams?: readonly string[] }>
  let closed: boolean
  let redeemed: RedeemedCode | undefined
  let redemptions: string[][]
  let log: string[]
  let service: ReturnType<typeof createAccountSignInService>
  const secretBox = createSecretBox([Buffer.alloc(32, 7)])

  beforeEach(() => {
    now = START
    closed = false
    tokens = 0
    accounts = new Map([['ann', ann]])
    sessions = new Map([['s1', { accountId: 'ann', seenAt: new Date(START) }]])
    redeemed = undefined
    redemptions = []
    log = []
    const deps: AccountSignInDeps = {
      issuer: ISSUER,
      clientId: 'genkan-account',
      authorizationEndpoint: `${ISSUER}/auth`,
      secretBox,
      clock: { now: () => new Date(now) },
      newToken: () => `token-${tokens++}`,
      redeem: async (...request) => {
        redemptions.push(request)
        return redeemed
      },
      isClosed: async (_, ...by) => closed && !by.includes('acme'),
      sessions: {
        findLive: async (uid) => sessions.get(uid),
        touch: async (uid) => void log.push(`touch ${uid}`),
        end: async (uid, reason) => log.push(`end ${uid} ${reason}`),
      },
      accounts: { view: async (accountId) => accounts.get(accountId) },
      levels: DEFAULT_LEVELS,
    }
    service = createAccountSignInService(deps)
  })

  const leave = (more: { fresh?: AccountView; returnTo?: string } = {}, pending?: string) => {
    const left = service.leave({ returnTo: '/account/profile', ...more }, pending)
    const params = new URL(left.url).searchParams
    return { ...left, params, state: params.get('state') ?? '', nonce: params.get('nonce') ?? '' }
  }

  const redeemAs = (nonce: string, more: Partial<RedeemedCode> = {}) => {
    redeemed = {
      accountId: 'ann',
      sessionUid: 's1',
      authTime: seconds(now),
      acr: 'urn:genkan:acr:basic',
      nonce,
      ...more,
    }
  }

  async function signIn(): Promise<string> {
    const { pending, state, nonce } = leave()
    redeemAs(nonce)
    const arrival = await service.arrive({ code: 'c', state, iss: ISSUER }, pending)
    if (arrival.kind !== 'signed_in') throw new Error(`not signed in: ${arrival.kind}`)
    return arrival.ticket
  }

  describe('leaving', () => {
    it('asks with a code challenge, a state and a nonce of its own (RFC 7636 §4.3, OIDC Core §3.1.2.1)', () => {
      const { url, params } = leave()
      expect(url.startsWith(`${ISSUER}/auth?`)).toBe(true)
      const challenge = createHash('sha256').update('token-2').digest('base64url')
      expect(Object.fromEntries(params)).toEqual({
        client_id: 'genkan-account',
        response_type: 'code',
        scope: 'openid',
        redirect_uri: `${ISSUER}/account/callback`,
        state: 'token-0',
        nonce: 'token-1',
        code_challenge: challenge,
        code_challenge_method: 'S256',
      })
    })

    it('asks for a login when it must be fresh, naming the account and its language', () => {
      const { params } = leave({ fresh: { ...ann, locale: 'fi' } })
      expect([params.get('prompt'), params.get('ui_locales')]).toEqual(['login', 'fi'])
      expect(params.get('login_hint')).toBe('ann@example.com')
    })

    it('keeps the verifier from the browser', () => {
      const { pending, url } = leave()
      expect(pending).not.toContain('token-2')
      expect(url).not.toContain('token-2')
    })

    it('lets several tabs be on their way, but the cookie never outgrows a browser', async () => {
      const first = leave()
      const second = leave({}, first.pending)
      redeemAs(first.nonce)
      expect((await service.arrive({ code: 'c', state: first.state, iss: ISSUER }, second.pending)).kind).toBe(
        'signed_in',
      )
      let last = second
      for (let tab = 0; tab < 20; tab++) last = leave({}, last.pending)
      expect(last.pending.length).toBeLessThan(2000)
    })
  })

  describe('arriving', () => {
    it('redeems the code with the verifier and brings the person back to the page', async () => {
      const { pending, state, nonce } = leave()
      redeemAs(nonce)
      const arrival = await service.arrive({ code: 'the-code', state, iss: ISSUER }, pending)
      expect(arrival).toMatchObject({ kind: 'signed_in', returnTo: '/account/profile', pending: undefined })
      expect(redemptions).toEqual([['the-code', 'token-2', `${ISSUER}/account/callback`]])
    })

    it('blocked cookies: an answer without the cookie of this browser goes nowhere, and is no loop', async () => {
      const { state } = leave()
      expect(await service.arrive({ code: 'c', state, iss: ISSUER }, undefined)).toEqual({ kind: 'no_cookie' })
      expect(redemptions).toEqual([])
    })

    it('login CSRF: the answer to another browser is not taken', async () => {
      const mine = leave()
      const attackers = leave()
      redeemAs(attackers.nonce)
      expect(await service.arrive({ code: 'c', state: attackers.state, iss: ISSUER }, mine.pending)).toEqual({
        kind: 'unknown',
      })
      expect(redemptions).toEqual([])
    })

    it('an answer counts once', async () => {
      const { pending, state, nonce } = leave()
      const other = leave({}, pending)
      redeemAs(nonce)
      const arrival = await service.arrive({ code: 'c', state, iss: ISSUER }, other.pending)
      if (arrival.kind !== 'signed_in') throw new Error(arrival.kind)
      expect((await service.arrive({ code: 'c', state, iss: ISSUER }, arrival.pending)).kind).toBe('unknown')
    })

    it.each([
      ['a code that cannot be redeemed', () => {}],
      ['a code of another request (nonce)', () => redeemAs('another')],
      ['a session that has ended', (nonce: string) => redeemAs(nonce, { sessionUid: 'ended' })],
      ['a session of another account', (nonce: string) => redeemAs(nonce, { accountId: 'bob' })],
    ])('%s ends on a page, not in a loop', async (_, prepare) => {
      const { pending, state, nonce } = leave()
      prepare(nonce)
      expect((await service.arrive({ code: 'c', state, iss: ISSUER }, pending)).kind).toBe('refused')
    })

    it.each([
      [{ error: 'access_denied', iss: ISSUER }, 'access_denied'],
      [{ error: 'login_required', iss: ISSUER }, 'login_required'],
      [{ code: 'c', iss: 'https://evil.example' }, 'access_denied'],
      [{ code: 'c' }, 'access_denied'],
      [{ iss: ISSUER }, 'server_error'],
    ])('RFC 9207 and errors: %j', async (response, error) => {
      const { pending, state } = leave()
      expect(await service.arrive({ ...response, state }, pending)).toEqual({ kind: 'refused', error })
      expect(redemptions).toEqual([])
    })

    it.each([[{}], [{ state: ['a', 'b'] }], [{ state: 'x'.repeat(1000) }], [{ state: 'x', code: ['a', 'b'] }], [null]])(
      'broken answers begin again: %j',
      async (query) => {
        expect((await service.arrive(query, leave().pending)).kind).toBe('unknown')
      },
    )

    it('after an hour it is too late', async () => {
      const { pending, state, nonce } = leave()
      now += 3_601_000
      redeemAs(nonce)
      expect((await service.arrive({ code: 'c', state, iss: ISSUER }, pending)).kind).toBe('unknown')
    })

    it('a changed cookie is worth nothing', async () => {
      const { pending, state, nonce } = leave()
      redeemAs(nonce)
      const forged = secretBox.seal('[]', 'account_ticket')
      for (const cookie of [`${pending.slice(0, -2)}xx`, forged, 'x'.repeat(5000), '']) {
        expect((await service.arrive({ code: 'c', state, iss: ISSUER }, cookie)).kind).toBe('unknown')
      }
    })

    it('a fresh authentication that was none is refused instead of asked for again', async () => {
      const { pending, state, nonce } = leave({ fresh: ann })
      redeemAs(nonce, { authTime: seconds(START) - 3600 })
      expect(await service.arrive({ code: 'c', state, iss: ISSUER }, pending)).toEqual({
        kind: 'refused',
        error: 'server_error',
      })
    })

    it('whoever signs in instead does not inherit the act that was begun', async () => {
      accounts.set('bob', { ...ann, accountId: 'bob' })
      sessions.set('s2', { accountId: 'bob', seenAt: new Date(START) })
      const { pending, state, nonce } = leave({ fresh: ann, returnTo: '/account/delete' })
      redeemAs(nonce, { accountId: 'bob', sessionUid: 's2' })
      expect(await service.arrive({ code: 'c', state, iss: ISSUER }, pending)).toMatchObject({
        kind: 'signed_in',
        returnTo: '/account',
      })
    })
  })

  describe('the ticket', () => {
    it('stands for a live session of an active account', async () => {
      const ticket = await signIn()
      expect(await service.read(ticket)).toEqual({
        accountId: 'ann',
        sessionUid: 's1',
        authTime: new Date(START),
        acr: 'urn:genkan:acr:basic',
        account: ann,
      })
      const read = [ticket, ...ticket.split('.').map((part) => Buffer.from(part, 'base64url').toString('latin1'))]
      for (const text of read) expect(text).not.toContain('sessionUid')
    })

    it('A59: is worth nothing once the session has ended', async () => {
      const ticket = await signIn()
      sessions.delete('s1')
      expect(await service.read(ticket)).toBeUndefined()
    })

    it('is worth nothing once the domain is closed to what the session was begun by', async () => {
      const ticket = await signIn()
      closed = true
      expect(await service.read(ticket)).toBeUndefined()
      sessions.set('s1', { accountId: 'ann', seenAt: new Date(START), upstreams: ['acme'] })
      expect(await service.read(ticket)).toMatchObject({ accountId: 'ann' })
    })

    it.each([
      ['disabled', { active: false }],
      ['unproven', { emailVerified: false }],
    ])('A53: is worth nothing for an account that is %s', async (_, change) => {
      const ticket = await signIn()
      accounts.set('ann', { ...ann, ...change })
      expect(await service.read(ticket)).toBeUndefined()
    })

    it('is worth nothing for a deleted account', async () => {
      const ticket = await signIn()
      accounts.clear()
      expect(await service.read(ticket)).toBeUndefined()
    })

    it('cannot be forged, changed, or made of another sealed value', async () => {
      const ticket = await signIn()
      const plain = JSON.stringify({ accountId: 'ann', sessionUid: 's1', authTime: 0 })
      const foreign = secretBox.seal(plain, 'account_pending')
      for (const forged of [undefined, '', 'x', plain, foreign, `${ticket}x`]) {
        expect(await service.read(forged)).toBeUndefined()
      }
    })

    it('notes the use of the session at the most every five minutes', async () => {
      const ticket = await signIn()
      await service.read(ticket)
      expect(log).toEqual([])
      now += 301_000
      await service.read(ticket)
      expect(log).toEqual(['touch s1'])
    })

    it('is fresh for five minutes after the proof', async () => {
      const me = await service.read(await signIn())
      if (me === undefined) throw new Error('not signed in')
      now += 300_000
      expect(service.isFresh(me)).toBe(true)
      now += 1
      expect(service.isFresh(me)).toBe(false)
    })

    it('signing out ends its session, whatever state the account is in', async () => {
      const ticket = await signIn()
      accounts.clear()
      await service.signOut(ticket)
      await service.signOut('forged')
      await service.signOut(undefined)
      expect(log).toEqual(['end s1 logout'])
    })
  })
})
