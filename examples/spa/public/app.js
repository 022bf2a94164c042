/** The page: shows who is signed in, renews, calls userinfo, signs out. */
import { userManager } from './user_manager.js'

const element = (id) => document.getElementById(id)
let renewals = 0

element('sign-in').addEventListener('click', () => attempt(() => userManager.signinRedirect()))
element('sign-out').addEventListener('click', () => attempt(() => userManager.signoutRedirect()))
element('renew').addEventListener('click', () => attempt(() => userManager.signinSilent()))
element('call-userinfo').addEventListener('click', () =>
  attempt(async () => {
    const user = await userManager.getUser()
    const url = await userManager.metadataService.getUserInfoEndpoint()
    const answer = await fetch(url, { headers: { authorization: `Bearer ${user.access_token}` } })
    if (!answer.ok) throw new Error(`userinfo answered ${answer.status}`)
    element('userinfo').textContent = JSON.stringify(await answer.json(), null, 2)
    element('userinfo').hidden = false
  }),
)

// Raised after the sign-in and after each renewal.
userManager.events.addUserLoaded((user) => {
  renewals += 1
  show(user)
})
userManager.events.addUserUnloaded(() => show(null))
// The session ended somewhere else (signed out, revoked, too old): these tokens are worth nothing any more.
userManager.events.addSilentRenewError((error) => {
  if (error.error !== undefined) userManager.removeUser()
})

const user = await userManager.getUser()
show(user?.expired ? await userManager.signinSilent().catch(() => null) : user)

function show(user) {
  element('signed-in').hidden = user === null
  element('signed-out').hidden = user !== null
  element('userinfo').hidden = true
  element('title').textContent = user
    ? `Hello, ${user.profile.name ?? user.profile.email ?? user.profile.sub}`
    : 'SPA example'
  if (user === null) return
  element('renewals').textContent = String(renewals)
  element('expires').textContent = new Date(user.expires_at * 1000).toLocaleTimeString()
  element('claims').replaceChildren(...Object.entries(user.profile).map(([name, value]) => claimRow(name, value)))
}

function claimRow(name, value) {
  const row = document.createElement('tr')
  const header = document.createElement('th')
  header.scope = 'row'
  header.textContent = name
  row.append(header)
  row.insertCell().textContent = typeof value === 'string' ? value : JSON.stringify(value)
  return row
}

async function attempt(work) {
  element('problem').hidden = true
  try {
    await work()
  } catch (error) {
    element('problem').textContent = error.message
    element('problem').hidden = false
  }
}
