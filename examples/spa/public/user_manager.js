/** One UserManager for both pages. oidc-client-ts does code + PKCE, checks the answer, and renews with the refresh token. */
const { UserManager, WebStorageStateStore } = window.oidc
const { authority, client_id } = await (await fetch('/config.json')).json()

export const userManager = new UserManager({
  authority,
  client_id,
  redirect_uri: `${location.origin}/callback.html`,
  post_logout_redirect_uri: `${location.origin}/`,
  scope: 'openid profile email',
  // Tokens stay in this tab. Other tabs sign in by themselves: the provider's session makes it a blink.
  userStore: new WebStorageStateStore({ store: window.sessionStorage }),
  // A minute before the access token ends, the refresh token (a new one each time) gets the next.
  automaticSilentRenew: true,
})
