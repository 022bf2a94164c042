import { existsSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { ConfigError, loadConfig } from '../src/config/config.ts'
import { FACT_CLASSES } from '../src/events.ts'
import { makeCertificate } from './support/certificates.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')

function directory(): string {
  return mkdtempSync(join(tmpdir(), 'genkan-config-'))
}

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig({ DATA_DIR: directory(), ...env })
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

/** How the file names a value that is elsewhere. */
function reference(name: string): string {
  return `\${${name}}`
}

function yaml(text: string): string {
  const path = join(directory(), 'genkan.yaml')
  writeFileSync(path, text)
  return path
}

describe('loadConfig', () => {
  it('needs nothing: the embedded default on a loopback issuer', () => {
    const dataDir = directory()
    const config = loadConfig({ DATA_DIR: dataDir })
    expect(config).toMatchObject({ issuer: 'http://localhost:3000', embedded: true, https: false, port: 3000 })
    expect(statSync(join(dataDir, 'secret.key')).mode & 0o777).toBe(0o600)
    expect(loadConfig({ DATA_DIR: dataDir }).secretKeys).toEqual(config.secretKeys)
  })

  it('is frozen to its depths', () => {
    const config = loadConfig({ DATA_DIR: directory() })
    expect(() => Object.assign(config.tokens, { codeSeconds: 1 })).toThrow(TypeError)
  })

  describe('certificates of clients', () => {
    const { cert } = makeCertificate({ subject: '/CN=a', ca: true })
    const pem = JSON.stringify(cert + makeCertificate({ subject: '/CN=b', ca: true }).cert)
    const on = (mtls: string, proxies = '[10.0.0.0/8]') => ({
      GENKAN_CONFIG: yaml(`trusted_proxies: ${proxies}\nmtls: ${mtls}\n`),
    })

    it('are off, as is the profile legacy', () => {
      expect(loadConfig({ DATA_DIR: directory() })).toMatchObject({ mtls: undefined, legacyProfile: false })
    })

    it('come by a header of trusted proxies, issued by any of several authorities', () => {
      const good = on(`{ certificate_header: Client-Cert, trusted_ca: ${pem}, origin: "https://mtls.id.example/" }`)
      const { mtls } = loadConfig({ DATA_DIR: directory(), ...good })
      expect(mtls).toMatchObject({ certificateHeader: 'client-cert', origin: 'https://mtls.id.example' })
      expect(mtls?.trustedCa).toHaveLength(2)
    })

    it.each([
      ['no proxies', on('{ certificate_header: Client-Cert }', '[]'), 'mtls: needs trusted_proxies'],
      ['no header', on('{}'), 'mtls.certificate_header'],
      ['a header that is none', on('{ certificate_header: "a b" }'), 'mtls.certificate_header'],
      [
        'no certificate',
        on('{ certificate_header: C, trusted_ca: x }'),
        'mtls.trusted_ca: must be certificates in PEM',
      ],
      [
        'a certificate that is none',
        on(`{ certificate_header: C, trusted_ca: ${JSON.stringify(cert.replace(/\n.{8}/, '\nAAAAAAAA'))} }`),
        'mtls.trusted_ca: must be certificates in PEM',
      ],
      [
        'a path',
        on('{ certificate_header: C, origin: "https://mtls.id.example/x" }'),
        'mtls.origin: must be an origin',
      ],
      ['an unknown member', on('{ certificate_header: C, trust: all }'), 'mtls'],
    ])('with %s are refused', (_name, env, problem) => {
      expect(problemsOf(env)).toContainEqual(expect.stringContaining(problem))
    })
  })

  describe('text messages', () => {
    const on = (sms: string, env: Record<string, string> = {}) => ({
      DATA_DIR: directory(),
      GENKAN_CONFIG: yaml(sms === '' ? 'brands: []\n' : `sms: ${sms}\n`),
      ...env,
    })
    const real = { DATABASE_URL: 'postgres://localhost/genkan', GENKAN_SECRET_KEYS: KEY }

    it('go to files on the embedded default, to any country, and nowhere elsewhere unless a provider is named', () => {
      expect(loadConfig(on('')).sms).toMatchObject({ provider: undefined, countries: 'any' })
      expect(loadConfig(on('', real)).sms).toBeUndefined()
    })

    it('have no country, a budget and a stop unless they are set', () => {
      const provider = '{ url: "https://texts.example/messages", headers: { authorization: "Bearer x" } }'
      expect(loadConfig(on(provider, real)).sms).toEqual({
        provider: {
          url: 'https://texts.example/messages',
          headers: { authorization: 'Bearer x' },
          bodyTemplate: { to: '{to}', text: '{text}', id: '{id}' },
          timeoutSeconds: 10,
        },
        countries: [],
        budget: { prefixPerHour: 100, prefixPerDay: 500, countryPerHour: 1000, countryPerDay: 5000 },
        conversion: { sample: 50, least: 0.2 },
      })
    })

    it.each([
      ['{ url: "ftp://texts.example" }', 'sms.url'],
      ['{ countries: [fi] }', 'sms.countries'],
      ['{ countries: FI }', 'sms.countries'],
      ['{ contries: [FI] }', 'sms.contries: unknown key, did you mean countries?'],
      ['{ headers: { "a b": x } }', 'sms.headers'],
      ['{ timeout_seconds: 0 }', 'sms.timeout_seconds'],
      ['{ budget: { prefix_per_hour: -1 } }', 'sms.budget.prefix_per_hour'],
      ['{ conversion: { least: 2 } }', 'sms.conversion.least'],
      ['{ conversion: { sample: 1 } }', 'sms.conversion.sample'],
    ])('%s is refused at %s', (sms, at) => {
      expect(problemsOf(on(sms, real))).toEqual([expect.stringContaining(at)])
    })
  })

  describe('a CAPTCHA', () => {
    const on = (captcha: string, env: Record<string, string> = {}) => ({
      ...{ DATA_DIR: directory(), GENKAN_CONFIG: yaml(`captcha: ${captcha}\n`), ...env },
    })
    const keys = `site_key: 0xKEY, secret: "${reference('env:CAPTCHA_SECRET')}"`
    const secret = { CAPTCHA_SECRET: 'secret-of-the-vendor' }
    const own = `vendor: custom, ${keys}, script: "https://w.example/w.js", widget_class: w, response_field: w-response`

    it('is nobody’s unless one is named', () => {
      expect(loadConfig({ DATA_DIR: directory() }).captcha).toBeUndefined()
    })

    it.each(['turnstile', 'hcaptcha', 'recaptcha', 'friendly_captcha'])('%s needs two keys only', (vendor) => {
      const { captcha } = loadConfig(on(`{ vendor: ${vendor}, ${keys} }`, secret))
      expect(captcha).toMatchObject({ vendor, siteKey: '0xKEY', secret: 'secret-of-the-vendor' })
      const { script = '', verifyUrl = '', sources } = captcha ?? {}
      for (const url of [script, verifyUrl]) expect(new URL(url).protocol).toBe('https:')
      expect(sources?.frame).not.toEqual([])
    })

    it('of another vendor says everything; its sources are those of its script', () => {
      const { captcha } = loadConfig(on(`{ ${own}, verify_url: "https://v.example/verify" }`, secret))
      expect(captcha).toEqual({
        ...{ vendor: 'custom', siteKey: '0xKEY', secret: 'secret-of-the-vendor', secretHeader: undefined },
        ...{ script: 'https://w.example/w.js', widgetClass: 'w', responseField: 'w-response', attributes: {} },
        ...{ verifyUrl: 'https://v.example/verify', sendsSiteKey: false },
        sources: { frame: ['https://w.example'], connect: ['https://w.example'], style: [] },
      })
    })

    it('may differ from its preset', () => {
      const more =
        'attributes: { data-api-endpoint: eu }, verify_url: "https://eu.frcapi.com/api/v2/captcha/siteverify"'
      const csp = `csp: { frame: ["https://eu.frcapi.com"], style: ["'unsafe-inline'"] }`
      const { captcha } = loadConfig(on(`{ vendor: friendly_captcha, ${keys}, ${more}, ${csp} }`, secret))
      expect(captcha).toMatchObject({
        attributes: { 'data-start': 'auto', 'data-api-endpoint': 'eu' },
        ...{ verifyUrl: 'https://eu.frcapi.com/api/v2/captcha/siteverify', secretHeader: 'X-API-Key' },
        sources: { frame: ['https://eu.frcapi.com'], connect: [], style: ["'unsafe-inline'"] },
      })
    })

    it.each([
      [`{ vendor: turnstil, ${keys} }`, 'captcha.vendor'],
      ['{ vendor: turnstile, site_key: k }', 'captcha.secret'],
      [`{ ${own} }`, 'captcha.verify_url: is needed'],
      [`{ ${own}, verify_url: "http://v.example/verify" }`, 'captcha.verify_url: must be an https URL'],
      [`{ ${own}, verify_url: "https://u:p@v.example/" }`, 'captcha.verify_url: must be an https URL'],
      [`{ vendor: turnstile, ${keys}, script: "data:text/javascript,1" }`, 'captcha.script: must be an https URL'],
      [`{ vendor: turnstile, ${keys}, csp: { frame: ["https://a.example; script-src *"] } }`, 'captcha.csp.frame'],
      [`{ vendor: turnstile, ${keys}, csp: { connect: ["*"] } }`, 'captcha.csp.connect'],
      [`{ vendor: turnstile, ${keys}, csp: { frame: ["'unsafe-inline'"] } }`, 'captcha.csp.frame'],
      [`{ vendor: turnstile, ${keys}, attributes: { onclick: x } }`, 'captcha.attributes'],
      [`{ vendor: turnstile, ${keys}, sitekey: x }`, 'captcha.sitekey: unknown key, did you mean site_key?'],
    ])('%s is refused at %s', (captcha, at) => {
      expect(problemsOf(on(captcha, secret))).toEqual([expect.stringContaining(at)])
    })
  })

  it('takes people of the support, each with a key of their own', () => {
    const hash = (letter: string) => letter.repeat(43)
    const file = (...people: string[]) => ({
      DATA_DIR: directory(),
      GENKAN_CONFIG: yaml(`recovery:\n  support:\n${people.map((person) => `    - ${person}\n`).join('')}`),
    })
    const ann = `{ name: ann, key_hash: ${hash('A')} }`
    expect(loadConfig(file(ann, `{ name: bo, key_hash: ${hash('B')} }`)).recovery.support).toEqual([
      { name: 'ann', keyHash: hash('A') },
      { name: 'bo', keyHash: hash('B') },
    ])
    // One key under two names, or one name with two keys, would be two approvals of one person.
    for (const second of [`{ name: bo, key_hash: ${hash('A')} }`, `{ name: ann, key_hash: ${hash('B')} }`])
      expect(problemsOf(file(ann, second))).toEqual(['recovery.support: everybody once, with a key of their own'])
    expect(problemsOf(file('{ name: ann, key_hash: secret }'))).toHaveLength(1)
  })

  it('takes days for each class of facts, and no other class', () => {
    const file = (audit: string) => ({ DATA_DIR: directory(), GENKAN_CONFIG: yaml(`retention:\n  audit: ${audit}\n`) })
    const { audit } = loadConfig(file('{ security: 30 }')).retention
    expect(audit).toMatchObject({ security: 30, authentication: 365 })
    const classes = new Set<string>(Object.values(FACT_CLASSES).filter((kind) => kind !== 'permanent'))
    expect(new Set(Object.keys(audit))).toEqual(classes)
    expect(problemsOf(file('{ securty: 30 }'))).toEqual([
      'retention.audit.securty: unknown key, did you mean security?',
    ])
    for (const days of [0, -1, 1.5, 40_000]) expect(problemsOf(file(`{ account: ${days} }`))).toHaveLength(1)
  })

  it('names every problem at once, with its path and the nearest valid key', () => {
    const problems = problemsOf({
      GENKAN_ISUER: 'x',
      PORT: 'http',
      GENKAN_SECRET_KEYS: 'short',
      TRUSTED_PROXIES: '10.0.0.0/8 nonsense',
      GENKAN_CONFIG: yaml(
        'sesions: {}\npasswords:\n  pases: 3\nresources:\n  - identifier: https://api.example\n    scops: [a]\n',
      ),
    })
    const expected = [
      /^GENKAN_ISUER: unknown variable, did you mean GENKAN_ISSUER\?$/,
      /^port: /,
      /^secret_keys\.0: .*32 bytes/,
      /^trusted_proxies\.1: /,
      /^sesions: unknown key, did you mean sessions\?$/,
      /^passwords\.pases: unknown key, did you mean passes\?$/,
      /^resources\.0\.scops: unknown key, did you mean scopes\?$/,
    ]
    for (const pattern of expected) expect(problems).toContainEqual(expect.stringMatching(pattern))
  })

  it.each([
    ['http://id.example', /https/],
    ['http://10.0.0.1:3000', /https/],
    ['https://id.example/realm', /origin/],
    ['https://id.example?x=1', /origin/],
    ['https://user@id.example', /origin/],
    ['ftp://localhost', /https/],
    ['id.example', /URL/],
  ])('refuses the issuer %s', (issuer, reason) => {
    expect(problemsOf({ GENKAN_ISSUER: issuer }).join()).toMatch(reason)
  })

  it.each([
    'https://id.example',
    'https://id.example:8443',
    'http://127.0.0.1:1',
    'http://[::1]:2',
    'http://localhost',
  ])('takes the issuer %s, with or without a slash at its end', (issuer) => {
    expect(loadConfig({ DATA_DIR: directory(), GENKAN_ISSUER: `${issuer}/` }).issuer).toBe(issuer)
  })

  it('lets somebody answer for people on a loopback issuer or with a word in the environment only', () => {
    const hook = { GENKAN_CONFIG: yaml('conformance: { ciba_hook: true }\n') }
    const open = { ...hook, GENKAN_ISSUER: 'https://id.example.com' }
    expect(loadConfig({ DATA_DIR: directory(), ...hook }).conformance.cibaHook).toBe(true)
    expect(problemsOf(open)).toEqual([expect.stringMatching(/^conformance\.ciba_hook: /)])
    expect(problemsOf({ ...open, CONFORMANCE: '0' })).toHaveLength(1)
    expect(problemsOf({ ...open, CONFORMANCE: '1' })).toEqual([])
    expect(loadConfig({ DATA_DIR: directory() }).conformance.cibaHook).toBe(false)
  })

  it('takes only origins as those that share passkeys', () => {
    const file = (origin: string) => ({
      DATA_DIR: directory(),
      GENKAN_CONFIG: yaml(`passkeys:\n  related_origins: ["${origin}"]\n`),
    })
    expect(loadConfig(file('https://shop.example')).passkeys.relatedOrigins).toEqual(['https://shop.example'])
    for (const origin of ['shop.example', 'https://shop.example/', 'http://shop.example', 'https://*.shop.example/x'])
      expect(problemsOf(file(origin)).join()).toMatch(/^passkeys\.related_origins\.0: /)
  })

  it('refuses production on the embedded default unless told otherwise', () => {
    expect(problemsOf({ NODE_ENV: 'production' }).join()).toMatch(/DATABASE_URL.*GENKAN_EMBEDDED=1/)
    expect(problemsOf({ NODE_ENV: 'production', GENKAN_EMBEDDED: '1' })).toEqual([])
  })

  it('wants secret keys with PostgreSQL, and Redis only beside it', () => {
    expect(problemsOf({ DATABASE_URL: 'postgres://localhost/x' }).join()).toMatch(/GENKAN_SECRET_KEYS/)
    expect(problemsOf({ REDIS_URL: 'redis://localhost' }).join()).toMatch(/REDIS_URL: needs DATABASE_URL/)
    expect(problemsOf({ DATABASE_URL: 'postgres://localhost/x', GENKAN_SECRET_KEYS: KEY })).toEqual([])
  })

  it('refuses data without its key, and a damaged key, and makes no new one', () => {
    const dataDir = directory()
    mkdirSync(join(dataDir, 'db'))
    expect(() => loadConfig({ DATA_DIR: dataDir })).toThrow(/key is missing/)
    expect(existsSync(join(dataDir, 'secret.key'))).toBe(false)
    writeFileSync(join(dataDir, 'secret.key'), 'dGlueQ==\n')
    expect(() => loadConfig({ DATA_DIR: dataDir })).toThrow(/secret\.key/)
    expect(readFileSync(join(dataDir, 'secret.key'), 'utf8')).toBe('dGlueQ==\n')
  })

  it('reads secrets from files, and refuses both forms at once', () => {
    const path = join(directory(), 'keys')
    writeFileSync(path, `${KEY},${Buffer.alloc(32, 8).toString('hex')}\n`)
    expect(loadConfig({ DATA_DIR: directory(), GENKAN_SECRET_KEYS_FILE: path }).secretKeys).toHaveLength(2)
    expect(problemsOf({ GENKAN_SECRET_KEYS_FILE: path, GENKAN_SECRET_KEYS: KEY }).join()).toMatch(/set either/)
    expect(problemsOf({ GENKAN_SECRET_KEYS_FILE: '/nowhere' }).join()).toMatch(/cannot read/)
  })

  it('resolves references in the file, and names those that lead nowhere', () => {
    const text = `brands:\n  - id: default\n    name: ${reference('env:BRAND')} ${reference('file:/nowhere')}\n`
    expect(problemsOf({ BRAND: 'Shop', GENKAN_CONFIG: yaml(text) }).join()).toMatch(
      /brands\[0\]\.name: \$\{file:\/nowhere\}/,
    )
    const config = loadConfig({
      DATA_DIR: directory(),
      BRAND: 'Shop',
      GENKAN_CONFIG: yaml(`brands:\n  - id: default\n    name: ${reference('env:BRAND')}\n`),
    })
    expect(config.brands).toEqual([{ id: 'default', name: 'Shop' }])
  })

  it('prefers the environment to the file', () => {
    const file = yaml('port: 4000\nhost: 127.0.0.1\n')
    expect(loadConfig({ DATA_DIR: directory(), GENKAN_CONFIG: file, PORT: '4001' })).toMatchObject({
      port: 4001,
      host: '127.0.0.1',
    })
  })

  it.each([
    ['tokens:\n  jwt_access_token_seconds: 301\n', /jwt_access_token_seconds/],
    ['tokens:\n  refresh_grace_seconds: 61\n', /refresh_grace_seconds/],
    ['sessions:\n  idle_seconds: 7200\n  absolute_seconds: 3600\n', /idle_seconds: is longer/],
    ['- a\n', /not a mapping/],
    ['a: b: c\n', /genkan\.yaml/],
    ['clients:\n  - client_id: a\n  - client_id: a\n', /declared twice/],
    [
      'client_registration: { policies: { a: { resources: ["https://x.example"] } } }',
      /policies\.a\.resources: .*not a/,
    ],
    ['client_registration: { policies: { a: { software_statement: required } } }', /needs software_statement_issuers/],
    ['client_registration: { policies: { a: { profile: legacy } } }', /policies\.a\.profile/],
    ['client_registration: { policies: { a: { redirect_hosts: ["*.*.example"] } } }', /redirect_hosts\.0/],
    ['client_registration: { policies: { a: { redirect_schemes: [javascript] } } }', /redirect_schemes\.0/],
    ['client_registration: { policies: { a: { scopes: openid } } }', /policies\.a\.scopes: unknown key/],
    [
      'client_registration: { policies: {}, software_statement_issuers: [{ issuer: a, jwks: { keys: [] }, jwks_uri: "https://a.example" }] }',
      /either jwks or jwks_uri/,
    ],
    ['client_id_metadata_documents: { hosts: [] }', /hosts/],
    ['client_id_metadata_documents: { hosts: ["https://a.example"] }', /hosts\.0/],
  ])('refuses %j', (text, reason) => {
    expect(problemsOf({ GENKAN_CONFIG: yaml(text) }).join()).toMatch(reason)
  })

  it('closes registration and documents until they are asked for, and then allows little', () => {
    const load = (text: string) => loadConfig({ DATA_DIR: directory(), GENKAN_CONFIG: yaml(text) })
    expect(load('{}')).toMatchObject({ clientRegistration: undefined, clientDocuments: undefined })
    expect(load('client_registration: { policies: { a: {} } }').clientRegistration?.policies.a).toEqual({
      ...{ grantTypes: ['authorization_code', 'refresh_token'], authMethods: ['none', 'private_key_jwt'] },
      ...{ scope: 'openid', resources: [], redirectHosts: [], redirectSchemes: [], loopbackRedirects: false },
      ...{ profile: 'oauth21', clientsPerToken: 10, clientDays: undefined },
      ...{ softwareStatement: 'optional', unverifiedBanner: true },
    })
  })

  it('lets people join without a password unless told otherwise', () => {
    const load = (text: string) => loadConfig({ DATA_DIR: directory(), GENKAN_CONFIG: yaml(text) }).registration
    expect(load('{}')).toEqual({ password: 'optional' })
    expect(load('registration: { password: required }')).toEqual({ password: 'required' })
    expect(problemsOf({ GENKAN_CONFIG: yaml('registration: { password: never }') })).toEqual([
      expect.stringMatching(/^registration\.password: /),
    ])
  })

  it('turns away under load unless told not to, and has a line from the start when it is told so', () => {
    const load = (text: string) => loadConfig({ DATA_DIR: directory(), GENKAN_CONFIG: yaml(text) })
    expect(load('{}')).toMatchObject({ overload: { maxInFlight: 400, loopDelayMs: 100 }, waitingRoom: undefined })
    const set = load('{ overload: { max_in_flight: 50 }, waiting_room: { sign_ins_per_second: 0.5 } }')
    expect(set).toMatchObject({ overload: { maxInFlight: 50 }, waitingRoom: { signInsPerSecond: 0.5 } })
    expect(load('overload: false').overload).toBeUndefined()
    expect(problemsOf({ GENKAN_CONFIG: yaml('{ overload: true, waiting_room: {} }') }).join()).toMatch(
      /overload.*waiting_room\.sign_ins_per_second/,
    )
  })
})
