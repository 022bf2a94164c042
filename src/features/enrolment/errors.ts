/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const ENROLMENT_CODES = {
  /** It cannot be put off any more. */
  enrolment_required: 400,
} as const
