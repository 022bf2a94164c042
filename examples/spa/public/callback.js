/** The provider sends the browser back here with a code; the page changes it for tokens and goes home. */
import { userManager } from './user_manager.js'

try {
  await userManager.signinCallback()
  location.replace('/')
} catch (error) {
  const problem = document.querySelector('#problem')
  problem.textContent = `You are not signed in: ${error.message}`
  problem.hidden = false
}
