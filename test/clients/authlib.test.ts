/** Authlib (Debian's python3-authlib), unmodified: examples/clients/authlib. */
import { describeWebClient } from '../contracts/web_client.ts'
import { binary } from '../support/binaries.ts'
import { exampleFile } from '../support/example_client.ts'

describeWebClient({
  example: 'authlib',
  launch: () => {
    for (const part of ['authlib', 'requests'] as const) binary(part)
    return [binary('python3'), exampleFile('authlib', 'server.py')]
  },
  refreshes: true,
  signsOut: 'here',
})
