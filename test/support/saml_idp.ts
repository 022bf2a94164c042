/**
 * A SAML identity provider for tests, on `samlify`: makes its metadata, reads our AuthnRequest with the keys of our metadata,
 * and answers. What it signs and encrypts is made by `saml_messages.ts`.
 */
import { createRequire } from 'node:module'
import { bare, type Certified, createCertified, PERSISTENT, RSA_SHA256 } from './saml_messages.ts'

interface Entity {
  getMetadata(): string
  readonly entityMeta: { getX509Certificate(use: string): string | string[] }
}

interface RequestInfo {
  readonly samlContent: string
  readonly extract: { readonly request: Readonly<Record<string, string>> }
}

interface SigningOptions {
  readonly rawSamlMessage: string
  readonly privateKey: string
  readonly signingCert: string
  readonly signatureAlgorithm: string
  readonly isBase64Output: false
  readonly isMessageSigned?: boolean
  readonly referenceTagXPath?: string
  readonly signatureConfig: object
}

interface Samlify {
  IdentityProvider(settings: object): Entity & {
    parseLoginRequest(sp: Entity, binding: 'redirect', request: object): Promise<RequestInfo>
  }
  ServiceProvider(settings: object): Entity
  setSchemaValidator(validator: { validate(xml: string): Promise<unknown> }): void
  readonly SamlLib: {
    constructSAMLSignature(options: SigningOptions): string
    encryptAssertion(idp: object, sp: Entity, xml: string): Promise<string>
  }
}

/** Not imported: its types bring those of browsers with them. */
const require = createRequire(import.meta.url)
const samlify = require('samlify') as Samlify
// Our requests are read by the extractor; there is no schema to hold them against on this machine.
samlify.setSchemaValidator({ validate: async () => 'not checked' })

export interface SamlIdp {
  readonly entityId: string
  readonly key: Certified
  readonly metadata: string
  /** Reads the request of a redirect; when `signed`, only if the signature is of the key in our metadata. */
  readRequest(url: string, spMetadata: string): Promise<{ readonly id: string; readonly xml: string }>
  /** Signs as samlify does: the assertion, the response around it, or both. */
  sign(xml: string, parts: readonly ('assertion' | 'response')[], key?: Certified): string
  /** Replaces the assertion by one that only the key of our metadata opens. */
  encrypt(
    xml: string,
    spMetadata: string,
    algorithms?: { readonly data?: string; readonly key?: string },
  ): Promise<string>
}

export function createSamlIdp({
  entityId = 'https://idp.example/saml',
  signOnUrl = 'https://idp.example/sso?tenant=1',
  key = createCertified(),
  wantsSigned = false,
} = {}): SamlIdp {
  const redirect = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect'
  const settings = {
    entityID: entityId,
    privateKey: key.privateKey,
    signingCert: key.certificate,
    wantAuthnRequestsSigned: wantsSigned,
    nameIDFormat: [PERSISTENT],
    singleSignOnService: [{ Binding: redirect, Location: signOnUrl }],
    // It complains on the console of a provider without one.
    singleLogoutService: [{ Binding: redirect, Location: `${entityId}/logout` }],
  }
  const idp = samlify.IdentityProvider(settings)
  return {
    entityId,
    key,
    metadata: idp.getMetadata(),
    readRequest: async (url, spMetadata) => {
      const { searchParams } = new URL(url)
      // The octets that were signed are those of the query as it was sent (SAML Bindings 3.4.4.1).
      const sent = new URL(url).search.slice(1).split('&')
      const octetString = ['SAMLRequest', 'RelayState', 'SigAlg']
        .flatMap((name) => sent.filter((pair) => pair.startsWith(`${name}=`)))
        .join('&')
      const query = Object.fromEntries(searchParams)
      const sp = samlify.ServiceProvider({ metadata: spMetadata })
      const { extract, samlContent } = await idp.parseLoginRequest(sp, 'redirect', { query, octetString })
      return { id: extract.request.id ?? '', xml: samlContent }
    },
    sign: (xml, parts, by = key) => {
      const common = {
        privateKey: by.privateKey,
        signingCert: bare(by.certificate),
        signatureAlgorithm: RSA_SHA256,
        isBase64Output: false as const,
      }
      const place = (path: string) => ({
        prefix: 'ds',
        location: { reference: `${path}/*[local-name(.)='Issuer']`, action: 'after' },
      })
      const response = "/*[local-name(.)='Response']"
      const assertion = `${response}/*[local-name(.)='Assertion']`
      const { constructSAMLSignature } = samlify.SamlLib
      const inner = parts.includes('assertion')
        ? samlify.SamlLib.constructSAMLSignature({
            ...common,
            rawSamlMessage: xml,
            referenceTagXPath: assertion,
            signatureConfig: place(assertion),
          })
        : xml
      if (!parts.includes('response')) return inner
      return constructSAMLSignature.call(samlify.SamlLib, {
        ...common,
        rawSamlMessage: inner,
        isMessageSigned: true,
        signatureConfig: place(response),
      })
    },
    encrypt: async (xml, spMetadata, algorithms = {}) => {
      const sender = samlify.IdentityProvider({
        ...settings,
        isAssertionEncrypted: true,
        dataEncryptionAlgorithm: algorithms.data ?? 'http://www.w3.org/2009/xmlenc11#aes256-gcm',
        keyEncryptionAlgorithm: algorithms.key ?? 'http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p',
      })
      const sp = samlify.ServiceProvider({ metadata: spMetadata })
      return Buffer.from(await samlify.SamlLib.encryptAssertion(sender, sp, xml), 'base64').toString()
    },
  }
}
