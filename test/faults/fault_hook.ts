/**
 * Preloaded into a process under test: on SIGUSR2 it does to itself what the file GENKAN_TEST_FAULT says, as a fault of the program
 * would: `reject` (an unhandled rejection), `block` (the event loop never turns again), `heap` (memory runs out).
 */
import { readFileSync } from 'node:fs'

process.on('SIGUSR2', () => {
  const fault = readFileSync(process.env.GENKAN_TEST_FAULT ?? '', 'utf8').trim()
  if (fault === 'reject') void Promise.reject(new Error('a fault that nobody handles'))
  if (fault === 'block') for (;;);
  if (fault === 'heap') {
    const kept: number[][] = []
    for (;;) kept.push(new Array<number>(100_000).fill(kept.length))
  }
})
