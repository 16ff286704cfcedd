// Metrics of the firmware bridge: by line, since a node may have ten thousand devices.

import { counter, gauge, type Metric, type Sample } from './metrics.js'
import type { DeviceNumbers, DevicesPort } from './routes/devices.js'

export function deviceMetrics(devices: DevicesPort): Metric[] {
  const perLine = (value: (device: DeviceNumbers) => number) => (): Sample[] => {
    const sums = new Map(devices.lines().map(({ line }) => [line, 0]))
    for (const device of devices.list()) sums.set(device.line, (sums.get(device.line) ?? 0) + value(device))
    return [...sums].map(([line, sum]) => ({ labels: { line }, value: sum }))
  }
  return [
    gauge(
      'sluice_firmware_connected_devices',
      'Devices in a session.',
      perLine(({ connected }) => Number(connected)),
    ),
    counter(
      'sluice_firmware_published_messages_total',
      'Messages of devices that were stored.',
      perLine((device) => device.published),
    ),
    counter(
      'sluice_firmware_resent_messages_total',
      'Messages of devices that came again.',
      perLine((device) => device.resends),
    ),
    counter(
      'sluice_firmware_sequence_gaps_total',
      'Times that a message of a device was missing.',
      perLine((device) => device.gaps),
    ),
    counter(
      'sluice_firmware_delivered_messages_total',
      'Messages that devices have acknowledged.',
      perLine((device) => device.delivered),
    ),
    gauge('sluice_firmware_line_open', '1 while the port or socket is open.', () =>
      devices.lines().map(({ line, address, open }) => ({ labels: { line, address }, value: Number(open) })),
    ),
    counter('sluice_firmware_damaged_frames_total', 'Frames that were damaged or made no sense, since start.', () =>
      devices.lines().map(({ line, address, damagedFrames }) => ({ labels: { line, address }, value: damagedFrames })),
    ),
    counter('sluice_firmware_rejected_total', 'What was not taken from devices and strangers, by reason.', () =>
      rejected(devices),
    ),
  ]
}

function rejected(devices: DevicesPort): Sample[] {
  const sums = new Map<string, { readonly labels: { line: string; reason: string }; value: number }>()
  for (const { line, rejected: reasons } of [...devices.lines(), ...devices.list()])
    for (const [reason, times] of Object.entries(reasons)) {
      const key = `${line}/${reason}`
      const { value = 0 } = sums.get(key) ?? {}
      sums.set(key, { labels: { line, reason }, value: value + times })
    }
  return [...sums.values()]
}
