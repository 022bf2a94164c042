/** Names that operators give to what people see. */
import { z } from 'zod'

/** Shown on pages: no control, format or line-separating characters that could re-order or hide what a person reads. */
export const displayName = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .refine((value) => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(value), 'must not have control or invisible characters')
