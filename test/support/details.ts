/** A bank whose clients ask people in detail (RFC 9396): its settings, and what they ask. */
import { SECRET, SETTINGS } from './journeys.ts'

export const PAYMENTS = 'https://payments.test.example'
export const ACCOUNTS = 'https://accounts.test.example'
const MFA = 'urn:genkan:acr:mfa'
const IBAN = 'FI2112345600000785'

export const DETAIL_TYPES = [
  {
    type: 'payment_initiation',
    resource: PAYMENTS,
    text: { en: 'Pay {amount} {currency} to {payee}', fi: 'Maksa {amount} {currency} saajalle {payee}' },
    fields: {
      amount: { type: 'amount', required: true, max: 5000 },
      currency: { type: 'currency', required: true },
      payee: { type: 'string', required: true, max: 70 },
      account: { type: 'iban', label: { en: 'Account', fi: 'Tili' } },
      due: { type: 'date' },
      invoice: { type: 'url' },
    },
  },
  {
    type: 'account_information',
    resource: ACCOUNTS,
    text: { en: 'See {actions} of your accounts' },
    fields: { actions: { type: 'strings', required: true, enum: ['balances', 'transactions'] } },
    expires_days: 90,
  },
  {
    type: 'transfer',
    resource: PAYMENTS,
    text: { en: 'Move {amount} EUR' },
    fields: { amount: { type: 'amount', required: true } },
    minimum_acr: MFA,
  },
]

const web = (id: string, more: object) => ({
  client_id: id,
  client_name: `The ${id} shop`,
  client_secret: SECRET,
  redirect_uris: [`https://${id}.test.example/callback`],
  scope: 'openid offline_access',
  resources: [PAYMENTS, ACCOUNTS],
  ...more,
})
const server = (id: string, resource: string) => ({
  ...{ client_id: id, client_secret: SECRET, grant_types: ['client_credentials'], resources: [PAYMENTS] },
  ...{ scope: 'payments:list', resource_server_for: [resource], authorization_details_types: ['payment_initiation'] },
})
const ALL = DETAIL_TYPES.map(({ type }) => type)

export const DETAIL_SETTINGS = {
  resources: [
    ...SETTINGS.resources,
    { identifier: PAYMENTS, scopes: ['payments:list'], access_token_format: 'jwt' },
    { identifier: ACCOUNTS, scopes: ['accounts:list'], access_token_format: 'opaque' },
  ],
  authorization_details_types: DETAIL_TYPES,
  clients: [
    ...SETTINGS.clients,
    web('bank', { authorization_details_types: ALL }),
    web('house', { authorization_details_types: ALL, first_party: true }),
    web('plain', {}),
    web('tv', {
      authorization_details_types: ALL,
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code'],
      redirect_uris: [],
      scope: 'openid',
    }),
    web('till', {
      authorization_details_types: ALL,
      grant_types: ['urn:openid:params:grant-type:ciba'],
      redirect_uris: [],
      scope: 'openid',
    }),
    server('payments', PAYMENTS),
    server('accounts', ACCOUNTS),
  ],
}

export const PAYMENT = {
  ...{ type: 'payment_initiation', amount: '1249.90', currency: 'EUR', payee: 'Harbour Books' },
  ...{ account: IBAN, due: '2026-12-24' },
}
export const BALANCES = { type: 'account_information', actions: ['balances'] }

/** The parameter. */
export const asking = (...details: readonly object[]) => ({ authorization_details: JSON.stringify(details) })
