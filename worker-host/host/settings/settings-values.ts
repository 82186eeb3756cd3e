import type { GivenSettings } from "./settings-sources.ts";
import type { SettingKey } from "./settings-table.ts";

/** A text; a number in the file stands for its digits. */
export function textOf(given: GivenSettings, key: SettingKey): string | undefined {
  const value = given.value(key);
  if (value === undefined || typeof value === "string") return value;
  // YAML takes 0123 for 123 and 1e3 for 1000.
  if (key === "mqtt_password") given.fault(key, "a text; put it in quotes");
  else if (typeof value === "number") return String(value);
  else given.fault(key, "a text");
  return undefined;
}

export function portOf(given: GivenSettings, key: SettingKey, lowest: 0 | 1): number | undefined {
  const value = given.value(key);
  if (value === undefined) return undefined;
  const port = typeof value === "string" && /^\d+$/.test(value.trim()) ? Number(value) : value;
  if (typeof port === "number" && Number.isInteger(port) && port >= lowest && port <= 65_535) return port;
  given.fault(key, `a port from ${lowest} to 65535`);
  return undefined;
}

export function numberOf(given: GivenSettings, key: SettingKey, lowest: number): number {
  const value = given.value(key);
  const number = typeof value === "string" && /^\d+$/.test(value.trim()) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= lowest) return number;
  given.fault(key, `a whole number, ${lowest} or more`);
  return lowest;
}

export function switchOf(given: GivenSettings, key: SettingKey): boolean {
  const value = given.value(key) ?? false;
  if (typeof value === "boolean") return value;
  const word = typeof value === "object" ? "" : String(value).trim().toLowerCase();
  if (["1", "true", "yes", "on"].includes(word)) return true;
  if (!["0", "false", "no", "off"].includes(word)) given.fault(key, "1 or 0");
  return false;
}

export function namesOf(given: GivenSettings, key: SettingKey): string[] | undefined {
  const value = given.value(key) ?? [];
  const names = typeof value === "string" ? value.split(",") : value;
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) {
    return names.map((name) => name.trim()).filter(Boolean);
  }
  given.fault(key, 'names, such as "fogger,coffin_jumper"');
  return undefined;
}

/** `{ [key]: value }`, or `{}` where there is no value. */
export function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}
