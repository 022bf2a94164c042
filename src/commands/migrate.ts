/** `genkan migrate`: what `serve` does at its start, for installations that migrate on their own. */
import { type Command, type CommandServices, JSON_OPTION, show } from './command.ts'

type Needs = Pick<CommandServices, 'migrate'>

export const migrate: Command<Needs> = {
  name: 'migrate',
  summary: 'bring the database up to date: schema, declared clients, first keys; safe to run beside others',
  options: [JSON_OPTION],
  async run(services, input, out) {
    const applied = await services.migrate()
    show(input, out, { applied }, () =>
      applied.length === 0 ? 'the database is up to date' : applied.map((name) => `applied ${name}`).join('\n'),
    )
  },
}
