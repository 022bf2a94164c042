/** Jest runs the TypeScript sources as ES modules; swc strips the types, `tsc` checks them in its own step. */
export default {
  rootDir: '..',
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2024' }, module: { type: 'es6' } },
    ],
  },
  setupFiles: ['<rootDir>/test/support/quick_wasm.ts'],
  globalSetup: '<rootDir>/test/support/global_setup.ts',
  globalTeardown: '<rootDir>/test/support/global_teardown.ts',
  testSequencer: '<rootDir>/config/jest_sequencer.mjs',
  maxWorkers: 3,
  // Modules of ended files stay in a worker's memory.
  workerIdleMemoryLimit: '700MB',
  testTimeout: 60_000,
}
