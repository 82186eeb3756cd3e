import { appendFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { unlessMissing } from "../../base/unless-missing.ts";

export interface RotatingFileOptions {
  folder: string;
  /** Of the worker, or of the host: the name of its files. */
  id: string;
  /** A file is no longer than this, but for a single line that is. */
  fileBytes: number;
  /** With the one that is written to. */
  files: number;
}

/** The name of a log file: `fogger.log`, and before that `fogger.1.log`, `fogger.2.log`. */
export function logFileName(id: string, age: number): string {
  return age === 0 ? `${id}.log` : `${id}.${age}.log`;
}

/** Lines of one log, in a few files of limited length. No file is open between two writes: there may be a thousand. */
export class RotatingFile {
  constructor(private readonly options: RotatingFileOptions) {}

  /** Lines have their ends. */
  async append(lines: readonly string[]): Promise<void> {
    const { fileBytes } = this.options;
    let size = (await unlessMissing(stat(this.#path(0))))?.size ?? 0;
    let batch = "";
    for (const line of lines) {
      const bytes = Buffer.byteLength(line);
      if (size > 0 && size + bytes > fileBytes) {
        await this.#write(batch);
        await this.#rotate();
        batch = "";
        size = 0;
      }
      batch += line;
      size += bytes;
    }
    await this.#write(batch);
  }

  async #write(text: string): Promise<void> {
    if (text === "") return;
    const path = this.#path(0);
    if ((await unlessMissing(appendFile(path, text).then(() => true))) !== undefined) return;
    await mkdir(dirname(path), { recursive: true });
    await appendFile(path, text);
  }

  async #rotate(): Promise<void> {
    const { files } = this.options;
    if (files === 1) await rm(this.#path(0), { force: true });
    for (let age = files - 1; age > 0; age--) await unlessMissing(rename(this.#path(age - 1), this.#path(age)));
  }

  #path(age: number): string {
    return join(this.options.folder, logFileName(this.options.id, age));
  }
}
