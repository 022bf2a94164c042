/** The contract of an upstream provider: what every kind of driver keeps, whatever the provider says or does. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import {
  type Arrival,
  type Departed,
  type Departure,
  type Upstream,
  UpstreamError,
} from '../../src/platform/upstream.ts'

/** Somebody at the provider, in the words of OIDC; the bench says it in the provider's. An absent subject is left out. */
export interface UpstreamPerson {
  readonly subject?: unknown
  readonly claims: { readonly [claim: string]: unknown }
}

export type UpstreamTrouble = 'slow' | 'failing' | 'dead' | 'garbled' | 'none'

export interface UpstreamBench {
  /** A driver that has asked nothing yet. */
  create(): Upstream
  readonly issuer: string
  readonly redirectUri: string
  /** Goes where a person would be sent, does it, and comes back with this. */
  travel(departed: Departed, what: UpstreamPerson | 'cancel' | 'error'): Promise<Pick<Arrival, 'method' | 'parameters'>>
  /** From now on, to requests of ours. Absent where no request is made between the legs. */
  trouble?(kind: UpstreamTrouble): Promise<void>
  close(): Promise<void>
}

export interface UpstreamTraits {
  /** Whether a positive integer is a subject (APIs with numeric ids). */
  readonly numericSubjects?: boolean
}

const STATE = 'state-of-this-departure'

/** The failure that work ends with; any other end fails the test. */
export async function upstreamFailure(work: Promise<unknown>): Promise<UpstreamError> {
  const ended = await work.then(
    (value) => `an answer: ${JSON.stringify(value)}`,
    (error: unknown) => error,
  )
  if (ended instanceof UpstreamError) return ended
  throw new Error('expected an UpstreamError', { cause: ended })
}

export function describeUpstream(name: string, open: () => Promise<UpstreamBench>, traits: UpstreamTraits = {}): void {
  describe(`upstream ${name}`, () => {
    let bench: UpstreamBench
    let upstream: Upstream
    const departure = (more: Partial<Departure> = {}): Departure => ({
      redirectUri: bench.redirectUri,
      state: STATE,
      ...more,
    })
    const arrival = async (departed: Departed, what: Parameters<UpstreamBench['travel']>[1]): Promise<Arrival> => ({
      ...(await bench.travel(departed, what)),
      redirectUri: bench.redirectUri,
      state: STATE,
      kept: JSON.parse(JSON.stringify(departed.kept)),
    })
    const signIn = async (what: Parameters<UpstreamBench['travel']>[1]) =>
      upstream.finish(await arrival(await upstream.depart(departure()), what))
    const failure = (what: Parameters<UpstreamBench['travel']>[1]) => upstreamFailure(signIn(what))

    beforeAll(async () => {
      bench = await open()
    })
    beforeEach(() => {
      upstream = bench.create()
    })
    afterAll(() => bench.close())

    const VERA = { subject: 'vera', claims: { name: 'Vera Virtanen', email: 'vera@example.com', email_verified: true } }

    it('names who signed in', async () => {
      const identity = await signIn(VERA)
      expect(identity).toMatchObject({ issuer: bench.issuer, subject: 'vera' })
      expect(identity.claims).toEqual({ name: 'Vera Virtanen', email: 'vera@example.com', email_verified: true })
    })

    it('names two people apart, and one person the same', async () => {
      const [first, again, other] = [
        await signIn(VERA),
        await signIn(VERA),
        await signIn({ ...VERA, subject: 'veera' }),
      ]
      expect(again.subject).toBe(first.subject)
      expect(other.subject).not.toBe(first.subject)
    })

    it('departs each time with something of its own, and with the caller’s state', async () => {
      const [one, two] = [await upstream.depart(departure()), await upstream.depart(departure())]
      expect(one.kept).not.toEqual(two.kept)
      expect(one.url).not.toBe(two.url)
    })

    it('refuses an answer to another departure (A14)', async () => {
      const [mine, planted] = [await upstream.depart(departure()), await upstream.depart(departure())]
      const { kept } = mine
      const { failure } = await upstreamFailure(upstream.finish({ ...(await arrival(planted, VERA)), kept }))
      expect(failure).toBe('answer_refused')
    })

    it('refuses an answer with another state', async () => {
      const departed = await upstream.depart(departure())
      const other = { ...(await arrival(departed, VERA)), state: 'another' }
      expect((await upstreamFailure(upstream.finish(other))).failure).toBe('answer_refused')
    })

    it('refuses an answer of which nothing was kept', async () => {
      const departed = await upstream.depart(departure())
      for (const kept of [null, {}, 'text', []]) {
        const lost = { ...(await arrival(departed, VERA)), kept }
        expect((await upstreamFailure(upstream.finish(lost))).failure).toBe('answer_refused')
      }
    })

    it('says that the person went back', async () => {
      expect((await failure('cancel')).failure).toBe('cancelled')
    })

    it('says that the provider could not', async () => {
      expect((await failure('error')).failure).toBe('unavailable')
    })

    const numbers = traits.numericSubjects === true ? [0, -1, 1.5, 2 ** 53] : [0, 1, 12345]
    const subjects = [null, '', ' ', [], ['vera'], {}, true, 'x'.repeat(256), 'a\0b', ...numbers]
    it.each(subjects.map((subject) => [JSON.stringify(subject).slice(0, 20), subject]))(
      'refuses the subject %s (A07)',
      async (_, subject) => {
        expect((await failure({ ...VERA, subject })).failure).toBe('answer_refused')
      },
    )

    it('refuses an answer without a subject (A07)', async () => {
      expect((await failure({ claims: VERA.claims })).failure).toBe('answer_refused')
    })

    it.each([[false], ['true'], ['false'], [1], [null], [[true]]])(
      'takes email_verified %j for false (A02)',
      async (email_verified) => {
        const { claims } = await signIn({ subject: 'vera', claims: { email: 'vera@example.com', email_verified } })
        expect(claims).toMatchObject({ email: 'vera@example.com', email_verified: false })
      },
    )

    it('takes an e-mail address without email_verified for unverified (A02)', async () => {
      const { claims } = await signIn({ subject: 'vera', claims: { email: 'vera@example.com' } })
      expect(claims).toMatchObject({ email: 'vera@example.com', email_verified: false })
    })

    it.each([[['a@example.com']], [{ a: 1 }], [7], [''], [`${'x'.repeat(300)}@example.com`]])(
      'takes no e-mail address from %j',
      async (email) => {
        const { claims } = await signIn({ subject: 'vera', claims: { email, email_verified: true } })
        expect(claims).not.toHaveProperty('email')
        expect(claims).not.toHaveProperty('email_verified')
      },
    )

    it('drops from a hostile profile what is over its bounds, and keeps the rest', async () => {
      const name = 'n'.repeat(3000)
      const identity = await signIn({
        subject: 'vera',
        claims: { ...VERA.claims, name, picture: `javascript:alert(1)` },
      })
      expect(identity.claims).not.toHaveProperty('name')
      expect(identity.claims.email).toBe('vera@example.com')
      for (const hostile of ['a\0b', '\ud800', { deep: name }]) {
        const { claims } = await signIn({ subject: 'vera', claims: { ...VERA.claims, name: hostile } })
        expect(JSON.stringify(claims)).not.toMatch(/nnn|\\u0000|\\ud800/)
      }
      expect(JSON.stringify(identity).length).toBeLessThan(33_000)
    })

    it('refuses a profile of megabytes', async () => {
      const name = 'n'.repeat(300_000)
      expect((await failure({ subject: 'vera', claims: { name } })).failure).toBe('answer_refused')
    })

    it('reports what it finds, without a person', async () => {
      const { issuer, found, problems } = await upstream.inspect()
      expect({ issuer, problems }).toEqual({ issuer: bench.issuer, problems: [] })
      expect(Object.keys(found).length).toBeGreaterThan(1)
    })

    describe('a provider in trouble', () => {
      const troubled = async (kind: UpstreamTrouble): Promise<UpstreamError | undefined> => {
        if (bench.trouble === undefined) return undefined
        const arrived = await arrival(await upstream.depart(departure()), VERA)
        await bench.trouble(kind)
        try {
          return await upstreamFailure(upstream.finish(arrived))
        } finally {
          await bench.trouble('none')
        }
      }

      it.each(['failing', 'dead'] as const)('that is %s is unavailable', async (kind) => {
        const error = await troubled(kind)
        if (bench.trouble !== undefined) expect(error?.failure).toBe('unavailable')
      })

      it('that is slow is unavailable within five seconds', async () => {
        const started = performance.now()
        const error = await troubled('slow')
        expect(performance.now() - started).toBeLessThan(6000)
        if (bench.trouble !== undefined) expect(error?.failure).toBe('unavailable')
      })

      it('that answers no JSON is refused', async () => {
        const error = await troubled('garbled')
        if (bench.trouble !== undefined) expect(error?.failure).toBe('answer_refused')
      })
    })
  })
}
