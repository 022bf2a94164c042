/** What an address of the gallery may say. Anything else is left out, so that a typing mistake still shows pages. */
import { z } from 'zod'

export const galleryQuery = z.object({
  template: z.string().max(100).catch(''),
  state: z.string().max(100).catch(''),
  locale: z.string().max(35).catch(''),
  brand: z.string().max(60).catch('default'),
  theme: z.enum(['light', 'dark', 'system']).catch('system'),
  width: z.enum(['320', '390', '768', '1280']).catch('390'),
  part: z.enum(['html', 'text']).catch('html'),
})

export type GalleryQuery = z.output<typeof galleryQuery>
