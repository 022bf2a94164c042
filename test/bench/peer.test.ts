import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { LEDGER, SECRET } from './clients.ts'
import { newBrowser, signIn } from './flows.ts'
import { targetOf } from './measure.ts'
import { parseOptions } from './options.ts'
import { measurePeer } from './peer.ts'
import { type Subject, startBare } from './subjects.ts'

describe('another provider under the same driver', () => {
  let bare: Subject

  beforeAll(async () => {
    bare = await startBare()
  })
  afterAll(async () => {
    await bare?.stop()
  })

  const measure = (...args: string[]) => {
    const { peer, quick } = parseOptions(['--quick', '--peer', bare.issuer, ...args], () => '')
    if (peer === undefined) throw new Error('no peer')
    return measurePeer(peer, quick)
  }
  /** Requests a second, by flow. */
  const rates = (markdown: string) =>
    Object.fromEntries(
      [...markdown.matchAll(/^\| ([\w ]+) \| \d+ \| ([\d,]+) \|/gm)].map(([, flow = '', rate]) => [
        flow,
        Number(rate?.replaceAll(',', '')),
      ]),
    )

  it('measures all that it is given the means for, and its CPU by --peer-pid', async () => {
    const target = targetOf(bare, 2)
    const [first, second] = [
      await signIn(target, newBrowser(target), 'bench-spa'),
      await signIn(target, newBrowser(target), 'bench-spa'),
    ]
    target.close()
    const markdown = await measure(
      ...['--client-id', 'bench-machine', '--client-secret', SECRET, '--resource', LEDGER, '--scope', 'ledger:read'],
      ...['--refresh-client-id', 'bench-spa', `--refresh-token=${first.refresh_token}`],
      `--refresh-token=${second.refresh_token}`,
      `--access-token=${first.access_token}`,
      ...['--peer-pid', String(bare.pid)],
    )
    expect(rates(markdown)).toEqual({
      ...{ discovery: expect.any(Number), JWKS: expect.any(Number), client_credentials: expect.any(Number) },
      ...{ introspection: expect.any(Number), refresh: expect.any(Number), userinfo: expect.any(Number) },
    })
    expect(Math.min(...Object.values(rates(markdown)))).toBeGreaterThan(1)
    expect(markdown).toMatch(/^\| refresh \| 2 \|.*\| \d[\d,]* \|$/m)
    expect(markdown).not.toContain('not measured')
  })

  it('names what it cannot measure, and says no CPU of a process that it was not told', async () => {
    const markdown = await measure()
    expect(Object.keys(rates(markdown))).toEqual(['discovery', 'JWKS'])
    expect(markdown).toMatch(/client_credentials and introspection: not measured[\s\S]*refresh: not measured/)
    expect(markdown).toMatch(/^\| JWKS \|.*\| {2}\|$/m)
  })

  it('fails on a wrong answer instead of measuring refusals', async () => {
    const wrong = ['--client-id', 'bench-machine', '--client-secret', 'wrong', '--resource', LEDGER]
    await expect(measure(...wrong)).rejects.toThrow(/answered 401/)
  })
})

describe('the command line', () => {
  const parse = (...args: string[]) => parseOptions(args, () => '{"clientId":"a","refreshTokens":["r"]}')

  it('takes the settings of a peer from a file, and flags over them', () => {
    const url = 'https://id.example/realms/one'
    expect(parse('--peer', `${url}/`, '--peer-settings', 'x').peer).toMatchObject({ url, clientId: 'a' })
    expect(parse('--peer', url, '--peer-settings', 'x').peer?.refreshTokens).toEqual(['r'])
    expect(parse('--peer', url, '--peer-settings', 'x', '--client-id', 'b').peer?.clientId).toBe('b')
  })

  it('refuses what it does not know', () => {
    expect(parse('--only', 'mixed,flood').only).toEqual(['mixed', 'flood'])
    expect(() => parse('--only', 'mixed,nothing')).toThrow(/No part nothing. Parts: flows/)
    expect(parse('--arrivals', 'constant').arrivals).toBe('constant')
    expect(() => parse('--arrivals', 'never')).toThrow(/constant or poisson/)
    expect(() => parse('--cores', '1.5')).toThrow(/whole number/)
    expect(() => parse('--unknown')).toThrow(/--unknown/)
    expect(() => parse('--peer', 'somewhere')).toThrow(/not a URL/)
    expect(() => parseOptions(['--peer', 'http://a.example', '--peer-settings', 'x'], () => '{"client":1}')).toThrow(
      /unknown client/,
    )
  })
})
