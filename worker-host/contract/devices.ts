import { fieldsOf } from "./json-check.ts";
import { MOST_DEVICES, PAIRING_MS } from "./limits.ts";
import { jsonIn } from "./payload.ts";
import { faultOfId } from "./topics.ts";

/** What a client of the page's server may do, from little to much: each may also do what stands before it. */
export const DEVICE_ROLES = ["viewer", "operator", "author"] as const;
export type DeviceRole = (typeof DEVICE_ROLES)[number];

/** A phone or the like that the command line has let in. */
export interface Device {
  name: string;
  role: DeviceRole;
  /** SHA-256 of the code in its link, in hex. The code itself is not kept. */
  code: string;
  /** When the link was made, in ms since 1970. */
  since: number;
}

/** In the console's data folder: the devices by name. The command line alone writes it. */
export const DEVICES_FILE = "devices.json";
/**
 * Beside it: which codes were used, each with the SHA-256 of the token that was given for it. The console alone writes it:
 * with one writer a file, a pairing can't bring back a device that is revoked in the same moment.
 */
export const TOKENS_FILE = "tokens.json";

/** The code with which the console closes a socket of a device that is not paired. */
export const NOT_PAIRED = 4401;

export const PAIR_COMMAND = "npx worker-host console pair";

const HASH = /^[0-9a-f]{64}$/;

/** @throws Error in words, which follow the file's name */
export function readDevices(text: string): ReadonlyMap<string, Device> {
  const { devices } = fieldsOf(jsonIn(text));
  if (!Array.isArray(devices)) throw new Error('expected {"devices": [{"name", "role", "code", "since"}, …]}');
  if (devices.length > MOST_DEVICES) throw new Error(`it has ${devices.length} devices: ${MOST_DEVICES} at most`);
  const read = new Map(devices.map(readDevice).map((device) => [device.name, device]));
  if (read.size < devices.length) throw new Error("a name is there twice");
  return read;
}

function readDevice(value: unknown, index: number): Device {
  const { name, role, code, since } = fieldsOf(value);
  const fault = typeof name === "string" ? faultOfId(name) : 'expected a "name"';
  const known = DEVICE_ROLES.find((one) => one === role);
  if (typeof name !== "string" || fault !== undefined) throw new Error(`devices: ${index}: ${fault}`);
  if (!known) throw new Error(`${name}: role: expected one of ${DEVICE_ROLES.join(", ")}`);
  if (typeof code !== "string" || !HASH.test(code)) throw new Error(`${name}: code: expected 64 hexadecimal digits`);
  if (typeof since !== "number" || !Number.isFinite(since)) throw new Error(`${name}: since: expected a number`);
  return { name, role: known, code, since };
}

export function writtenDevices(devices: Iterable<Device>): string {
  return `${JSON.stringify({ devices: [...devices] }, null, 2)}\n`;
}

/** @throws Error in words, which follow the file's name */
export function readTokens(text: string): Map<string, string> {
  const value = jsonIn(text);
  const entries = Object.entries(fieldsOf(value));
  const isFine = entries.every(([code, token]) => HASH.test(code) && typeof token === "string" && HASH.test(token));
  if (typeof value !== "object" || value === null || Array.isArray(value) || !isFine)
    throw new Error("expected an object of hashes by hashes");
  return new Map(entries as [string, string][]);
}

export function writtenTokens(tokens: ReadonlyMap<string, string>): string {
  return `${JSON.stringify(Object.fromEntries(tokens), null, 2)}\n`;
}

/** Whether the link of a device is still good at a moment. One that is of the future was made by another clock. */
export function isLinkGood({ since }: Device, now: number): boolean {
  return Math.abs(now - since) <= PAIRING_MS;
}

/** Whether a role may do what is for `needed`. */
export function mayDo(role: DeviceRole, needed: DeviceRole): boolean {
  return DEVICE_ROLES.indexOf(role) >= DEVICE_ROLES.indexOf(needed);
}

/** Whether a name or an address, as a socket or a URL has it, is of this machine itself: nothing else comes in by that. */
export function isLoopback(host: string): boolean {
  return /^((::ffff:)?127\.\d+\.\d+\.\d+|::1|\[::1\]|localhost)$/.test(host);
}
