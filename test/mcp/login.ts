import { randomUUID } from 'node:crypto'

type Client = { readonly client_id: string; readonly client_secret?: string; readonly issuer?: string }
type Tokens = {
  readonly access_token: string
  readonly token_type: string
  readonly refresh_token?: string
  readonly scope?: string
  readonly issuer?: string
}

export type LoginOptions = {
  /** The redirect URI. */
  readonly callback: string
  /** A client that was registered by hand. */
  readonly clientId?: string
  /** The URL of a client ID metadata document. */
  readonly metadataUrl?: string
  /** Default: with refresh tokens. */
  readonly grantTypes?: string[]
}

/** The metadata with which clients register. */
export const clientMetadata = (callback: string) => ({
  client_name: 'test',
  redirect_uris: [callback],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
  application_type: 'native' as const,
})

/** The state of a client's login, as the SDKs for TypeScript 1.x and 2.x want it from a client. Records what happens. */
export class Login {
  readonly redirectUrl: string
  readonly clientMetadata: ReturnType<typeof clientMetadata>
  readonly clientMetadataUrl?: string
  /** The requests of the client, such as `POST /mcp 401`; the path of requests to the provider begins with `idp`. */
  readonly requests: string[] = []
  /** The URLs at which the user had to log in. */
  readonly redirects: URL[] = []
  client: Client | undefined
  saved: Tokens | undefined
  #verifier = ''
  #discovery: object | undefined
  #issuer: string

  constructor({ callback, clientId, metadataUrl, grantTypes }: LoginOptions, issuer: string) {
    this.redirectUrl = callback
    this.clientMetadata = {
      ...clientMetadata(callback),
      ...(grantTypes === undefined ? {} : { grant_types: grantTypes }),
    }
    if (metadataUrl !== undefined) this.clientMetadataUrl = metadataUrl
    this.client = clientId === undefined ? undefined : { client_id: clientId }
    this.#issuer = issuer
  }

  /** Sends and records a request. */
  fetch = async (url: string | URL, init?: RequestInit): Promise<Response> => {
    const response = await fetch(url, init)
    const { origin, pathname } = new URL(url)
    this.requests.push(`${init?.method ?? 'GET'} ${origin === this.#issuer ? 'idp' : ''}${pathname} ${response.status}`)
    return response
  }

  state(): string {
    return randomUUID()
  }
  clientInformation(): Client | undefined {
    return this.client
  }
  saveClientInformation(client: Client): void {
    this.client = client
  }
  tokens(): Tokens | undefined {
    return this.saved
  }
  saveTokens(tokens: Tokens): void {
    this.saved = tokens
  }
  redirectToAuthorization(url: URL): void {
    this.redirects.push(url)
  }
  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier
  }
  codeVerifier(): string {
    return this.#verifier
  }
  saveDiscoveryState(state: object): void {
    this.#discovery = state
  }
  // The SDKs give this state different types.
  discoveryState(): never {
    return this.#discovery as never
  }
  invalidateCredentials(what: string): void {
    if (what === 'all' || what === 'client') this.client = undefined
    if (what === 'all' || what === 'tokens') this.saved = undefined
  }

  /** The URL at which the user has to log in. */
  get lastRedirect(): URL {
    const last = this.redirects.at(-1)
    if (last === undefined) throw new Error('the client does not ask the user to log in')
    return last
  }
}
