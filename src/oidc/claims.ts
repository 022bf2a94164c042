/** Scopes, and the standard claims each releases (OIDC Core §5.4). */

/** Claims by scope, and the protocol claims that need none. */
export const CLAIMS = {
  // How and when the person signed in is in every ID token: a client must not have to ask for what it should check.
  openid: ['sub', 'acr', 'amr', 'auth_time'],
  profile: [
    'name',
    'family_name',
    'given_name',
    'middle_name',
    'nickname',
    'preferred_username',
    'profile',
    'picture',
    'website',
    'gender',
    'birthdate',
    'zoneinfo',
    'locale',
    'updated_at',
  ],
  email: ['email', 'email_verified'],
  address: ['address'],
  phone: ['phone_number', 'phone_number_verified'],
  // Never by a scope: a client asks for each by name (OpenID Connect for Identity Assurance 1.0).
  verified_claims: null,
  iss: null,
  sid: null,
} as const

/** Scopes a client may be allowed (`scopes_supported`). */
export const SCOPES = ['openid', 'offline_access', 'profile', 'email', 'address', 'phone'] as const
