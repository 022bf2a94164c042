/** What a provider's metadata must hold to be used, and what is said when they do not. */
import { describe, expect, it } from '@jest/globals'
import { readProvider } from '../../src/platform/saml_metadata.ts'
import { createSamlIdp } from '../support/saml_idp.ts'
import { bare, createCertified } from '../support/saml_messages.ts'
import { createCertificate } from '../support/tls_proxy.ts'

const idp = createSamlIdp()
const second = createSamlIdp({ entityId: 'https://second.example/saml', key: idp.key })
const other = createCertified()
const withoutProlog = (xml: string) => xml.replace(/<\?xml[^>]*>/, '')

describe('metadata', () => {
  it('of one provider', () => {
    const known = readProvider({ metadata: idp.metadata })
    expect(known.entityId).toBe('https://idp.example/saml')
    expect(known.signOnUrl).toBe('https://idp.example/sso?tenant=1')
    expect(known.wantsRequestsSigned).toBe(false)
    expect(known.nameIdFormats).toEqual(['urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'])
    expect(known.certificates.map((certificate) => bare(certificate.toString()))).toEqual([bare(idp.key.certificate)])
  })

  it('with comments, several keys, and keys that are for encryption only', () => {
    const key = (use: string) =>
      `<KeyDescriptor${use}><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>\n` +
      `${bare(other.certificate).replace(/.{64}/g, '$&\n')}\n</ds:X509Certificate></ds:X509Data></ds:KeyInfo></KeyDescriptor>`
    const metadata = idp.metadata.replace(
      '<KeyDescriptor',
      () => `<!-- the next key -->${key('')}${key(' use="encryption"')}<KeyDescriptor`,
    )
    const read = readProvider({ metadata }).certificates.map((certificate) => bare(certificate.toString()))
    expect(read).toEqual([bare(other.certificate), bare(idp.key.certificate)])
  })

  it('of a federation, of which one is meant', () => {
    const both = [idp, second].map(({ metadata }) => withoutProlog(metadata)).join('')
    const metadata = `<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata">${both}</EntitiesDescriptor>`
    expect(() => readProvider({ metadata })).toThrow('several identity providers')
    expect(readProvider({ metadata, entityId: second.entityId }).entityId).toBe(second.entityId)
    expect(() => readProvider({ metadata, entityId: 'https://third.example' })).toThrow('no SAML 2.0 identity provider')
  })

  it.each<[string, string, string]>([
    [
      'of a service provider',
      idp.metadata.replaceAll('IDPSSODescriptor', 'SPSSODescriptor'),
      'no SAML 2.0 identity provider',
    ],
    ['of SAML 1.1', idp.metadata.replace('SAML:2.0:protocol', 'SAML:1.1:protocol'), 'no SAML 2.0 identity provider'],
    ['without HTTP-Redirect', idp.metadata.replaceAll('HTTP-Redirect', 'SOAP'), 'no single sign-on by HTTP-Redirect'],
    ['without a certificate', idp.metadata.replace(/<KeyDescriptor.*<\/KeyDescriptor>/, ''), 'no certificate'],
    ['with a broken certificate', idp.metadata.replace(/X509Certificate>.{40}/, 'X509Certificate>'), 'cannot be read'],
    ['without an EntityID', idp.metadata.replace(/entityID="[^"]*"/, 'entityID=""'), 'EntityID'],
    ['by http', idp.metadata.replaceAll('https://idp.example/sso', 'http://idp.example/sso'), 'must be https'],
    [
      'to a script',
      idp.metadata.replaceAll('https://idp.example/sso?tenant=1', 'javascript:alert(1)'),
      'must be https',
    ],
    ['with a document type', `<!DOCTYPE x [<!ENTITY a "b">]>${withoutProlog(idp.metadata)}`, 'document type'],
    ['cut off', idp.metadata.slice(0, 400), 'not well-formed'],
    ['with a comment that does not end', `${idp.metadata}<!--`, 'not well-formed'],
    ['too long', ' '.repeat(2_000_001), 'too long'],
  ])('%s', (_name, metadata, reason) => {
    expect(() => readProvider({ metadata })).toThrow(reason)
  })
})

describe('settings one by one', () => {
  const provider = (certificates: string[]) => ({
    entityId: idp.entityId,
    signOnUrl: 'https://idp.example/sso',
    certificates,
  })

  it('take PEM and bare base64', () => {
    const known = readProvider(provider([idp.key.certificate, bare(other.certificate)]))
    expect(known.certificates).toHaveLength(2)
  })

  it.each<[string, () => string[], string]>([
    ['no certificate', () => [], 'no certificate'],
    ['a key instead', () => [idp.key.privateKey], 'cannot be read'],
    ['a short RSA key', () => [createCertified('rsa:1024').certificate], 'fewer than 2048 bits'],
    ['a key that is not RSA', () => [createCertificate().cert], 'not RSA'],
    ['five certificates', () => Array.from({ length: 5 }, () => idp.key.certificate), 'more than 4'],
  ])('refuse %s', (_name, certificates, reason) => {
    expect(() => readProvider(provider(certificates()))).toThrow(reason)
  })
})
