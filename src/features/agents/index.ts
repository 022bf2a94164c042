/**
 * Agents: clients that act for people by themselves. Owns `agent_uses`: when each last acted for whom, and the end of rights that
 * are not used any more; and `agent_delegations`: through which services they act without a consent of their own (RFC 8693). Hands off: who is an agent, whose and until when to clients (metadata `agent`), consent to consents,
 * what agents are shown on the account page to account_pages, tokens with an actor to the engine (`oidc/token_exchange`).
 */
import type { Feature } from '../../feature.ts'
import { type AgentDeps, type AgentService, createAgentService } from './service.ts'

export interface AgentsFeature extends Feature {
  readonly service: AgentService
}

/** Builds the feature. */
export function createAgents(deps: AgentDeps): AgentsFeature {
  const service = createAgentService(deps)
  return {
    name: 'agents',
    service,
    jobs: [
      { name: 'agents.uses', everySeconds: 30, atStop: true, run: service.flush },
      { name: 'agents.lapse', everySeconds: 600, run: async (now) => void (await service.lapse(now)) },
    ],
  }
}
