/** What other rooms may know about brands. */
import type { z } from 'zod'
import type { Picture } from '../../platform/picture.ts'
import type { settingsSchema } from './schema.ts'

export type BrandSettings = Readonly<z.output<typeof settingsSchema>>

/** Who may change a brand: the configuration file or the command line. */
export type BrandManaged = 'file' | 'command'

export type LogoVariant = 'light' | 'dark'

/** A stored logo without its bytes. `hash` names its content. */
export type LogoRecord = Omit<Picture, 'body'> & { readonly hash: string }

export interface BrandRecord {
  readonly id: string
  readonly settings: BrandSettings
  /** Custom CSS as it was written anew from its checked tree; empty without. */
  readonly css: string
  readonly managed: BrandManaged
  readonly logos: { readonly [variant in LogoVariant]?: LogoRecord | undefined }
  readonly disabledAt?: Date | undefined
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** The brand of every page that belongs to no client, and of every client that names none. */
export const DEFAULT_BRAND = 'default'

/** Cache topic of the invalidation channel. */
export const BRANDS_TOPIC = 'brand'
