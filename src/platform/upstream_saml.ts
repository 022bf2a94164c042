/**
 * SAML 2.0 identity providers as upstream providers: the web browser SSO profile (SAML Profiles 4.1), begun by us only, with
 * the request by HTTP-Redirect and the answer by HTTP-POST. node-saml writes requests and metadata, checks signatures and
 * decrypts; what an answer has to hold is checked here, on the signed characters. Owns no account: hands off an identity.
 */
import { X509Certificate } from 'node:crypto'
import { createRequire } from 'node:module'
import type * as nodeSaml from '@node-saml/node-saml'
import type { Clock } from './clock.ts'
import { newToken, sha256 } from './ids.ts'
import {
  checkEnvelope,
  checkSignature,
  readAnswer,
  readStrictly,
  refuse,
  type SamlAnswer,
  statusFailure,
} from './saml_answer.ts'
import { readAssertion } from './saml_assertion.ts'
import { isEmailName } from './saml_attributes.ts'
import {
  certificateProblems,
  checkOwnKey,
  day,
  type KnownProvider,
  PERSISTENT,
  readProvider,
  type SamlKey,
  type SamlProvider,
  timeProblems,
} from './saml_metadata.ts'
import type { XmlElement } from './saml_xml.ts'
import {
  type Arrival,
  type Departure,
  type Json,
  type Upstream,
  UpstreamError,
  type UpstreamIdentity,
} from './upstream.ts'

export interface SamlSettings {
  readonly provider: SamlProvider
  /** Our EntityID, which providers call audience. */
  readonly entityId: string
  /** The one callback of this provider, as `Departure` has it: stands in our metadata. */
  readonly redirectUri: string
  /** With it our requests are signed. */
  readonly signing?: SamlKey | undefined
  /** With it assertions may be encrypted, within a signed response. */
  readonly decryption?: SamlKey | undefined
  /** The attribute that names the person, where the provider has no persistent NameID. */
  readonly subjectAttribute?: string | undefined
  /**
   * E-mail domains that the operator knows to be the provider's own: addresses there count as verified, and so do those with
   * an `email_verified` of type `xs:boolean`. Nothing else in SAML says so (A02, A11).
   */
  readonly ownedDomains?: readonly string[] | undefined
}

export interface SamlDependencies {
  readonly clock: Clock
  /** Takes `id` once until `until`, atomically and for all instances: true for the first who asks (A15). */
  readonly once: (id: string, until: Date) => Promise<boolean>
}

const require = createRequire(import.meta.url)

/** A hundred modules that most installations have no use for: loaded when the first provider of this kind is spoken to. */
const library = () => require('@node-saml/node-saml') as typeof nodeSaml

/** How much earlier than the request a fresh authentication may be dated: two clocks. */
const FRESH_SKEW = 60_000

/** What is kept of a departure. */
interface Kept {
  readonly id: string
  readonly at: number
  readonly fresh: boolean
  readonly acrValues: readonly string[]
}

/**
 * A SAML identity provider.
 * @throws {Error} in plain words, when the settings cannot be used
 */
export function createSamlUpstream(settings: SamlSettings, { clock, once }: SamlDependencies): Upstream {
  const known = readProvider(settings.provider)
  const { signing, decryption } = settings
  if (signing !== undefined) checkOwnKey('signing', signing)
  if (decryption !== undefined) checkOwnKey('decryption', decryption)
  const ours = [signing, decryption].flatMap((key) => (key === undefined ? [] : [key.certificate]))
  const now = () => clock.now().getTime()

  /** `locale` and `loginHint` have no place in SAML: a Subject in the request would demand an answer about nobody else. */
  async function depart({ state, acrValues = [], fresh = false, redirectUri }: Departure) {
    const kept: Kept = { id: `_${newToken()}`, at: now(), fresh, acrValues }
    const asked = {
      callbackUrl: redirectUri,
      forceAuthn: fresh,
      disableRequestedAuthnContext: acrValues.length === 0,
      authnContext: [...acrValues],
      generateUniqueId: () => kept.id,
    }
    const url = await new (library().SAML)({ ...told(settings, known), ...asked }).getAuthorizeUrlAsync(
      state,
      undefined,
      {},
    )
    return { url, kept: { ...kept } }
  }

  async function finish(arrival: Arrival): Promise<UpstreamIdentity> {
    const { method, parameters, redirectUri } = arrival
    const kept = readKept(arrival.kept)
    if (method !== 'POST') refuse('binding')
    if (parameters.RelayState !== arrival.state) refuse('relay_state')
    const answer = readAnswer(parameters.SAMLResponse)
    const expected = { requestId: kept.id, redirectUri, issuer: known.entityId }
    checkEnvelope(answer, expected)
    const assertion = await verified(answer, new (library().SAML)(told(settings, known, answer)))
    const read = readAssertion(assertion, {
      ...expected,
      now: now(),
      audience: settings.entityId,
      subjectAttribute: settings.subjectAttribute,
      ownedDomains: settings.ownedDomains,
    })
    checkAsked(kept, read.identity)
    if (!(await once(sha256(`saml\n${known.entityId}\n${read.id}`), new Date(read.until)))) refuse('replayed')
    return read.identity
  }

  return {
    provesFreshness: true,
    depart,
    finish,
    publish: async () => ({ type: 'application/samlmetadata+xml', body: metadataOf(settings, known) }),
    inspect: async () => ({
      issuer: known.entityId,
      found: found(settings, known),
      expiresAt: Math.min(
        ...[...known.certificates, ...ours.map((pem) => new X509Certificate(pem))].map(({ validTo }) =>
          Date.parse(validTo),
        ),
      ),
      problems: [
        ...timeProblems(known, now()),
        ...[...new Set(ours)].flatMap((certificate) => certificateProblems(certificate, now(), 'Our')),
        ...abilityProblems(settings, known),
      ],
    }),
  }
}

/** What node-saml is told. Its checks of time, audience and InResponseTo are off: ours know the clock and this departure. */
function told(settings: SamlSettings, known: KnownProvider, answer?: SamlAnswer): nodeSaml.SamlConfig {
  const { signing, decryption, entityId, redirectUri } = settings
  return {
    issuer: entityId,
    audience: false,
    callbackUrl: redirectUri,
    entryPoint: known.signOnUrl,
    idpCert: known.certificates.map((certificate) => certificate.toString()),
    identifierFormat: settings.subjectAttribute === undefined ? PERSISTENT : null,
    wantAssertionsSigned: true,
    // A signature over the response is not asked for, but one that is there has to hold.
    wantAuthnResponseSigned: answer?.responseSigned ?? false,
    validateInResponseTo: library().ValidateInResponseTo.never,
    // It would compare with the time of the machine; ours does with the clock it is given.
    acceptedClockSkewMs: -1,
    signatureAlgorithm: 'sha256',
    digestAlgorithm: 'sha256',
    ...(signing === undefined ? {} : { privateKey: signing.privateKey }),
    ...(decryption === undefined ? {} : { decryptionPvk: decryption.privateKey }),
  }
}

/**
 * The signed assertion, from nothing but what a certificate of the provider vouches for; the certificates that an answer
 * brings along are not looked at.
 */
async function verified(answer: SamlAnswer, saml: nodeSaml.SAML): Promise<XmlElement> {
  const failure = statusFailure(answer)
  // Providers seldom sign failures. One that nobody signed ends this attempt only, as closing the window would.
  if (failure !== undefined && !answer.responseSigned) throw failure
  if (answer.encrypted && saml.options.decryptionPvk === undefined) {
    throw new UpstreamError('misconfigured', 'no_decryption_key')
  }
  const SAMLResponse = Buffer.from(answer.xml).toString('base64')
  let signed: string | undefined
  try {
    const { profile } = await saml.validatePostResponseAsync({ SAMLResponse })
    signed = profile?.getAssertionXml?.()
  } catch (error) {
    if (error instanceof library().SamlStatusError && failure !== undefined) throw failure
    refuse('signature', error)
  }
  if (failure !== undefined || signed === undefined) refuse('signature')
  const assertion = readStrictly(signed, 'xml')
  if (answer.encrypted && !checkSignature(assertion)) refuse('assertion_unsigned')
  return assertion
}

/** A provider that takes no notice of what was asked must not pass for one that did it. */
function checkAsked({ at, fresh, acrValues }: Kept, { acr, authenticatedAt = 0 }: UpstreamIdentity): void {
  if (fresh && authenticatedAt < at - FRESH_SKEW) throw new UpstreamError('level_unmet', 'not_fresh')
  // RequestedAuthnContext compares exactly unless told otherwise (SAML Core 3.3.2.2.1).
  if (acrValues.length > 0 && (acr === undefined || !acrValues.includes(acr))) {
    throw new UpstreamError('level_unmet', 'authn_context')
  }
}

function readKept(kept: Json): Kept {
  const { id, at, fresh, acrValues } = (kept ?? {}) as Partial<Kept>
  const whole =
    typeof id === 'string' && typeof at === 'number' && typeof fresh === 'boolean' && Array.isArray(acrValues)
  return whole ? { id, at, fresh, acrValues } : refuse('not_departed')
}

function metadataOf(settings: SamlSettings, known: KnownProvider): string {
  const { signing, decryption } = settings
  return new (library().SAML)({
    ...told(settings, known),
    // Names are compared as text where metadata are cached: the same settings give the same document.
    generateUniqueId: () => `_${sha256(`${settings.entityId}\n${settings.redirectUri}`)}`,
  }).generateServiceProviderMetadata(decryption?.certificate ?? null, signing?.certificate ?? null)
}

function found({ signing, decryption, subjectAttribute }: SamlSettings, known: KnownProvider): Record<string, string> {
  return {
    'single sign-on': known.signOnUrl,
    'signing certificates': known.certificates.map(({ validTo }) => `until ${day(Date.parse(validTo))}`).join(', '),
    'name identifier formats': known.nameIdFormats.join(' ') || 'not said',
    'wants signed requests': known.wantsRequestsSigned ? 'yes' : 'no',
    'our requests': signing === undefined ? 'not signed' : 'signed',
    'encrypted assertions': decryption === undefined ? 'refused' : 'taken within a signed response',
    subject: subjectAttribute === undefined ? 'persistent NameID' : `attribute ${subjectAttribute}`,
  }
}

function abilityProblems({ signing, subjectAttribute }: SamlSettings, known: KnownProvider): string[] {
  const problems: string[] = []
  if (known.wantsRequestsSigned && signing === undefined) {
    problems.push('The provider wants signed requests, and no signing key is configured')
  }
  if (subjectAttribute === undefined && known.nameIdFormats.length > 0 && !known.nameIdFormats.includes(PERSISTENT)) {
    problems.push('The provider does not list persistent NameIDs: name the attribute that never changes for a person')
  }
  if (subjectAttribute !== undefined && isEmailName(subjectAttribute)) {
    problems.push('The subject is an e-mail address, which changes hands: name an attribute that never does')
  }
  return problems
}
