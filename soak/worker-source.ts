import type { SoakWorker } from "./cast.ts";

/** A worker that notes in its journal what it runs, and which life, code and config that was. */
export function workerSource({ live }: SoakWorker, code: number, journal: string): string {
  const onConfig = `
  override onConfig(next: { edition: number }) {
    note({ config: next.edition });
  }
`;
  return `import { appendFileSync } from "node:fs";
import { BaseWorker, command, z } from "worker-host";

const note = (line: object) => appendFileSync(${JSON.stringify(journal)}, JSON.stringify(line) + "\\n");

export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({ edition: z.number().int() });
  life = 0;

  override async start() {
    await super.start();
    this.life = Date.now();
    note({ life: this.life, pid: process.pid, code: ${code}, config: this.config.edition });
  }
${live ? onConfig : ""}
  ran(id?: string) {
    note({ ran: id, at: Date.now(), life: this.life });
    this.telemetry("ran", id);
  }

  @command({ args: z.number().default(0) })
  async do_work(ms: number, asked: { id?: string }) {
    this.ran(asked.id);
    if (ms > 0) await this.sleep(ms);
  }

  @command({ safe: true })
  do_look(_: undefined, asked: { id?: string }) {
    this.ran(asked.id);
  }

  do_spin() {
    note({ spins: true });
    const until = Date.now() + 20_000;
    while (Date.now() < until);
  }
}
`;
}

/** Code that no compiler takes. */
export const BROKEN = "export class Worker extends {\n";

/** What stands in a soak worker's `config.yaml`. */
export function configText({ own }: SoakWorker, edition: number): string {
  return `edition: ${edition}\n${own ? "worker: { isolation: own }\n" : ""}`;
}
