import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SHIPPED, SOAK, type SoakWorker } from "./cast.ts";
import type { Journals } from "./journals.ts";
import { BROKEN, configText, workerSource } from "./worker-source.ts";

/** The folder of one run: props, journals, the host's data, what boards and the broker keep. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), "worker-host-soak-"));

  /** A folder in it, made where it isn't there yet. */
  in(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The shipped `mosquitto.conf`, at our port, with what it keeps in our folder. */
export function writeBrokerConfig(root: string, folder: string, port: number): string {
  const shipped = readFileSync(join(root, "mosquitto.conf"), "utf8");
  const own = shipped
    .replace(/^listener .*$/m, `listener ${port} 127.0.0.1`)
    .replace(/^persistence_location .*$/m, `persistence_location ${folder}/`);
  // Started by root, mosquitto would become a user that may not write there.
  const path = join(folder, "mosquitto.conf");
  writeFileSync(path, `${own}\nuser root\n`);
  return path;
}

/** The code and the config of each soak worker, and how often they have been edited. */
export class Editor {
  readonly #editions = new Map<string, { code: number; config: number }>();
  readonly #broken = new Set<string>();

  constructor(
    private readonly props: string,
    private readonly journals: Journals,
  ) {}

  /** Writes all props anew: the shipped ones as they are, the soak's in their first edition. */
  begin(root: string): void {
    for (const id of SHIPPED) {
      const backend = join(root, "props", id, "backend");
      cpSync(backend, join(this.props, id, "backend"), {
        recursive: true,
        filter: (path) => !path.endsWith(".test.ts"),
      });
    }
    for (const worker of SOAK) {
      mkdirSync(join(this.props, worker.id, "backend"), { recursive: true });
      this.editConfig(worker);
      this.editCode(worker);
    }
  }

  /** Whose code no compiler takes. */
  get broken(): SoakWorker[] {
    return SOAK.filter(({ id }) => this.#broken.has(id));
  }

  /** Gives the new edition. */
  editCode(worker: SoakWorker): number {
    const editions = this.#of(worker);
    editions.code++;
    this.#broken.delete(worker.id);
    this.#write(worker, "worker.ts", workerSource(worker, editions.code, this.journals.pathOf(worker.id)));
    return editions.code;
  }

  /** Gives the new edition. */
  editConfig(worker: SoakWorker): number {
    const editions = this.#of(worker);
    editions.config++;
    this.#write(worker, "config.yaml", configText(worker, editions.config));
    return editions.config;
  }

  breakCode(worker: SoakWorker): void {
    this.#broken.add(worker.id);
    this.#write(worker, "worker.ts", BROKEN);
  }

  #write({ id }: SoakWorker, name: string, text: string): void {
    writeFileSync(join(this.props, id, "backend", name), text);
  }

  #of({ id }: SoakWorker): { code: number; config: number } {
    const known = this.#editions.get(id) ?? { code: 0, config: 0 };
    this.#editions.set(id, known);
    return known;
  }
}
