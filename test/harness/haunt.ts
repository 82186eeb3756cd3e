import { renameSync } from "node:fs";
import { join } from "node:path";
import { startBroker, type TestBroker } from "./broker.ts";
import { TestClient } from "./client.ts";
import { shared } from "./ending.ts";
import { type Files, makeFolder } from "./folder.ts";
import { type StartHostOptions, startHost, type TestHost } from "./host.ts";

/** A broker, a host and a client that has seen all from the start, for several tests, each with props of its own. */
export interface Haunt {
  broker: TestBroker;
  client: TestClient;
  host: TestHost;
  /** The props folder. */
  props: string;
  /** Adds props while the host runs, each whole; fulfils when they run, or have failed. */
  add(files: Files): Promise<void>;
}

export interface HauntOptions extends Omit<StartHostOptions, "broker" | "props"> {
  /** What the client sees. */
  filters?: string[];
  /** The props at the start. */
  props?: Files;
}

export async function startHaunt({ filters, props: first = {}, ...options }: HauntOptions = {}): Promise<Haunt> {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, filters);
  const watcher = await TestClient.connect(broker.url, ["halloween/+/status/runstate"]);
  const props = makeFolder(first);
  const host = await startHost({ ...options, broker, args: ["--props", props, ...(options.args ?? [])] });
  const add = async (files: Files) => {
    const whole = makeFolder(files);
    const ids = new Set(Object.keys(files).map((path) => path.split("/")[0] ?? ""));
    for (const id of ids) renameSync(join(whole, id), join(props, id));
    for (const id of ids) await watcher.expect(`halloween/${id}/status/runstate`, /"running"|"failed"/);
  };
  return { broker, client, host, props, add };
}

/** One for all tests of a file or `describe`. */
export function sharedHaunt(options?: HauntOptions): () => Promise<Haunt> {
  return shared(() => startHaunt(options));
}
