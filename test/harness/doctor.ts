import { expect } from "vitest";
import type { TestBroker } from "./broker.ts";
import { type Files, makeFolder, workerSource } from "./folder.ts";
import { runCli } from "./host.ts";

export const PROPS: Files = { "props/lab/backend/worker.ts": workerSource("do_ping() {}") };

interface Finding {
  what: string;
  status: "ok" | "warn" | "fail";
  text: string;
  remedy?: string;
}

/** Runs `doctor` in a folder with one prop; gives what it found, and what of it are faults. */
export async function doctor(
  options: {
    broker?: TestBroker | { port: number };
    files?: Files;
    cwd?: string;
    args?: string[];
    env?: Record<string, string>;
  } = {},
) {
  const cwd = options.cwd ?? makeFolder({ ...PROPS, ...options.files });
  const env = {
    ...(options.broker ? { MQTT_HOST: "127.0.0.1", MQTT_PORT: String(options.broker.port) } : {}),
    ...options.env,
  };
  const { code, stdout, stderr } = await runCli(["doctor", "--json", ...(options.args ?? [])], { cwd, env });
  expect(stderr).toBe("");
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] };
  expect(code).toBe(ok ? 0 : 1);
  for (const { status, remedy } of findings) expect(remedy === undefined).toBe(status === "ok");
  const of = (what: string) => findings.filter((finding) => finding.what === what);
  const faults = findings.filter(({ status }) => status === "fail").map(({ what }) => what);
  return { cwd, code, findings, of, faults };
}
