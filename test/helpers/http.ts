// JSON over HTTP, as a test asks it: the status and the body, whatever they are.

export interface JsonAnswer<T = unknown> {
  readonly status: number
  readonly body: T
}

export async function requestJson<T = unknown>(
  url: string,
  { method = 'GET', body }: { readonly method?: string; readonly body?: unknown } = {},
): Promise<JsonAnswer<T>> {
  const response = await fetch(url, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
  const text = await response.text()
  return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as T }
}

/** The body of a request that must succeed. @throws Error with status and body when it does not. */
export async function getJson<T>(url: string): Promise<T> {
  const { status, body } = await requestJson<T>(url)
  if (status !== 200) throw new Error(`GET ${url}: ${status} ${JSON.stringify(body)}`)
  return body
}
