/** The log: one JSON line for each event, the request id on it, and nothing secret in it. */
import { type DestinationStream, type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino'
import { isError, redact, redactText } from './redaction.ts'
import { currentRequest } from './request_scope.ts'

export type Logger = PinoLogger

export interface LoggerOptions {
  readonly level: string
  /** Where lines go; standard output by default. */
  readonly destination?: DestinationStream | undefined
}

/**
 * Makes the logger. Secrets are recognised by the name of their key and by their form, at four levels of depth; control
 * characters leave escaped, so that one event is one line whatever a requester sends (A106).
 */
export function createLogger({ level, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { pid: process.pid },
    timestamp: stdTimeFunctions.isoTime,
    mixin: () => {
      const request = currentRequest()
      return request === undefined ? {} : { requestId: request.requestId }
    },
    // Our own walk replaces the serializer of pino, which would copy every property of an error (A107).
    serializers: { err: (value: unknown) => value },
    formatters: { level: (label: string) => ({ level: label }), log: redact },
    hooks: {
      logMethod(this: Logger, args: unknown[], method: (...args: unknown[]) => void) {
        const [first] = args
        // `log.error(error)` would take the message as it is: name the error, and let the walk say the rest.
        const safe = isError(first) ? [{ err: first }, typeof args[1] === 'string' ? args[1] : first.name] : args
        method.apply(
          this,
          safe.map((arg) => (typeof arg === 'string' ? redactText(arg) : arg)),
        )
      },
    },
  }
  const logger: Logger = destination === undefined ? pino(options as never) : pino(options as never, destination)
  // pino formats the fields of a line but not those of a child, which are written on each of its lines.
  const child = logger.child
  logger.child = function (this: Logger, bindings: object, ...rest: unknown[]) {
    return child.call(this, redact(bindings), ...(rest as []))
  } as typeof child
  return logger
}
