import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { atEnd } from "./ending.ts";

/** Files of a folder, by their path inside it. */
export type Files = Record<string, string>;

/** A folder of its own for one test, with these files in it; removed when the test is over. */
export function makeFolder(files: Files = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "worker-host-test-"));
  atEnd(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  writeFiles(folder, files);
  return folder;
}

export function writeFiles(folder: string, files: Files): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

/** The source of a worker with this body. */
export function workerSource(body = "", head = ""): string {
  return `import { BaseWorker } from "worker-host";\n${head}\nexport class Worker extends BaseWorker {\n${body}\n}\n`;
}
