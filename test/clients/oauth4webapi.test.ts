/** oauth4webapi (npm), unmodified: examples/clients/oauth4webapi. */
import { describeWebClient } from '../contracts/web_client.ts'

describeWebClient({ example: 'oauth4webapi', changes: [], refreshes: true, signsOut: 'here' })
