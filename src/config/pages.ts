/** Which pages there are, and how they look. */
import { resolve } from 'node:path'
import { z } from 'zod'
import { repeated } from './problems.ts'
import { besideSettings, type Environment } from './reading.ts'
import { flag, isLoopback, type Parsed } from './values.ts'

/** The brands feature checks the rest. */
const brandDeclaration = z.looseObject({ id: z.string().min(1) })

export const pageShape = {
  modules: z
    .strictObject({
      registration: z.boolean().default(true),
      recovery: z.boolean().default(true),
      account_pages: z.boolean().default(true),
    })
    .prefault({}),
  dev_pages: flag,
  templates_dir: z.string().optional(),
  brands: z.array(brandDeclaration).default([]),
}

type Settings = Parsed<typeof pageShape>
export type BrandDeclaration = Settings['brands'][number]

export interface PageConfig {
  /** What an operator may switch off. What is off is not built. */
  readonly modules: { readonly registration: boolean; readonly recovery: boolean; readonly accountPages: boolean }
  /** The path that people are led to when no client is: the account pages, or the front page without them. */
  readonly home: '/account' | '/'
  /** Shows every page and mail at /dev/pages, from fixtures. On a loopback issuer only. */
  readonly devPages: boolean
  /** A folder of templates that stand in front of ours. */
  readonly templatesDir: string | undefined
  /** Their files by absolute path. */
  readonly brands: readonly BrandDeclaration[]
}

export function pagesOf({ modules, brands, ...settings }: Settings, env: Environment): PageConfig {
  return {
    modules: { registration: modules.registration, recovery: modules.recovery, accountPages: modules.account_pages },
    home: modules.account_pages ? '/account' : '/',
    devPages: settings.dev_pages,
    templatesDir: settings.templates_dir === undefined ? undefined : resolve(settings.templates_dir),
    brands: brands.map((brand) => withAbsoluteFiles(brand, env)),
  }
}

/** A brand's files lie beside the file that names them. */
function withAbsoluteFiles(brand: BrandDeclaration, env: Environment): BrandDeclaration {
  const files = ['css', 'logo', 'logo_dark'].flatMap((name) =>
    typeof brand[name] === 'string' ? [[name, besideSettings(brand[name], env)]] : [],
  )
  return { ...brand, ...Object.fromEntries(files) }
}

export function pageProblems(settings: Settings & { readonly issuer: string }): string[] {
  return [
    ...(settings.dev_pages && !isLoopback(settings.issuer) ? ['GENKAN_DEV_PAGES: is for a loopback issuer only'] : []),
    ...repeated(settings.brands.map(({ id }) => id)).map((id) => `brands: ${id} is declared twice`),
  ]
}
