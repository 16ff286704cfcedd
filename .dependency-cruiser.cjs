// The layering rule of src/ARCHITECTURE.md, enforced: data goes one way and so do imports. Run by scripts/layering.mjs over a mirror in which
// every source is a JavaScript file that holds only its imports (hence .js in the paths) and imports of types alone are require() calls.
const siblings = ['mqtt', 'consumer', 'replication', 'http']
const only = (name, from, pkg) => ({
  name: `${name}-only-where-it-belongs`,
  severity: 'error',
  from: { pathNot: from },
  to: { path: `node_modules/${pkg}(/|$)` },
})
const layer = (name, mayImport) => ({
  name: `${name}-imports-only-what-lies-below`,
  severity: 'error',
  from: { path: `^src/${name}/` },
  to: { path: '^(src|firmware-bridge|test|scripts)/', pathNot: [name, ...mayImport].map((m) => `^src/${m}/`) },
})
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['require'] } },
    },
    { name: 'no-orphans-in-src', severity: 'error', from: { path: '^src/', orphan: true }, to: {} },
    layer('base', []),
    layer('config', ['base']),
    layer('record', ['base']),
    layer('state', ['record', 'base']),
    layer('log', ['state', 'record', 'base']),
    ...siblings.map((s) => layer(s, ['log', 'state', 'record', 'base'])),
    // The batch codec knows no I/O: with it a client reads stored bytes, several times as many records a second as JSON.
    layer('client', ['record', 'base']),
    {
      name: 'below-the-cli-nobody-knows-it',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/cli/' },
      to: { path: '^src/cli/' },
    },
    {
      name: 'only-cli-and-index-import-node',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(cli/|index\\.js$|node(-http)?\\.js$)' },
      to: { path: '^src/node(-storage|-http)?\\.js$' },
    },
    {
      name: 'the-bridge-uses-the-public-api',
      severity: 'error',
      from: { path: '^firmware-bridge/' },
      to: { path: '^src/', pathNot: '^src/index\\.js$' },
    },
    {
      name: 'only-serve-and-bridge-load-the-bridge',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/cli/(serve|bridge)' },
      to: { path: '^firmware-bridge/' },
    },
    {
      name: 'product-knows-no-tests',
      severity: 'error',
      from: { path: '^(src|firmware-bridge)/' },
      to: { path: '^(test|scripts)/' },
    },
    only('aedes', '^src/mqtt/', 'aedes'),
    only('level', '^src/(log|state)/', '(level|classic-level|abstract-level)'),
    only('mqtt.js', '^(src/replication|firmware-bridge|test|scripts)/', 'mqtt'),
    only('ws', '^(src/mqtt|test|scripts)/', 'ws'),
    only('cbor-x', '^(src/(state|log|replication)|firmware-bridge|test)/', 'cbor-x'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'node'] },
  },
}
