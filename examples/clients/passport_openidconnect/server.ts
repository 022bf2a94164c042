/**
 * An Express application on passport and passport-openidconnect. That strategy knows no PKCE, no discovery, and does not look
 * at signatures: it has the ID token from the token endpoint, by TLS (OpenID Connect Core §3.1.3.7, 6).
 * Settings: ISSUER, CLIENT_ID, CLIENT_SECRET, BASE_URL (this application's own origin), SESSION_SECRET.
 */
import express, { type ErrorRequestHandler } from 'express'
import session from 'express-session'
import passport from 'passport'
import OpenIDConnectStrategy from 'passport-openidconnect'

const { ISSUER = '', CLIENT_ID = '', CLIENT_SECRET = '', BASE_URL = '', SESSION_SECRET = '' } = process.env

const metadata = (await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json()) as Record<string, string>

passport.use(
  new OpenIDConnectStrategy.Strategy(
    {
      issuer: ISSUER,
      authorizationURL: metadata.authorization_endpoint ?? '',
      tokenURL: metadata.token_endpoint ?? '',
      userInfoURL: metadata.userinfo_endpoint ?? '',
      clientID: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      callbackURL: `${BASE_URL}/callback`,
      scope: ['profile', 'email'],
      // Any value switches it on; without PKCE it is what binds the answer to this browser.
      nonce: 'on',
      skipUserProfile: false,
    },
    (_issuer: string, profile: passport.Profile, done: OpenIDConnectStrategy.VerifyCallback) =>
      done(null, { sub: profile.id, email: profile.emails?.[0]?.value }),
  ),
)
passport.serializeUser((user, done) => done(null, user))
passport.deserializeUser((user: Express.User, done) => done(null, user))

const app = express()
app.use(session({ name: 'passport', secret: SESSION_SECRET, resave: false, saveUninitialized: false }))
app.use(passport.session())

app.get('/', (req, res) => {
  res.status(req.user === undefined ? 401 : 200).json(req.user ?? { signed_in: false, start: '/login' })
})
app.get('/login', passport.authenticate('openidconnect'))
app.get('/callback', passport.authenticate('openidconnect', { successRedirect: '/', failWithError: true }))
app.get('/logout', (req, res, next) => {
  req.logout((error) => (error === undefined || error === null ? res.redirect('/') : next(error)))
})

const onError: ErrorRequestHandler = (error: Error & { code?: string }, _req, res, _next) => {
  res.status(400).json({ error: error.code ?? error.message, error_description: error.message })
}
app.use(onError)

app.listen(Number(new URL(BASE_URL).port), '127.0.0.1', () => console.log(`passport-openidconnect: ${BASE_URL}`))
