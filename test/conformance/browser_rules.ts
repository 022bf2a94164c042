/**
 * How the suite's browser goes through our real pages: rules of its own language, by address and element. It runs no modern
 * JavaScript, so what it does here a person without scripts can do.
 */

/** One instruction: what to do, how the element is found, by which value, and what more. */
export type BrowserCommand = readonly (string | number)[]

export interface BrowserTask {
  readonly task: string
  /** Address at which it is done; `*` stands for anything. */
  readonly match: string
  readonly optional?: boolean
  readonly commands?: readonly BrowserCommand[]
}

export interface BrowserRule {
  /** Address that the suite opens. */
  readonly match: string
  readonly tasks: readonly BrowserTask[]
}

interface Account {
  readonly email: string
  readonly password: string
}

const SECONDS = 10
/** The button that sends a form, found by the end of the form's address. */
const sends = (form: string, value?: string) => {
  const button = value === undefined ? `button[@type='submit']` : `button[@value='${value}']`
  return `//form[substring(@action, string-length(@action) - ${form.length - 1}) = '${form}']//${button}`
}

/** Sign-in and consent, each skipped where a session or an earlier consent makes it needless. */
function conversation(issuer: string, { email, password }: Account): BrowserTask[] {
  const page = `${issuer}/interaction/*`
  const step = (task: string, commands: readonly BrowserCommand[]) => ({ task, match: page, optional: true, commands })
  return [
    step('Who signs in', [
      ['text', 'id', 'identifier', email, 'optional'],
      ['click', 'xpath', sends('/identifier'), 'optional'],
    ]),
    step('Password', [
      ['text', 'id', 'password', password, 'optional'],
      ['click', 'xpath', sends('/password'), 'optional'],
    ]),
    step('Consent', [['click', 'xpath', sends('/consent', 'allow'), 'optional']]),
  ]
}

/** Where the suite has heard the answer. */
const answered = (): BrowserTask => ({
  task: 'Answer',
  match: '*/test/a/*/callback*',
  commands: [['wait', 'id', 'submission_complete', SECONDS]],
})

/** Rules for every module. */
export function browserRules(issuer: string, account: Account): BrowserRule[] {
  return [
    { match: `${issuer}/auth*`, tasks: [...conversation(issuer, account), answered()] },
    {
      match: `${issuer}/session/end*`,
      tasks: [
        {
          ...{ task: 'Sign out', match: `${issuer}/session/end*`, optional: true },
          commands: [['click', 'xpath', sends('/session/end/confirm', 'yes'), 'optional']],
        },
        {
          ...{ task: 'Signed out', match: '*/post_logout_redirect*', optional: true },
          commands: [['wait', 'id', 'submission_complete', SECONDS]],
        },
      ],
    },
  ]
}

/** Modules that end at one of our pages, of which the suite keeps a picture for a person to look at. */
const ERROR_PAGES = ['oidcc-response-type-missing', 'oidcc-ensure-registered-redirect-uri']
const LOGOUT_PAGES = [
  'oidcc-rp-initiated-logout-bad-post-logout-redirect-uri',
  'oidcc-rp-initiated-logout-modified-id-token-hint',
  'oidcc-rp-initiated-logout-bad-id-token-hint',
  'oidcc-rp-initiated-logout-no-id-token-hint',
  'oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri',
  'oidcc-rp-initiated-logout-no-params',
  'oidcc-rp-initiated-logout-no-post-logout-redirect-uri',
  'oidcc-rp-initiated-logout-only-state',
]
/** Modules in which the person is asked a second time, with a picture of the question. */
const ASKED_AGAIN = ['oidcc-prompt-login', 'oidcc-max-age-1']
const PICTURE = ['wait', 'xpath', '//h1', SECONDS, '.*', 'update-image-placeholder'] as const
const OPTIONAL_PICTURE = ['wait', 'xpath', '//h1', SECONDS, '.*', 'update-image-placeholder-optional'] as const

/** Rules that take the place of the common ones in single modules. */
export function moduleRules(issuer: string, account: Account): { [module: string]: { browser: BrowserRule[] } } {
  const common = browserRules(issuer, account)
  const [signIn, signOut] = common as [BrowserRule, BrowserRule]
  const errorPage = {
    ...{ match: `${issuer}/auth*`, tasks: [{ task: 'Error', match: `${issuer}/auth*`, commands: [OPTIONAL_PICTURE] }] },
  }
  const logoutPage = {
    match: `${issuer}/session/end*`,
    tasks: [
      { task: 'Page', match: `${issuer}/session/end*`, optional: true, commands: [OPTIONAL_PICTURE] },
      ...signOut.tasks,
      { task: 'Done', match: `${issuer}/session/end/success*`, optional: true, commands: [OPTIONAL_PICTURE] },
    ],
  }
  const again = {
    match: signIn.match,
    tasks: [
      { task: 'Asked again', match: `${issuer}/interaction/*`, optional: true, commands: [PICTURE] },
      ...signIn.tasks,
    ],
  }
  const rules = (modules: readonly string[], browser: BrowserRule[]) =>
    modules.map((module): [string, { browser: BrowserRule[] }] => [module, { browser }])
  return Object.fromEntries([
    ...rules(ERROR_PAGES, [errorPage]),
    ...rules(LOGOUT_PAGES, [signIn, logoutPage]),
    ...rules(ASKED_AGAIN, [again]),
  ])
}
