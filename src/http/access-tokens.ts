// Who may use the HTTP interface: bearer tokens with scopes, in state/. A token is shown once, when it is made; what is kept is its
// SHA-256, which is enough for 256 random bits. While there is no token, programs on this machine need none; from the first one on
// everybody does.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { SluiceError } from '../base/errors.js'
import type { StateStore, StateTable } from '../state/types.js'

/** What a token is good for: `read` consumes and looks, `write` publishes, `bridge` speaks for devices, `admin` does everything. */
export const SCOPES = ['read', 'write', 'bridge', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

/** Tokens a node keeps, inclusive. */
export const MAX_TOKENS = 1_000
const SECRET_BYTES = 32
const TOKEN = /^slc_([0-9a-f]{12})_[A-Za-z0-9_-]{43}$/

interface Row {
  readonly name: string
  readonly scopes: readonly Scope[]
  /** SHA-256 of the whole token. */
  readonly hash: Uint8Array
  readonly createdAtMs: number
}

export interface TokenDescription {
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly createdAtMs: number
}

export class AccessTokens {
  /** By the id that is part of the token, so that finding one compares no secret. */
  private readonly rows = new Map<string, Row>()

  private constructor(
    private readonly table: StateTable<Row>,
    private readonly wallMs: () => number,
  ) {}

  static async open(state: StateStore, wallMs: () => number): Promise<AccessTokens> {
    const tokens = new AccessTokens(state.table<Row>('http-tokens'), wallMs)
    for await (const [id, row] of tokens.table.entries()) tokens.rows.set(id, row)
    return tokens
  }

  get isEmpty(): boolean {
    return this.rows.size === 0
  }

  list(): TokenDescription[] {
    return [...this.rows.values()]
      .map(({ name, scopes, createdAtMs }) => ({ name, scopes, createdAtMs }))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /**
   * Durable when it resolves. @returns the token, which nobody can be told again.
   * @throws SluiceError INVALID_REQUEST: the name is taken, or this would lock everybody out; TOO_MANY_REQUESTS.
   */
  async create(name: string, scopes: readonly Scope[]): Promise<string> {
    if (this.rows.size >= MAX_TOKENS)
      throw new SluiceError('TOO_MANY_REQUESTS', `this node has ${MAX_TOKENS} tokens: revoke one that is not used`)
    if (this.idOf(name) !== undefined)
      throw new SluiceError('INVALID_REQUEST', `there is a token ${name} already: revoke it, or choose another name`)
    if (this.isEmpty && !scopes.includes('admin'))
      throw new SluiceError(
        'INVALID_REQUEST',
        'the first token needs the scope admin: once it exists only an admin token can make others',
      )
    const id = randomBytes(6).toString('hex')
    const token = `slc_${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`
    const row = { name, scopes: SCOPES.filter((scope) => scopes.includes(scope)), hash: hashOf(token) }
    await this.save(id, { ...row, createdAtMs: this.wallMs() })
    return token
  }

  /** Durable when it resolves. @throws SluiceError NOT_FOUND; INVALID_REQUEST for the last admin token while others are left. */
  async revoke(name: string): Promise<void> {
    const id = this.idOf(name)
    if (id === undefined) throw new SluiceError('NOT_FOUND', `there is no token ${name}: see sluice tokens`, { name })
    const rest = [...this.rows].filter(([other]) => other !== id).map(([, row]) => row)
    if (rest.length > 0 && !rest.some(({ scopes }) => scopes.includes('admin')))
      throw new SluiceError(
        'INVALID_REQUEST',
        `${name} is the last admin token, and nobody could change the others: make another first, or revoke those`,
      )
    await this.table.delete(id)
    this.rows.delete(id)
  }

  /**
   * Lets a request pass, or not.
   * @param authorization The header, if there is one.
   * @throws SluiceError UNAUTHORIZED, FORBIDDEN (details: scope, scopes).
   */
  authorize(authorization: string | undefined, isLocal: boolean, scope: Scope): void {
    if (this.isEmpty && isLocal) return
    if (authorization === undefined)
      throw new SluiceError(
        'UNAUTHORIZED',
        this.isEmpty
          ? 'this node has no tokens yet, and without one it serves its own machine only: make one there with: sluice tokens create NAME --scope admin'
          : 'this node asks for a token: send it as "Authorization: Bearer …", or use --token or SLUICE_TOKEN',
      )
    const row = this.rowOf(/^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? '')
    if (row === null) throw new SluiceError('UNAUTHORIZED', 'this token is not known: it is wrong, or was revoked')
    if (row.scopes.includes('admin') || row.scopes.includes(scope)) return
    throw new SluiceError(
      'FORBIDDEN',
      `the token ${row.name} may ${row.scopes.join(' and ')}, and this takes the scope ${scope}`,
      { scope, scopes: row.scopes },
    )
  }

  private rowOf(token: string): Row | null {
    const row = this.rows.get(TOKEN.exec(token)?.[1] ?? '')
    return row !== undefined && timingSafeEqual(hashOf(token), row.hash) ? row : null
  }

  private idOf(name: string): string | undefined {
    for (const [id, row] of this.rows) if (row.name === name) return id
    return undefined
  }

  private async save(id: string, row: Row): Promise<void> {
    await this.table.put(id, row)
    this.rows.set(id, row)
  }
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
