import { describe, expect, it } from '@jest/globals'
import { type CaptchaSettings, createCaptcha } from '../../src/platform/captcha.ts'

const SETTINGS: CaptchaSettings = {
  ...{ vendor: 'test', siteKey: 'site-key', secret: 'the secret', verifyUrl: 'https://v.example/verify' },
  ...{ script: 'https://w.example/w.js', widgetClass: 'w', attributes: {}, responseField: 'w', sendsSiteKey: false },
  sources: { frame: [], connect: [], style: [] },
}
const IP = '203.0.113.7'

type Answer = () => Promise<Response>

function bench(settings: Partial<CaptchaSettings> = {}) {
  let time = Date.parse('2026-11-26T12:00:00Z')
  const asked: { body: object; headers: Headers }[] = []
  const warnings: unknown[] = []
  const vendor: { answer: Answer } = { answer: said({ success: true }) }
  const captcha = createCaptcha({
    settings: { ...SETTINGS, ...settings },
    http: {
      fetch: async (_, { body, headers } = {}) => {
        asked.push({ body: Object.fromEntries(new URLSearchParams(String(body))), headers: new Headers(headers) })
        return vendor.answer()
      },
    },
    hostname: 'id.example',
    clock: { now: () => new Date(time) },
    warn: (details, message) => warnings.push({ ...details, message }),
  })
  const later = (seconds: number) => {
    time += seconds * 1000
  }
  return { captcha, vendor, asked, warnings, later }
}

const said =
  (answer: unknown, status = 200): Answer =>
  async () =>
    new Response(typeof answer === 'string' ? answer : JSON.stringify(answer), { status })

describe('what is asked', () => {
  it('secret, token and address, as a form', async () => {
    const { captcha, asked } = bench()
    await captcha.check('token', IP)
    expect(asked.map(({ body }) => body)).toEqual([{ secret: 'the secret', response: 'token', remoteip: IP }])
    expect(asked[0]?.headers.has('x-api-key')).toBe(false)
  })

  it('the secret as a header and the site key, of vendors who want them so', async () => {
    const { captcha, asked } = bench({ secretHeader: 'X-API-Key', sendsSiteKey: true })
    await captcha.check('token', IP)
    expect(asked.map(({ body }) => body)).toEqual([{ response: 'token', remoteip: IP, sitekey: 'site-key' }])
    expect(asked[0]?.headers.get('x-api-key')).toBe('the secret')
  })
})

describe('what is answered', () => {
  it.each([
    ['success', { success: true }, 'passed'],
    ['our host', { success: true, hostname: 'id.example' }, 'passed'],
    ['our host with a port', { success: true, hostname: 'id.example:8443' }, 'passed'],
    ['a host that begins like ours', { success: true, hostname: 'id.example.evil.example' }, 'refused'],
    ['our host as a user name', { success: true, hostname: 'id.example@evil.example' }, 'refused'],
    ['no host at all', { success: true, hostname: '://' }, 'refused'],
    ['no host in much traffic (hCaptcha)', { success: true, hostname: 'not-provided' }, 'passed'],
    ['an empty host', { success: true, hostname: '' }, 'passed'],
    [
      'our origin (Friendly Captcha)',
      { success: true, data: { challenge: { origin: 'https://id.example' } } },
      'passed',
    ],
    ['another host', { success: true, hostname: 'evil.example' }, 'refused'],
    ['a host above ours', { success: true, hostname: 'example' }, 'refused'],
    ['another origin', { success: true, data: { challenge: { origin: 'https://evil.example' } } }, 'refused'],
    ['a token that is none', { success: false, 'error-codes': ['invalid-input-response'] }, 'refused'],
    ['a token twice', { success: false, 'error-codes': ['timeout-or-duplicate'] }, 'refused'],
    ['a token twice (Friendly Captcha)', { success: false, error: { error_code: 'response_duplicate' } }, 'refused'],
    ['no reason', { success: false }, 'refused'],
    ['a wrong secret', { success: false, 'error-codes': ['invalid-input-secret'] }, 'away'],
    ['a wrong secret (Friendly Captcha)', { success: false, error: { error_code: 'auth_invalid' } }, 'away'],
    ['keys that are no pair', { success: false, 'error-codes': ['sitekey-secret-mismatch'] }, 'away'],
    ['its own failure', { success: false, 'error-codes': ['internal-error'] }, 'away'],
    ['the word true', { success: 'true' }, 'away'],
    ['a one', { success: 1 }, 'away'],
    ['nothing', {}, 'away'],
    ['null', 'null', 'away'],
    ['a list', [{ success: true }], 'away'],
    ['no JSON', '<html>success: true</html>', 'away'],
  ])('%s', async (_, answer, verdict) => {
    const { captcha, vendor } = bench()
    vendor.answer = said(answer)
    expect(await captcha.check('token', IP)).toBe(verdict)
  })

  it('a failure of the token by a status of its own is about the token', async () => {
    const { captcha, vendor } = bench()
    vendor.answer = said({ success: false, 'error-codes': ['invalid-input-response'] }, 400)
    expect(await captcha.check('token', IP)).toBe('refused')
    expect(captcha.widget()).toBeDefined()
  })
})

describe('a vendor that is away', () => {
  const failures: [string, Answer][] = [
    ['unreachable', async () => Promise.reject(new Error('unreachable'))],
    ...[500, 503, 429, 302, 307].map((status): [string, Answer] => [`${status}`, said({ success: true }, status)]),
  ]
  it.each(failures)('%s: nobody passes, and it rests for half a minute', async (_, answer) => {
    const { captcha, vendor, asked, warnings, later } = bench()
    expect(captcha.widget()).toMatchObject({ siteKey: 'site-key' })
    vendor.answer = answer
    expect(await captcha.check('token', IP)).toBe('away')
    expect(captcha.widget()).toBeUndefined()
    vendor.answer = said({ success: true })
    expect(await captcha.check('token', IP)).toBe('away')
    expect([asked.length, warnings.length]).toEqual([1, 1])
    later(30)
    expect(captcha.widget()).toBeDefined()
    expect(await captcha.check('token', IP)).toBe('passed')
  })

  it('what somebody’s token brings about makes nobody else’s puzzle ours', async () => {
    const { captcha, vendor } = bench()
    for (const answer of ['no JSON', { success: false, 'error-codes': ['bad-request'] }]) {
      vendor.answer = said(answer, 400)
      expect(await captcha.check('token', IP)).toBe('away')
      expect(captcha.widget()).toBeDefined()
    }
  })

  it('one that hangs is asked twenty questions at once and no more', async () => {
    const { captcha, vendor, asked } = bench()
    const { promise, resolve } = Promise.withResolvers<Response>()
    vendor.answer = () => promise
    const open = Array.from({ length: 20 }, (_, i) => captcha.check(`token ${i}`, IP))
    expect(await captcha.check('one more', IP)).toBe('away')
    expect(asked).toHaveLength(20)
    resolve({ status: 200, text: async () => '{"success":false}' } as Response)
    expect(new Set(await Promise.all(open))).toEqual(new Set(['refused']))
    vendor.answer = said({ success: true })
    expect(await captcha.check('token', IP)).toBe('passed')
  })
})

it('never writes the secret, the token or the address into the log', async () => {
  const { captcha, vendor, warnings, later } = bench()
  const answers = [{ success: true, hostname: 'evil.example' }, { success: false, 'error-codes': ['bad-request'] }, 'x']
  for (const answer of answers) {
    vendor.answer = said(answer)
    await captcha.check('t0ken', IP)
  }
  vendor.answer = async () => Promise.reject(new Error('outbound request failed: timed_out'))
  later(31)
  await captcha.check('t0ken', IP)
  expect(warnings).toHaveLength(4)
  expect(JSON.stringify(warnings)).not.toMatch(/the secret|t0ken|203\.0\.113/)
})

describe('whether the secret is known', () => {
  it('is learned from the refusal of a token that is none', async () => {
    const { captcha, vendor, asked } = bench()
    vendor.answer = said({ success: false, 'error-codes': ['invalid-input-response'] })
    expect(await captcha.secretIsKnown()).toBe(true)
    expect(asked[0]?.body).toEqual({ secret: 'the secret', response: 'no-token' })
    vendor.answer = said({ success: false, 'error-codes': ['invalid-input-secret'] })
    expect(await captcha.secretIsKnown()).toBe(false)
    vendor.answer = said('what?')
    await expect(captcha.secretIsKnown()).rejects.toThrow('none of a siteverify API')
  })
})
