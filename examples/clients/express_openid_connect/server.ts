/**
 * An Express application on express-openid-connect: sign-in, userinfo, refresh, sign-out here and at the provider.
 * Settings: ISSUER, CLIENT_ID, CLIENT_SECRET, BASE_URL (this application's own origin), SESSION_SECRET.
 */
import express, { type ErrorRequestHandler } from 'express'
import openidConnect from 'express-openid-connect'

const { ISSUER = '', CLIENT_ID = '', CLIENT_SECRET = '', BASE_URL = '', SESSION_SECRET = '' } = process.env
const { auth, requiresAuth } = openidConnect
const app = express()

app.use(
  auth({
    issuerBaseURL: ISSUER,
    baseURL: BASE_URL,
    clientID: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    secret: SESSION_SECRET,
    // Left alone, it asks for an ID token without a code (implicit), which Genkan does not give: always set this.
    // offline_access with prompt=consent: a refresh token for whoever agrees to it (OpenID Connect Core §11).
    authorizationParams: { response_type: 'code', scope: 'openid profile email offline_access', prompt: 'consent' },
    // Genkan's default; left alone, the library takes RS256 only, which a client can have too (id_token_signed_response_alg).
    idTokenSigningAlg: 'ES256',
    authRequired: false,
    idpLogout: true,
  }),
)

app.get('/', async (req, res) => {
  if (req.oidc.isAuthenticated()) res.json(await req.oidc.fetchUserInfo())
  else res.status(401).json({ signed_in: false, start: '/login' })
})

app.get('/claims', requiresAuth(), (req, res) => {
  res.json(req.oidc.idTokenClaims)
})

app.get('/refresh', requiresAuth(), async (req, res) => {
  await req.oidc.accessToken?.refresh()
  res.redirect('/')
})

const onError: ErrorRequestHandler = (
  error: Error & { error?: string; error_description?: string },
  _req,
  res,
  _next,
) => {
  const { message, cause, error: code, error_description: description } = error
  res.status(400).json({ error: code ?? message, error_description: description, cause })
}
app.use(onError)

app.listen(Number(new URL(BASE_URL).port), '127.0.0.1', () => console.log(`express-openid-connect: ${BASE_URL}`))
