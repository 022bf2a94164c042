/** What commands may ask of the house, in the words of `commands/command.ts`. */
import { trustedIssuers } from './byoi.ts'
import type { CommandServices } from './commands/command.ts'
import { captchaOf } from './features.ts'
import type { Foundation } from './foundation.ts'
import type { House } from './house.ts'
import { issuerProblems } from './platform/assertion_issuers.ts'
import { exportFacts } from './platform/audit_export.ts'
import { canonicalEmail } from './platform/email_address.ts'
import { newId } from './platform/ids.ts'
import { createLedgerAudit } from './platform/ledger_audit.ts'
import { pendingMigrations } from './platform/migrate.ts'
import { countFacts, listFacts } from './platform/outbox_list.ts'
import { resealOutbox } from './platform/outbox_reseal.ts'
import { redisReport } from './platform/redis_watch.ts'

export function commandServices(foundation: Foundation, house: House): CommandServices {
  const { config, database, clock, redis, secretBox, personal, views, mailer } = foundation
  const { accounts, sessions, enrolment, lostFactors, upstreams } = house.rooms
  const audit = createLedgerAudit({ database, personal, secretBox })
  return {
    config,
    database,
    captcha: captchaOf(foundation),
    now: () => clock.now(),
    ...{ clients: house.clients, refusals: house.rooms.refusals.service },
    registrationTokens: house.rooms.clientRegistrations?.service.tokens,
    brands: house.rooms.brands.service,
    upstreams: {
      ...upstreams.service,
      addresses: async (name) => {
        const url = `${config.issuer}/upstream/${name}`
        const logout = await upstreams.service.tellsLogouts(name)
        return { callback: `${url}/callback`, ...(logout && { backchannel_logout_uri: `${url}/backchannel-logout` }) }
      },
    },
    assertionIssuers: { problems: () => problemsOfIssuers(foundation, house) },
    realms: house.rooms.realms.service,
    proofings: house.rooms.proofings.service.desk,
    accounts: {
      list: accounts.service.list,
      find: async (who) => (await accounts.service.find(who)) ?? accounts.service.findByIdentifier(who),
      disable: (id, reason) => accounts.service.disable(id, { actor: 'operator', reason }),
      enable: (id, reason) => accounts.service.enable(id, { actor: 'operator', reason }),
      remove: (id, reason) => accounts.service.erase(id, { actor: 'operator', reason }),
      requireSecondFactor: enrolment.service.require,
    },
    sessions: {
      list: sessions.service.list,
      endAll: async (id) => {
        await sessions.service.endAll(id, 'ended_by_operator')
        await accounts.service.publish(id)
      },
    },
    support: config.modules.recovery ? lostFactors.service : undefined,
    keys: house.keys,
    sealed: house.sealing,
    facts: {
      list: (filter) => listFacts(database, personal, filter),
      count: (type, since) => countFacts(database, type, since),
      verify: async (known) => {
        await house.ledger.seal()
        return audit.verify(known)
      },
      export: async (filter) => {
        await house.ledger.seal()
        return exportFacts(database, personal, filter)
      },
      reseal: () => resealOutbox({ database, personal, secretBox }),
    },
    mails: {
      locales: views.locales,
      fixtures: (locale) => views.fixtures(locale).mails,
      render: views.mail,
      brand: async (id) => {
        const brand = await house.rooms.brands.service.page(id)
        return brand.id === id ? brand : undefined
      },
      send: (message) => mailer.send({ ...message, id: newId() }),
      canonicalEmail,
    },
    pendingMigrations: () => pendingMigrations(database),
    migrate: async () => {
      const pending = await pendingMigrations(database)
      await house.prepare({ migrate: true })
      return pending
    },
    redis: redis && (() => redisReport(redis)),
  }
}

function problemsOfIssuers({ config, http, clock }: Foundation, { rooms }: House) {
  const isOn = async (name: string) => (await rooms.upstreams.service.find(name)) !== undefined
  return issuerProblems(trustedIssuers(config).values(), { http, clock, isOn })
}
