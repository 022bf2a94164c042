/** Who may import whom, `import type` included. Each rule's comment is its reason. */
/** The composition root: whatever lies directly in src, but the base that everyone may use and main.ts. */
const ROOT_FILES = '^src/(?!(main|errors|events|feature)\\.ts$)[^/]+\\.ts$'
const only = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to })
const module = (...names) => `(^|/)node_modules/(${names.join('|')})/`

export default {
  forbidden: [
    only('no-cycles', 'A cycle hides who depends on whom.', {}, { circular: true }),
    only(
      'no-orphans',
      'A file that nothing imports is dead.',
      { orphan: true, path: '^src/', pathNot: '(^src/(feature|events)|/(types|step|store|command|key_value))\\.ts$' },
      {},
    ),
    only('not-resolvable', 'The imported file or package is not there.', {}, { couldNotResolve: true }),
    only('no-undeclared', 'A package must be in package.json.', {}, { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] }),
    only(
      'no-development-in-production',
      'The image has no development dependencies.',
      { path: '^(src|migrations)/' },
      { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    ),
    only(
      'source-alone',
      'The product never imports its tests or examples.',
      { path: '^src/' },
      { path: '^(test|examples|migrations)/' },
    ),
    only(
      'migrations-frozen',
      'Migrations import nothing from src: they must mean the same for ever.',
      { path: '^migrations/' },
      { path: '^(src|test|examples)/' },
    ),
    only('main-on-top', 'Nothing imports main.ts.', { path: '^(src|examples)/' }, { path: '^src/main\\.ts$' }),
    only(
      'root-on-top',
      'Only main.ts and the composition root import the composition root.',
      { path: '^src/', pathNot: [ROOT_FILES, '^src/main\\.ts$'] },
      { path: ROOT_FILES },
    ),
    only(
      'commands',
      'Commands use platform, config and the types of features.',
      { path: '^src/commands/' },
      {
        path: '^src/',
        pathNot: '^src/(commands|config|platform)/|^src/(errors|events)\\.ts$|^src/features/[^/]+/types\\.ts$',
      },
    ),
    only(
      'features-apart',
      'A feature knows another only by its types.',
      { path: '^src/features/([^/]+)/' },
      { path: '^src/features/', pathNot: '^src/features/($1/|[^/]+/types\\.ts$)' },
    ),
    only(
      'features-below-root',
      'A feature uses the step contract, http and platform, and no other room.',
      { path: '^src/features/' },
      {
        path: '^src/(oidc|interaction|commands|config)/',
        pathNot: '^src/interaction/(step|levels|realms|verified_claims)\\.ts$',
      },
    ),
    only(
      'interaction-alone',
      'The conversation knows the step contract, never a feature or the engine.',
      { path: '^src/interaction/' },
      { path: '^src/(features|oidc|commands|config)/' },
    ),
    only(
      'oidc-alone',
      'The engine receives features as functions; it shares the words of the step contract.',
      { path: '^src/oidc/' },
      {
        path: '^src/(features|interaction|commands)/',
        pathNot: '^src/interaction/(step|levels|verified_claims)\\.ts$',
      },
    ),
    only(
      'http-alone',
      'http knows platform only.',
      { path: '^src/http/' },
      { path: '^src/', pathNot: '^src/(http|platform)/|^src/(errors|events)\\.ts$' },
    ),
    only(
      'platform-alone',
      'platform knows no other room.',
      { path: '^src/platform/' },
      { path: '^src/', pathNot: '^src/(platform|config)/|^src/(errors|events)\\.ts$' },
    ),
    only(
      'base-alone',
      'errors and events import nothing of ours.',
      { path: '^src/(errors|events)\\.ts$' },
      { path: '^src/' },
    ),
    only(
      'config-alone',
      'config imports nothing else of ours.',
      { path: '^src/config/' },
      { path: '^src/', pathNot: '^src/config/' },
    ),
    only(
      'config-parts-apart',
      'A part of the settings uses what all parts share, and no other part.',
      { path: '^src/config/', pathNot: '^src/config/config\\.ts$' },
      { path: '^src/config/', pathNot: '^src/config/(problems|reading|redis_url|values)\\.ts$' },
    ),
    only(
      'steps-pure',
      'The flow table is pure.',
      { path: '^src/interaction/(flow|step)\\.ts$' },
      { path: '^src/(http|platform)/' },
    ),
    only(
      'services-pure',
      'A service is free of HTTP, SQL, Redis and HTML.',
      { path: '^src/features/[^/]+/service\\.ts$' },
      { path: [module('knex', 'pg', 'koa', '@koa', 'ioredis', 'nunjucks'), '^src/http/'] },
    ),
    only(
      'sql-in-its-rooms',
      'SQL lives in repositories, platform and the adapters.',
      { path: '^src/', pathNot: '^src/platform/|^src/oidc/adapter/|/repository\\.ts$' },
      { path: module('knex', 'pg', 'knex-pglite', '@electric-sql') },
    ),
    only(
      'redis-in-its-rooms',
      'Redis lives in platform and the adapters.',
      { path: '^src/', pathNot: '^src/platform/|^src/oidc/adapter/|^src/foundation\\.ts$' },
      { path: module('ioredis') },
    ),
    only(
      'engine-in-its-room',
      "oidc-provider lives in src/oidc; the conversation's store may name its types.",
      { path: '^src/', pathNot: '^src/oidc/|^src/interaction/store\\.ts$' },
      { path: module('oidc-provider') },
    ),
    only(
      'templates-in-their-room',
      'Templates are read by platform/templates.ts and rendered by platform/views.ts.',
      { path: '^src/', pathNot: '^src/platform/(views|templates)\\.ts$' },
      { path: module('nunjucks') },
    ),
    only(
      'saml-in-its-room',
      'What node-saml says is believed only after the checks of platform/saml_*.ts.',
      { path: '^src/', pathNot: '^src/platform/(upstream_saml|saml_xml)\\.ts$' },
      { path: module('@node-saml', '@xmldom', 'xml-crypto', 'xml-encryption') },
    ),
    only(
      'mail-in-its-room',
      'Mail is sent, and its server asked, in platform.',
      { path: '^src/', pathNot: '^src/platform/(mailer|mail_check)\\.ts$' },
      { path: module('nodemailer') },
    ),
    only(
      'hashing-in-its-room',
      'Passwords are hashed by platform/argon2id.ts.',
      { path: '^src/', pathNot: '^src/platform/argon2id\\.ts$' },
      { path: module('argon2') },
    ),
    only(
      'command-line-in-its-room',
      'Only command_line.ts takes the command line apart.',
      { path: '^src/', pathNot: '^src/command_line\\.ts$' },
      { path: module('commander') },
    ),
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|coverage)/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
}
