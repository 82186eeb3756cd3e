import type { LogLevel } from "../../base/log.ts";

/** One setting: a flag, an environment variable and a key of `worker-host.yaml`, in that order of precedence. */
export interface SettingDefinition {
  key: string;
  env: string;
  /** As commander writes it. */
  flag: string;
  fallback?: string;
  description: string;
  /** The programs that workers run don't get it in their environment. */
  secret?: true;
}

type Environment = Readonly<Record<string, string | undefined>>;

export const LOG_LEVELS: readonly LogLevel[] = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

/** The one list of settings: the command line, the environment, the file and the README's table come from it. */
export const SETTINGS = [
  {
    key: "props",
    env: "WORKER_PROPS_DIR",
    flag: "--props <dir>",
    fallback: "props",
    description: "The folder that holds the props",
  },
  {
    key: "builtins",
    env: "WORKER_BUILTINS_DIR",
    flag: "--builtins <dir>",
    description:
      "A folder of your own builtin workers, beside the ones that come with worker-host; one of the same name takes its place",
  },
  {
    key: "data",
    env: "WORKER_DATA_DIR",
    flag: "--data <dir>",
    fallback: "data",
    description: "The folder for what has to outlive a restart",
  },
  {
    key: "mqtt_url",
    env: "MQTT_URL",
    flag: "--mqtt-url <url>",
    description: "The broker: mqtt://, mqtts://, ws:// or wss://",
    // A password may stand in it.
    secret: true,
  },
  {
    key: "mqtt_host",
    env: "MQTT_HOST",
    flag: "--mqtt-host <host>",
    description: "The broker, by name or address; with neither this nor a URL, an embedded broker runs",
  },
  {
    key: "mqtt_port",
    env: "MQTT_PORT",
    flag: "--mqtt-port <port>",
    description: "The broker's port, with MQTT_HOST; 1883, or 8883 with TLS, if not given",
  },
  {
    key: "mqtt_username",
    env: "MQTT_USERNAME",
    flag: "--mqtt-username <name>",
    description: "The user name for the broker",
  },
  {
    key: "mqtt_password",
    env: "MQTT_PASSWORD",
    flag: "--mqtt-password <password>",
    description: "The password for the broker; better in the environment than in a flag",
    secret: true,
  },
  {
    key: "mqtt_ca",
    env: "MQTT_CA",
    flag: "--mqtt-ca <file>",
    description: "TLS: a PEM file with the certificate authority that signed the broker's certificate",
  },
  {
    key: "mqtt_cert",
    env: "MQTT_CERT",
    flag: "--mqtt-cert <file>",
    description: "TLS: a PEM file with our own certificate",
  },
  {
    key: "mqtt_key",
    env: "MQTT_KEY",
    flag: "--mqtt-key <file>",
    description: "TLS: a PEM file with our own key",
  },
  {
    key: "mqtt_prefix",
    env: "MQTT_PREFIX",
    flag: "--mqtt-prefix <prefix>",
    fallback: "halloween",
    description: "What all topics start with",
  },
  {
    key: "name",
    env: "WORKER_NAME",
    flag: "--name <name>",
    fallback: "worker_host",
    description: "The host's own name on the wire; each host on a broker has another one",
  },
  {
    key: "standby",
    env: "WORKER_STANDBY",
    flag: "--standby",
    description: "Wait until the host of that name is gone, then take over",
  },
  {
    key: "claim_ms",
    env: "WORKER_CLAIM_MS",
    flag: "--claim-ms <ms>",
    fallback: "1000",
    description: "How long to wait at the start for another host of that name to answer",
  },
  {
    key: "broker_port",
    env: "WORKER_BROKER_PORT",
    flag: "--broker-port <port>",
    fallback: "1883",
    description: "The embedded broker's port; 0 picks a free one, which the command line finds in the data folder",
  },
  {
    key: "lan",
    env: "WORKER_LAN",
    flag: "--lan",
    description:
      "Open the page to the network, for devices that are paired, and the embedded broker, with a user and password for every client",
  },
  {
    key: "disable_all_builtins",
    env: "WORKER_DISABLE_ALL_BUILTINS",
    flag: "--disable-all-builtins",
    description: "Run no builtin worker",
  },
  {
    key: "only_own_builtins",
    env: "WORKER_ONLY_OWN_BUILTINS",
    flag: "--only-own-builtins",
    description: "Look for no builtin worker but those of your own folder",
  },
  {
    key: "builtins_allow",
    env: "WORKER_BUILTINS_ALLOW",
    flag: "--builtins-allow <names>",
    description: "Run these builtin workers only (comma-separated)",
  },
  {
    key: "builtins_disable",
    env: "WORKER_BUILTINS_DISABLE",
    flag: "--builtins-disable <names>",
    description: "Don't run these builtin workers; not looked at where there is an allow-list",
  },
  {
    key: "disable_all_props",
    env: "WORKER_DISABLE_ALL_PROPS",
    flag: "--disable-all-props",
    description: "Run no prop's worker",
  },
  {
    key: "props_allow",
    env: "WORKER_PROPS_ALLOW",
    flag: "--props-allow <names>",
    description: "Run these props' workers only (comma-separated)",
  },
  {
    key: "props_disable",
    env: "WORKER_PROPS_DISABLE",
    flag: "--props-disable <names>",
    description: "Don't run these props' workers; not looked at where there is an allow-list",
  },
  {
    key: "max_memory_mb",
    env: "WORKER_MAX_MEMORY_MB",
    flag: "--max-memory-mb <MB>",
    fallback: "512",
    description: "What the workers' process may take, and one of a worker's own whose config says nothing",
  },
  {
    key: "max_processes",
    env: "WORKER_MAX_PROCESSES",
    flag: "--max-processes <count>",
    fallback: "16",
    description: "How many processes workers may have besides the shared one; a worker that needs one more is `failed`",
  },
  {
    key: "stall_warn_ms",
    env: "WORKER_STALL_WARN_MS",
    flag: "--stall-warn-ms <ms>",
    fallback: "500",
    description: "Warn when a worker has held up its process for so long",
  },
  {
    key: "stall_kill_ms",
    env: "WORKER_STALL_KILL_MS",
    flag: "--stall-kill-ms <ms>",
    fallback: "5000",
    description: "End a process that a worker has held up for so long, and start the others again without that worker",
  },
  {
    key: "max_restarts",
    env: "WORKER_MAX_RESTARTS",
    flag: "--max-restarts <count>",
    fallback: "5",
    description: "How often a worker that fails is started again …",
  },
  {
    key: "restarts_within_s",
    env: "WORKER_RESTARTS_WITHIN_S",
    flag: "--restarts-within-s <s>",
    fallback: "60",
    description: "… in this time, before it stays failed",
  },
  {
    key: "operator_timeout_s",
    env: "WORKER_OPERATOR_TIMEOUT_S",
    flag: "--operator-timeout-s <s>",
    fallback: "0",
    description: "Engage all-stop when no operator_alive has come for so long; 0: never",
  },
  {
    key: "log_files",
    env: "WORKER_LOG_FILES",
    flag: "--log-files <count>",
    fallback: "5",
    description: "How many files of each worker's log are kept in data/logs; 0: none …",
  },
  {
    key: "log_file_kb",
    env: "WORKER_LOG_FILE_KB",
    flag: "--log-file-kb <kB>",
    fallback: "100",
    description: "… and how long each of them may be",
  },
  {
    key: "python_availability",
    env: "WORKER_PYTHON_AVAILABILITY",
    flag: "--python-availability",
    description: "Say whether a worker is online where the Python worker host said it, too: for a season with both",
  },
  {
    key: "home_assistant",
    env: "WORKER_HOME_ASSISTANT",
    flag: "--home-assistant",
    description: "Show the props and boards in Home Assistant, by its MQTT discovery",
  },
  {
    key: "home_assistant_prefix",
    env: "WORKER_HOME_ASSISTANT_PREFIX",
    flag: "--home-assistant-prefix <prefix>",
    fallback: "homeassistant",
    description: "What the topics of Home Assistant's discovery start with",
  },
  {
    key: "health_port",
    env: "WORKER_HEALTH_PORT",
    flag: "--health-port <port>",
    description: "Serve /healthz, /readyz and /metrics over HTTP at this port; 0 picks a free one; off if not given",
  },
  {
    key: "health_host",
    env: "WORKER_HEALTH_HOST",
    flag: "--health-host <address>",
    fallback: "127.0.0.1",
    description: "The address that the health port is opened at; 0.0.0.0: to the network",
  },
  {
    key: "console_port",
    env: "WORKER_CONSOLE_PORT",
    flag: "--console-port <port>",
    fallback: "1031",
    description: "The port of the page; 0 picks a free one",
  },
  {
    key: "console_host",
    env: "WORKER_CONSOLE_HOST",
    flag: "--console-host <address>",
    fallback: "127.0.0.1",
    description: "The address that the page is opened at; 0.0.0.0: to the network, for devices that are paired",
  },
  {
    key: "log_level",
    env: "LOG_LEVEL",
    flag: "--log-level <level>",
    fallback: "info",
    description: `How much is logged: ${LOG_LEVELS.join(", ")}`,
  },
] as const satisfies readonly SettingDefinition[];

/** A setting's key in `worker-host.yaml`. */
export type SettingKey = (typeof SETTINGS)[number]["key"];

/** The environment of a process that runs workers' code: without what the settings have there that is secret. */
export function environmentFor(env: Environment): Environment {
  const secret = new Set(SETTINGS.flatMap((setting: SettingDefinition) => (setting.secret ? [setting.env] : [])));
  return Object.fromEntries(Object.entries(env).filter(([name]) => !secret.has(name)));
}
