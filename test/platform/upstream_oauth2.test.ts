/** The driver of plain OAuth 2 with the templates of GitHub and Facebook, against fakes that speak as their documents do. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createHttpClient } from '../../src/platform/http_client.ts'
import type { Arrival, Departed, Upstream } from '../../src/platform/upstream.ts'
import { createOAuth2Upstream, type OAuth2UpstreamSettings } from '../../src/platform/upstream_oauth2.ts'
import { facebook, github, linkedin } from '../../src/platform/upstream_presets.ts'
import { describeUpstream, type UpstreamPerson, upstreamFailure } from '../contracts/upstream.ts'
import { type FakeSocial, SOCIAL, startFakeSocial } from '../support/fake_social.ts'

const REDIRECT = 'https://genkan.test.example/upstream/fake/callback'
const STATE = 'state-of-this-departure'
const http = createHttpClient({ allowedNetworks: ['127.0.0.0/8'] })

/** The settings with every endpoint at the fake. */
function at<Settings extends OAuth2UpstreamSettings>(settings: Settings, origin: string): Settings {
  const text = JSON.stringify(settings, (name, value) =>
    /endpoint$/i.test(name) ? String(value).replace(/^https:\/\/[^/]+/, origin) : value,
  )
  return JSON.parse(text) as Settings
}

const create = (settings: OAuth2UpstreamSettings, origin: string): Upstream =>
  createOAuth2Upstream(at(settings, origin), { http, clock: { now: () => new Date() } })

async function travel(url: string): Promise<Pick<Arrival, 'method' | 'parameters'>> {
  const { headers } = await fetch(url, { redirect: 'manual' })
  const back = new URL(headers.get('location') ?? '')
  expect(back.href.startsWith(REDIRECT)).toBe(true)
  return { method: 'GET', parameters: Object.fromEntries(back.searchParams) }
}

describe('plain OAuth 2', () => {
  let fake: FakeSocial
  beforeAll(async () => {
    fake = await startFakeSocial()
  })
  afterAll(() => fake.close())
  beforeEach(() => {
    Object.assign(fake, { refusal: undefined, iss: undefined, faults: {} })
    fake.requests.length = 0
    fake.answers = {
      '/user': {
        id: 583231,
        login: 'vera',
        name: 'Vera',
        email: 'public@example.com',
        avatar_url: 'https://a.example/p',
      },
      '/user/emails': [
        { email: 'old@example.com', primary: false, verified: true },
        { email: 'vera@example.com', primary: true, verified: true },
      ],
      '/me': {
        id: '10',
        first_name: 'Vera',
        email: 'vera@example.com',
        picture: { data: { url: 'https://a.example/p' } },
      },
      '/v2/userinfo': { sub: 'Aq1', name: 'Vera', email: 'vera@example.com', email_verified: true },
    }
  })
  const go = (upstream: Upstream) => upstream.depart({ redirectUri: REDIRECT, state: STATE })
  const arrive = async ({ url, kept }: Departed): Promise<Arrival> => ({
    ...(await travel(url)),
    ...{ redirectUri: REDIRECT, state: STATE, kept },
  })
  const signIn = async (upstream: Upstream) => upstream.finish(await arrive(await go(upstream)))
  const atGitHub = (more: Partial<OAuth2UpstreamSettings> = {}) => create({ ...github(SOCIAL), ...more }, fake.origin)

  describe('GitHub', () => {
    it('names people by number, with the primary address and not the public one', async () => {
      expect(await signIn(atGitHub())).toEqual({
        issuer: 'https://github.com/login/oauth',
        subject: '583231',
        claims: {
          ...{ name: 'Vera', preferred_username: 'vera', picture: 'https://a.example/p' },
          ...{ email: 'vera@example.com', email_verified: true },
        },
      })
    })

    it.each([
      [
        [{ email: 'vera@example.com', primary: true, verified: false }],
        { email: 'vera@example.com', email_verified: false },
      ],
      [
        [{ email: 'vera@example.com', primary: true, verified: 'true' }],
        { email: 'vera@example.com', email_verified: false },
      ],
      [[{ email: 'vera@example.com', primary: 'true', verified: true }], {}],
      [[{ email: 'vera@example.com', primary: false, verified: true }], {}],
      [[null, 7, 'x'], {}],
      [[], {}],
    ])('takes from the addresses %j no more than they say (A02)', async (emails, expected) => {
      fake.answers['/user/emails'] = emails
      const { email, email_verified } = (await signIn(atGitHub())).claims
      expect({ email, email_verified }).toEqual({ email: undefined, email_verified: undefined, ...expected })
    })

    it('shows PKCE and state to the browser, and keeps the verifier', async () => {
      const departed = await go(atGitHub({ parameters: { state: 'theirs', allow_signup: 'false' } }))
      const shown = Object.fromEntries(new URL(departed.url).searchParams)
      expect(shown).toMatchObject({ state: STATE, scope: 'read:user user:email', code_challenge_method: 'S256' })
      expect(shown.allow_signup).toBe('false')
      expect(departed.url).not.toContain((departed.kept as { verifier: string }).verifier)
    })

    it('reads errors that come with status 200, and repeats nothing of them (A97)', async () => {
      const wrong = await upstreamFailure(signIn(atGitHub({ clientSecret: 'wrong' })))
      expect(wrong).toMatchObject({ failure: 'misconfigured', reason: 'incorrect_client_credentials' })
      const upstream = atGitHub()
      const arrival = await arrive(await go(upstream))
      await upstream.finish(arrival)
      const twice = await upstreamFailure(upstream.finish(arrival))
      expect(twice).toMatchObject({ failure: 'answer_refused', reason: 'bad_verification_code' })
      expect(`${wrong.message}${twice.message}`).not.toContain('theirs')
    })

    it('checks whose answer it is, where that is said (A75)', async () => {
      fake.iss = 'https://github.com/login/oauth'
      expect(await signIn(atGitHub())).toMatchObject({ subject: '583231' })
      for (const iss of ['https://evil.example', '', 'https://github.com']) {
        fake.iss = iss
        expect((await upstreamFailure(signIn(atGitHub()))).reason).toBe('iss_mismatch')
      }
    })

    it('cannot be asked to let the person show it again', async () => {
      const fresh = { redirectUri: REDIRECT, state: STATE, fresh: true }
      expect((await upstreamFailure(atGitHub().depart(fresh))).failure).toBe('level_unmet')
    })

    it.each([
      [{ access_token: '', token_type: 'bearer' }],
      [{ access_token: 7, token_type: 'bearer' }],
      [{ access_token: 'x', token_type: 'mac' }],
      [{ access_token: 'x', token_type: 7 }],
      [{}],
    ])('refuses the token answer %j', async (body) => {
      fake.faults['/login/oauth/access_token'] = { body: JSON.stringify(body) }
      expect((await upstreamFailure(signIn(atGitHub()))).reason).toBe('token_answer_invalid')
    })

    it.each(['/user', '/user/emails'])('refuses %s when it refuses the token', async (path) => {
      fake.faults[path] = { status: 403, body: '{}' }
      expect(await upstreamFailure(signIn(atGitHub()))).toMatchObject({ reason: 'profile_refused' })
    })

    it('takes a profile’s own members only', async () => {
      fake.answers['/user'] = JSON.parse('{"id":5,"__proto__":{"name":"planted"}}')
      const settings = { subject: 'id', claims: { name: 'constructor.name', nickname: '__proto__.name' } }
      expect((await signIn(atGitHub({ ...settings, emails: undefined }))).claims).toEqual({ nickname: 'planted' })
      expect((await upstreamFailure(signIn(atGitHub({ subject: 'constructor.name' })))).reason).toBe('subject_invalid')
      fake.answers['/user'] = { id: 5 }
      const inherited = { subject: 'id', claims: { nickname: '__proto__' }, emails: undefined }
      expect((await signIn(atGitHub(inherited))).claims).toEqual({})
    })
  })

  describe('Facebook', () => {
    it('is shown proof of the secret, and never vouches for an e-mail address', async () => {
      expect(await signIn(create(facebook(SOCIAL), fake.origin))).toEqual({
        issuer: 'https://www.facebook.com',
        subject: '10',
        claims: {
          ...{ given_name: 'Vera', picture: 'https://a.example/p' },
          ...{ email: 'vera@example.com', email_verified: false },
        },
      })
      const me = fake.requests.find(({ path }) => path === '/me')
      expect(me?.query.get('fields')).toContain('email')
      expect(me?.query.has('access_token')).toBe(false)
      const without = create({ ...facebook(SOCIAL), appSecretProof: false }, fake.origin)
      expect((await upstreamFailure(signIn(without))).reason).toBe('profile_refused')
    })

    it('answers errors that are objects', async () => {
      const wrong = create(facebook({ ...SOCIAL, clientSecret: 'wrong' }), fake.origin)
      expect((await upstreamFailure(signIn(wrong))).failure).toBe('answer_refused')
    })

    it('says that the person went back', async () => {
      fake.refusal = { error: 'access_denied', error_reason: 'user_denied', error_description: '<b>theirs</b>' }
      expect((await upstreamFailure(signIn(create(facebook(SOCIAL), fake.origin)))).failure).toBe('cancelled')
    })
  })

  it('asks LinkedIn without PKCE, and believes its boolean', async () => {
    const settings = { ...linkedin(SOCIAL), tokenEndpoint: `${fake.origin}/oauth/access_token` }
    const upstream = create({ ...settings, authorizationEndpoint: `${fake.origin}/oauth/v2/authorize` }, fake.origin)
    const departed = await go(upstream)
    expect(departed.url).not.toContain('code_challenge')
    expect((await upstream.finish(await arrive(departed))).claims).toMatchObject({ email_verified: true })
  })

  it('sends nothing to an address behind us (A70)', async () => {
    const guarded = createHttpClient({ allowedNetworks: [] })
    const settings = at(github(SOCIAL), fake.origin)
    const upstream = createOAuth2Upstream(settings, { http: guarded, clock: { now: () => new Date() } })
    const arrival = await arrive(await go(upstream))
    fake.requests.length = 0
    expect((await upstreamFailure(upstream.finish(arrival))).failure).toBe('misconfigured')
    expect((await upstream.inspect()).problems).toHaveLength(1)
    expect(fake.requests).toEqual([])
  })
})

for (const name of ['GitHub', 'Facebook'] as const) {
  const preset = name === 'GitHub' ? github(SOCIAL) : facebook(SOCIAL)
  // Facebook says nothing of verification: the contract is of what a template with a member for it takes.
  const claims = { ...preset.claims, email: 'email', email_verified: 'verified' }
  const settings = { ...preset, claims, emails: name === 'GitHub' ? preset.emails : undefined }
  describeUpstream(
    `by the template of ${name}`,
    async () => {
      const fake = await startFakeSocial()
      const profilePath = name === 'GitHub' ? '/user' : '/me'
      const tokenPath = name === 'GitHub' ? '/login/oauth/access_token' : '/oauth/access_token'
      const person = ({ claims: said, ...who }: UpstreamPerson): void => {
        const { name: full, email, email_verified: verified } = said
        const id = 'subject' in who ? { id: who.subject } : {}
        const primary = 'email_verified' in said ? { email, primary: true, verified } : { email, primary: true }
        fake.answers = { [profilePath]: { ...id, name: full, email, verified }, '/user/emails': [primary] }
      }
      return {
        issuer: preset.issuer,
        redirectUri: REDIRECT,
        create: () => create(settings, fake.origin),
        async travel({ url }, what) {
          fake.refusal = { cancel: { error: 'access_denied' }, error: { error: 'server_error' } }[String(what)]
          if (typeof what !== 'string') person(what)
          return travel(url)
        },
        async trouble(kind) {
          const faults = {
            ...{ none: {}, slow: { [profilePath]: { delayMs: 20_000 } }, failing: { [profilePath]: { status: 500 } } },
            ...{ dead: { [tokenPath]: { status: 503 } }, garbled: { [profilePath]: { body: 'no JSON' } } },
          }
          fake.faults = faults[kind]
        },
        close: () => fake.close(),
      }
    },
    { numericSubjects: true },
  )
}
