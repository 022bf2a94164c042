/** openid-client (npm), unmodified: examples/clients/openid_client. */
import { describeWebClient } from '../contracts/web_client.ts'

describeWebClient({ example: 'openid_client', refreshes: true, signsOut: 'everywhere' })
