/**
 * The bare provider as a process: the engine, the simple adapter, and pages of one form that believe whoever is named.
 * Settings: ISSUER, PORT, REDIS_URL, BENCH_SETUP (JSON of the clients and resources).
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Redis } from 'ioredis'
import Provider from 'oidc-provider'
import type { Setup } from '../clients.ts'
import { createSimpleAdapter } from './adapter.ts'
import { bareConfiguration } from './configuration.ts'

const { ISSUER = '', PORT = '0', REDIS_URL = '', BENCH_SETUP = '{}' } = process.env
const { clients, resources } = JSON.parse(BENCH_SETUP) as Setup
const redis = new Redis(REDIS_URL)

const provider = new Provider(ISSUER, {
  ...bareConfiguration(clients, resources),
  adapter: (model: string) => createSimpleAdapter(redis, model),
})

provider.use(async (ctx, next) => {
  const [, uid, prompt] = /^\/interaction\/([\w-]+)(?:\/(login|consent))?$/.exec(ctx.path) ?? []
  if (uid === undefined) return next()
  const details = await provider.interactionDetails(ctx.req, ctx.res)
  if (ctx.method === 'GET') {
    ctx.body = `<!doctype html><form method="post" action="/interaction/${uid}/${details.prompt.name}">
<input type="password" name="password"><button name="action" value="allow">Continue</button></form>`
  } else if (prompt === 'login') {
    const accountId = String(details.params.login_hint)
    ctx.redirect(await finish(ctx.req, ctx.res, { login: { accountId } }))
    ctx.status = 303
  } else {
    const grant = new provider.Grant({
      accountId: details.session?.accountId ?? '',
      clientId: String(details.params.client_id),
    })
    grant.addOIDCScope(String(details.params.scope))
    ctx.redirect(await finish(ctx.req, ctx.res, { consent: { grantId: await grant.save() } }))
    ctx.status = 303
  }
})

function finish(req: IncomingMessage, res: ServerResponse, result: object): Promise<string> {
  return provider.interactionResult(req, res, result as never, { mergeWithLastSubmission: true })
}

provider.listen(Number(PORT), '127.0.0.1')
