/** An https front for a server under test, with a certificate for `localhost` made for this run by openssl. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary } from './binaries.ts'
import { type ReverseProxy, startReverseProxy } from './reverse_proxy.ts'

export interface TlsProxy extends ReverseProxy {
  /** The self-signed certificate, which clients of the test have to trust. */
  readonly ca: string
}

export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** A self-signed certificate for `localhost` and 127.0.0.1, valid for a day. */
export function createCertificate(): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-tls-'))
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
    const kind = ['-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-days', '1']
    execFileSync(binary('openssl'), ['req', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'pipe' })
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Serves https on `port` (any free one by default) and forwards to `target`, an http origin. */
export async function startTlsProxy({ target, port }: { target: string; port?: number }): Promise<TlsProxy> {
  const tls = createCertificate()
  const proxy = await startReverseProxy({ target: () => target, tls, ...(port === undefined ? {} : { port }) })
  return { ...proxy, ca: tls.cert }
}
