// The commands' way to a node: the client's transport, with what commands need of it.

import { HttpTransport, type TransportRequest } from '../client/http-transport.js'

export type ApiRequest = TransportRequest

export class ApiClient extends HttpTransport {
  /** @throws TypeError when `url` is not an http or https URL. */
  constructor(url?: string, token?: string, maxAnswerBytes?: number) {
    super({ url, token, maxAnswerBytes, urlSetting: '--url' })
  }

  get<T>(path: string, request: Omit<ApiRequest, 'method' | 'body'> = {}): Promise<T> {
    return this.json<T>(path, request)
  }

  post<T>(path: string, body: unknown, request: Omit<ApiRequest, 'method' | 'body'> = {}): Promise<T> {
    return this.json<T>(path, { ...request, method: 'POST', body })
  }

  delete<T>(path: string, request: Omit<ApiRequest, 'method'> = {}): Promise<T> {
    return this.json<T>(path, { ...request, method: 'DELETE' })
  }

  /** The body of the answer as it came. @throws like json. */
  async bytes(path: string, request: ApiRequest = {}): Promise<Buffer> {
    return (await this.send(path, request)).body
  }
}
