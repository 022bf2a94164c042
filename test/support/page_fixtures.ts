/** One set of values for every hosted page and mail: what the suites of the views render, and what a person may look at. */

const client = {
  clientId: 'demo-web',
  name: 'Demo Web',
  firstParty: false,
  logoUri: 'https://cdn.example/logo.svg',
  policyUri: 'https://demo.example/privacy',
  tosUri: 'https://demo.example/terms',
  clientUri: 'https://demo.example',
  initiateLoginUri: 'https://demo.example/login',
}

const paths = ['login', 'create', 'recover']
const conversation = { uid: 'u1', client, paths, offers: [{ step: 'register', label: 'identifier.create' }] }

const FIELDS = [
  'name',
  'given_name',
  'family_name',
  'nickname',
  'birthdate',
  'zoneinfo',
  'phone_number',
  'website',
].map((claim) => ({ claim, required: ['given_name', 'birthdate'].includes(claim) }))
const registration = { minLength: 8, passwordOptional: true, fields: [], today: '2026-11-01' }
const signIn = { offers: [{ step: 'password', label: 'password.offer' }], remember: true }

type Values = { readonly [name: string]: unknown }

/** Values by template; a page with a form appears once more after a failed submit. */
export const PAGES: readonly (readonly [template: string, values: Values])[] = [
  ['accounts/identifier', { uid: 'u1', paths: ['login'], client: { ...client, logoUri: undefined } }],
  ['accounts/identifier', { ...conversation, error: failed('identifier'), values: { identifier: 'ada@' } }],
  ['accounts/choose_account', { ...conversation, account: { email: 'ada@example.com', name: 'Ada Lovelace' } }],
  ['accounts/choose_account', { ...conversation, account: { email: 'ada@example.com' } }],
  [
    'accounts/switch_account',
    { ...conversation, current: { email: 'ada@example.com' }, next: { email: 'charles@example.com' } },
  ],
  ['registration/register', { ...conversation, ...registration, passwordOptional: false }],
  [
    'registration/register',
    { ...conversation, ...registration, error: failed('password'), values: { email: 'a@b.example' } },
  ],
  ['registration/register', { ...conversation, ...registration, fields: FIELDS }],
  [
    'registration/register',
    {
      ...conversation,
      ...registration,
      fields: FIELDS,
      error: {
        ...{ code: 'email_invalid', field: 'email' },
        others: [
          { code: 'claim_required', field: 'given_name' },
          { code: 'birthdate_invalid', field: 'birthdate' },
        ],
      },
      values: { email: 'ada@', birthdate: '2999-01-01', phone_number: '+358 40 1234567' },
    },
  ],
  [
    'passwords/password',
    { ...conversation, identifier: 'ada@example.com', offers: [{ step: 'email_code', label: 'email_code.offer' }] },
  ],
  ['passwords/password', { ...conversation, identifier: 'ada@example.com', error: failed('password') }],
  ['email_codes/email_code', { ...conversation, ...signIn, email: 'ada@example.com', minutes: 10, resendIn: 30 }],
  [
    'email_codes/email_code',
    { ...conversation, ...signIn, email: 'ada@example.com', minutes: 10, resendIn: 0, error: failed('code') },
  ],
  [
    'email_codes/email_code',
    {
      ...conversation,
      ...signIn,
      email: 'ada@example.com',
      minutes: 10,
      error: { code: 'too_many_requests', retryAfter: 900 },
    },
  ],
  ['email_codes/verify_email', { ...conversation, email: 'ada@example.com', minutes: 10, resendIn: 30, sent: true }],
  ['email_codes/verify_email', { ...conversation, email: 'ada@example.com', minutes: 1, error: failed('code') }],
  ['recovery/recover', conversation],
  ['recovery/recover', { ...conversation, identifier: 'ada@example.com', error: failed('identifier') }],
  ['recovery/recover_code', { ...conversation, email: 'ada@example.com', minutes: 10 }],
  ['recovery/recover_code', { ...conversation, email: 'ada@example.com', minutes: 10, error: failed('code') }],
  ['recovery/new_password', { ...conversation, identifier: 'ada@example.com', minLength: 15 }],
  [
    'recovery/new_password',
    { ...conversation, identifier: 'ada@example.com', minLength: 15, error: failed('password') },
  ],
  [
    'consents/consent',
    {
      ...conversation,
      account: { email: 'ada@example.com' },
      clientHost: 'demo.example',
      hadConsent: true,
      scopes: [
        { name: 'openid', isNew: false, resource: '' },
        { name: 'birthdate', isNew: true, resource: '' },
        { name: 'orders:write', isNew: true, resource: 'https://api.demo.example' },
      ],
    },
  ],
  [
    'consents/consent',
    {
      ...conversation,
      account: { email: 'ada@example.com' },
      hadConsent: false,
      scopes: [{ name: 'openid', isNew: true }],
    },
  ],
  ['logout/confirm', { action: 'https://id.example/session/end/confirm', xsrf: 'xsrf', stayUrl: '/account', client }],
  ['logout/confirm', { action: 'https://id.example/session/end/confirm', xsrf: 'xsrf', stayUrl: '/account' }],
  ['logout/done', { signInUrl: '/account' }],
  ['logout/done', { client, backUrl: 'https://demo.example', signInUrl: '/account' }],
  ['interaction/expired', { client, restartUrl: 'https://demo.example/login' }],
  ['interaction/expired', { restartUrl: '/account' }],
  ['interaction/cookies_blocked', { retryUrl: '/account' }],
  ['interaction/other_browser', { code: '482913', client }],
  ['front', {}],
  ['error', { failure: { code: 'not_found', heading: 'Heading', text: 'Text.' }, requestId: '' }],
  [
    'error',
    {
      failure: {
        code: 'invalid_client',
        heading: 'Heading',
        text: 'Text.',
        detail: 'client is invalid',
        reference: true,
      },
      requestId: 'r1',
      client,
      backUrl: 'https://demo.example',
      retryUrl: '/auth',
      retryAfter: 5,
    },
  ],
]

/** Values by mail template. */
export const MAILS: readonly (readonly [template: string, values: Values])[] = [
  ['email_codes/verify_email', { code: '482913', minutes: 10, url: 'https://id.example/i/u1?code=482913&x=1' }],
  ['email_codes/sign_in', { code: '482913', minutes: 10, url: 'https://id.example/i/u1?code=482913&x=1' }],
  ['email_codes/no_account', { url: 'https://id.example/account' }],
  ['registration/already_registered', { url: 'https://id.example/account' }],
  ['recovery/recover', { code: '482913', minutes: 10, url: 'https://id.example/i/u1?code=482913&x=1' }],
  ...['password_changed', 'password_set', 'email_changed', 'account_deleted', 'recovered'].map(
    (event) =>
      [
        'accounts/security_notice',
        { event, at: 'today', device: 'Firefox', url: 'https://id.example/account' },
      ] as const,
  ),
]

function failed(field: string) {
  return { code: 'too_many_requests', field, retryAfter: 30 }
}
