/** People whose e-mail domains have a provider: a product, a fake provider, and a DNS server on loopback. */
import type { Browser, Page } from './browser.ts'
import { type DnsStub, startDnsStub, type TxtRecords } from './dns_stub.ts'
import { authorization } from './journeys.ts'
import { CALLBACK } from './target.ts'
import { startUpstreamRoom, type UpstreamOptions, type UpstreamRoom } from './upstreams.ts'

export type RealmRoom = Awaited<ReturnType<typeof startRealmRoom>>

/** `acme` is nobody's by the operator's word; `other` is trusted for the domains that the tests close. */
export async function startRealmRoom(options: Pick<UpstreamOptions, 'naming'> = {}) {
  const dns = await startDnsStub()
  const room = await startUpstreamRoom({
    ...options,
    others: [{ name: 'other', title: 'Other', trusted_domains: ['closed.example', 'routed.example'] }],
    settings: {
      dns_servers: [dns.server],
      realms: [
        { domain: 'Declared.Example', upstream: 'acme', policy: 'offer', break_glass: ['nobody@declared.example'] },
      ],
    },
  })
  return { ...room, ...acts(room, dns), dns, close: async () => void (await Promise.all([room.close(), dns.close()])) }
}

function acts(room: UpstreamRoom, dns: DnsStub) {
  const { target, fake } = room
  let published: TxtRecords = {}
  const run = (...command: string[]) => target.server.run('realms', ...command)
  const publish = (records: TxtRecords) => {
    published = { ...published, ...records }
    dns.set(published)
  }
  return {
    run,
    publish,

    /** Makes a realm of `acme` and proves it; says what the command that proves it said. */
    async prove(domain: string, ...options: string[]) {
      const { stdout } = await run('add', domain, '--upstream', 'acme', ...options)
      const [, name = '', value = ''] = /publish (\S+) TXT "(\S+)"/.exec(stdout) ?? []
      publish({ [name]: [[value]] })
      return (await run('prove', domain)).stdout
    },

    /** Types an address on the first page. */
    async type(email: string, browser = room.person()) {
      const page = await browser.submit(await target.open(browser), { identifier: email }, { form: '/identifier' })
      return { browser, page }
    },

    /** From the first page through a provider. */
    async come(account: string, claims: { readonly [claim: string]: unknown }, provider = 'acme') {
      await fake.tell({ account, claims })
      const browser: Browser = room.person()
      const request = await authorization(target.client, CALLBACK, { scope: 'openid email profile' })
      const page = await room.through(browser, await browser.get(request.url), provider)
      return { browser, request, page }
    },

    facts: (type: string) =>
      target.sql<{ account_id: string; data: { domain: string } }>(
        'select * from outbox where type = $1 order by occurred_at, id',
        [type],
      ),

    /** Subjects of all that an address was mailed. */
    async mailsTo(email: string) {
      await target.settled()
      return (await target.mailbox.all()).filter(({ to }) => to.includes(email)).map(({ subject }) => subject)
    },

    isAtProvider: (page: Page) => page.url.startsWith(fake.issuer),
  }
}
