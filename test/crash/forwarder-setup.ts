// What the forwarder and the test that kills it have to agree on.

export const FORWARDER = { partitions: 2, maxInFlight: 50 } as const
