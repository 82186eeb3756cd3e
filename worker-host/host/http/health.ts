import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import type { HostCounts } from "../../base/counts.ts";
import type { HostConnection } from "../bus/host-connection.ts";
import type { HostIdentity } from "../bus/host-identity.ts";
import type { WorkerRecord } from "../runners/records.ts";
import type { Supervisor } from "../runners/supervisor.ts";
import type { Safety } from "../safety/safety.ts";
import type { Settings } from "../settings/settings.ts";
import type { Measured } from "./metrics.ts";

/** What health is told from; what isn't there is still on its way up. */
export interface HealthParts {
  hostConnection: HostConnection | undefined;
  identity: HostIdentity | undefined;
  safety: Safety | undefined;
  supervisor: Supervisor | undefined;
}

export interface HealthServer {
  stop(): Promise<void>;
}

const JSON_TYPE = "application/json; charset=utf-8";
const MAX_DETAIL = 300;

/**
 * Serves health and metrics over HTTP where the settings want it.
 *
 * @throws WorkerHostError `port_in_use`, `port_refused`
 */
export async function openHealth(
  { settings: { health }, version, log, clock }: { settings: Settings; version: string; log: Logger; clock: Clock },
  counts: HostCounts,
  parts: () => HealthParts,
): Promise<HealthServer | undefined> {
  if (!health) return undefined;
  // Loaded only where they are needed: they take a fifth of a second.
  const [{ HealthHttp }, { Metrics }] = await Promise.all([import("./http-server.ts"), import("./metrics.ts")]);
  const startedAt = clock.monotonic();
  const uptimeS = () => (clock.monotonic() - startedAt) / 1000;
  let memory: Measured["memory"] = [];
  const metrics = new Metrics(() => ({ ...measure(parts()), counts, memory, uptimeS: uptimeS() }));
  const scrape = async () => {
    memory = (await parts().supervisor?.stats()) ?? [];
    return metrics.text();
  };
  // Whoever asks meanwhile gets the same answer.
  let scraping: Promise<string> | undefined;
  const http = new HealthHttp({
    ...health,
    clock,
    paths: new Map([
      ["/healthz", async () => json(200, { status: "ok", version, uptime_s: Math.floor(uptimeS()) })],
      ["/readyz", async () => readiness(parts())],
      [
        "/metrics",
        async () => {
          scraping ??= scrape().finally(() => {
            scraping = undefined;
          });
          return { code: 200 as const, type: metrics.contentType, body: await scraping };
        },
      ],
    ]),
  });
  const url = await http.start();
  metrics.start();
  log.info({ url }, `health is served at ${url}`);
  return {
    async stop() {
      metrics.stop();
      await http.stop();
    },
  };
}

function measure({
  hostConnection,
  identity,
  safety,
  supervisor,
}: HealthParts): Omit<Measured, "counts" | "memory" | "uptimeS"> {
  return {
    connected: hostConnection?.connected === true,
    active: identity?.active === true,
    allStop: safety?.allStop.engaged === true,
    workers: (supervisor?.records.all ?? []).map(({ planned: { id }, state }) => ({ id, state })),
  };
}

/** Ready: connected, active, and every worker runs that is meant to. */
function readiness({ hostConnection, identity, supervisor }: HealthParts) {
  const broker = hostConnection?.connected ? "connected" : "away";
  const active = identity?.active === true;
  const missing = (supervisor?.records.all ?? []).filter(isMissing).map(({ planned: { id }, state, detail }) => ({
    id,
    state,
    ...(detail === undefined ? {} : { detail: detail.slice(0, MAX_DETAIL) }),
  }));
  const ready = broker === "connected" && active && missing.length === 0;
  return json(ready ? 200 : 503, { ready, broker, active, missing });
}

/** What is skipped, or was stopped by hand, is not missed. */
function isMissing({ state, held }: WorkerRecord): boolean {
  return state !== "running" && state !== "skipped" && !(held && state === "stopped");
}

function json(code: 200 | 503, value: unknown) {
  return { code, type: JSON_TYPE, body: `${JSON.stringify(value)}\n` };
}
