/** Jest runs this once after all test files, also when some failed. */
export default async function teardown(): Promise<void> {
  await (globalThis as unknown as { stopServices?: () => Promise<void> }).stopServices?.()
}
