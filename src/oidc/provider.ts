/**
 * The engine, assembled. It owns the protocol; it is given storage, accounts, policy and pages as functions.
 * A provider's key set is fixed, so key rotation builds a new one and swaps it in: requests under way finish on the old.
 */
import Provider from 'oidc-provider'
import { type AccountDeps, createFindAccount } from './account.ts'
import { type AdapterDeps, createAdapterFactory } from './adapter/adapter.ts'
import { createReadAhead } from './adapter/read_ahead.ts'
import { createAvailability } from './availability.ts'
import { type ClientLimitDeps, limitClients } from './client_limits.ts'
import { type ConfigurationDeps, createConfiguration } from './configuration.ts'
import { type CustomGrantDeps, registerCustomGrants } from './custom_grants.ts'
import { hangContextsAsValues } from './engine_context.ts'
import { awaitGrantWrites } from './grant_writes.ts'
import { createLoadExistingGrant, type FindConsent } from './grants.ts'
import { adaptModels, type ModelDeps } from './models.ts'
import { createCertificateOf, createCertificateProof } from './mutual_tls.ts'
import { type NoteRefusal, refusalOf, watchRefusals } from './refusals.ts'

export type OidcDeps = Omit<
  ConfigurationDeps,
  'adapter' | 'findAccount' | 'loadExistingGrant' | 'now' | 'introspectionDenied'
> &
  AdapterDeps &
  AccountDeps &
  Omit<CustomGrantDeps, 'now'> &
  Omit<ModelDeps, 'now' | 'certificateOf'> &
  Pick<ClientLimitDeps, 'hit'> & { readonly findConsent: FindConsent; readonly noteRefusal: NoteRefusal }

/** The engine: the one name that rooms outside of `oidc/` know it by. */
export type Engine = Provider

hangContextsAsValues()

/** Builds one provider for one set of keys. */
export function createProvider(given: OidcDeps): Provider {
  const guard = createAvailability(given.unavailable)
  const deps = {
    ...given,
    store: createReadAhead(given.store, given.accountState),
    findClient: guard(given.findClient),
    secretMatches: guard(given.secretMatches),
    secretHasExpired: guard(given.secretHasExpired),
    accountState: guard(given.accountState),
    confinedTo: guard(given.confinedTo),
    accountClaims: guard(given.accountClaims),
    findConsent: guard(given.findConsent),
    verifiedOf: guard(given.verifiedOf),
    findDetails: guard(given.findDetails),
    interactionOpened: guard(given.interactionOpened),
    pairwise: { subjectOf: guard(given.pairwise.subjectOf), accountOf: guard(given.pairwise.accountOf) },
    hit: guard(given.hit),
    deviceChanged: guard(given.deviceChanged),
    publicKeys: guard(given.publicKeys),
    signInOf: guard(given.signInOf),
    personOf: guard(given.personOf),
    state: guard(given.state),
    useOnce: guard(given.useOnce),
    sessionStands: guard(given.sessionStands),
    grantStands: guard(given.grantStands),
    accountNamed: guard(given.accountNamed),
    backchannelAsked: guard(given.backchannelAsked),
  }
  const { config, clock } = deps
  const now = () => clock.now()
  const provider = new Provider(
    config.issuer,
    createConfiguration({
      ...deps,
      now,
      introspectionDenied: (ctx) => deps.noteRefusal(refusalOf(ctx, '', 'wrong_audience')),
      adapter: createAdapterFactory(deps),
      findAccount: createFindAccount(deps),
      loadExistingGrant: createLoadExistingGrant(deps),
    }),
  )
  // `http/request_context` has pinned Host and X-Forwarded-* to the issuer before the engine reads them.
  provider.proxy = true
  const certificateOf = createCertificateOf(config.mtls)
  adaptModels(provider, { ...deps, now, certificateOf })
  registerCustomGrants(provider, { ...deps, now })
  awaitGrantWrites(provider)
  const isRegisteredCertificate = createCertificateProof(config.mtls, now)
  limitClients(provider, {
    ...{ hit: deps.hit, now, certificateOf, isRegisteredCertificate },
    defaults: config.limits.client,
  })
  watchRefusals(provider, deps.noteRefusal)
  return provider
}
