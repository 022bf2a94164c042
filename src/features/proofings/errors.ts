/** How a result that a provider sends may fail, beside the codes of every room. The provider's makers read them. */
export const PROOFING_CODES = {
  proofing_signature: 401,
  proofing_unverified: 422,
} as const
