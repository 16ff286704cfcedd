// `sluice tokens`: who may use the HTTP interface of a node. With --data it works on the folder of a node that does not run: for the first
// token of a node that is to listen in the open, and for an operator who has lost the last one.

import { SluiceError } from '../base/errors.js'
import { silentLogger } from '../base/logger.js'
import type { ApiClient } from './api-client.js'
import { type CommandContext, defineCommand, UsageError } from './command.js'
import { type Column, formatTable } from './table.js'

type Scope = 'read' | 'write' | 'bridge' | 'admin'

interface Token {
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly created_at: string
}

/** Where tokens are kept: in a running node, or in the folder of one that is stopped. */
interface TokenStore {
  list(): Promise<readonly Token[]>
  create(name: string, scopes: readonly Scope[]): Promise<string>
  revoke(name: string): Promise<void>
}

const OPTIONS = {
  scope: {
    type: 'string',
    short: 's',
    value: 'LIST',
    description: 'create: read, write, bridge or admin, or several: read,write',
  },
  data: { type: 'string', value: 'DIR', description: 'the data folder of a node that is stopped, instead of --url' },
} as const

type Context = CommandContext<typeof OPTIONS>

const COLUMNS: readonly Column<Token>[] = [
  { title: 'NAME', value: ({ name }) => name },
  { title: 'SCOPES', value: ({ scopes }) => scopes.join(',') },
  { title: 'CREATED AT', value: ({ created_at: at }) => at },
]

export const command = defineCommand({
  name: 'tokens',
  summary: 'list, make or revoke tokens for the HTTP interface',
  usage: ['tokens [--data DIR]', 'tokens create NAME --scope LIST [--data DIR]', 'tokens revoke NAME [--data DIR]'],
  description:
    'read consumes and looks, write publishes, bridge is for sluice bridge, admin does everything. Until the first token is made programs on this machine need\n' +
    'none; from then on everybody does. A token is printed once; the node keeps only a hash of it.',
  options: OPTIONS,
  positionals: { min: 0, max: 2 },
  examples: [
    'sluice tokens create ops --scope admin',
    'sluice tokens create reporting --scope read --token "$ADMIN_TOKEN"',
    'sluice tokens create ops --scope admin --data /var/lib/sluice  # the node is stopped',
    'sluice tokens revoke reporting',
  ],
  async run(context) {
    const [action, name] = context.positionals
    if (action !== undefined && action !== 'create' && action !== 'revoke')
      throw new UsageError(`unknown action ${JSON.stringify(action)}: there are create and revoke`)
    if (action !== undefined && name === undefined) throw new UsageError(`${action} needs the NAME of a token`)
    const scopes = scopesOf(context.values.scope, action)
    const { data } = context.values
    if (data === undefined) return act(context, remoteStore(context.api), action, name, scopes)
    return inFolder(data, (store) => act(context, store, action, name, scopes))
  },
})

async function act(
  { values, stdout, stderr }: Context,
  store: TokenStore,
  action: 'create' | 'revoke' | undefined,
  name: string,
  scopes: readonly Scope[],
): Promise<number> {
  if (action === 'create') {
    const token = await store.create(name, scopes)
    await (values.json ? stdout.json({ name, scopes, token }) : stdout.line(token))
    if (!values.json) await stderr.line(`Made ${name} (${scopes.join(', ')}). Keep the token: it is not shown again.`)
    return 0
  }
  if (action === 'revoke') {
    await store.revoke(name)
    await stderr.line(`Revoked ${name}.`)
    return 0
  }
  const tokens = await store.list()
  if (values.json) for (const token of tokens) await stdout.json(token)
  else if (tokens.length === 0) await stderr.line('There are no tokens: programs on this machine need none.')
  else await stdout.write(formatTable(COLUMNS, tokens))
  return 0
}

function scopesOf(written: string | undefined, action: string | undefined): readonly Scope[] {
  if (action !== 'create') {
    if (written !== undefined) throw new UsageError('--scope goes with create only')
    return []
  }
  if (written === undefined)
    throw new UsageError('create needs --scope: read, write, bridge or admin, or several: read,write')
  return [...new Set(written.split(','))].map((scope) => {
    if (scope === 'read' || scope === 'write' || scope === 'bridge' || scope === 'admin') return scope
    throw new UsageError(
      `--scope takes read, write, bridge and admin, with commas between, not ${JSON.stringify(written)}`,
    )
  })
}

function remoteStore(api: ApiClient): TokenStore {
  return {
    list: async () => (await api.get<{ tokens: Token[] }>('/v1/tokens')).tokens,
    create: async (name, scopes) => (await api.post<{ token: string }>('/v1/tokens', { name, scopes })).token,
    revoke: async (name) => void (await api.delete(`/v1/tokens/${encodeURIComponent(name)}`)),
  }
}

async function inFolder(folder: string, work: (store: TokenStore) => Promise<number>): Promise<number> {
  const [{ AccessTokens }, { checkParameter }, { claimDataDirectory, openState }] = await Promise.all([
    import('../http/access-tokens.js'),
    import('../http/parameters.js'),
    import('../state/data-directory.js'),
  ])
  await claimDataDirectory(folder)
  const failures: SluiceError[] = []
  const state = await openState(folder, { logger: silentLogger, onFatal: (error) => failures.push(error) }).catch(
    (error) => {
      if (!(error instanceof SluiceError) || error.code !== 'DATA_DIR_LOCKED') throw error
      const message = `a node runs on ${folder}: leave --data away and use --token, or stop it first`
      throw new SluiceError('DATA_DIR_LOCKED', message, error.details, error)
    },
  )
  try {
    const tokens = await AccessTokens.open(state, Date.now)
    return await work({
      list: async () =>
        tokens
          .list()
          .map(({ name, scopes, createdAtMs }) => ({ name, scopes, created_at: new Date(createdAtMs).toISOString() })),
      create: async (name, scopes) => tokens.create(checkParameter('token_name', name), scopes),
      revoke: (name) => tokens.revoke(name),
    })
  } finally {
    await state.close()
  }
}
