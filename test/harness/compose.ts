import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { ROOT } from "./host.ts";

export interface Service {
  image?: string;
  build?: string;
  environment?: Record<string, string>;
  ports?: string[];
  volumes: string[];
  tmpfs?: string[];
  restart: string;
  init: boolean;
  read_only?: boolean;
  depends_on?: Record<string, { condition: string }>;
  healthcheck: { test: string[] };
  ulimits: { nofile: { soft: number; hard: number } };
}

export interface Compose {
  services: { broker: Service; worker_host: Service };
  volumes: Record<string, unknown>;
}

/** docker-compose.yml as compose reads it with a `.env` beside it: `${NAME:-default}` filled in, `$$` a dollar. */
export function compose(env: Record<string, string> = {}, folder = ROOT): Compose {
  const filled = readFileSync(join(folder, "docker-compose.yml"), "utf8").replaceAll(
    /\$\$|\$\{(\w+):-([^}]*)\}/g,
    (_, name?: string, otherwise?: string) => (name === undefined ? "$" : env[name] || (otherwise ?? "")),
  );
  return parse(filled, { merge: true }) as Compose;
}
