/**
 * Devices without a keyboard or a browser (RFC 8628): they show a code, and a person types it here, sees which application asks
 * for what, from where, and says yes or no. What could go wrong is that it is somebody else's device (§5.4, attack A72).
 */
import type { Context } from 'koa'
import type { Client, ErrorOut, KoaContextWithOIDC } from 'oidc-provider'
import { subnetOf } from '../platform/client_network.ts'
import { agoIn, countryIn } from '../platform/locales.ts'
import type { EnginePagesDeps } from './pages.ts'
import { viewOf } from './pages.ts'

export interface DeviceFlowDeps extends Pick<EnginePagesDeps, 'pages' | 'languages' | 'brandOf' | 'home'> {
  readonly clock: { now(): Date }
  /** The kind of browser or application that a user agent names. */
  readonly deviceOf: (userAgent: string) => { readonly browser: string; readonly system: string }
  /** Names a network without showing it. */
  readonly mac: (value: string) => string
}

/** What is kept of the device beside its request: enough to tell a stranger's, and no address. */
interface DeviceInfo {
  readonly [member: string]: unknown
  readonly browser: string
  readonly system: string
  readonly country?: string | undefined
  /** Hash of its network. */
  readonly network: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

type State = { readonly ip: string; readonly country?: string; locale: string; brand?: unknown; userCode?: string }

const stateOf = (ctx: KoaContextWithOIDC) => ctx.state as unknown as State

/** `deviceFlow` of the engine. Codes have no vowels, so that none is a word, and no letters that look like others. */
export function createDeviceFlow(deps: DeviceFlowDeps) {
  const show = (ctx: KoaContextWithOIDC, page: string, context: object, status = 200) =>
    deps.pages.render(ctx as unknown as Context, page, { ...context }, status)
  const speak = (ctx: KoaContextWithOIDC, fallback?: string) => {
    const { ui_locales: uiLocales } = (ctx.oidc.params ?? {}) as { ui_locales?: unknown }
    stateOf(ctx).locale = deps.languages.of(ctx as unknown as Context, { uiLocales, fallback })
  }
  const secretOf = (ctx: KoaContextWithOIDC) => String((ctx.oidc.session?.state as { secret?: unknown })?.secret ?? '')
  return {
    enabled: true,
    charset: 'base-20' as const,
    mask: '****-****',
    deviceInfo(ctx: KoaContextWithOIDC): DeviceInfo {
      const { ip, country } = stateOf(ctx)
      const { browser, system } = deps.deviceOf(ctx.get('User-Agent'))
      return { browser, system, country, network: deps.mac(subnetOf(ip)), at: deps.clock.now().getTime() }
    },

    /** Also what the engine shows when a code is wrong, used, or refused: `error` is then one of its own. */
    async userCodeInputSource(ctx: KoaContextWithOIDC, _form: string, _out?: ErrorOut, error?: Error): Promise<void> {
      speak(ctx)
      const given = (error as { userCode?: string } | undefined)?.userCode ?? stateOf(ctx).userCode
      const code = codeOf(error)
      if (code === 'denied') return show(ctx, 'device/done', { denied: true, home: deps.home })
      const context = { xsrf: secretOf(ctx), code: given ?? '', error: code === undefined ? undefined : { code } }
      show(ctx, 'device/code', context, code === undefined ? 200 : 400)
    },

    async userCodeConfirmSource(
      ctx: KoaContextWithOIDC,
      _form: string,
      client: Client,
      kept: object,
      userCode: string,
    ): Promise<void> {
      const info = kept as DeviceInfo
      const view = await viewOf(client, deps.brandOf)
      stateOf(ctx).brand = view.brand
      speak(ctx, view.defaultLocale)
      const { ip, country, locale } = stateOf(ctx)
      const { params } = (ctx.oidc.entities as { DeviceCode?: { params: { scope?: string } } }).DeviceCode ?? {}
      const isFar = info.country !== undefined && country !== undefined && info.country !== country
      show(ctx, 'device/confirm', {
        ...{ xsrf: secretOf(ctx), code: userCode, client: view, scopes: params?.scope?.split(' ') ?? [] },
        device: info.browser !== '' && info.system !== '' ? { browser: info.browser, system: info.system } : undefined,
        country: info.country === undefined ? '' : countryIn(locale, info.country),
        asked: agoIn(locale, new Date(info.at), deps.clock.now()),
        // A mobile phone and a television at home are in different networks often enough; countries are not.
        ...{ isFar, isNear: info.network === deps.mac(subnetOf(ip)) },
      })
    },

    async successSource(ctx: KoaContextWithOIDC): Promise<void> {
      const view = ctx.oidc.client === undefined ? undefined : await viewOf(ctx.oidc.client, deps.brandOf)
      stateOf(ctx).brand = view?.brand
      speak(ctx, view?.defaultLocale)
      show(ctx, 'device/done', { denied: false, home: deps.home, ...(view && { client: view }) })
    },
  }
}

/** The engine's errors of this page by their names; anything else is a fault of the request. */
const CODES: { readonly [name: string]: string } = {
  NoCodeError: 'device_code_missing',
  NotFoundError: 'device_code_unknown',
  ExpiredError: 'device_code_expired',
  AlreadyUsedError: 'device_code_used',
  AbortedError: 'denied',
}

function codeOf(error: Error | undefined): string | undefined {
  return error === undefined ? undefined : (CODES[error.name] ?? 'device_request')
}
