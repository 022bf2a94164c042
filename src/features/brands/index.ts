/**
 * Brands: name, logo, colours, font, texts and links of the pages and mails, by client. Declared in the configuration file
 * or made by commands; what operators bring (CSS, pictures, texts) is checked and written anew before it is stored (A98).
 * Owns the tables `brands` and `brand_logos` and the paths under /brands. Hands off: which brand a client names to
 * `clients`, showing it to `http/page` and `platform/views`, colours and pictures to `platform/`.
 */
import { readFile } from 'node:fs/promises'
import type { Middleware } from 'koa'
import type { Feature } from '../../feature.ts'
import type { Database } from '../../platform/postgres.ts'
import { brandRepository } from './repository.ts'
import { brandRoutes, offerDefaultBrand } from './routes.ts'
import { type BrandsDeps, type BrandsService, createBrandsService } from './service.ts'

export interface BrandsFeature extends Feature {
  readonly service: BrandsService
  /** Gives every page the default brand, until its client is known. `programs` are paths that never show a page. */
  offer(programs: ReadonlySet<string>): Middleware
}

export type BrandsFeatureDeps = Pick<BrandsDeps, 'outbox' | 'invalidation' | 'clock' | 'wording' | 'warn'> & {
  readonly database: Pick<Database, 'db' | 'transaction'>
}

/** Builds the feature. */
export function createBrands({ database, ...deps }: BrandsFeatureDeps): BrandsFeature {
  const { transaction, db } = database
  const service = createBrandsService({ ...deps, transaction, repository: brandRepository(db), readFile: readDeclared })
  return {
    name: 'brands',
    service,
    router: brandRoutes(service),
    offer: (programs) => offerDefaultBrand(service, programs),
  }
}

async function readDeclared(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new Error(`${path} cannot be read (${(cause as { code?: string }).code})`, { cause })
  }
}
