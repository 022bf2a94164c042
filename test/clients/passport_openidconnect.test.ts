/** passport-openidconnect (npm), unmodified: examples/clients/passport_openidconnect. */
import { describeWebClient, NONCE } from '../contracts/web_client.ts'

describeWebClient({ example: 'passport_openidconnect', changes: [NONCE], signsOut: 'here' })
