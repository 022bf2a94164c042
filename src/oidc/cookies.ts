/** Cookie names and attributes (ARCHITECTURE: `__Host-` binds to the host, the engine binds the other two to a path). */
export function cookies(https: boolean) {
  const options = { httpOnly: true, sameSite: 'lax', secure: https, signed: false, overwrite: true } as const
  return {
    names: {
      session: https ? '__Host-genkan_session' : 'genkan_session',
      interaction: https ? '__Secure-genkan_interaction' : 'genkan_interaction',
      resume: https ? '__Secure-genkan_resume' : 'genkan_resume',
    },
    long: { ...options, path: '/' },
    short: options,
  }
}
