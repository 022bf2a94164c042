/**
 * The living picture of every hosted page and mail at /dev/pages: each in all its states, in every locale and theme, from the
 * fixtures that the suites of pages use too. It is for people who work on pages and never part of a real installation: the
 * setting is refused unless the issuer is loopback. Owns nothing and writes nothing.
 */
import type { Feature } from '../../feature.ts'
import { createDevRouter, type DevRouteDeps } from './routes.ts'
import { createGallery, type GalleryDeps } from './service.ts'

export function createDevPages(deps: GalleryDeps & Omit<DevRouteDeps, 'gallery'>): Feature {
  return { name: 'dev_pages', router: createDevRouter({ ...deps, gallery: createGallery(deps) }) }
}
