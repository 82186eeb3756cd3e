import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { SETTINGS } from "../../worker-host/host/settings/settings.ts";
import { compose, type Service } from "../harness/compose.ts";
import { ROOT } from "../harness/host.ts";
import {
  commandOf,
  composed,
  contextFiles,
  instructions,
  isIgnored,
  mounts,
  parseDockerfile,
  type Stage,
  sourcesAndTarget,
} from "../harness/image.ts";

const BUILD_MS = 300_000;

const README = readFileSync(join(ROOT, "README.md"), "utf8");
const STAGES = parseDockerfile(readFileSync(join(ROOT, "Dockerfile"), "utf8"));
const LAST = STAGES.at(-1) as Stage;

const COMPOSE = compose();

test("every source that the Dockerfile copies is there, and .dockerignore lets it through", async () => {
  const copies = STAGES.flatMap((stage) => instructions(stage, "COPY")).filter(({ flags }) => !flags.has("from"));
  const sources = copies.flatMap(({ rest }) => sourcesAndTarget(rest)[0]);
  expect(sources).toEqual(expect.arrayContaining(["package.json", "package-lock.json", "builtin-workers"]));
  for (const source of sources) expect(await contextFiles(source), source).not.toEqual([]);
  for (const kept of [
    "worker-host/cli.ts",
    "worker-host/bin.cjs",
    "builtin-workers/heartbeat.ts",
    "templates/lantern/backend/worker.test.ts",
  ])
    expect(isIgnored(kept), kept).toBe(false);
  for (const out of [
    ".git/config",
    "node_modules/mqtt/package.json",
    "data/x",
    "dist/cli.cjs",
    "props/fogger/README.md",
    ".env",
  ])
    expect(isIgnored(out), out).toBe(true);
});

test("the image is small, its user is not root, and compose asks for its health as it does itself", () => {
  expect(LAST.from).toBe("node:24-slim");
  expect(STAGES.length).toBeGreaterThan(1);
  expect(instructions(LAST, "USER").map(({ rest }) => rest)).toEqual(["node"]);
  const [healthcheck] = instructions(LAST, "HEALTHCHECK");
  const command = commandOf(healthcheck?.rest ?? "");
  expect(command).toEqual(["node", "worker-host/bin.cjs", "list", "--running"]);
  expect(COMPOSE.services.worker_host.healthcheck.test).toEqual(["CMD", ...command]);
});

test("what the Dockerfile builds starts, with the environment and mounts of docker-compose.yml", {
  timeout: BUILD_MS,
}, async () => {
  const { cwd } = await composed(ROOT, ["heartbeat", "fogger", "coffin_jumper"]);
  expect(existsSync(join(cwd, "node_modules/esbuild"))).toBe(true);
  expect(existsSync(join(cwd, "node_modules/vitest"))).toBe(false);
});

test("docker-compose.yml: the broker on loopback, and the host that uses it", () => {
  const { broker, worker_host: host } = COMPOSE.services;
  expect(Object.keys(COMPOSE.services)).toEqual(["broker", "worker_host"]);
  expect(broker.image).toBe("eclipse-mosquitto:2");
  expect(broker.ports).toEqual(["127.0.0.1:1883:1883", "127.0.0.1:8883:8883"]);
  expect(host.build).toBe(".");
  // Health and metrics, for this machine.
  expect(host.ports).toEqual([
    `127.0.0.1:${host.environment?.WORKER_HEALTH_PORT}:${host.environment?.WORKER_HEALTH_PORT}`,
  ]);
  expect(host.depends_on).toEqual({ broker: { condition: "service_healthy" } });
  expect(host.tmpfs).toEqual(["/tmp"]);
  for (const service of [broker, host]) {
    expect(service.restart).toBe("unless-stopped");
    expect(service.init).toBe(true);
    expect(service.healthcheck.test[0]).toMatch(/^CMD/);
    expect(service.ulimits.nofile.soft).toBeGreaterThan(1024);
  }
});

test("what is settled beside docker-compose.yml comes to the host, as the README has it", () => {
  const env = { MQTT_PREFIX: "haunt", WORKER_NAME: "attic", LOG_LEVEL: "debug" };
  expect(compose(env).services.worker_host.environment).toMatchObject(env);

  const [, text = ""] = /`docker-compose\.override\.yml`.*?^```yaml\n(.*?)^```$/ms.exec(README) ?? [];
  const { services } = parse(text) as { services: Record<string, Pick<Service, "environment" | "volumes">> };
  expect(Object.keys(services)).toEqual(["worker_host"]);
  const settings = Object.keys(services.worker_host?.environment ?? {}).filter((name) => name.startsWith("WORKER_"));
  expect(settings).toHaveLength(1);
  expect(SETTINGS.map(({ env }) => env as string)).toEqual(expect.arrayContaining(settings));
  const workdir = instructions(LAST, "WORKDIR")[0]?.rest ?? "";
  expect(services.worker_host?.volumes).toEqual([`./worker-host.yaml:${workdir}/worker-host.yaml:ro`]);
});

test("docker-compose.yml: each environment variable is a setting, each mount has its place", () => {
  const { broker, worker_host: host } = COMPOSE.services;
  expect(host.environment?.MQTT_HOST).toBe("broker");
  for (const name of Object.keys(host.environment ?? {}))
    expect(SETTINGS.map(({ env }) => env as string)).toContain(name);

  const workdir = instructions(LAST, "WORKDIR")[0]?.rest ?? "";
  const defaults = new Map<string, string | undefined>(
    SETTINGS.map((setting) => [setting.key, "fallback" in setting ? setting.fallback : undefined]),
  );
  const ofHost = mounts(host);
  expect(ofHost.get(`${workdir}/${defaults.get("props")}`)).toEqual({ source: "./props", readOnly: false });
  const data = ofHost.get(`${workdir}/${defaults.get("data")}`);
  expect(data?.readOnly).toBe(false);

  const ofBroker = mounts(broker);
  expect(ofBroker.get("/mosquitto/config/mosquitto.conf")).toEqual({ source: "./mosquitto.conf", readOnly: true });
  const kept = ofBroker.get("/mosquitto/data");
  expect(readFileSync(join(ROOT, "mosquitto.conf"), "utf8")).toContain("\npersistence_location /mosquitto/data/\n");
  expect(Object.keys(COMPOSE.volumes).sort()).toEqual([kept?.source, data?.source].sort());
});
