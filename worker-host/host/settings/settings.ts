import { resolve } from "node:path";
import type { LogLevel } from "../../base/log.ts";
import { WorkerHostError } from "../../contract/errors.ts";
import { CONSOLE, faultOfName, faultOfPrefix } from "../../contract/topics.ts";
import type { BrokerOptions } from "../../mqtt/wire.ts";
import type { BuiltinConfig, Values } from "../config/config-file.ts";
import type { Selection } from "../plan/plan.ts";
import type { Intensity } from "../runners/records.ts";
import type { Limits } from "../runners/watched-runner.ts";
import { externalBroker, type TlsFiles } from "./external-broker.ts";
import {
  GivenSettings,
  namesOf,
  numberOf,
  optional,
  portOf,
  type SettingsSources,
  switchOf,
  textOf,
} from "./settings-sources.ts";
import { LOG_LEVELS, type SettingKey } from "./settings-table.ts";

export { SETTINGS, type SettingDefinition } from "./settings-table.ts";

export interface Settings {
  /** `worker-host.yaml`, which need not be there. */
  settingsFile: string;
  props: string;
  /** The folders of builtin workers; what is in a later one goes over what is in an earlier one. */
  builtins: readonly string[];
  data: string;
  prefix: string;
  /** The host's own, on the wire. */
  name: string;
  /** Where another host has the name, wait until it is gone. */
  standby: boolean;
  /** How long another host has to answer a claim. */
  claimMs: number;
  /** `undefined`: run the embedded one. */
  external: BrokerOptions | undefined;
  /** The files that the TLS texts of `external` are from. */
  tlsFiles: TlsFiles;
  embedded: { port: number; isPortGiven: boolean; lan: boolean; username?: string; password?: string };
  selectBuiltins: Selection;
  selectProps: Selection;
  limits: Limits;
  /** How many processes workers may have besides the shared one. */
  maxProcesses: number;
  intensity: Intensity;
  /** 0: nobody is watched. */
  operatorTimeoutMs: number;
  /** The log in files; `files` 0: there are none. */
  logKept: { files: number; fileBytes: number };
  /** A worker's availability is said where the Python worker host had it, too. */
  pythonAvailability: boolean;
  homeAssistant: HomeAssistantSettings;
  /** Where health and metrics are served; nowhere if not given. */
  health: { port: number; host: string } | undefined;
  /** By the id of a builtin worker, what goes over its config file key by key. */
  builtinConfig: ReadonlyMap<string, BuiltinConfig>;
  logLevel: LogLevel;
}

export interface HomeAssistantSettings {
  enabled: boolean;
  /** Of its discovery. */
  prefix: string;
}

const FALLBACKS = { mqtt_prefix: "halloween", home_assistant_prefix: "homeassistant" } as const;

/**
 * The settings that hold.
 *
 * @throws WorkerHostError `invalid_settings`, with every fault on a line of its own
 */
export function resolveSettings(sources: SettingsSources): Settings {
  const given = new GivenSettings(sources);
  const { cwd, shippedBuiltins } = sources;
  const own = textOf(given, "builtins");
  const external = externalBroker(given);
  const settings: Settings = {
    settingsFile: resolve(cwd, given.file),
    props: given.path("props", textOf(given, "props") ?? ""),
    builtins: [
      ...(switchOf(given, "only_own_builtins") ? [] : [shippedBuiltins]),
      ...(own === undefined ? [] : [given.path("builtins", own)]),
    ],
    data: given.path("data", textOf(given, "data") ?? ""),
    prefix: prefixOf(given, "mqtt_prefix"),
    name: nameOf(given),
    standby: switchOf(given, "standby"),
    claimMs: numberOf(given, "claim_ms", 10),
    external: external?.broker,
    tlsFiles: external?.files ?? {},
    embedded: {
      port: portOf(given, "broker_port", 0) ?? 0,
      isPortGiven: given.rank("broker_port") < Number.POSITIVE_INFINITY,
      lan: switchOf(given, "lan") && !external,
      ...optional("username", textOf(given, "mqtt_username")),
      ...optional("password", textOf(given, "mqtt_password")),
    },
    selectBuiltins: selectionOf(given, "builtins"),
    selectProps: selectionOf(given, "props"),
    maxProcesses: numberOf(given, "max_processes", 1),
    limits: {
      maxMemoryMb: numberOf(given, "max_memory_mb", 100),
      stallWarnMs: numberOf(given, "stall_warn_ms", 300),
      stallKillMs: numberOf(given, "stall_kill_ms", 500),
    },
    intensity: {
      maxRestarts: numberOf(given, "max_restarts", 0),
      withinMs: numberOf(given, "restarts_within_s", 1) * 1000,
    },
    operatorTimeoutMs: numberOf(given, "operator_timeout_s", 0) * 1000,
    logKept: { files: numberOf(given, "log_files", 0), fileBytes: numberOf(given, "log_file_kb", 1) * 1000 },
    pythonAvailability: switchOf(given, "python_availability"),
    homeAssistant: {
      enabled: switchOf(given, "home_assistant"),
      prefix: prefixOf(given, "home_assistant_prefix"),
    },
    health: healthOf(given),
    builtinConfig: new Map([...given.builtinConfig, [CONSOLE, consoleOf(given)]]),
    logLevel: levelOf(given),
  };
  if (settings.homeAssistant.enabled && settings.homeAssistant.prefix === settings.prefix) {
    given.faults.push(
      `${given.where("home_assistant_prefix")}: "${given.shown("mqtt_prefix")}" is what our own topics start with; write another one, such as "homeassistant"`,
    );
  }
  const faults = new Set(given.faults);
  if (faults.size > 0) throw new WorkerHostError("invalid_settings", [...faults].join("\n"));
  return settings;
}

function selectionOf(given: GivenSettings, kind: "builtins" | "props"): Selection {
  const allow = namesOf(given, `${kind}_allow`);
  if (allow?.length === 0 && given.value(`${kind}_allow`) !== undefined) {
    given.faults.push(
      `${given.where(`${kind}_allow`)}: it names nobody; leave it out to run all, or set WORKER_DISABLE_ALL_${kind.toUpperCase()}=1 to run none`,
    );
  }
  return {
    disableAll: switchOf(given, `disable_all_${kind}`),
    allow: allow ?? [],
    disable: namesOf(given, `${kind}_disable`) ?? [],
  };
}

function healthOf(given: GivenSettings): Settings["health"] {
  const port = portOf(given, "health_port", 0);
  const host = textOf(given, "health_host") ?? "";
  return port === undefined ? undefined : { port, host };
}

/** A setting that was given goes over `builtin_config`, and that over a setting's default. `lan` opens the page too. */
function consoleOf(given: GivenSettings): BuiltinConfig {
  const port = { port: portOf(given, "console_port", 0) ?? 0 };
  const host = { host: switchOf(given, "lan") ? "0.0.0.0" : (textOf(given, "console_host") ?? "") };
  const isGiven = (key: SettingKey) => given.rank(key) < Number.POSITIVE_INFINITY;
  const over = {
    ...(isGiven("console_port") ? port : {}),
    ...(isGiven("console_host") ? { host: textOf(given, "console_host") ?? "" } : {}),
  };
  const { values, shown } = given.builtinConfig.get(CONSOLE) ?? {};
  const mixed = (config: Values | undefined) => ({ ...port, ...host, ...config, ...over });
  return { values: mixed(values), shown: mixed(shown) };
}

function levelOf(given: GivenSettings): LogLevel {
  const value = given.value("log_level");
  const word = typeof value === "string" ? value.trim().toLowerCase() : undefined;
  const level = LOG_LEVELS.find((name) => name === word);
  if (!level) given.fault("log_level", `one of ${LOG_LEVELS.join(", ")}`);
  return level ?? "info";
}

function prefixOf(given: GivenSettings, key: "mqtt_prefix" | "home_assistant_prefix"): string {
  const prefix = textOf(given, key);
  if (prefix === undefined) return "";
  const fault = faultOfPrefix(prefix);
  if (fault) {
    given.faults.push(
      `${given.where(key)}: "${given.shown(key)}" can't start a topic: ${fault}; write one such as "${FALLBACKS[key]}"`,
    );
  }
  return prefix;
}

function nameOf(given: GivenSettings): string {
  const name = textOf(given, "name");
  if (name === undefined) return "";
  const fault = faultOfName(name, String(given.shown("name")));
  if (fault) given.faults.push(`${given.where("name")}: ${fault}`);
  return name;
}
